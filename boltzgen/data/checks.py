"""Questions about foreign coordinates, each answered with what is wrong first, or None."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from boltzgen.errors import InputError
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.terms.bond_parameters import harmonic_bonds
from boltzgen.units import thermal_energy

#: No covalent bond is longer, nm.
LONGEST_BOND = 0.3
#: No bond comes near this, nm; that of H2 is 0.074.
SHORTEST_BOND = 0.03
_FRAMES_AT_ONCE = 2**14
#: The median of a bond's length stays this close to the reference, nm; its thermal width is about 0.003.
BOND_TOLERANCE = 0.02
#: A bond that varies by less than this fraction of its thermal width was constrained.
CONSTRAINED_FRACTION = 0.25
#: Grids of common formats, nm: GRO and XTC; XTC at higher precision and PDB.
GRIDS = (1e-2, 1e-3, 1e-4)


def bond_vectors(positions: np.ndarray, bonds: np.ndarray) -> np.ndarray:
    """``(frames, bonds, 3)`` nm, float64, from the first atom of each bond to the second."""
    x = np.asarray(positions, dtype=float)
    return x[:, bonds[:, 1]] - x[:, bonds[:, 0]]


def collapsed_frames(positions: np.ndarray, bonds: np.ndarray) -> np.ndarray:
    """Rows of the frames ``(frames, atoms, 3)`` nm in which two bonded atoms, or all, (nearly) coincide.

    Frames of zeros, which programs write where a record is missing, are of this kind.
    """
    found = []
    for start in range(0, len(positions), _FRAMES_AT_ONCE):
        part = np.asarray(positions[start : start + _FRAMES_AT_ONCE], dtype=np.float32)
        if len(bonds):
            shortest = np.linalg.norm(part[:, bonds[:, 1]] - part[:, bonds[:, 0]], axis=-1).min(axis=1)
        else:
            shortest = np.ptp(part, axis=1).max(axis=-1)
        found.append(start + np.flatnonzero(shortest < SHORTEST_BOND))
    return np.concatenate([np.zeros(0, dtype=np.int64), *found])


def check_spread(path: Path, positions: np.ndarray, system: MolecularSystem) -> None:
    """InputError naming the first of the `collapsed_frames`: a single one can hide the correlation of all."""
    bad = collapsed_frames(positions, system.bonds)
    if len(bad):
        raise InputError(
            f"{path}: {len(bad)} frames, the first of them {bad[0]}, have bonded atoms in one place (all "
            "coordinates zero, say); cut them out."
        )


def misplaced_atoms(
    positions: np.ndarray, cell: np.ndarray | None, system: MolecularSystem
) -> tuple[int, int] | None:
    """A bonded pair whose distance is wrong in most frames, even as nearest periodic images.

    A bond torn in most frames of a file without a cell looks like this when several bonds are torn;
    a single long one is left to `broken_bonds`.
    """
    vectors = bond_vectors(positions, system.bonds)
    if cell is not None:
        edges = np.asarray(cell, dtype=float)[:, None, :]
        vectors = vectors - np.where(edges > 0, edges, 1.0) * np.where(
            edges > 0, np.round(vectors / np.where(edges > 0, edges, 1.0)), 0.0
        )
    lengths = np.median(np.linalg.norm(vectors, axis=-1), axis=0)
    reference = np.linalg.norm(bond_vectors(system.reference_positions[None], system.bonds)[0], axis=-1)
    wrong = np.flatnonzero(np.abs(lengths - reference) > BOND_TOLERANCE)
    short_enough = wrong[lengths[wrong] <= LONGEST_BOND]
    if not len(wrong) or (len(wrong) == 1 and not len(short_enough)):
        return None
    first, second = system.bonds[wrong[0]]
    return int(first), int(second)


def broken_bonds(positions: np.ndarray, system: MolecularSystem) -> tuple[int, tuple[int, int], float] | None:
    """Frame, atoms and length of the first bond longer than `LONGEST_BOND`."""
    lengths = np.linalg.norm(bond_vectors(positions, system.bonds), axis=-1)
    found = np.argwhere(lengths > LONGEST_BOND)
    if not len(found):
        return None
    frame, bond = found[0]
    first, second = system.bonds[bond]
    return int(frame), (int(first), int(second)), float(lengths[frame, bond])


def wrong_hands(positions: np.ndarray, system: MolecularSystem) -> tuple[int, int, bool] | None:
    """Atom, number of frames and whether it is a stereocentre, of the worst centre of the wrong hand.

    The hand of a centre is the sign of the volume spanned by three of its bonds; stereocentres are
    named before centres where only equivalent neighbours (labelled hydrogens) are interchanged.
    """
    graph = MolecularGraph.from_system(system)
    x = np.asarray(positions, dtype=float)
    counts: dict[int, int] = {}
    for hand in graph.hands:
        a, b, c = (x[:, n] - x[:, hand.centre] for n in hand.neighbours)
        volume = np.einsum("fi,fi->f", np.cross(a, b), c)
        counts[hand.centre] = max(counts.get(hand.centre, 0), int((volume * hand.sign < 0).sum()))
    wrong = [centre for centre, count in counts.items() if count]
    if not wrong:
        return None
    worst = max(wrong, key=lambda centre: (centre in graph.stereocentres, counts[centre]))
    return worst, counts[worst], worst in graph.stereocentres


def constrained_bonds(positions: np.ndarray, system: MolecularSystem, temperature: float) -> np.ndarray:
    """Bonds ``(n, 2)`` whose length hardly varies, compared with the force field's thermal width.

    The width of a bond without a harmonic term is taken as 0.003 nm.
    """
    terms = harmonic_bonds(system)
    kt = thermal_energy(temperature)
    stiffness = [terms.get((int(i), int(j)), (0.0, kt / 0.003**2))[1] for i, j in system.bonds]
    width = np.sqrt(kt / np.array(stiffness))
    spread = np.linalg.norm(bond_vectors(positions, system.bonds), axis=-1).std(axis=0)
    return system.bonds[spread < CONSTRAINED_FRACTION * width]


def rounding_grid(positions: np.ndarray) -> float | None:
    """The coarsest grid of `GRIDS` (nm) on which all coordinates lie, or None."""
    x = np.asarray(positions[:50], dtype=float)
    precision = np.finfo(np.float32).eps * max(float(np.abs(x).max()), 1e-3)
    for grid in GRIDS:
        off = np.abs(x / grid - np.round(x / grid)) * grid
        if off.max() <= 2.0 * precision and precision < 0.05 * grid:
            return grid
    return None
