"""Shared by the tests of potentials: OpenMM Reference, both paths against it, conformations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openmm
import torch

from boltzgen.potentials.from_openmm.translate import translate_openmm
from boltzgen.potentials.molecular_mechanics import MolecularMechanics


def system_of(n_atoms: int, *forces: openmm.Force) -> openmm.System:
    """A System of `n_atoms` carbons with these forces."""
    system = openmm.System()
    for _ in range(n_atoms):
        system.addParticle(12.0)
    for force in forces:
        system.addForce(force)
    return system


def reference(system: openmm.System, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energies and forces of OpenMM's Reference platform, in float64."""
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    energies, forces = [], []
    for frame in positions:
        context.setPositions(frame)
        state = context.getState(getEnergy=True, getForces=True)
        energies.append(state.getPotentialEnergy()._value)
        forces.append(state.getForces(asNumpy=True)._value)
    return np.array(energies), np.array(forces)


def spread(n_atoms: int, frames: int, seed: int, smallest: float = 0.02, largest: float = 0.5) -> np.ndarray:
    """(frames, N, 3) nm: random clouds from `smallest` to `largest` standard deviation."""
    noise = np.random.default_rng(seed).normal(size=(frames, n_atoms, 3))
    return noise * np.linspace(smallest, largest, frames)[:, None, None]


def with_bad_rows(good: torch.Tensor) -> tuple[torch.Tensor, list[int], np.ndarray]:
    """A copy of conformations (20, N, 3) with NaN, coincident atoms, zeros and infinity: (it, bad, rest).

    bad, rest: the rows that were spoilt, and all others.
    """
    broken = good.clone()
    broken[3, 4, 1] = torch.nan
    broken[7, 5] = broken[7, 4]
    broken[9] = 0.0
    broken[11, 2, 0] = torch.inf
    bad = [3, 7, 9, 11]
    return broken, bad, np.setdiff1d(np.arange(len(good)), bad)


def value_and_gradient(
    function: Callable[[torch.Tensor], torch.Tensor], positions: np.ndarray | torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    x = torch.as_tensor(positions).clone().requires_grad_()
    value = function(x)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach().numpy(), gradient.numpy()


def assert_agrees(
    system: openmm.System,
    positions: np.ndarray,
    *,
    energy_tolerance: float = 1e-10,
    force_tolerance: float = 1e-8,
) -> MolecularMechanics:
    """Both paths against Reference: energies relative to the terms' sizes, forces to each row's largest."""
    potential = translate_openmm(system)
    expected_energy, expected_force = reference(system, positions)
    assert np.isfinite(expected_energy).all()
    assert np.isfinite(expected_force).all()
    parts = torch.stack(list(potential.energy_by_term(torch.tensor(positions)).values()))
    scale = np.maximum(parts.abs().sum(0).numpy(), 1.0)
    size = np.maximum(np.abs(expected_force).max(axis=(1, 2)), 1.0)
    for function in (potential.energy, potential.energy_plain):
        energy, gradient = value_and_gradient(function, positions)
        assert (np.abs(energy - expected_energy) / scale).max() < energy_tolerance
        assert (np.abs(gradient + expected_force).max(axis=(1, 2)) / size).max() < force_tolerance
    return potential
