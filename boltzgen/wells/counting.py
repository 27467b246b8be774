"""What counting minimised conformers gives: populations by energies alone, and by rotor and oscillators.

Classical, as the samples are, so that nothing but the counting differs (momenta are the same in all wells):

    energies alone     p_i ~ g_i / s_i  exp(-E_i / kT)
    rigid rotor, harmonic oscillator     p_i ~ g_i / s_i  sqrt(I_a I_b I_c)  prod_k 1 / w_k  exp(-E_i / kT)

with the degeneracy g of mirror images, the symmetry number s, moments of inertia I and frequencies w of the
minimum (McQuarrie, Statistical Mechanics (1976), chapter 8). Methyl rotors count as oscillators there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boltzgen.potentials.base import Potential
from boltzgen.units import thermal_energy
from boltzgen.wells.curvature import hessian_of
from boltzgen.wells.gathering import Well

#: Share of the largest moment of inertia below which a molecule is linear.
_LINEAR = 1e-6
#: Share of the largest curvature below which a vibration is none: the minimum is flat, and has no frequency.
_FLAT = 1e-9


def by_energies(wells: Sequence[Well], temperature: float) -> np.ndarray:
    """Populations (wells,) of energies alone at `temperature` (K)."""
    return _shares([_log_count(well, temperature) for well in wells])


def by_oscillators(
    wells: Sequence[Well], potential: Potential, masses: np.ndarray, temperature: float
) -> np.ndarray | None:
    """Populations (wells,) of rigid rotors and harmonic oscillators; None where a well has no frequencies.

    masses: (N,) dalton. Costs six gradients an atom and well.
    """
    logs = []
    for well in wells:
        own = log_oscillators(well.positions, potential, masses)
        if own is None:
            return None
        logs.append(_log_count(well, temperature) + own)
    return _shares(logs)


def log_oscillators(positions: np.ndarray, potential: Potential, masses: np.ndarray) -> float | None:
    """``ln(sqrt(I_a I_b I_c) prod 1 / w)`` at a minimum (N, 3) nm, but for what all minima share; or None."""
    hessian = hessian_of(positions, potential)
    root = np.repeat(np.sqrt(masses), 3)
    curvatures = np.sort(np.linalg.eigvalsh(hessian / root[:, None] / root[None]))
    moments = _moments(positions, masses)
    rotations = 3 if moments[0] > _LINEAR * moments[2] else 2
    vibrations = np.sort(np.abs(curvatures))[3 + rotations :]
    if len(vibrations) == 0 or vibrations[0] < _FLAT * vibrations[-1] or curvatures[0] < -vibrations[0]:
        return None
    return float(0.5 * np.log(moments[3 - rotations :]).sum() - 0.5 * np.log(vibrations).sum())


def _log_count(well: Well, temperature: float) -> float:
    return float(np.log(well.degeneracy / well.symmetry_number) - well.energy / thermal_energy(temperature))


def _shares(logs: Sequence[float]) -> np.ndarray:
    counts = np.exp(np.array(logs) - max(logs))
    return np.asarray(counts / counts.sum())


def _moments(positions: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """The three moments of inertia, rising, dalton nm^2."""
    x = positions - masses @ positions / masses.sum()
    square = np.einsum("n,ni,nj->ij", masses, x, x)
    return np.asarray(np.linalg.eigvalsh(np.trace(square) * np.eye(3) - square).clip(min=0.0))
