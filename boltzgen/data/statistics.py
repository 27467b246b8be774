"""How many frames are independent: statistical inefficiency of energies and of slow torsions.

Source: Chodera, Swope, Pitera, Seok, Dill, J. Chem. Theory Comput. 3, 26 (2007), as in pymbar.
"""

from __future__ import annotations

import numpy as np

from boltzgen.data.record import Trajectory, spaced_rows
from boltzgen.guards import quiet
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
    """`drift` of the energy, and the largest of the rotatable torsions (cosine, sine), at every temperature.

    Frames of a temperature stand walk after walk. Keys as in `slowest_inefficiencies`.
    """
    torsions = rotatable_torsions(system)
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


def rotatable_torsions(system: MolecularSystem) -> np.ndarray:
    """Atoms ``(torsions, 4)`` of one torsion per rotatable bond between non-terminal atoms.

    A bond counts when it is in no ring and each end has another neighbour that is not hydrogen, so
    methyl rotors (fast, and the same three times) are left out. The lowest-numbered heavy neighbours
    define the angle.
    """
    neighbours: list[list[int]] = [[] for _ in range(system.n_atoms)]
    for first, second in system.bonds:
        neighbours[first].append(int(second))
        neighbours[second].append(int(first))
    found = []
    for b, c in system.bonds:
        ends = [
            sorted(n for n in neighbours[here] if n != there and system.atomic_numbers[n] != 1)
            for here, there in ((b, c), (c, b))
        ]
        if ends[0] and ends[1] and not _in_ring(neighbours, int(b), int(c)):
            found.append((ends[0][0], int(b), int(c), ends[1][0]))
    return np.array(found, dtype=np.int64).reshape(-1, 4)


def dihedral_angles(positions: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """IUPAC dihedral angles ``(frames, torsions)`` in rad, of `atoms` ``(torsions, 4)``."""
    x = np.asarray(positions, dtype=float)[:, np.asarray(atoms, dtype=np.int64)]
    first, middle, last = x[:, :, 1] - x[:, :, 0], x[:, :, 2] - x[:, :, 1], x[:, :, 3] - x[:, :, 2]
    left, right = np.cross(first, middle), np.cross(middle, last)
    sine = np.einsum("fti,fti->ft", np.cross(left, right), middle) / np.linalg.norm(middle, axis=-1)
    return np.arctan2(sine, np.einsum("fti,fti->ft", left, right))


def slowest_inefficiencies(trajectory: Trajectory, system: MolecularSystem) -> dict[str, float]:
    """Statistical inefficiency of the energy and of the slowest torsion, at every temperature.

    Keys as in `Trajectory.statistical_inefficiency`; in units of frames.
    """
    torsions = rotatable_torsions(system)
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


def _in_ring(neighbours: list[list[int]], b: int, c: int) -> bool:
    """Whether `c` can be reached from `b` without the bond between them."""
    seen, stack = {b}, [n for n in neighbours[b] if n != c]
    while stack:
        atom = stack.pop()
        if atom == c:
            return True
        if atom not in seen:
            seen.add(atom)
            stack += neighbours[atom]
    return False
