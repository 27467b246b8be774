"""An order of the atoms that relabelling does not change.

Weisfeiler-Lehman refinement over what the force field says of the atoms; what is still tied
(equivalent hydrogens) is told apart by the reference geometry, up to its proper symmetry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from boltzgen.system.graph.adjacency import Neighbours
from boltzgen.system.graph.refinement import by_neighbours, dense, refined

if TYPE_CHECKING:
    from boltzgen.system.molecular_system import MolecularSystem


def atom_invariants(system: MolecularSystem) -> list[tuple]:
    """What is known of each atom without its label: element, mass, charge, nonbonded parameters."""
    import openmm
    from openmm import unit

    rows = [[int(z), round(float(m), 6)] for z, m in zip(system.atomic_numbers, system.masses, strict=True)]
    for force in system.openmm_system().getForces():
        if isinstance(force, openmm.NonbondedForce):
            for i, row in enumerate(rows):
                found = force.getParticleParameters(i)
                row += [round(value.value_in_unit_system(unit.md_unit_system), 9) for value in found]
        elif isinstance(force, openmm.CustomNonbondedForce):
            for i, row in enumerate(rows):
                row += [round(float(value), 9) for value in force.getParticleParameters(i)]
    return [tuple(row) for row in rows]


def refine(colours: list, neighbours: Neighbours) -> list[int]:
    """Classes of atoms, 0, 1, ...: `colours` split by the colours of neighbours until nothing changes."""
    return refined(dense(colours), by_neighbours(neighbours), dense)


def canonical_order(classes: list[int], neighbours: Neighbours, positions: np.ndarray) -> np.ndarray:
    """(N,) int: atoms in canonical order, given refined colour `classes` and (N, 3) `positions` in nm."""
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    return _order(classes, neighbours, positions, distances)[0]


def _order(classes, neighbours, positions, distances) -> tuple[np.ndarray, tuple]:
    """The order, and its rounded coordinates in the frame of its first atoms (to compare choices)."""
    classes = _refine_by_distance(classes, neighbours, distances)
    counts = np.bincount(classes)
    unique = [atom for atom in np.argsort(classes, kind="stable") if counts[classes[atom]] == 1]
    frame = _frame(unique, positions)
    if frame is not None:
        local = np.round((positions - positions[frame[0]]) @ frame[1], 5) + 0.0
        keys = [(classes[i], *local[i]) for i in range(len(classes))]
        order = np.array(sorted(range(len(classes)), key=keys.__getitem__), dtype=int)
        return order, tuple(tuple(local[i]) for i in order)
    tied = next((k for k, count in enumerate(counts) if count > 1), None)
    if tied is None:  # all told apart, but on one line (or fewer than three atoms)
        order = np.array(unique, dtype=int)
        return order, tuple(np.round(distances[order[0], order], 5))
    choices = []
    for chosen in np.flatnonzero(np.asarray(classes) == tied):
        split = [2 * c + (1 if c == tied and i != chosen else 0) for i, c in enumerate(classes)]
        choices.append(_order(dense(split), neighbours, positions, distances))
    return min(choices, key=lambda choice: choice[1])


def _refine_by_distance(classes, neighbours, distances) -> list[int]:
    rounded = np.round(distances, 5) + 0.0
    classes = refine(classes, neighbours)
    return refined(classes, lambda known, atom: list(zip(known, rounded[atom].tolist(), strict=True)), dense)


def _frame(unique: list[int], positions: np.ndarray) -> tuple[int, np.ndarray] | None:
    """Origin atom and axes (columns) from the first three atoms of `unique` that span a plane."""
    if len(unique) < 3:
        return None
    origin = unique[0]
    first = positions[unique[1]] - positions[origin]
    first = first / np.linalg.norm(first)
    for atom in unique[2:]:
        second = positions[atom] - positions[origin]
        second = second - (second @ first) * first
        if np.linalg.norm(second) > 1e-3:
            second = second / np.linalg.norm(second)
            return origin, np.stack([first, second, np.cross(first, second)], axis=1)
    return None
