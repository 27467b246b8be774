"""Heavier hydrogens: the distribution of conformations does not know masses, the fastest vibrations do."""

from __future__ import annotations

import numpy as np


def with_heavy_hydrogens(
    masses: np.ndarray, atomic_numbers: np.ndarray, bonds: np.ndarray, hydrogen_mass: float
) -> np.ndarray:
    """`masses` (N,) dalton with `hydrogen_mass` for hydrogens, taken from their neighbours.

    The molecule weighs as much as before. A neighbour that would get lighter than that gives nothing.
    Source: Hopkins, Le Grand, Walker, Roitberg, J. Chem. Theory Comput. 11, 1864 (2015).
    """
    changed = np.array(masses, dtype=float)
    for pair in bonds:
        for hydrogen, other in (pair, pair[::-1]):
            if atomic_numbers[hydrogen] == 1 and atomic_numbers[other] > 1:
                moved = hydrogen_mass - changed[hydrogen]
                if moved > 0 and changed[other] - moved >= hydrogen_mass:
                    changed[hydrogen] += moved
                    changed[other] -= moved
    return changed
