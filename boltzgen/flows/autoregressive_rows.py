"""Some coordinates of the autoregressive flow drawn anew, all others as they are.

Whole atoms, or their torsions alone, which are drawn first: the bond and the angle of an atom are whitened
together. Only the chosen atoms pass through the network; those between them that hang on a moved one are
placed anew. What comes after the last chosen atom is not looked at: the conditional densities of the chosen
coordinates do not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from boltzgen.flows import autoregressive_geometry as geometry
from boltzgen.flows.autoregressive_geometry import Atom
from boltzgen.flows.autoregressive_layout import Layout
from boltzgen.flows.autoregressive_steps import Layer, flattened, waves
from boltzgen.flows.autoregressive_weights import N_SHARED, AtomWeights, Placed, Weights
from boltzgen.flows.compiled_steps import look, turn
from boltzgen.flows.grouped import Group


@dataclass(frozen=True)
class Level:
    """Atoms that can be placed at once: `number` (k,), their references c, p, g and rows, (3, k) each.

    Of the first three atoms, which lack references, one alone.
    """

    atom: Atom
    number: Tensor
    references: Tensor
    rows: Tensor

    def place(self, positions: Tensor, values: Tensor) -> None:
        """Write where `values` (d, b) put these atoms into `positions` (atoms, 3, b)."""
        own = values[self.rows.flatten()].unflatten(0, self.rows.shape)
        anchors = positions[self.references.flatten()].unflatten(0, self.references.shape)
        if len(anchors) < 3:
            single = [one[0] for one in anchors]
            axes = geometry.axes_of(self.atom, single)
            positions[self.number] = geometry.place(self.atom, own[:, 0], single, axes)[None]
            return
        frame = list(anchors.transpose(1, 2))
        found = geometry.place(self.atom, own, frame, geometry.axes_of(self.atom, frame))
        positions[self.number] = found.transpose(0, 1)


@dataclass(frozen=True)
class Chosen:
    """One atom, the first `slots` of whose coordinates are drawn, in the order of drawing.

    fresh: what is placed anew before, since it hangs on what was drawn. whitens: whether kept linear
    coordinates come between it and drawn ones, which make other whitened numbers of them.
    """

    atom: AtomWeights
    slots: int
    fresh: tuple[Level, ...]
    whitens: bool

    @property
    def rows(self) -> slice:
        """Of the table: those that are drawn are its last ones."""
        stop = self.atom.atom.rows[-1] + 1
        return slice(stop - self.slots, stop)

    @property
    def columns(self) -> slice:
        """Those that are drawn among all linear coordinates."""
        return self.atom.columns if self.slots == len(self.atom.turns) else slice(0, 0)

    @property
    def is_whole(self) -> bool:
        return self.slots == len(self.atom.turns)


@dataclass(frozen=True)
class Plan:
    """What is done for the chosen coordinates.

    before: the atoms that are placed first of all. columns: the chosen ones among all linear coordinates.
    """

    before: tuple[Level, ...]
    atoms: tuple[Chosen, ...]
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """What all atoms share: layers of both networks, and how they are computed."""

    trunk: list[Layer]
    head: list[Layer]
    degree: int
    precision: torch.dtype
    compiled: bool


def slots_of(layout: Layout, rows: Iterable[int]) -> dict[int, int] | None:
    """How many coordinates of which atoms `rows` are; None if it is not whole atoms and torsions alone."""
    chosen = set(rows)
    found = {}
    for number in sorted({layout.atom[row] for row in chosen}):
        turns = layout.turns[number]
        own = [row for row in turns if row in chosen]
        alone = own == [turns[0]] and layout.circular[turns[0]]
        if own != list(turns) and not alone:
            return None
        found[number] = len(own)
    return found


def plan_of(weights: Weights, rows: Sequence[int]) -> Plan:
    """The plan for `rows`, made once for each embedding."""
    key = tuple(rows)
    if key not in weights.plans:
        weights.plans[key] = _plan(weights, slots_of(weights.layout, rows) or {})
    return weights.plans[key]


def _plan(weights: Weights, slots: dict[int, int]) -> Plan:
    layout, device = weights.layout, weights.shared.device
    by_number = {atom.number: atom for atom in weights.atoms}
    chosen, moved, waiting = [], set[int](), set[int]()
    columns, between = list[int](), False
    for number in range(max(slots, default=-1) + 1):
        if number in slots:
            fresh = _levels(layout, waiting, device)
            chosen.append(Chosen(by_number[number], slots[number], fresh, between))
            waiting, between = set(), False
            moved.add(number)
            columns += range(chosen[-1].columns.start, chosen[-1].columns.stop)
            if chosen[-1].is_whole:
                continue
            waiting.add(number)
        elif not moved.isdisjoint(layout.atoms[number].references):
            moved.add(number)
            waiting.add(number)
        between = between or bool(columns)
    before = _levels(layout, set(range(max(slots, default=0))), device)
    return Plan(before, tuple(chosen), tuple(columns))


def _levels(layout: Layout, numbers: set[int], device: torch.device) -> tuple[Level, ...]:
    """`numbers`, each after those that it hangs on."""
    if not layout.has_positions:
        return ()
    depth = list[int]()
    for own in layout.atoms:
        depth.append(1 + max((depth[reference] for reference in own.references), default=-1))
    sorts: dict[tuple, list[int]] = {}
    for number in sorted(numbers - {0}):
        own = layout.atoms[number]
        alone = number if len(own.references) < 3 else -1
        sorts.setdefault((depth[number], alone, own.style), []).append(number)
    found = []
    for _, members in sorted(sorts.items()):
        own = layout.atoms[members[0]]
        table = (
            [members],
            list(zip(*(layout.atoms[one].references for one in members), strict=True)),
            list(zip(*(layout.atoms[one].rows for one in members), strict=True)),
        )
        numbered, references, rows = (torch.tensor(one, device=device) for one in table)
        local = Atom(tuple(range(len(own.references))), tuple(range(len(own.rows))), own.style)
        found.append(Level(local, numbered[0], references, rows))
    return tuple(found)


def encode_rows(
    network: Network, group: Group, coordinates: Tensor, plan: Plan, size: int
) -> tuple[Tensor, Tensor, Placed]:
    """Latents (b, d), log_det (b,) of the chosen rows, and what the pass found.

    coordinates: (b, d). size: rows that are treated at once.
    """
    standardiser = group.standardiser
    whitened, circular, slope = standardiser.whiten(coordinates)
    values = coordinates.clone()
    values[:, standardiser.circular] = circular
    of_table = standardiser.join(whitened, circular).T
    parts = []
    for block in _blocks(len(coordinates), size):
        columns = values[block].T.contiguous(), whitened[block].T.contiguous(), circular[block].T
        parts.append(
            _encoded(network, group.weights, columns, of_table[:, block], slope[block].T, plan, block)
        )
    latents = torch.cat([part[0] for part in parts], dim=1).T
    placed = Placed.joined([part[1] for part in parts])
    return latents, -placed.change.sum(dim=0) - log_volume(group, plan), placed


def _encoded(
    network: Network,
    weights: Weights,
    columns: tuple[Tensor, Tensor, Tensor],
    of_table: Tensor,
    slope: Tensor,
    plan: Plan,
    block: slice,
) -> tuple[Tensor, Placed]:
    values, whitened, circular = columns
    layout, rows = weights.layout, values.shape[1]
    own = _inputs(layout, whitened, circular, network.precision)
    positions = values.new_zeros(len(layout.atoms), 3, rows)
    for level in plan.before:
        level.place(positions, values)
    placed = Placed(
        torch.cat([weights.shared[:, block], own]),
        positions,
        whitened,
        values,
        values.new_zeros(len(layout.atoms), rows),
    )
    latents = torch.zeros_like(values)
    for one in plan.atoms:
        read = one.atom.found(placed.inputs, _seen(network, one.atom, placed.positions))
        found, change, _ = _turn(network, one, [read, of_table[one.rows]], inverse=False)
        latents[one.rows] = found
        placed.change[one.atom.number] = -change - slope[one.columns].sum(dim=0)
    return latents, placed


def decode_rows(
    network: Network,
    group: Group,
    latents: Tensor,
    kept: Placed,
    plan: Plan,
    size: int,
    draw: Callable[[AtomWeights, Tensor, Placed, Tensor], Placed],
) -> tuple[Tensor, Tensor]:
    """Coordinates (b, d) with the chosen rows drawn from `latents` (b, d), and the log_det (b,) of these.

    draw: one whole atom more, from its weights, latents (d, b), what was placed, and scale (b,).
    """
    parts, columns = [], latents.T
    for block in _blocks(len(latents), size):
        own, scale = columns[:, block].contiguous(), group.standardiser.scale[block, 0]
        placed = kept.copied(block)
        for one in plan.atoms:
            placed = _refreshed(network, group, placed, one, block)
            if one.is_whole:
                placed = draw(one.atom, own, placed, scale)
                continue
            read = one.atom.found(placed.inputs, _seen(network, one.atom, placed.positions))
            value, change, shown = _turn(network, one, [read, own[one.rows]], inverse=True)
            placed.values[one.rows] = value
            placed.inputs[one.atom.start : one.atom.start + len(shown)] = shown
            placed.change[one.atom.number] = change
        parts.append(placed)
    placed = Placed.joined(parts)
    return placed.values.T, placed.change.sum(dim=0) + log_volume(group, plan)


def _refreshed(network: Network, group: Group, placed: Placed, one: Chosen, block: slice) -> Placed:
    """`placed` as the chosen atom finds it, after others were drawn."""
    for level in one.fresh:
        level.place(placed.positions, placed.values)
    if not one.whitens:
        return placed
    whitened, circular, _ = group.standardiser.whiten(placed.values.T, block)
    own = _inputs(group.weights.layout, whitened.T, circular.T, network.precision)
    placed.inputs[N_SHARED : one.atom.start] = own[: one.atom.start - N_SHARED]
    return replace(placed, whitened=whitened.T.contiguous())


def log_volume(group: Group, plan: Plan) -> Tensor:
    """(b,) what the whitening adds to the log_det of drawing the chosen coordinates, the same everywhere."""
    standardiser, columns = group.standardiser, list(plan.columns)
    stretch = standardiser.factor.diagonal()[columns].log().sum()
    return stretch + len(columns) * torch.log(standardiser.scale[:, 0])


def _blocks(rows: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, rows, size)]


def _inputs(layout: Layout, whitened: Tensor, circular: Tensor, precision: torch.dtype) -> Tensor:
    """(live values, b) what all atoms give the network, of whitened and circular coordinates (columns, b)."""
    found = layout.inputs(flattened(whitened.to(precision)), waves(circular.to(precision))).flatten(0, 1)
    return found.index_select(0, torch.tensor(layout.all_live, device=found.device))


def _seen(network: Network, atom: AtomWeights, positions: Tensor) -> Tensor | None:
    """What `atom` sees (n_basis, k, b) of the k atoms before it, which are at `positions` (atoms, 3, b)."""
    if atom.view is None:
        return None
    anchors = [positions[number] for number in atom.atom.references]
    before = positions[: atom.number]
    return look(atom.shape, before, anchors, network.degree, network.precision, network.compiled)[1]


def _turn(
    network: Network, one: Chosen, rows: list[Tensor], *, inverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """`boltzgen.flows.compiled_steps.turn` of a chosen atom."""
    layers = network.trunk, network.head
    return turn(
        one.atom.shape, one.slots, rows, *layers, one.atom.turns[: one.slots], inverse, network.compiled
    )
