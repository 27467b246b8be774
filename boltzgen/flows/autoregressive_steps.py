"""One atom drawn: from what it sees of the placed ones to its coordinates and its place.

Shapes have the b rows of a batch last: every product is then (weights) @ (columns), and everything else runs
along contiguous memory. Functions here are pure, of tensors alone, and differentiable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from boltzgen.coordinates.support import unlink
from boltzgen.flows import autoregressive_geometry as geometry
from boltzgen.flows.autoregressive_geometry import Atom
from boltzgen.flows.transforms import HARMONICS, affine_spline, circular_spline

#: Whitened values beyond some of these enter the network flattened, so that no input explodes.
SOFT = 6.0

#: Maps of linear and of circular coordinates.
TRANSFORMS = (affine_spline, circular_spline)

#: Weights (H, H) and shift (H, 1) of one layer.
Layer = tuple[Tensor, Tensor]


class Turn(NamedTuple):
    """What one coordinate needs to be drawn.

    own: (H, 1 + visible), for a one and what the coordinates of its atom that were drawn before give.
    output, output_shift: (parameters, H) and (parameters, 1).
    """

    own: Tensor
    output: Tensor
    output_shift: Tensor


class Whitening(NamedTuple):
    """The m linear coordinates of one atom: rows of the whitening, as columns.

    before, within: (m, columns before) and (m, m) of the factor. centre, lower, upper: (m, 1).
    """

    before: Tensor
    within: Tensor
    centre: Tensor
    lower: Tensor
    upper: Tensor


@dataclass(frozen=True)
class Shape:
    """What of an atom decides which operations draw it; atoms of one shape differ in numbers only.

    circular: of its coordinates in the order of drawing. references: how many.
    """

    circular: tuple[bool, ...]
    references: int
    style: str

    @property
    def atom(self) -> Atom:
        """An atom of this shape that is placed next to its references, one coordinate a row."""
        return Atom(tuple(range(self.references)), tuple(range(len(self.circular))), self.style)


class Drawn(NamedTuple):
    """One atom more.

    inputs: (live values, b), what it gives the network. whitened: (m, b). values: (coordinates, b) in the
    order of the table. change: (b,), log slope, of the whitening only what differs from row to row.
    position: (3, b), if it has one.
    """

    inputs: Tensor
    whitened: Tensor
    values: Tensor
    change: Tensor
    position: Tensor | None


def through(hidden: Tensor, layers: Sequence[Layer]) -> Tensor:
    """(H, m) through residual layers."""
    hidden = functional.silu(hidden)
    for weight, shift in layers:
        hidden = hidden + functional.silu(torch.addmm(shift, weight, hidden))
    return hidden


def waves(angles: Tensor) -> Tensor:
    """(..., N_WAVES, b) what `angles` (..., b) give the network."""
    multiples = torch.stack([n * angles for n in HARMONICS], dim=-2)
    return torch.stack([multiples.cos(), multiples.sin()], dim=-2).flatten(-3, -2)


def flattened(values: Tensor) -> Tensor:
    """What whitened `values` give the network, of the same shape."""
    return values / torch.sqrt(1 + (values / SOFT) ** 2)


def draw_atom(
    shape: Shape,
    rows: Sequence[Tensor],
    trunk: Sequence[Layer],
    head: Sequence[Layer],
    turns: Sequence[Turn],
    whitening: Whitening,
) -> Drawn:
    """The coordinates of one atom from their latents, and where they put it.

    Parameters
    ----------
    rows: what the rows of the batch bring:
        read: (H, b), what the atom sees;
        latents: (coordinates, b) in the order of the table: bond, angle, torsion; last is first drawn;
        known: (m, b), what former whitened coordinates give to the linear ones;
        scale: (b,) of all whitened ones;
        with positions also axes (3, 3, b), and the positions (3, b) of each reference.
    trunk, head: residual layers, but the first of `head`, which is linear.
    turns: in the order of drawing.
    """
    read, latents, known, scale, *frame = rows
    values, changes, seen = draw_turns(shape.circular, read, latents, trunk, head, turns)
    change = torch.stack(changes).sum(dim=0)
    linear = [value for value, circular in zip(values, shape.circular, strict=True) if not circular][::-1]
    whitened = torch.stack(linear) if linear else latents[:0]
    if linear:
        linked = whitening.centre + (known + whitening.within @ whitened) * scale
        unlinked, slope = unlink(linked, whitening.lower, whitening.upper)
        change, linear = change + slope.sum(dim=0), list(unlinked)
    table = [
        value if circular else linear.pop() for value, circular in zip(values, shape.circular, strict=True)
    ]
    own = torch.stack(table[::-1])
    position = geometry.place(shape.atom, own, frame[1:], frame[0]) if frame else None
    return Drawn(seen, whitened, own, change, position)


def draw_turns(
    circular: Sequence[bool],
    read: Tensor,
    given: Tensor,
    trunk: Sequence[Layer],
    head: Sequence[Layer],
    turns: Sequence[Turn],
    *,
    inverse: bool = True,
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """The first coordinates of one atom, in the order of drawing, linear ones whitened.

    Parameters
    ----------
    circular, turns: of these coordinates. read: (H, b), what the atom sees.
    given: (coordinates, b) in the order of the table, of which the last ones are meant: latents, or where not
        `inverse`, coordinates.

    Returns
    -------
    values and log slopes, (b,) each: coordinates of the latents, or the latents of coordinates; and
    (live values, b), what the coordinates give the network.
    """
    hidden = torch.addmm(head[0][1], head[0][0], through(read, trunk))
    seen = torch.ones_like(read[:1])
    values, changes = [], []
    for slot, (turning, turn) in enumerate(zip(circular, turns, strict=True)):
        found = through(torch.addmm(hidden, turn.own, seen), head[1:])
        parameters = torch.addmm(turn.output_shift, turn.output, found)
        value, change = TRANSFORMS[turning](given[-1 - slot], parameters, inverse=inverse)
        values.append(value)
        changes.append(change)
        shown = (value if inverse else given[-1 - slot]).to(read.dtype)
        seen = torch.cat([seen, waves(shown) if turning else flattened(shown)[None]])
    return values, changes, seen[1:]
