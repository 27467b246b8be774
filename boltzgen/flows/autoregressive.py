"""An autoregressive flow: atom after atom, each given all that are placed, seen from its own axes.

The next atom sees every placed one in the local axes of its three references, as functions of distance and
direction, together with the coordinates that placed it. These inputs pass through weights that the
embeddings of the two atoms generate (a filter for every pair of atoms, made once a molecule and step), then
through a network that all atoms share. Its result, with what was drawn before within the atom (torsion, then
angle, then bond), gives each coordinate a monotone spline from its latent: circular for torsions; shift,
scale and spline in units of the bonded terms' own thermal width for the others.

All conditions are known when a conformation is given, so its density takes one parallel pass. Drawing goes
atom by atom; the network looks at positions, never at its own hidden values of former atoms, so a step does
the new atom's work only, and only positions and drawn coordinates are kept. Both ways are differentiable.

Sources: Papamakarios et al., masked autoregressive flows (arXiv 1705.07057); splines: Durkan et al. (arXiv
1906.04032), Rezende et al. (arXiv 2002.02428); filters for pairs of atoms: Schuett et al., SchNet (arXiv
1706.08566); generated weights: Ha et al., HyperNetworks (arXiv 1609.09106).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from boltzgen.conditioning.context import MoleculeFeatures
from boltzgen.conditioning.features import N_FEATURES, ORDER
from boltzgen.flows import autoregressive_geometry as geometry
from boltzgen.flows.autoregressive_geometry import n_basis
from boltzgen.flows.autoregressive_layout import N_VALUES, SLOTS, Layout
from boltzgen.flows.autoregressive_rows import (
    Network,
    decode_rows,
    draw_atom,
    encode_rows,
    log_volume,
    placed_at,
    plan_of,
    positions_at,
    seen_by,
    slots_of,
)
from boltzgen.flows.autoregressive_steps import TRANSFORMS, Layer, flattened, through, waves
from boltzgen.flows.autoregressive_weights import (
    AtomWeights,
    Kept,
    Placed,
    Weights,
    atoms_of_weights,
)
from boltzgen.flows.grouped import Group, GroupedEmbedding, GroupedFlow, gather
from boltzgen.flows.settings import FlowSettings, NetworkSettings
from boltzgen.flows.splines import n_parameters
from boltzgen.flows.token_encoder import MAX_GRAPH_DISTANCE, TokenEncoder
from boltzgen.flows.transforms import WeightGenerator, temperature_input
from boltzgen.potentials.fast.compiled import can_compile

#: When the flow is to know nothing of the size of the molecule: bonds that a block of attention looks across,
#: and placed atoms that the inputs are scaled for.
REACH, NEIGHBOURS = 3, 8

#: Rows drawn together: on a CPU with compiled operations and without, and on other devices.
BLOCK_COMPILED, BLOCK_PLAIN, BLOCK_DEVICE = 512, 1024, 65_536


class AutoregressiveSettings(NetworkSettings):
    """A flow that draws atom after atom."""

    kind: Literal["autoregressive"] = "autoregressive"
    """Which flow; see docs/flows.md."""
    local: bool = False
    """Know nothing of the size of the molecule or the place of an atom in it: for molecules never seen."""
    degree: int = Field(default=1, ge=1, le=2)
    """Of the harmonics through which an atom sees in which direction the placed ones lie."""
    far_blocks: int = Field(default=0, ge=0, le=64)
    """Further blocks of attention, across 16 bonds where `local`: what will be placed far away, two or three
    residues on, counts for the coordinates of an atom. Costs nothing a draw; a trained flow can get them."""

    def goes_on_from(self, former: FlowSettings) -> bool:
        return (
            isinstance(former, AutoregressiveSettings)
            and self.far_blocks >= former.far_blocks
            and self.model_copy(update={"far_blocks": former.far_blocks}) == former
        )

    def build(self) -> AutoregressiveFlow:
        unread = ORDER if self.local else ()
        return AutoregressiveFlow(N_FEATURES, unread=unread, **self.model_dump(exclude={"kind"}))


class AutoregressiveFlow(GroupedFlow):
    """Atom after atom, given the positions of all placed atoms in the next one's local axes.

    Parameters
    ----------
    n_features: length of a token's feature vector.
    hidden, depth: width and hidden layers of the network that reads the placed atoms, and of the network of
        each coordinate, which reads what that one found.
    bins: spline bins. embedding, encoder_blocks: width of the token embeddings, and attention blocks that
        make them.
    local: nothing depends on how many atoms there are: each block of attention looks across `REACH` bonds,
        and what an atom sees of the placed ones is a sum, not a mean. degree: of the harmonics through which
        it sees their directions. far_blocks: of attention, after the others, that look further.
    unread: features not to be read.
    """

    def __init__(
        self,
        n_features: int,
        *,
        hidden: int = 64,
        depth: int = 2,
        bins: int = 8,
        embedding: int = 32,
        encoder_blocks: int = 2,
        local: bool = False,
        degree: int = 1,
        far_blocks: int = 0,
        unread: Container[int] = (),
    ) -> None:
        super().__init__()
        self.hidden, self.local, self.degree, self.n_basis = hidden, local, degree, n_basis(degree)
        self._compiled = False
        reach = REACH if local else None
        self.encoder = TokenEncoder(
            n_features, embedding, encoder_blocks, unread=unread, reach=reach, far_blocks=far_blocks
        )
        self.of_atom = nn.Linear((SLOTS + 1) * embedding, embedding)
        self.seeing, self.seen = nn.Linear(embedding, embedding), nn.Linear(embedding, embedding)
        self.apart = nn.Embedding(MAX_GRAPH_DISTANCE + 1, embedding)
        self.input_filter = WeightGenerator(embedding, (self.n_basis + N_VALUES, hidden), std=1.0)
        self.shift = WeightGenerator(embedding, (hidden,), std=0.1)
        self.temperature = nn.Linear(2, hidden)
        self.trunk = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(depth)])
        self.per_coordinate = WeightGenerator(embedding, (N_VALUES, hidden), std=0.3)
        self.per_coordinate_shift = WeightGenerator(embedding, (hidden,), std=0.1)
        self.head = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(depth)])
        sizes = (2 + n_parameters(bins, False), 1 + n_parameters(bins, True))
        self.output_weights = nn.ModuleList(
            [WeightGenerator(embedding, (hidden + 1, size), std=1e-3) for size in sizes]
        )

    def embed_molecule(self, molecule: MoleculeFeatures, temperature: Tensor) -> Weights:
        layout = Layout.of(molecule)
        tokens = self.encoder(molecule.tokens, molecule.graph_distance)
        described = torch.tensor(layout.tokens(), device=tokens.device)
        atoms = self.of_atom(functional.pad(tokens, (0, 0, 0, 1))[described].flatten(1))
        atoms = functional.layer_norm(atoms, atoms.shape[1:])
        heat = temperature_input(temperature).to(tokens.dtype).T
        sorts = (~molecule.circular, molecule.circular)
        both = [generate(tokens[chosen]) for generate, chosen in zip(self.output_weights, sorts, strict=True)]
        output = (both[0][:, :-1].mT.contiguous(), both[1][:, :-1].mT.contiguous())
        output_shift = (both[0][:, -1, :, None].contiguous(), both[1][:, -1, :, None].contiguous())
        own = torch.cat([self.per_coordinate_shift(tokens)[:, None], self.per_coordinate(tokens)], dim=1)
        own = (own * layout.visible(own)).mT.contiguous()
        read, view = self._filters(layout, atoms, molecule.graph_distance)
        return Weights(
            layout,
            read,
            view,
            torch.cat([torch.ones_like(heat[:1]), heat]),
            own,
            output,
            output_shift,
            atoms_of_weights(molecule, layout, read, view, own, output, output_shift),
        )

    def _filters(
        self, layout: Layout, atoms: Tensor, graph_distance: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """For each atom the weights of what it reads and sees of those before it, as in `Weights`.

        atoms: (n, E).
        """
        near = layout.graph_distance(graph_distance).clamp(max=MAX_GRAPH_DISTANCE)
        later, earlier = torch.tril_indices(len(atoms), len(atoms), -1, device=atoms.device)
        pairs = self.seeing(atoms)[later] + self.seen(atoms)[earlier] + self.apart(near[later, earlier])
        pairs = functional.layer_norm(functional.silu(pairs), pairs.shape[1:])
        inputs = self.n_basis + N_VALUES if layout.has_positions else N_VALUES
        count = torch.full_like(later, NEIGHBOURS) if self.local else later
        scale = torch.rsqrt((count * inputs / 2).to(pairs.dtype))[:, None]
        described = (torch.cat([pairs, torch.ones_like(scale)], dim=1) * scale).split(list(range(len(atoms))))
        generating = self.input_filter.matrix().transpose(0, 1)
        of_view, of_read = (part.flatten(0, 1) for part in generating.split([self.n_basis, N_VALUES], dim=1))
        shift = self.shift(atoms) + self.temperature.bias
        read, view, live = [], [], torch.tensor(layout.all_live, device=atoms.device)
        for own, around in zip(shift, described, strict=True):
            shared = torch.cat([own[:, None], self.temperature.weight], dim=1)
            of_values = (of_read @ around.T).view(self.hidden, N_VALUES, -1).transpose(1, 2).flatten(1)
            read.append(
                torch.cat([shared, of_values.index_select(1, live[: layout.starts[len(around)]])], dim=1)
            )
            view.append((of_view @ around.T).view(self.hidden, -1) if layout.has_positions else around[:0])
        return tuple(read), tuple(view)

    def encode_group(self, coordinates: Tensor, group: Group) -> tuple[Tensor, Tensor]:
        standardiser = group.standardiser
        linear, circular, log_det = standardiser.encode(coordinates)
        usual = standardiser.decode(torch.zeros_like(linear), torch.zeros_like(circular))[0]
        known = torch.where(torch.isfinite(log_det)[:, None], coordinates, usual)
        hidden = self._all_hidden(group.weights, linear.T, circular.T, known.T)
        latents = []
        for sort, (values, rows) in enumerate(
            ((linear, standardiser.linear), (circular, standardiser.circular))
        ):
            parameters = (
                group.weights.output[sort] @ hidden.index_select(1, rows).transpose(0, 1)
                + group.weights.output_shift[sort]
            )
            found, change = TRANSFORMS[sort](values.T, parameters.transpose(0, 1), inverse=False)
            latents.append(found.T)
            log_det = log_det + change.sum(dim=0)
        return standardiser.join(latents[0], latents[1]), log_det

    def _all_hidden(self, weights: Weights, linear: Tensor, circular: Tensor, known: Tensor) -> Tensor:
        """What the network finds (H, d, b) for every coordinate at once.

        linear, circular: (columns, b), whitened and in rad. known: (d, b) coordinates.
        """
        layout, rows = weights.layout, known.shape[1]
        own = layout.inputs(flattened(linear.to(self._precision)), waves(circular.to(self._precision)))
        live = torch.tensor(layout.all_live, device=known.device)
        inputs = torch.cat([weights.shared, own.flatten(0, 1).index_select(0, live)])
        read = [atom.found(inputs, seen) for atom, seen in self._all_seen(weights, known)]
        hidden = through(torch.cat(read, dim=1), self._layers(self.trunk))
        first, *head = self._layers(self.head)
        hidden = torch.addmm(first[1], first[0], hidden).unflatten(1, (-1, rows))
        number = torch.tensor(layout.atom, device=known.device)
        given = torch.cat([torch.ones_like(own[:, :1]), own], dim=1).index_select(0, number)
        hidden = hidden.index_select(1, number - layout.drawn[0]) + (weights.own @ given).transpose(0, 1)
        return through(hidden.flatten(1), head).unflatten(1, (-1, rows))

    def decode_group(self, latents: Tensor, group: Group) -> tuple[Tensor, Tensor]:
        return _found(self._drawn(latents, group, None, 0), group)

    def _all_seen(self, weights: Weights, known: Tensor) -> Iterator[tuple[AtomWeights, Tensor | None]]:
        """Each atom, and what it sees (n_basis, k, b) of the k before it; known: (d, b) coordinates.

        Of these a gradient is seldom asked: then atoms are placed level by level, and by compiled steps.
        """
        layout, network = weights.layout, self._network
        if torch.is_grad_enabled() and known.requires_grad and layout.has_positions:
            places, axes = geometry.place_all(layout.atoms, known)
            for atom in weights.atoms:
                origin, before = places[atom.atom.references[0]], torch.stack(places[: atom.number])
                yield atom, geometry.view(before, origin, axes[atom.number], self.degree, self._precision)
            return
        with torch.no_grad():
            positions = positions_at(network, layout, known)
        for atom in weights.atoms:
            with torch.no_grad():
                seen = seen_by(network, atom, positions)
            yield atom, seen

    def use_compiler(self, enabled: bool = True) -> bool:
        self._compiled = (
            enabled and can_compile(device := self.temperature.weight.device) and device.type == "cpu"
        )
        return self._compiled

    def decode_kept(self, latents: Tensor, embedding: GroupedEmbedding) -> tuple[Tensor, Tensor, Kept]:
        return self._changed(latents, embedding, [None] * len(embedding.groups), 0)

    def decode_changed(
        self, latents: Tensor, embedding: GroupedEmbedding, kept: Kept, first: int
    ) -> tuple[Tensor, Tensor, Kept]:
        return self._changed(latents, embedding, kept.placed, first)

    @torch.no_grad()
    def _changed(
        self, latents: Tensor, embedding: GroupedEmbedding, before: Sequence[Placed | None], first: int
    ) -> tuple[Tensor, Tensor, Kept]:
        """All that latents give, where `before` knows of each group what comes before coordinate `first`."""
        left, found = iter(before), []

        def decode(values: Tensor, group: Group) -> tuple[Tensor, Tensor]:
            found.append(self._drawn(values, group, next(left), first))
            return _found(found[-1], group)

        coordinates, log_det = self._map(latents, embedding, decode)
        return coordinates, log_det, Kept(tuple(found), tuple(group.rows for group in embedding.groups))

    def keep(self, accepted: Tensor, new: Kept, old: Kept) -> Kept:
        return new.where(accepted, old)

    def can_redraw(self, embedding: GroupedEmbedding, rows: Sequence[int]) -> bool:
        return all(slots_of(group.weights.layout, rows) is not None for group in embedding.groups)

    @torch.no_grad()
    def place_kept(self, coordinates: Tensor, embedding: GroupedEmbedding) -> Kept:
        size, values, found = self._block_rows(coordinates.device), coordinates.to(torch.float64), []
        for group in embedding.groups:
            own = values[group.rows, : group.standardiser.dimension]
            found.append(placed_at(self._network, group, own, size))
        return Kept(tuple(found), tuple(group.rows for group in embedding.groups))

    @torch.no_grad()
    def encode_kept(self, coordinates: Tensor, embedding: GroupedEmbedding) -> tuple[Tensor, Tensor, Kept]:
        left, found = iter(self.place_kept(coordinates, embedding).placed), []

        def encode(values: Tensor, group: Group) -> tuple[Tensor, Tensor]:
            placed, size = next(left), self._block_rows(values.device)
            plan = plan_of(group, range(values.shape[1]))
            latents, change, _ = encode_rows(self._network, group, placed, plan, size)
            found.append(replace(placed, change=change))
            return latents.T, -change.sum(dim=0) - log_volume(group, plan)

        latents, log_det = self._map(coordinates, embedding, encode)
        return latents, log_det, Kept(tuple(found), tuple(group.rows for group in embedding.groups))

    @torch.no_grad()
    def encode_rows(
        self, embedding: GroupedEmbedding, kept: Kept, rows: Sequence[int]
    ) -> tuple[Tensor, Tensor, list[tuple[Placed, Tensor]]]:
        network, latents, log_det, begun = self._network, [], [], []
        for group, placed in zip(embedding.groups, kept.placed, strict=True):
            plan, size = plan_of(group, rows), self._block_rows(placed.values.device)
            own, change, read = encode_rows(network, group, placed, plan, size)
            latents.append(own.T)
            log_det.append(-change.sum(dim=0) - log_volume(group, plan))
            begun.append((placed, read))
        return gather(embedding, latents), gather(embedding, log_det), begun

    @torch.no_grad()
    def decode_rows(
        self,
        latents: Tensor,
        embedding: GroupedEmbedding,
        begun: list[tuple[Placed, Tensor]],
        rows: Sequence[int],
    ) -> tuple[Tensor, Tensor, Kept]:
        left, network, found = iter(begun), self._network, []

        def decode(values: Tensor, group: Group) -> tuple[Tensor, Tensor]:
            plan, size = plan_of(group, rows), self._block_rows(values.device)
            found.append(placed := decode_rows(network, group, values, next(left), plan, size))
            return placed.values.T, placed.change.sum(dim=0) + log_volume(group, plan)

        coordinates, log_det = self._map(latents, embedding, decode)
        return coordinates, log_det, Kept(tuple(found), tuple(group.rows for group in embedding.groups))

    @property
    def _network(self) -> Network:
        layers = self._layers(self.trunk), self._layers(self.head)
        return Network(*layers, self.degree, self._precision, self._compiled)

    def _drawn(self, latents: Tensor, group: Group, kept: Placed | None, first: int) -> Placed:
        """All that `latents` (b, d) give; `kept` has the atoms before that of coordinate `first`."""
        weights, scale, latents = group.weights, group.standardiser.scale[:, 0], latents.T
        layout, rows = weights.layout, latents.shape[1]
        number = layout.atom[first] if first < len(latents) else len(layout.atoms)
        network, parts = self._network, []
        size = self._block_rows(latents.device)
        for block in (slice(start, start + size) for start in range(0, rows, size)):
            own = latents[:, block].contiguous()
            placed = (
                Placed.nothing(layout, weights.shared[:, block], own) if kept is None else kept.copied(block)
            )
            for atom in weights.atoms:
                if atom.number >= number:
                    placed = draw_atom(network, atom, own, placed, scale[block])
            parts.append(placed)
        return Placed.joined(parts)

    def _block_rows(self, device: torch.device) -> int:
        """Rows that are drawn together: what they see of placed atoms fits into the cache."""
        if device.type != "cpu":
            return BLOCK_DEVICE
        return BLOCK_COMPILED if self._compiled else BLOCK_PLAIN

    @property
    def _precision(self) -> torch.dtype:
        return self.temperature.weight.dtype

    def _layers(self, layers: Iterable[nn.Module]) -> list[Layer]:
        return [(layer.weight, layer.bias[:, None]) for layer in layers]  # type: ignore[misc,index]


def _found(placed: Placed, group: Group) -> tuple[Tensor, Tensor]:
    """Coordinates (b, d) and log_det (b,) of a pass."""
    return placed.values.T, placed.change.sum(dim=0) + group.standardiser.log_volume
