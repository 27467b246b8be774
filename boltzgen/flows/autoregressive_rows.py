"""Some coordinates of the autoregressive flow drawn anew, all others as they are.

Whole atoms, or their torsions alone, which are drawn first: the bond and the angle of an atom are whitened
together. Only the chosen atoms pass through the network; others that hang on a moved one are placed anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from boltzgen.flows.autoregressive_geometry import Atom
from boltzgen.flows.autoregressive_layout import N_WAVES, Layout
from boltzgen.flows.autoregressive_steps import Layer, flattened, waves
from boltzgen.flows.autoregressive_weights import N_SHARED, AtomWeights, Placed, Weights, put
from boltzgen.flows.compiled_steps import draw, look, place, turn
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

    def place(self, positions: Tensor, values: Tensor, compiled: bool) -> None:
        """Write where `values` (d, b) put these atoms into `positions` (atoms, 3, b)."""
        own = values[self.rows.flatten()].unflatten(0, self.rows.shape).flatten(1)
        anchors = positions[self.references.flatten()].unflatten(0, self.references.shape)
        frame = [one.transpose(0, 1).flatten(1) for one in anchors]
        found = place(self.atom, own, frame, compiled)
        positions[self.number] = found.unflatten(1, (len(self.number), -1)).transpose(0, 1)


@dataclass(frozen=True)
class Shift:
    """Kept linear coordinates, which are other whitened numbers once coordinates before them were drawn.

    By the factor F of the whitening, ``F_kk dw_k + F_kd dw_d = 0``.

    kept, drawn: (k,) and (d,) columns. by: (k, d). inputs: (k,) where they stand among what the network sees.
    """

    kept: Tensor
    drawn: Tensor
    by: Tensor
    inputs: Tensor

    def apply(self, placed: Placed, old: Placed, precision: torch.dtype) -> None:
        """Write into `placed` what the drawn coordinates there have changed since `old`."""
        change = placed.whitened[self.drawn] - old.whitened[self.drawn]
        found = torch.addmm(old.whitened[self.kept], self.by, change)
        placed.whitened[self.kept] = found
        placed.inputs[self.inputs] = flattened(found.to(precision))


@dataclass(frozen=True)
class Chosen:
    """One atom, the first `slots` of whose coordinates are drawn, in the order of drawing.

    fresh, shift: what is placed and whitened anew before, since it hangs on what was drawn.
    """

    atom: AtomWeights
    slots: int
    fresh: tuple[Level, ...]
    shift: Shift | None

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
    def columns_in_rows(self) -> tuple[int, ...]:
        """Where the linear ones stand among those that are drawn."""
        circular = self.atom.shape.circular[: self.slots][::-1]
        return tuple(place for place, turns in enumerate(circular) if not turns)

    @property
    def is_whole(self) -> bool:
        return self.slots == len(self.atom.turns)


@dataclass(frozen=True)
class Plan:
    """What is done for the chosen coordinates.

    columns: (l,) the chosen ones among all linear coordinates. stretch: their part of the whitening's log_det
    without the scale. after, shift: as `Chosen.fresh` and `.shift`, of what comes after the last one.
    """

    atoms: tuple[Chosen, ...]
    columns: Tensor
    stretch: float
    after: tuple[Level, ...]
    shift: Shift | None


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


def plan_of(group: Group, rows: Sequence[int]) -> Plan:
    """The plan for `rows`, made once for each embedding."""
    key, weights = tuple(rows), group.weights
    if key not in weights.plans:
        weights.plans[key] = _plan(group, slots_of(weights.layout, rows) or {})
    found: Plan = weights.plans[key]
    return found


def _plan(group: Group, slots: dict[int, int]) -> Plan:
    weights: Weights = group.weights
    layout, device = weights.layout, weights.shared.device
    by_number = {atom.number: atom for atom in weights.atoms}
    alone = [Chosen(by_number[number], count, (), None) for number, count in slots.items()]
    shifts = _Shifts(group, [c for one in alone for c in range(one.columns.start, one.columns.stop)])
    chosen, moved, waiting, start = list[Chosen](), set[int](), set[int](), 0
    for number, atom in enumerate(layout.atoms):
        if number in slots:
            one = alone[len(chosen)]
            fresh = levels_of(layout, waiting, device)
            stop = one.atom.columns.start if one.is_whole else one.atom.columns.stop
            chosen.append(replace(one, fresh=fresh, shift=shifts.of(range(start, stop))))
            waiting, start = set(), stop
            moved.add(number)
            if chosen[-1].is_whole:
                continue
            waiting.add(number)
        elif not moved.isdisjoint(atom.references):
            moved.add(number)
            waiting.add(number)
    diagonal = group.standardiser.factor.diagonal()
    return Plan(
        tuple(chosen),
        torch.tensor(shifts.drawn, dtype=torch.long, device=device),
        float(diagonal[shifts.drawn].log().sum()),
        levels_of(layout, waiting, device),
        shifts.of(range(start, len(diagonal))),
    )


class _Shifts:
    """Those of a plan, which draws the linear coordinates `drawn`."""

    def __init__(self, group: Group, drawn: list[int]) -> None:
        self.layout, factor, self.drawn = group.weights.layout, group.standardiser.factor, drawn
        chosen = set(drawn)
        self.kept = [column for column in range(len(factor)) if column not in chosen] if drawn else []
        within, beside = factor[self.kept][:, self.kept], -factor[self.kept][:, drawn]
        self.by = torch.linalg.solve_triangular(within, beside, upper=False)
        self.changes = (self.by != 0).any(dim=1).tolist()

    def of(self, columns: range) -> Shift | None:
        """That of those of `columns` that are kept and change; None without any."""
        layout, inputs = self.layout, []
        changed = [n for n, column in enumerate(self.kept) if column in columns and self.changes[n]]
        if not changed:
            return None
        rows = [row for row, turns in enumerate(layout.circular) if not turns]
        for number in changed:
            row = rows[self.kept[number]]
            value = layout.live(layout.atom[row]).index(N_WAVES + layout.slot[row])
            inputs.append(N_SHARED + layout.starts[layout.atom[row]] + value)
        numbers = [[self.kept[number] for number in changed], self.drawn, inputs]
        kept, drawn, places = (torch.tensor(one, device=self.by.device) for one in numbers)
        return Shift(kept, drawn, self.by[changed].contiguous(), places)


def levels_of(layout: Layout, numbers: Iterable[int], device: torch.device) -> tuple[Level, ...]:
    """`numbers`, each after those that it hangs on."""
    if not layout.has_positions:
        return ()
    sorts: dict[tuple, list[int]] = {}
    for number in sorted(set(numbers) - {0}):
        own = layout.atoms[number]
        alone = number if len(own.references) < 3 else -1
        sorts.setdefault((layout.depths[number], alone, own.style), []).append(number)
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


def placed_at(network: Network, group: Group, coordinates: Tensor, size: int) -> Placed:
    """Everything but the log slopes of a pass that ends at `coordinates` (b, d); size: rows at once."""
    standardiser, layout = group.standardiser, group.weights.layout
    whitened, circular, _ = standardiser.whiten(coordinates)
    values = coordinates.clone()
    values[:, standardiser.circular] = circular
    parts = []
    for block in blocks(len(values), size):
        own = values[block].T.contiguous()
        positions = positions_at(network, layout, own)
        inputs = _inputs(layout, whitened[block].T, circular[block].T, network.precision)
        inputs = torch.cat([group.weights.shared[:, block], inputs])
        change = own.new_zeros(len(layout.atoms), own.shape[1])
        parts.append(Placed(inputs, positions, whitened[block].T.contiguous(), own, change))
    return Placed.joined(parts)


def positions_at(network: Network, layout: Layout, coordinates: Tensor) -> Tensor:
    """Positions (atoms, 3, b) of all atoms at `coordinates` (d, b). Not differentiable."""
    found = coordinates.new_zeros(len(layout.atoms), 3, coordinates.shape[1])
    for level in levels_of(layout, range(len(layout.atoms)), found.device):
        level.place(found, coordinates, network.compiled)
    return found


def encode_rows(
    network: Network, group: Group, placed: Placed, plan: Plan, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Latents (d, b) of the chosen coordinates, log slopes (atoms, b), what the first one reads (H, b).

    The log slopes of an atom are those of `Placed.change`, of its chosen coordinates. size: rows at once.
    """
    latents, changes = torch.zeros_like(placed.values), torch.zeros_like(placed.change)
    slopes = group.standardiser.link_slopes(placed.values, plan.columns)
    first, counts = [], [one.columns.stop - one.columns.start for one in plan.atoms]
    for block in blocks(latents.shape[1], size):
        for one, slope in zip(plan.atoms, slopes[:, block].split(counts), strict=True):
            seen = seen_by(network, one.atom, placed.positions[..., block])
            read = one.atom.found(placed.inputs[:, block], seen)
            if one is plan.atoms[0]:
                first.append(read)
            given = placed.values[one.rows, block].clone()
            if one.columns_in_rows:
                given[list(one.columns_in_rows)] = placed.whitened[one.columns, block]
            found, change, _ = _turn(network, one, [read, given], inverse=False)
            latents[one.rows, block] = found
            changes[one.atom.number, block] = -change - slope.sum(dim=0)
    return latents, changes, torch.cat(first, dim=1)


def decode_rows(
    network: Network,
    group: Group,
    latents: Tensor,
    begun: tuple[Placed, Tensor],
    plan: Plan,
    size: int,
) -> Placed:
    """The pass with the chosen coordinates drawn from `latents` (b, d); log slopes of chosen atoms alone.

    begun: the pass at the old coordinates, and what the first atom reads there.
    """
    parts, columns = [], latents.T
    for block in blocks(len(latents), size):
        own, scale = columns[:, block].contiguous(), group.standardiser.scale[block, 0]
        old, placed = begun[0].of_rows(block), begun[0].copied(block)
        placed.change.zero_()
        for one in plan.atoms:
            placed = _refreshed(network, placed, old, one.fresh, one.shift)
            read = begun[1][:, block] if one is plan.atoms[0] else None
            if one.is_whole:
                placed = draw_atom(network, one.atom, own, placed, scale, read)
                continue
            if read is None:
                read = one.atom.found(placed.inputs, seen_by(network, one.atom, placed.positions))
            value, change, shown = _turn(network, one, [read, own[one.rows]], inverse=True)
            placed.values[one.rows] = value
            placed.inputs[one.atom.start : one.atom.start + len(shown)] = shown
            placed.change[one.atom.number] = change
        parts.append(_refreshed(network, placed, old, plan.after, plan.shift))
    return Placed.joined(parts)


def draw_atom(
    network: Network,
    weights: AtomWeights,
    latents: Tensor,
    placed: Placed,
    scale: Tensor,
    read: Tensor | None = None,
) -> Placed:
    """`placed` with one more atom; its tensors are written into where no gradient is asked.

    latents: (d, b). scale: (b,). read: what the atom finds in those before it (H, b), if that is known.
    """
    atom, compiled = weights.atom, network.compiled and not torch.is_grad_enabled()
    anchors, frame, seen = [placed.positions[number] for number in atom.references], [], None
    if weights.view is not None:
        before = placed.positions[: weights.number]
        axes, seen = look(weights.shape, before, anchors, network.degree, network.precision, compiled)
        frame = [axes, *anchors]
    rows = [
        weights.found(placed.inputs, seen) if read is None else read,
        latents[atom.rows[0] : atom.rows[-1] + 1],
        weights.whitening.before @ placed.whitened[: weights.columns.start],
        scale,
        *frame,
    ]
    layers = network.trunk, network.head
    found = draw(weights.shape, rows, *layers, weights.turns, weights.whitening, compiled)
    positions = placed.positions
    if found.position is not None:
        positions = put(positions, weights.number, found.position[None])
    return Placed(
        put(placed.inputs, weights.start, found.inputs),
        positions,
        put(placed.whitened, weights.columns.start, found.whitened),
        put(placed.values, atom.rows[0], found.values),
        put(placed.change, weights.number, found.change[None]),
    )


def _refreshed(
    network: Network, placed: Placed, old: Placed, fresh: Iterable[Level], shift: Shift | None
) -> Placed:
    """`placed`, written into: `fresh` atoms and other whitened numbers, for what was drawn since `old`."""
    for level in fresh:
        level.place(placed.positions, placed.values, network.compiled)
    if shift is not None:
        shift.apply(placed, old, network.precision)
    return placed


def log_volume(group: Group, plan: Plan) -> Tensor:
    """(b,) what the whitening adds to the log_det of drawing the chosen coordinates, the same everywhere."""
    return plan.stretch + len(plan.columns) * torch.log(group.standardiser.scale[:, 0])


def blocks(rows: int, size: int) -> list[slice]:
    """Of `rows`, `size` at once."""
    return [slice(start, start + size) for start in range(0, rows, size)]


def _inputs(layout: Layout, whitened: Tensor, circular: Tensor, precision: torch.dtype) -> Tensor:
    """(live values, b) what all atoms give the network, of whitened and circular coordinates (columns, b)."""
    found = layout.inputs(flattened(whitened.to(precision)), waves(circular.to(precision))).flatten(0, 1)
    return found.index_select(0, torch.tensor(layout.all_live, device=found.device))


def seen_by(network: Network, atom: AtomWeights, positions: Tensor) -> Tensor | None:
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
