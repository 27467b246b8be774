"""How many frames are independent: statistical inefficiency of energies, slow torsions and the size.

Source: Chodera, Swope, Pitera, Seok, Dill, J. Chem. Theory Comput. 3, 26 (2007), as in pymbar.
"""

from __future__ import annotations

import warnings

import numpy as np

from boltzgen.data.checks import collapsed_frames
from boltzgen.data.record import Trajectory, spaced_rows
from boltzgen.guards import quiet
from boltzgen.system.graph.geometry import dihedral_angles
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.graph.torsions import SLOW
from boltzgen.system.molecular_system import MolecularSystem


def statistical_inefficiency(series: np.ndarray) -> float:
    """Frames per independent frame of `series` ``(frames,)``; at least 1.

    A series that does not vary, or is shorter than 10 frames, has 1.0 and len(series) respectively:
    nothing can be learned from it, and the second is the cautious answer. Values that are not finite are left
    out.
    """
    series = np.asarray(series, dtype=float)
    series = series[np.isfinite(series)]
    if len(series) < 10:
        return float(max(len(series), 1))
    if np.ptp(series) < 1e-12 * max(abs(series).max(), 1.0):
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

    Those between heavy atoms, of amides and rings too; methyl-like rotors (fast, thrice the same) not.
    """
    found = [torsion.atoms for torsion in MolecularGraph.from_system(system).torsions(SLOW)]
    return np.array(found, dtype=np.int64).reshape(-1, 4)


def slowest_inefficiencies(trajectory: Trajectory, system: MolecularSystem) -> dict[str, float]:
    """Statistical inefficiency of the energy, the slowest torsion and the size, at every temperature.

    Keys as in `Trajectory.statistical_inefficiency`; in units of frames. Torsions are the `slow_torsions`,
    where there are none all of the molecule. Size is the radius of gyration of all atoms. Energies that are
    not known are left out: who can compute them gives them (`boltzgen.trust.independence`).

    Frames with atoms that are not finite or in one place are left out, with a warning that names the first:
    one of them outweighs all correlation. Where nothing varies, all frames are one.
    """
    torsions = slow_torsions(system)
    if not len(torsions):
        every = [torsion.atoms for torsion in MolecularGraph.from_system(system).torsions()]
        torsions = np.array(every, dtype=np.int64).reshape(-1, 4)
    result = {}
    for temperature in trajectory.temperature_ladder:
        frames = _sound(trajectory.at(float(temperature)), system, float(temperature))
        angles = dihedral_angles(frames.positions, torsions)
        known = frames.energies[np.isfinite(frames.energies)]
        measured = {
            "energy": [_without_outliers(known)] if len(known) else [],
            "torsions": [*np.cos(angles).T, *np.sin(angles).T],
            "size": [_size(frames.positions)],
        }
        for name, several in measured.items():
            if several:
                found = max(statistical_inefficiency(series) for series in several)
                result[f"{name}@{temperature:g}K"] = found
        if len(frames) and (frames.positions == frames.positions[0]).all():
            result[f"size@{temperature:g}K"] = float(len(frames))
    return result


def _sound(frames: Trajectory, system: MolecularSystem, temperature: float) -> Trajectory:
    bad = ~np.isfinite(frames.positions).all(axis=(1, 2))
    bad[collapsed_frames(np.where(np.isfinite(frames.positions), frames.positions, 0.0), system.bonds)] = True
    if bad.any():
        warnings.warn(
            f"{int(bad.sum())} frames at {temperature:g} K, the first of them {int(np.argmax(bad))}, have "
            "atoms that are not finite or in one place; their correlation is measured without them.",
            stacklevel=3,
        )
    return frames[~bad]


def _without_outliers(energies: np.ndarray) -> np.ndarray:
    """`energies` cut at 30 deviations from the median, none of them thermal: one clash hides correlation."""
    middle = np.median(energies)
    width = 30 * 1.4826 * np.median(np.abs(energies - middle))
    return np.clip(energies, middle - width, middle + width) if width > 0 else energies


def _size(positions: np.ndarray) -> np.ndarray:
    """Radius of gyration ``(frames,)`` of positions ``(frames, atoms, 3)``, same unit, all atoms alike."""
    x = np.asarray(positions, dtype=float)
    x = x - x.mean(axis=1, keepdims=True)
    return np.asarray(np.sqrt((x**2).sum(axis=2).mean(axis=1)))


def decorrelated_rows(series: np.ndarray) -> np.ndarray:
    """Indices of independent frames of `series` ``(frames,)`` or ``(quantities, frames)``, g apart."""
    rows = np.atleast_2d(series)
    g = max(statistical_inefficiency(s) for s in rows)
    return spaced_rows(rows.shape[1], g)
