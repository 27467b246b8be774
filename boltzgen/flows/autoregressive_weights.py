"""What a molecule gives the network of the autoregressive flow, atom by atom, and what is kept of a pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from boltzgen.conditioning.context import MoleculeFeatures
from boltzgen.flows.autoregressive_geometry import Atom
from boltzgen.flows.autoregressive_layout import N_VALUES, Layout, visible
from boltzgen.flows.autoregressive_steps import Shape, Turn, Whitening

#: Inputs that all atoms share: a one, and what the network sees of the temperature.
N_SHARED = 3


@dataclass(frozen=True)
class AtomWeights:
    """What it takes to draw one atom with k placed before it.

    read: (H, N_SHARED + N_VALUES k), of the inputs. view: (H, n_basis k), of where the k are; None without positions.
    columns: of its linear coordinates among all linear ones.
    """

    number: int
    atom: Atom
    shape: Shape
    columns: slice
    read: Tensor
    view: Tensor | None
    turns: tuple[Turn, ...]
    whitening: Whitening


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
    """

    layout: Layout
    read: tuple[Tensor, ...]
    view: tuple[Tensor, ...]
    shared: Tensor
    own: Tensor
    output: tuple[Tensor, Tensor]
    output_shift: tuple[Tensor, Tensor]
    atoms: tuple[AtomWeights, ...]


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
    found = []
    for number in layout.drawn:
        turns, columns = [], []
        for slot, row in enumerate(layout.turns[number]):
            sort, column = int(layout.circular[row]), layout.column[row]
            weights = own[row, :, : 1 + visible(slot)]
            turns.append(Turn(weights, output[sort][column], output_shift[sort][column]))
            columns += [] if sort else [column]
        chosen = slice(min(columns, default=0), max(columns, default=-1) + 1)
        found.append(
            AtomWeights(
                number,
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
                    molecule.whitening[chosen, chosen],
                    molecule.centre[chosen, None],
                    molecule.lower[~molecule.circular][chosen, None],
                    molecule.upper[~molecule.circular][chosen, None],
                ),
            )
        )
    return tuple(found)


@dataclass(frozen=True)
class Placed:
    """What a pass found, atom by atom, of which a later pass may keep the first ones.

    Attributes
    ----------
    inputs: (N_SHARED + N_VALUES atoms, b), what each atom gives the network, after what all share.
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
    def nothing(cls, weights: Weights, latents: Tensor) -> Placed:
        """Before the first atom is drawn; latents: (d, b)."""
        count, (size, rows) = len(weights.layout.atoms), latents.shape
        shared = weights.shared
        return cls(
            torch.cat([shared, shared.new_zeros(N_VALUES * count, rows)]),
            latents.new_zeros(count, 3, rows),
            latents.new_zeros(size - sum(weights.layout.circular), rows),
            torch.zeros_like(latents),
            latents.new_zeros(count, rows),
        )

    def clone(self) -> Placed:
        """The same numbers in memory of their own."""
        return Placed(*(getattr(self, field.name).clone() for field in fields(self)))

    def where(self, accepted: Tensor, other: Placed) -> Placed:
        """Row by row these numbers where `accepted` (b,), else those of `other`."""
        return Placed(
            *(
                torch.where(accepted, getattr(self, field.name), getattr(other, field.name))
                for field in fields(self)
            )
        )


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
