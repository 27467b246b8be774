"""Size and shape of the whole molecule, one number a conformation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import InputError
from boltzgen.free_energy.observed.observable import Asked, Measure, Molecule

if TYPE_CHECKING:
    import mdtraj


def shape(asked: Asked, molecule: Molecule) -> Measure:
    """`asked.base` of `SHAPES` as MDTraj computes it."""
    asked.require_bare()
    unit, function = SHAPES[asked.base]

    def evaluate(positions: np.ndarray) -> np.ndarray:
        import mdtraj

        frames = mdtraj.Trajectory(np.asarray(positions, dtype=np.float32), molecule.topology)
        return np.asarray(function(frames), dtype=np.float64)[:, None]

    return Measure((asked.base,), unit, evaluate)


def massive_gyration(asked: Asked, molecule: Molecule) -> Measure:
    """``rg-mass``: ``sqrt(sum m (r - c)^2 / sum m)`` about the centre of mass, nm."""
    asked.require_bare()
    if molecule.masses is None:
        raise InputError(f"observable {asked.text!r} needs masses: {molecule.missing}")
    weights = molecule.masses / molecule.masses.sum()

    def evaluate(positions: np.ndarray) -> np.ndarray:
        x = np.asarray(positions, dtype=np.float64)
        apart = x - np.einsum("a,nai->ni", weights, x)[:, None]
        return np.sqrt(np.einsum("a,nai,nai->n", weights, apart, apart))[:, None]

    return Measure((asked.base,), "nm", evaluate)


def _gyration(frames: mdtraj.Trajectory) -> Any:
    import mdtraj

    return mdtraj.compute_rg(frames)


def _surface_area(frames: mdtraj.Trajectory) -> Any:
    import mdtraj

    return mdtraj.shrake_rupley(frames, mode="residue").sum(axis=1)


def _moments(function: str) -> Callable[[mdtraj.Trajectory], Any]:
    def compute(frames: mdtraj.Trajectory) -> Any:
        import mdtraj

        return getattr(mdtraj, function)(frames)

    return compute


#: One number a conformation: unit and function. Radius of gyration with equal masses (MDTraj's default).
SHAPES: dict[str, tuple[str, Callable[[mdtraj.Trajectory], Any]]] = {
    "rg": ("nm", _gyration),
    "sasa": ("nm^2", _surface_area),
    "asphericity": ("nm^2", _moments("asphericity")),
    "acylindricity": ("nm^2", _moments("acylindricity")),
    "shape-anisotropy": ("1", _moments("relative_shape_antisotropy")),
}
