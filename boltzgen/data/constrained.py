"""Giving constrained bonds their thermal lengths back."""

from __future__ import annotations

import numpy as np

from boltzgen.errors import InputError
from boltzgen.system.graph.adjacency import adjacency, smaller_side
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.terms.bond_parameters import harmonic_bonds
from boltzgen.units import thermal_energy


def thermal_bond_lengths(
    length: float, constant: float, temperatures: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draws ``(frames,)`` nm from ``p(b) ~ b^2 exp(-constant (b - length)^2 / 2kT)``, b > 0.

    The ``b^2`` is the Cartesian measure. Exact, by rejection from a normal density cut at six widths.
    """
    width = np.sqrt(thermal_energy(temperatures) / constant)
    drawn = np.empty(len(temperatures))
    open_rows = np.arange(len(temperatures))
    while len(open_rows):
        noise = rng.normal(size=len(open_rows))
        trial = length + width[open_rows] * noise
        bound = length + 6.0 * width[open_rows]
        keep = (np.abs(noise) < 6.0) & (trial > 0) & (rng.random(len(open_rows)) * bound**2 < trial**2)
        drawn[open_rows[keep]] = trial[keep]
        open_rows = open_rows[~keep]
    return drawn


def resampled_bonds(
    positions: np.ndarray,
    bonds: np.ndarray,
    system: MolecularSystem,
    temperatures: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """`positions` ``(frames, atoms, 3)`` with the length of each of `bonds` drawn anew.

    The smaller side of the molecule moves rigidly along the bond, so angles and torsions stay.
    Raises InputError for a bond in a ring or without a harmonic term.
    """
    terms = harmonic_bonds(system)
    neighbours = adjacency(system.n_atoms, system.bonds)
    result = np.array(positions, dtype=float)
    for first, second in bonds:
        pair = (int(first), int(second))
        names = f"{system.atom_names[pair[0]]} - {system.atom_names[pair[1]]}"
        if pair not in terms:
            raise InputError(f"The bond {names} has no harmonic term to draw from; run unconstrained.")
        side = smaller_side(neighbours, *pair)
        if side is None:
            raise InputError(f"The bond {names} is in a ring and cannot be resampled; run unconstrained.")
        fixed, moving = pair if pair[1] in side else pair[::-1]
        vector = result[:, moving] - result[:, fixed]
        old = np.linalg.norm(vector, axis=1)
        new = thermal_bond_lengths(*terms[pair], temperatures, rng)
        result[:, sorted(side)] += (vector * ((new - old) / old)[:, None])[:, None, :]
    return result.astype(np.float32)
