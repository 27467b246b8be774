"""Observables that MDTraj computes from positions, by name; one row a sample.

A torsion has no arithmetic mean, so a torsion `phi` is observed as ``cos(phi)`` and ``sin(phi)``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import InputError
from boltzgen.free_energy.variables import Variable, ready_variable
from boltzgen.system.torsion_names import READY_NAMES

if TYPE_CHECKING:
    import mdtraj

#: Samples that MDTraj gets at once.
_AT_ONCE = 10_000


@dataclass(frozen=True)
class Observable:
    """A column of numbers: its name, its unit (``1`` for none) and the values (n,), NaN where not defined."""

    name: str
    unit: str
    values: np.ndarray


def observables(
    names: tuple[str, ...],
    positions: np.ndarray,
    topology: mdtraj.Topology | None,
    declared: Mapping[str, Variable],
) -> list[Observable]:
    """The observables `names` of `positions` (n, N, 3) nm, or (n, d) of a model system (topology None).

    A name is one of `SHAPES` and `COUPLINGS`, a ready torsion (``phi``, ``psi:3``), ``x0`` ... in a model
    system, or a coordinate of `declared`. InputError with the nearest known name for any other.
    """
    found = []
    for name in names:
        if topology is not None and name not in declared and name in {**SHAPES, **COUPLINGS}:
            found += _of_mdtraj(name, positions, topology)
        else:
            found += _of_variable(_variable(name, topology, positions.shape[1], declared), positions)
    return found


def _of_variable(variable: Variable, positions: np.ndarray) -> list[Observable]:
    values = variable.evaluate(positions)
    if not variable.periodic:
        return [Observable(variable.name, variable.unit or "1", values)]
    angle = np.radians(values)
    return [
        Observable(f"cos({variable.name})", "1", np.cos(angle)),
        Observable(f"sin({variable.name})", "1", np.sin(angle)),
    ]


def _variable(
    name: str, topology: mdtraj.Topology | None, dimension: int, declared: Mapping[str, Variable]
) -> Variable:
    if name in declared:
        return declared[name]
    if topology is not None and name.partition(":")[0] not in (*READY_NAMES, "chi"):
        known = [*SHAPES, *COUPLINGS, *READY_NAMES, *declared]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise InputError(f"unknown observable {name!r}{hint}; known are {', '.join(known)}.")
    return ready_variable(name, topology, dimension)


def _of_mdtraj(name: str, positions: np.ndarray, topology: mdtraj.Topology) -> list[Observable]:
    import mdtraj

    finite = np.isfinite(positions.reshape(len(positions), -1)).all(axis=1)
    rows = np.flatnonzero(finite)
    parts, labels, unit = [], [name], "1"
    for start in range(0, max(len(rows), 1), _AT_ONCE):
        chosen = np.asarray(positions[rows[start : start + _AT_ONCE]], dtype=np.float32)
        frames = mdtraj.Trajectory(chosen, topology)
        if name in SHAPES:
            unit, function = SHAPES[name]
            parts.append(np.asarray(function(frames), dtype=np.float64)[:, None])
        else:
            unit, atoms, values = COUPLINGS[name](frames)
            labels = [f"{name}:{topology.atom(int(row[1])).residue.resSeq}" for row in atoms]
            parts.append(np.asarray(values, dtype=np.float64))
    computed = np.concatenate(parts)
    if computed.shape[1] == 0:
        raise InputError(f"the molecule has no {name}.")
    whole = np.full((len(positions), computed.shape[1]), np.nan)
    whole[rows] = computed
    return [Observable(label, unit, column) for label, column in zip(labels, whole.T, strict=True)]


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


def _coupling(function: str) -> Callable[[mdtraj.Trajectory], tuple[str, Any, Any]]:
    def compute(frames: mdtraj.Trajectory) -> tuple[str, Any, Any]:
        import mdtraj

        atoms, values = getattr(mdtraj, function)(frames)
        return "Hz", atoms, values

    return compute


#: One number a conformation: unit and function. Radius of gyration with equal masses (MDTraj's default).
SHAPES: dict[str, tuple[str, Callable[[mdtraj.Trajectory], Any]]] = {
    "rg": ("nm", _gyration),
    "sasa": ("nm^2", _surface_area),
    "asphericity": ("nm^2", _moments("asphericity")),
    "acylindricity": ("nm^2", _moments("acylindricity")),
    "shape-anisotropy": ("1", _moments("relative_shape_antisotropy")),
}

#: One number a residue: Karplus relations with MDTraj's default parameters.
COUPLINGS: dict[str, Callable[[mdtraj.Trajectory], tuple[str, Any, Any]]] = {
    "J3-HN-HA": _coupling("compute_J3_HN_HA"),
    "J3-HN-C": _coupling("compute_J3_HN_C"),
    "J3-HN-CB": _coupling("compute_J3_HN_CB"),
}
