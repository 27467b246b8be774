"""Angles and dihedral angles of conformations in NumPy.

Torch has its own in `boltzgen.coordinates.geometry`: there components come first and the batch is contiguous,
as a flow needs them, and gradients pass. Those of `boltzgen.potentials` come with derivatives written out.
"""

from __future__ import annotations

import numpy as np


def angles(positions: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Angles (..., A) in rad, [0, pi], at the middle one of each three of `atoms` (A, 3).

    `positions` (..., N, 3) in any unit. By arctan2, which keeps its digits where an angle is straight.
    """
    x = np.asarray(positions, dtype=float)[..., np.asarray(atoms, dtype=np.int64).reshape(-1, 3), :]
    u, v = x[..., 0, :] - x[..., 1, :], x[..., 2, :] - x[..., 1, :]
    return np.arctan2(np.linalg.norm(np.cross(u, v), axis=-1), np.einsum("...i,...i->...", u, v))


def angle(positions: np.ndarray, a: int, c: int, p: int) -> float:
    """The angle a-c-p in rad of one conformation (N, 3)."""
    return float(angles(positions, np.array([[a, c, p]]))[0])


def dihedral_angles(positions: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Dihedral angles (..., T) in rad, [-pi, pi], of each four of `atoms` (T, 4); 0 where none is defined.

    `positions` (..., N, 3) in any unit. The sign is IUPAC's: positive when, seen along the middle bond, the
    far bond is turned clockwise from the near one.
    """
    x = np.asarray(positions, dtype=float)[..., np.asarray(atoms, dtype=np.int64).reshape(-1, 4), :]
    first, middle, last = (x[..., k + 1, :] - x[..., k, :] for k in range(3))
    left, right = np.cross(first, middle), np.cross(middle, last)
    length = np.maximum(np.linalg.norm(middle, axis=-1), np.finfo(float).tiny)
    sine = np.einsum("...i,...i->...", np.cross(left, right), middle) / length
    return np.arctan2(sine, np.einsum("...i,...i->...", left, right))


def dihedral_angle(positions: np.ndarray, a: int, c: int, p: int, g: int) -> float:
    """The dihedral angle a-c-p-g in rad of one conformation (N, 3)."""
    return float(dihedral_angles(positions, np.array([[a, c, p, g]]))[0])
