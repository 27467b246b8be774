"""Atoms put one after another, and the placed ones seen from the axes of the atom that comes next.

Tensors have components first and the rows of the batch last, as in `boltzgen.coordinates.geometry`. What is
computed here only informs the network: any function of the placed atoms leaves the density exact. So rings
that cannot close and degenerate axes need no care but to stay finite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from boltzgen.conditioning.context import PLACEMENT_STYLES, MoleculeFeatures
from boltzgen.coordinates.geometry import cross, dot

#: Centres and widths (nm) of the Gaussians of a distance: bonds, angles, torsions and contacts, beyond.
CENTRES = (0.14, 0.25, 0.36, 0.52)
WIDTHS = (0.05, 0.06, 0.08, 0.14)

#: Distance (nm) at which the one slowly falling function of it has fallen by half.
FAR = 0.6

#: Squared lengths (nm^2) below this one count as zero where a direction is needed.
TINY = 1e-8


@dataclass(frozen=True)
class Atom:
    """One atom in order of placement, or one coordinate of a model system.

    Attributes
    ----------
    references: where c, p, g stand in the order; shorter for the first three atoms.
    rows: its coordinates in the order of the table: length first, turn last.
    style: one of `PLACEMENT_STYLES`.
    """

    references: tuple[int, ...]
    rows: tuple[int, ...]
    style: str


def atoms_of(molecule: MoleculeFeatures) -> tuple[Atom, ...]:
    """The atoms of `molecule` in order of placement; without a tree, one "atom" a coordinate."""
    if not len(molecule.placements):
        return tuple(Atom((), (row,), "") for row in range(molecule.dimension))
    return tuple(
        Atom(
            tuple(place for place in row[:3] if place >= 0),
            tuple(column for column in row[3:6] if column >= 0),
            PLACEMENT_STYLES[row[6]],
        )
        for row in molecule.placements.tolist()
    )


def axes_of(atom: Atom, positions: Sequence[Tensor]) -> Tensor:
    """Axes (3 axes, 3 components, b) in which `atom` is placed: from p to c, towards g, and across.

    positions: (3, b) each, of its references at least, where it names them. The first three atoms lack
    references; theirs are the axes of the standard frame.
    """
    fixed = torch.eye(3, dtype=positions[0].dtype, device=positions[0].device)
    fixed = fixed[:, :, None].expand(3, 3, positions[0].shape[1])
    if len(atom.references) < 2:
        return fixed
    first = _unit(positions[atom.references[0]] - positions[atom.references[1]])
    if len(atom.references) < 3:
        return torch.stack([first, fixed[1], cross(first, fixed[1])])
    third = _unit(cross(first, positions[atom.references[2]] - positions[atom.references[1]]))
    return torch.stack([first, cross(third, first), third])


def place(atom: Atom, values: Tensor, positions: Sequence[Tensor], axes: Tensor) -> Tensor:
    """Position (3, b) of `atom`; values: (coordinates of the atom, b) in the order of its rows."""
    origin = positions[atom.references[0]]
    zero = torch.zeros_like(values[0])
    if len(values) == 1:
        local = torch.stack([values[0], zero, zero])
    elif len(values) == 2:
        local = values[0] * torch.stack([-values[1].cos(), values[1].sin(), zero])
    elif atom.style == "bend":
        square = 0.25 * (values[1] ** 2 + values[2] ** 2)
        local = torch.stack([1 - square, values[1], values[2]]) * (values[0] / (1 + square))
    else:
        along, radius = _along_and_radius(atom, values, origin, positions)
        local = torch.stack([along, radius * values[2].cos(), radius * values[2].sin()])
    return origin + (local[:, None] * axes).sum(0)


def place_all(atoms: tuple[Atom, ...], values: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Positions (3, b) and axes (3, 3, b) of every atom; values: (d, b)."""
    positions = [torch.zeros_like(values[:1]).expand(3, -1)]
    frames = [axes_of(atoms[0], positions)]
    for atom in atoms[1:]:
        frames.append(axes_of(atom, positions))
        positions.append(place(atom, values[list(atom.rows)], positions, frames[-1]))
    return positions, frames


def n_basis(degree: int) -> int:
    """How many numbers `basis` gives for each atom: every function of the distance times every harmonic."""
    return (len(CENTRES) + 1) * (degree + 1) ** 2


def look(
    atom: Atom, placed: Tensor, anchors: Sequence[Tensor], degree: int, precision: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Axes (3, 3, b) of the next `atom`, and what it sees in them of those that are `placed` (k, 3, b).

    anchors: the positions (3, b) of its references, which `atom` names by their place here.
    """
    axes = axes_of(atom, anchors)
    return axes, view(placed, anchors[0], axes, degree, precision)


def view(placed: Tensor, origin: Tensor, axes: Tensor, degree: int, precision: torch.dtype) -> Tensor:
    """What the network sees (n_basis, k, b) of k atoms: each harmonic times each radial function.

    placed: (k, 3, b). origin: (3, b). axes: (3 axes, 3 components, b). degree: of the spherical harmonics.
    precision: of the result.
    """
    apart, axes = (placed - origin).to(precision).transpose(0, 1), axes[:, :, None].to(precision)
    local = axes[:, 0] * apart[0] + axes[:, 1] * apart[1] + axes[:, 2] * apart[2]
    square = dot(local, local) + TINY
    distance = torch.sqrt(square)
    near = [
        torch.exp(-0.5 * ((distance - centre) / width) ** 2)
        for centre, width in zip(CENTRES, WIDTHS, strict=True)
    ]
    radial = torch.stack([*near, 1 / (1 + square / FAR**2)])
    directions = torch.stack(harmonics(local / distance, degree))
    return (directions[:, None] * radial).flatten(0, 1)


def harmonics(direction: Tensor, degree: int) -> list[Tensor]:
    """Real spherical harmonics up to `degree` (1 or 2) of unit vectors (3, ...), Racah's normalisation.

    The squares of those of one degree add up to one.
    """
    x, y, z = direction
    found = [torch.ones_like(x), x, y, z]
    if degree > 1:
        root = math.sqrt(3)
        found += [root * x * y, root * y * z, root * x * z]
        found += [1.5 * x**2 - 0.5, 0.5 * root * (y**2 - z**2)]
    return found


def _along_and_radius(
    atom: Atom, values: Tensor, origin: Tensor, positions: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Where an atom lies along the first axis and how far from it, both (b,)."""
    if atom.style != "closure":
        return -values[0] * values[1].cos(), values[0] * values[1].sin()
    apart = origin - positions[atom.references[1]]
    length = torch.sqrt(dot(apart, apart) + TINY)
    along = (values[1] ** 2 - values[0] ** 2 - length**2) / (2 * length)
    return along, torch.sqrt((values[0] ** 2 - along**2).clamp_min(TINY))


def _unit(vector: Tensor) -> Tensor:
    return vector / torch.sqrt(dot(vector, vector) + TINY)
