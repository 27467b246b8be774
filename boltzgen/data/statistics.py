"""How many frames are independent: statistical inefficiency of energies and of slow torsions.

Source: Chodera, Swope, Pitera, Seok, Dill, J. Chem. Theory Comput. 3, 26 (2007), as in pymbar.
"""

from __future__ import annotations

import numpy as np

from boltzgen.data.record import Trajectory, spaced_rows
from boltzgen.guards import quiet
from boltzgen.system.graph.geometry import dihedral_angles
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.graph.torsions import SLOW
from boltzgen.system.molecular_system import MolecularSystem


def statistical_inefficiency(series: np.ndarray) -> float:
    """Frames per independent frame of `series` ``(frames,)``; at least 1.

    A series that does not vary, or is shorter than 10 frames, has 1.0 and len(series) respectively:
    nothing can be learned from it, and the second is the cautious answer.
    """
    series = np.asarray(series, dtype=float)
    if len(series) < 10:
        return float(max(len(series), 1))
    if not np.isfinite(series).all() or np.ptp(series) < 1e-12 * max(abs(series).max(), 1.0):
        return 1.0
    with quiet("pymbar"):  # a banner on import
        from pymbar import timeseries

    return float(max(timeseries.statistical_inefficiency(series), 1.0))


def drift(series: np.ndarray) -> float:
    """How far the mean of the second half of independent walks is from that of the first, in standard errors.

    `series` (walks, frames). The error is the scatter among walks, so frames of a walk may be correlated.
    0 with fewer than 8 walks or 2 frames: nothing can be told.
    """
    walks, frames = series.shape
    if walks < 8 or frames < 2:
        return 0.0
    half = frames // 2
    change = series[:, -half:].mean(axis=1) - series[:, :half].mean(axis=1)
    error = change.std(ddof=1) / np.sqrt(walks)
    return float(change.mean() / error) if error > 0 else 0.0


def drifts(trajectory: Trajectory, system: MolecularSystem, walks: int) -> dict[str, float]:
    """`drift` of the energy, and the largest of the slow torsions (cosine, sine), at every temperature.

    Frames of a temperature stand walk after walk. Keys as in `slowest_inefficiencies`.
    """
    torsions = slow_torsions(system)
    result = {}
    for temperature in trajectory.temperature_ladder:
        frames = trajectory.at(float(temperature))
        result[f"energy@{temperature:g}K"] = drift(frames.energies.reshape(walks, -1))
        if len(torsions):
            angles = dihedral_angles(frames.positions, torsions)
            series = np.concatenate([np.cos(angles), np.sin(angles)], axis=1).T
            found = [drift(values.reshape(walks, -1)) for values in series]
            result[f"torsions@{temperature:g}K"] = max(found, key=abs)
    return result


def slow_torsions(system: MolecularSystem) -> np.ndarray:
    """Atoms ``(torsions, 4)`` of each torsion that may be slow: `SLOW` of `boltzgen.system.graph.torsions`.

    Those between heavy atoms, amides too; methyl-like rotors (fast, and the same three times) and rings not.
    """
    found = [torsion.atoms for torsion in MolecularGraph.from_system(system).torsions(SLOW)]
    return np.array(found, dtype=np.int64).reshape(-1, 4)


def slowest_inefficiencies(trajectory: Trajectory, system: MolecularSystem) -> dict[str, float]:
    """Statistical inefficiency of the energy and of the slowest torsion, at every temperature.

    Keys as in `Trajectory.statistical_inefficiency`; in units of frames.
    """
    torsions = slow_torsions(system)
    result = {}
    for temperature in trajectory.temperature_ladder:
        frames = trajectory.at(float(temperature))
        if np.isfinite(frames.energies).all():
            result[f"energy@{temperature:g}K"] = statistical_inefficiency(frames.energies)
        if len(torsions):
            angles = dihedral_angles(frames.positions, torsions)
            series = np.concatenate([np.cos(angles), np.sin(angles)], axis=1).T
            result[f"torsions@{temperature:g}K"] = max(statistical_inefficiency(s) for s in series)
    return result


def decorrelated_rows(series: np.ndarray) -> np.ndarray:
    """Indices of independent frames of `series` ``(frames,)`` or ``(quantities, frames)``, g apart."""
    rows = np.atleast_2d(series)
    g = max(statistical_inefficiency(s) for s in rows)
    return spaced_rows(rows.shape[1], g)
