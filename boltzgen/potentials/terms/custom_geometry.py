"""Distances, angles and dihedral angles, as the expressions of custom forces speak of them.

A vector is its three components, each a tensor; conformations are innermost.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from boltzgen.potentials.fast.fused import SMALLEST_AREA

Vector = tuple[Tensor, Tensor, Tensor]


def difference(a: Vector, b: Vector) -> Vector:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def dot(a: Vector, b: Vector) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def distance(a: Vector, b: Vector) -> Tensor:
    d = difference(a, b)
    return dot(d, d).sqrt()


def angle(a: Vector, apex: Vector, b: Vector) -> Tensor:
    """0 to pi rad; by atan2, which is exact near both ends. Its gradient is 0 for three atoms in a line."""
    one, two = difference(a, apex), difference(b, apex)
    normal = cross(one, two)
    area = dot(normal, normal).clamp_min(SMALLEST_AREA**2).sqrt()
    return torch.atan2(area, dot(one, two))


def dihedral(a: Vector, b: Vector, c: Vector, d: Vector) -> Tensor:
    """-pi to pi rad, IUPAC sign, trans at pi."""
    one, axis, two = difference(b, a), difference(c, b), difference(d, c)
    normal_one, normal_two = cross(one, axis), cross(axis, two)
    sine = dot(axis, axis).sqrt() * dot(one, normal_two)
    return torch.atan2(sine, dot(normal_one, normal_two))


#: Functions of particles, with the number of particles.
OF_PARTICLES: dict[str, tuple[Callable[..., Tensor], int]] = {
    "distance": (distance, 2),
    "angle": (angle, 3),
    "dihedral": (dihedral, 4),
}


def _of_points(function: Callable[..., Tensor], points: int) -> Callable[..., Tensor]:
    return lambda *coordinates: function(*(coordinates[3 * n : 3 * n + 3] for n in range(points)))


#: The same functions of coordinates: ``pointdistance(x1, y1, z1, x2, y2, z2)``.
OF_POINTS = {f"point{name}": _of_points(*entry) for name, entry in OF_PARTICLES.items()}
OF_POINTS_ARITY = {f"point{name}": 3 * points for name, (_, points) in OF_PARTICLES.items()}
