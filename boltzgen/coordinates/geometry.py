"""Batched vector geometry on tensors of shape (3, atoms, batch): components first, batch contiguous."""

from __future__ import annotations

import torch
from torch import Tensor


def cross(u: Tensor, v: Tensor) -> Tensor:
    """Cross product along the first axis."""
    (ux, uy, uz), (vx, vy, vz) = u.unbind(0), v.unbind(0)
    return torch.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx])


def dot(u: Tensor, v: Tensor) -> Tensor:
    """Scalar product along the first axis."""
    return (u * v).sum(0)


def norm(u: Tensor) -> Tensor:
    """Euclidean length along the first axis."""
    return dot(u, u).sqrt()


def dihedral(a: Tensor, c: Tensor, p: Tensor, g: Tensor) -> Tensor:
    """Torsion a-c-p-g in rad, (-pi, pi], IUPAC sign. (3, k, batch) each -> (k, batch)."""
    b1, b2, b3 = c - a, p - c, g - p
    n1, n2 = cross(b1, b2), cross(b2, b3)
    return torch.atan2(norm(b2) * dot(b1, n2), dot(n1, n2))


def axes(c: Tensor, p: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Orthonormal axes at c: e1 along p -> c, e2 towards g, e3 completing them.

    A vector ``cos(pi - theta) e1 + sin(theta) (cos(phi) e2 + sin(phi) e3)`` from c makes the
    angle theta with c-p and the torsion phi with c-p-g.
    """
    e1 = c - p
    e1 = e1 / norm(e1)
    e3 = cross(e1, g - p)
    e3 = e3 / norm(e3)
    return e1, cross(e3, e1), e3
