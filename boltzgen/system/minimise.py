"""Energies by OpenMM, and a light minimisation that keeps the molecule the same molecule."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from boltzgen.errors import BoltzgenError, InputError
from boltzgen.system.graph.adjacency import adjacency

if TYPE_CHECKING:
    import openmm

#: Signed volumes of unit vectors below this belong to a planar centre, whose sign means nothing.
_PLANAR_VOLUME = 0.1

#: kJ/mol/nm^6; a tetrahedral centre spans about 0.002 nm^3.
_WALL = 1.0e10

#: kJ/mol/nm^2; holds the shape of the backbone while side chains and hydrogens move apart.
_TETHER = 1000.0


def context_for(system: openmm.System) -> openmm.Context:
    """A context of `system` on one thread; a CustomGBForce is ten times faster on the CPU platform."""
    import openmm
    from openmm import unit

    integrator = openmm.VerletIntegrator(0.001 * unit.picoseconds)
    slow = any(isinstance(force, openmm.CustomGBForce) for force in system.getForces())
    name, properties = ("CPU", {"Threads": "1"}) if slow else ("Reference", {})
    try:
        return openmm.Context(system, integrator, openmm.Platform.getPlatformByName(name), properties)
    except openmm.OpenMMException as error:
        raise InputError(f"OpenMM cannot evaluate the System: {error}. Mend that force.") from error


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


def _hands(positions: np.ndarray, bonds: np.ndarray) -> list[tuple[int, tuple[int, int, int]]]:
    """Each centre with four or more neighbours, with each triple of them that does not lie in its plane."""
    return [
        (centre, triple)
        for centre, partners in enumerate(adjacency(len(positions), bonds))
        if len(partners) >= 4
        for triple in combinations(partners, 3)
        if abs(_volume(positions, centre, triple)) > _PLANAR_VOLUME
    ]


def same_handedness(before: np.ndarray, after: np.ndarray, bonds: np.ndarray) -> bool:
    """Whether no centre with four neighbours has turned any three of them through its plane."""
    return all(
        _volume(before, centre, triple) * _volume(after, centre, triple) > 0
        for centre, triple in _hands(before, bonds)
    )


def _volume(positions: np.ndarray, centre: int, partners: tuple[int, int, int]) -> float:
    vectors = positions[list(partners)] - positions[centre]
    return float(np.linalg.det(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)))


def _guarded(system: openmm.System, positions: np.ndarray, bonds: np.ndarray) -> openmm.System:
    """A copy of `system` that clashes cannot turn inside out.

    A wall keeps the hand of each centre, a tether keeps heavy atoms near their places.
    """
    import openmm

    wall = openmm.CustomCompoundBondForce(
        4,
        f"{_WALL}*max(0, least - sign*volume)^2;volume = ux*(vy*wz - vz*wy) + uy*(vz*wx - vx*wz) + uz*(vx*wy "
        "- vy*wx);ux = x2-x1; uy = y2-y1; uz = z2-z1;vx = x3-x1; vy = y3-y1; vz = z3-z1;"
        "wx = x4-x1; wy = y4-y1; wz = z4-z1",
    )
    wall.addPerBondParameter("least")
    wall.addPerBondParameter("sign")
    for centre, triple in _hands(positions, bonds):
        volume = float(np.linalg.det(positions[list(triple)] - positions[centre]))
        wall.addBond([centre, *triple], [0.5 * abs(volume), float(np.sign(volume))])
    tether = openmm.CustomExternalForce(f"{_TETHER}*((x-x0)^2 + (y-y0)^2 + (z-z0)^2)")
    for component in ("x0", "y0", "z0"):
        tether.addPerParticleParameter(component)
    for index, position in enumerate(positions):
        if system.getParticleMass(index)._value > 5.0:
            tether.addParticle(index, list(position))
    copy = openmm.XmlSerializer.clone(system)
    copy.addForce(wall)
    copy.addForce(tether)
    return copy


def minimised(
    system: openmm.System, positions: np.ndarray, bonds: np.ndarray, iterations: int = 500
) -> np.ndarray:
    """Positions (N, 3) nm relaxed near `positions`: clashes gone, same handedness, heavy atoms tethered.

    Raises
    ------
    BoltzgenError: the minimisation failed or turned a stereocentre.
    """
    guarded = _guarded(system, positions, bonds)
    _, energy, after = energy_and_minimum(guarded, positions, iterations=iterations)
    if not np.isfinite(energy) or not np.isfinite(after).all():
        raise BoltzgenError(
            "The energy minimisation of the starting structure diverged; give a better structure as PDB."
        )
    if not same_handedness(positions, after, bonds):
        raise BoltzgenError(
            "The energy minimisation turned a stereocentre of the starting structure into its mirror image; "
            "use `minimize=False`, or give a better structure as PDB."
        )
    return after
