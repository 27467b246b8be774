"""Energies by OpenMM, and a light minimisation that keeps the molecule the same molecule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from boltzgen.errors import BoltzgenError

if TYPE_CHECKING:
    import openmm

#: Signed volumes of unit vectors below this belong to a planar centre, whose sign means nothing.
_PLANAR_VOLUME = 0.1


def context_for(system: openmm.System) -> openmm.Context:
    """A context of `system` on one thread; a CustomGBForce is ten times faster on the CPU platform."""
    import openmm
    from openmm import unit

    integrator = openmm.VerletIntegrator(0.001 * unit.picoseconds)
    slow = any(isinstance(force, openmm.CustomGBForce) for force in system.getForces())
    if slow:
        return openmm.Context(system, integrator, openmm.Platform.getPlatformByName("CPU"), {"Threads": "1"})
    return openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))


def energy_and_minimum(
    system: openmm.System, positions: np.ndarray, *, iterations: int
) -> tuple[float, float, np.ndarray]:
    """Energy of `positions` (N, 3) nm; energy and positions after `iterations` of L-BFGS; kJ/mol, nm."""
    import openmm
    from openmm import unit

    context = context_for(system)
    context.setPositions(unit.Quantity(positions, unit.nanometer))
    before = _energy(context)
    try:
        openmm.LocalEnergyMinimizer.minimize(context, 10.0, iterations)
        after = _energy(context)
    except openmm.OpenMMException:
        return before, float("nan"), positions
    state = context.getState(getPositions=True)
    return (
        before,
        after,
        np.array(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer), dtype=np.float64),
    )


def _energy(context: openmm.Context) -> float:
    from openmm import unit

    return float(context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))


def same_handedness(before: np.ndarray, after: np.ndarray, bonds: np.ndarray) -> bool:
    """Whether no centre with three or more neighbours has turned into its mirror image."""
    neighbours: list[list[int]] = [[] for _ in before]
    for first, second in bonds:
        neighbours[int(first)].append(int(second))
        neighbours[int(second)].append(int(first))
    for centre, partners in enumerate(neighbours):
        if len(partners) < 4:
            continue
        old, new = (_volume(x, centre, sorted(partners)[:3]) for x in (before, after))
        if abs(old) > _PLANAR_VOLUME and old * new < 0:
            return False
    return True


def _volume(positions: np.ndarray, centre: int, partners: list[int]) -> float:
    vectors = positions[partners] - positions[centre]
    return float(np.linalg.det(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)))


def minimised(
    system: openmm.System, positions: np.ndarray, bonds: np.ndarray, iterations: int = 1000
) -> np.ndarray:
    """Positions (N, 3) nm of a minimum near `positions`, of the same handedness.

    Raises
    ------
    BoltzgenError: the minimisation failed or turned a stereocentre.
    """
    _, energy, after = energy_and_minimum(system, positions, iterations=iterations)
    if not np.isfinite(energy) or not np.isfinite(after).all():
        raise BoltzgenError(
            "The energy minimisation of the starting structure diverged; give a better structure as PDB."
        )
    if not same_handedness(positions, after, bonds):
        raise BoltzgenError(
            "The energy minimisation turned a stereocentre of the starting structure into its mirror image; "
            "use --no-minimize, or give a better structure as PDB."
        )
    return after
