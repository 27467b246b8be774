"""Second derivatives of an energy at a minimum, and whether it is one at all.

A conformation that begins near the top of a barrier can end there: along the barrier the gradient is nearly
zero. Its curvature is negative, and a push along that direction lets it fall.
"""

from __future__ import annotations

import numpy as np
import torch

from boltzgen.potentials.base import Potential
from boltzgen.wells.minimisation import minima, value_and_gradient

#: Displacement of the finite differences, nm.
_STEP = 1e-4
#: Curvature (kJ/mol/nm^2) below which a stationary point is a saddle; noise of the differences is smaller.
_SADDLE = -5.0
#: nm that the atom which moves most is pushed off a saddle, and pushes at most.
_PUSH, _MOST_PUSHES = 0.01, 4


def hessian_of(positions: np.ndarray, potential: Potential) -> np.ndarray:
    """(3N, 3N) kJ/mol/nm^2 at `positions` (N, 3) nm, symmetric, by central differences of gradients."""
    size = positions.size
    steps = _STEP * np.eye(size).reshape(size, *positions.shape)
    moved = torch.as_tensor(np.concatenate([positions + steps, positions - steps]))
    gradient = value_and_gradient(potential, moved)[1].numpy().reshape(2, size, size)
    half = (gradient[0] - gradient[1]) / (2 * _STEP)
    return np.asarray(0.5 * (half + half.T))


def off_saddles(positions: np.ndarray, energy: float, potential: Potential) -> tuple[np.ndarray, float]:
    """The minimum (N, 3) nm and its energy (kJ/mol) below a stationary point; itself where it is one.

    Of a saddle that lies between two minima, the one that the first push leads to.
    """
    for _ in range(_MOST_PUSHES):
        hessian = hessian_of(positions, potential)
        if not np.isfinite(hessian).all():
            break
        curvatures, modes = np.linalg.eigh(hessian)
        if curvatures[0] > _SADDLE:
            break
        mode = modes[:, 0].reshape(positions.shape)
        pushed = positions + _PUSH * mode / np.abs(mode).max()
        found, energies, done = minima(potential, torch.as_tensor(pushed[None]))
        if not bool(done[0]) or not float(energies[0]) < energy:
            break
        positions, energy = found[0].numpy(), float(energies[0])
    return positions, energy
