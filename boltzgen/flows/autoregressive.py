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

from collections.abc import Container
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from boltzgen.conditioning.context import MoleculeFeatures
from boltzgen.conditioning.features import N_FEATURES, ORDER
from boltzgen.coordinates.support import unlink
from boltzgen.flows import autoregressive_geometry as geometry
from boltzgen.flows.autoregressive_geometry import Atom, n_basis
from boltzgen.flows.autoregressive_layout import N_VALUES, N_WAVES, SLOTS, Layout
from boltzgen.flows.grouped import Group, GroupedFlow
from boltzgen.flows.settings import NetworkSettings
from boltzgen.flows.splines import n_parameters
from boltzgen.flows.standardise import Standardiser
from boltzgen.flows.token_encoder import MAX_GRAPH_DISTANCE, TokenEncoder
from boltzgen.flows.transforms import (
    HARMONICS,
    WeightGenerator,
    affine_spline,
    circular_spline,
    temperature_input,
)

#: Whitened values beyond some of these enter the network flattened, so that no input explodes.
SOFT = 6.0

#: When the flow is to know nothing of the size of the molecule: bonds that a block of attention looks across,
#: and placed atoms that the inputs are scaled for.
REACH, NEIGHBOURS = 3, 8

#: Maps of linear and of circular coordinates.
_TRANSFORMS = (affine_spline, circular_spline)


class AutoregressiveSettings(NetworkSettings):
    """A flow that draws atom after atom."""

    kind: Literal["autoregressive"] = "autoregressive"
    """Which flow; see docs/flows.md."""
    local: bool = False
    """Know nothing of the size of the molecule or the place of an atom in it: for molecules never seen."""
    degree: int = Field(default=1, ge=1, le=2)
    """Of the harmonics through which an atom sees in which direction the placed ones lie."""

    def build(self) -> AutoregressiveFlow:
        unread = ORDER if self.local else ()
        return AutoregressiveFlow(N_FEATURES, unread=unread, **self.model_dump(exclude={"kind"}))


@dataclass(frozen=True)
class _Weights:
    """What a molecule and the temperatures of its b rows give the network of width H.

    Attributes
    ----------
    view, drawn: for each atom (inputs, H), of what it sees of the placed atoms and of their coordinates.
    shift: (atoms, b, H) by atom and temperature.
    per_coordinate, per_coordinate_shift: (d, N_VALUES, H) and (d, 1, H).
    output, output_shift: (columns, parameters, H) and (columns, parameters, 1), of linear and of circular
        coordinates.
    """

    layout: Layout
    view: tuple[Tensor, ...]
    drawn: tuple[Tensor, ...]
    shift: Tensor
    per_coordinate: Tensor
    per_coordinate_shift: Tensor
    output: tuple[Tensor, Tensor]
    output_shift: tuple[Tensor, Tensor]


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
        it sees their directions. unread: features not to be read.
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
        unread: Container[int] = (),
    ) -> None:
        super().__init__()
        self.hidden, self.local, self.degree, self.n_basis = hidden, local, degree, n_basis(degree)
        reach = REACH if local else None
        self.encoder = TokenEncoder(n_features, embedding, encoder_blocks, unread=unread, reach=reach)
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

    def embed_molecule(self, molecule: MoleculeFeatures, temperature: Tensor) -> _Weights:
        layout = Layout.of(molecule)
        tokens = self.encoder(molecule.tokens, molecule.graph_distance)
        described = torch.tensor(layout.tokens(), device=tokens.device)
        atoms = self.of_atom(functional.pad(tokens, (0, 0, 0, 1))[described].flatten(1))
        atoms = functional.layer_norm(atoms, atoms.shape[1:])
        heat = self.temperature(temperature_input(temperature).to(tokens.dtype))
        output, output_shift = [], []
        for generate, chosen in zip(
            self.output_weights, (~molecule.circular, molecule.circular), strict=True
        ):
            both = generate(tokens[chosen])
            output.append(both[:, :-1].mT)
            output_shift.append(both[:, -1][..., None])
        return _Weights(
            layout,
            *self._filters(layout, atoms, molecule.graph_distance),
            self.shift(atoms)[:, None] + heat,
            self.per_coordinate(tokens),
            self.per_coordinate_shift(tokens)[:, None],
            (output[0], output[1]),
            (output_shift[0], output_shift[1]),
        )

    def _filters(
        self, layout: Layout, atoms: Tensor, graph_distance: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """For each atom, the weights (inputs, H) of what it sees of those before it; atoms: (n, E)."""
        near = layout.graph_distance(graph_distance).clamp(max=MAX_GRAPH_DISTANCE)
        later, earlier = torch.tril_indices(len(atoms), len(atoms), -1, device=atoms.device)
        pairs = self.seeing(atoms)[later] + self.seen(atoms)[earlier] + self.apart(near[later, earlier])
        pairs = functional.layer_norm(functional.silu(pairs), pairs.shape[1:])
        filters = self.input_filter(pairs)
        inputs = self.n_basis + N_VALUES if layout.has_positions else N_VALUES
        count = torch.full_like(later, NEIGHBOURS) if self.local else later
        filters = filters / torch.sqrt(count * inputs / 2)[:, None, None].to(filters.dtype)
        sizes = list(range(len(atoms)))
        view, drawn = (
            tuple(block.flatten(0, 1) for block in part.contiguous().split(sizes))
            for part in filters.split([self.n_basis, N_VALUES], dim=1)
        )
        return view, drawn

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
            parameters = group.weights.output[sort] @ hidden[rows].mT + group.weights.output_shift[sort]
            found, change = _TRANSFORMS[sort](values.T, parameters.transpose(0, 1), inverse=False)
            latents.append(found.T)
            log_det = log_det + change.sum(dim=0)
        return standardiser.join(latents[0], latents[1]), log_det

    def _all_hidden(self, weights: _Weights, linear: Tensor, circular: Tensor, known: Tensor) -> Tensor:
        """What the network finds (d, b, H) for every coordinate at once.

        linear, circular: (columns, b), whitened and in rad. known: (d, b) coordinates.
        """
        layout = weights.layout
        drawn = [
            [(circular if layout.circular[row] else linear)[layout.column[row]] for row in turn]
            for turn in layout.turns
        ]
        inputs = torch.stack([self._inputs(layout, n, own, known[0]) for n, own in enumerate(drawn)])
        positions, axes = geometry.place_all(layout.atoms, known) if layout.has_positions else ([], [])
        seen = self._seen(layout, positions, axes) if positions else ()
        first = layout.drawn[0]
        read = torch.stack(
            [
                self._read(weights, number, inputs[:number], seen[number] if seen else None)
                for number in layout.drawn
            ]
        )
        hidden = self.head[0](self._through_trunk(read + weights.shift[first:]))
        atom = torch.tensor(layout.atom, device=hidden.device)
        own = (inputs[atom] * layout.visible(inputs)).transpose(1, 2)
        return self._through_head(
            torch.baddbmm(hidden[atom - first] + weights.per_coordinate_shift, own, weights.per_coordinate)
        )

    def _seen(self, layout: Layout, positions: list[Tensor], axes: list[Tensor]) -> tuple[Tensor, ...]:
        """For each atom what it sees (k, n_basis, b) of the k atoms before it, all pairs at once."""
        count = len(positions)
        placed, frames = torch.stack(positions, dim=1), torch.stack(axes, dim=2).to(self._precision)
        later, earlier = torch.tril_indices(count, count, -1, device=placed.device)
        origin = torch.tensor([own.references[0] if own.references else 0 for own in layout.atoms])
        origin = origin.to(placed.device)[later]
        apart = (placed[:, earlier] - placed[:, origin]).to(self._precision)
        return geometry.basis(apart, frames[:, :, later], self.degree).split(list(range(count)))

    def decode_group(self, latents: Tensor, group: Group) -> tuple[Tensor, Tensor]:
        weights: _Weights = group.weights
        layout, standardiser = weights.layout, group.standardiser
        log_det = torch.zeros_like(latents[:, 0])
        inputs = [self._inputs(layout, n, [], log_det) for n in range(layout.drawn[0])]
        positions = [log_det.expand(3, -1)] if layout.has_positions else []
        values: tuple[list[Tensor], list[Tensor]] = ([], [])
        for number in layout.drawn:
            atom, view = layout.atoms[number], None
            if layout.has_positions:
                axes = geometry.axes_of(atom, positions)
                placed = torch.stack(positions, dim=1)
                apart = (placed - placed[:, atom.references[0], None]).to(self._precision)
                view = geometry.basis(apart, axes[:, :, None].to(self._precision), self.degree)
            before = torch.stack(inputs) if inputs else latents.new_zeros(0, N_VALUES, len(latents))
            read = self._read(weights, number, before, view)
            drawn, change = self._draw(latents, weights, number, read)
            log_det = log_det + change
            for row, value in zip(atom.rows, reversed(drawn), strict=True):
                values[layout.circular[row]].append(value)
            inputs.append(self._inputs(layout, number, drawn, log_det))
            if layout.has_positions:
                own = _unwhitened(layout, atom, standardiser, values)
                positions.append(geometry.place(atom, own, positions, axes))
        nothing = latents[:, :0]
        linear, circular = (torch.stack(sort, dim=1) if sort else nothing for sort in values)
        coordinates, change = standardiser.decode(linear, circular)
        return coordinates, log_det + change

    def _draw(
        self, latents: Tensor, weights: _Weights, number: int, read: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """The coordinates of one atom (whitened, or angles) from their latents, and the log slope (b,)."""
        layout = weights.layout
        hidden = self.head[0](self._through_trunk(read + weights.shift[number]))
        drawn: list[Tensor] = []
        log_det = torch.zeros_like(latents[:, 0])
        for row in layout.turns[number]:
            own = (
                self._inputs(layout, number, drawn, log_det).T @ weights.per_coordinate[row]
                + weights.per_coordinate_shift[row]
            )
            sort, column = int(layout.circular[row]), layout.column[row]
            parameters = weights.output[sort][column] @ self._through_head(hidden + own).mT
            parameters = parameters + weights.output_shift[sort][column]
            value, change = _TRANSFORMS[sort](latents[:, row], parameters, inverse=True)
            drawn.append(value)
            log_det = log_det + change
        return drawn, log_det

    def _inputs(self, layout: Layout, number: int, drawn: list[Tensor], like: Tensor) -> Tensor:
        """(N_VALUES, b) what the coordinates of one atom, as far as they are `drawn`, give the network."""
        precision = self._precision
        nothing = torch.zeros_like(like, dtype=precision)
        waves, numbers = [nothing] * N_WAVES, [nothing] * SLOTS
        for slot, (row, value) in enumerate(zip(layout.turns[number], drawn, strict=False)):
            value = value.to(precision)
            if layout.circular[row]:
                waves = [wave(n * value) for n in HARMONICS for wave in (torch.cos, torch.sin)]
            else:
                numbers[slot] = value / torch.sqrt(1 + (value / SOFT) ** 2)
        return torch.stack([*waves, *numbers])

    @property
    def _precision(self) -> torch.dtype:
        return self.temperature.weight.dtype

    def _read(self, weights: _Weights, number: int, inputs: Tensor, view: Tensor | None) -> Tensor:
        """(b, H) from the coordinates (k, N_VALUES, b) and the view (k, n_basis, b) of the placed atoms."""
        read = inputs.to(self._precision).flatten(0, 1).T @ weights.drawn[number]
        if view is None:
            return read
        return torch.addmm(read, view.flatten(0, 1).T, weights.view[number])

    def _through_trunk(self, hidden: Tensor) -> Tensor:
        hidden = functional.silu(hidden)
        for layer in self.trunk:
            hidden = hidden + functional.silu(layer(hidden))
        return hidden

    def _through_head(self, hidden: Tensor) -> Tensor:
        hidden = functional.silu(hidden)
        for layer in self.head[1:]:
            hidden = hidden + functional.silu(layer(hidden))
        return hidden


def _unwhitened(
    layout: Layout, atom: Atom, standardiser: Standardiser, values: tuple[list[Tensor], list[Tensor]]
) -> Tensor:
    """(n, b) the coordinates of `atom`, the last one drawn, from whitened ones and angles.

    The whitening is lower triangular: an atom's coordinates need no whitened ones after its own.
    """
    linear, circular = values
    columns = [layout.column[row] for row in atom.rows if not layout.circular[row]]
    size = len(linear)
    known = torch.stack(linear, dim=1) @ standardiser.factor[columns, :size].T
    lower, upper = standardiser.lower[columns], standardiser.upper[columns]
    found = list(unlink(standardiser.centre[columns] + known * standardiser.scale, lower, upper)[0].T)
    return torch.stack(
        [circular[layout.column[row]] if layout.circular[row] else found.pop(0) for row in atom.rows]
    )
