"""What a molecule gives the network of the autoregressive flow, atom by atom, and what is kept of a pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from boltzgen.conditioning.context import MoleculeFeatures
from boltzgen.flows.autoregressive_geometry import Atom
from boltzgen.flows.autoregressive_layout import Layout
from boltzgen.flows.autoregressive_steps import Shape, Turn, Whitening

#: Inputs that all atoms share: a one, and what the network sees of the temperature.
N_SHARED = 3


@dataclass(frozen=True)
class AtomWeights:
    """What it takes to draw one atom with k placed before it.

    start: where its own values begin among the inputs.
    read: (H, start), of the inputs before. view: (H, n_basis k), of where the k are; None without positions.
    columns: of its linear coordinates among all linear ones.
    """

    number: int
    start: int
    atom: Atom
    shape: Shape
    columns: slice
    read: Tensor
    view: Tensor | None
    turns: tuple[Turn, ...]
    whitening: Whitening

    def found(self, inputs: Tensor, seen: Tensor | None) -> Tensor:
        """(H, b) what it finds in those before it: in their `inputs`, and in what it has `seen` of them."""
        read = self.read @ inputs[: self.start]
        if seen is None or self.view is None:
            return read
        return torch.addmm(read, self.view, seen.flatten(0, 1))


@dataclass(frozen=True)
class Weights:
    """What a molecule and the temperatures of its b rows give the network of width H.

    Attributes
    ----------
    read, view: of each atom, see `AtomWeights`.
    shared: (N_SHARED, b).
    own: (d, H, 1 + N_VALUES), zero where a coordinate may not see.
    output, output_shift: (columns, parameters, H) and (columns, parameters, 1), of linear and of circular
        coordinates.
    atoms: the same of every atom that is drawn, with its whitening.
    plans: what was found out once for chosen coordinates, see `boltzgen.flows.autoregressive_rows`.
    """

    layout: Layout
    read: tuple[Tensor, ...]
    view: tuple[Tensor, ...]
    shared: Tensor
    own: Tensor
    output: tuple[Tensor, Tensor]
    output_shift: tuple[Tensor, Tensor]
    atoms: tuple[AtomWeights, ...]
    plans: dict[tuple[int, ...], Any] = field(default_factory=dict, compare=False)


def atoms_of_weights(
    molecule: MoleculeFeatures,
    layout: Layout,
    read: Sequence[Tensor],
    view: Sequence[Tensor],
    own: Tensor,
    output: tuple[Tensor, Tensor],
    output_shift: tuple[Tensor, Tensor],
) -> tuple[AtomWeights, ...]:
    """The weights of each atom that is drawn; views of what is given."""
    found, linear = [], ~molecule.circular
    lower, upper = molecule.lower[linear], molecule.upper[linear]
    for number in layout.drawn:
        turns, columns = [], []
        for slot, row in enumerate(layout.turns[number]):
            sort, column = int(layout.circular[row]), layout.column[row]
            seen = [0, *(1 + value for value in layout.live(number, slot))]
            turns.append(
                Turn(own[row][:, seen].contiguous(), output[sort][column], output_shift[sort][column])
            )
            columns += [] if sort else [column]
        chosen = slice(min(columns, default=0), max(columns, default=-1) + 1)
        found.append(
            AtomWeights(
                number,
                N_SHARED + layout.starts[number],
                layout.atoms[number],
                Shape(
                    tuple(layout.circular[row] for row in layout.turns[number]),
                    len(layout.atoms[number].references),
                    layout.atoms[number].style,
                ),
                chosen,
                read[number],
                view[number] if layout.has_positions else None,
                tuple(turns),
                Whitening(
                    molecule.whitening[chosen, : chosen.start],
                    molecule.whitening[chosen, chosen].contiguous(),
                    molecule.centre[chosen, None],
                    lower[chosen, None],
                    upper[chosen, None],
                ),
            )
        )
    return tuple(found)


@dataclass(frozen=True)
class Placed:
    """What a pass found, atom by atom, of which a later pass may keep the first ones.

    Attributes
    ----------
    inputs: (N_SHARED + live values, b), what each atom gives the network, after what all share.
    positions: (atoms, 3, b) nm.
    whitened, values: (linear, b) and (d, b), the coordinates.
    change: (atoms, b), log slope of each atom's coordinates.
    """

    inputs: Tensor
    positions: Tensor
    whitened: Tensor
    values: Tensor
    change: Tensor

    @classmethod
    def nothing(cls, layout: Layout, shared: Tensor, latents: Tensor) -> Placed:
        """Before the first atom is drawn; shared: (N_SHARED, b). latents: (d, b)."""
        count, (size, rows) = len(layout.atoms), latents.shape
        return cls(
            torch.cat([shared, shared.new_zeros(layout.starts[-1], rows)]),
            latents.new_zeros(count, 3, rows),
            latents.new_zeros(size - sum(layout.circular), rows),
            torch.zeros_like(latents),
            latents.new_zeros(count, rows),
        )

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.inputs, self.positions, self.whitened, self.values, self.change

    @classmethod
    def joined(cls, parts: Sequence[Placed]) -> Placed:
        """The rows of all `parts`, one after another."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(torch.cat(both, dim=-1) for both in zip(*(part.tensors for part in parts), strict=True)))

    def of_rows(self, rows: slice) -> Placed:
        """The numbers of `rows`, where they are."""
        return Placed(*(one[..., rows] for one in self.tensors))

    def copied(self, rows: slice) -> Placed:
        """The numbers of `rows` in memory of their own."""
        return Placed(*(one[..., rows].clone(memory_format=torch.contiguous_format) for one in self.tensors))

    def where(self, accepted: Tensor, other: Placed) -> Placed:
        """Row by row these numbers where `accepted` (b,), else those of `other`."""
        both = zip(self.tensors, other.tensors, strict=True)
        return Placed(*(torch.where(accepted, new, old) for new, old in both))


@dataclass(frozen=True)
class Kept:
    """What a pass found of each molecule of a batch, and which rows are its own."""

    placed: tuple[Placed, ...]
    rows: tuple[Tensor, ...]

    def where(self, accepted: Tensor, other: Kept) -> Kept:
        """Row by row of the batch this pass where `accepted` (B,), else `other`."""
        chosen = zip(self.placed, other.placed, self.rows, strict=True)
        return Kept(tuple(new.where(accepted[rows], old) for new, old, rows in chosen), self.rows)


def put(into: Tensor, start: int, found: Tensor) -> Tensor:
    """`into` with its rows from `start` on replaced by `found`: in place where no gradient is asked."""
    stop = start + len(found)
    if torch.is_grad_enabled():
        return into.slice_scatter(found, 0, start, stop)
    into[start:stop] = found
    return into
