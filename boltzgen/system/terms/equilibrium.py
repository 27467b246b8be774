"""Equilibrium lengths, equilibrium angles and torsion barriers, read from the OpenMM System."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from boltzgen.system.graph.adjacency import Neighbours
from boltzgen.system.graph.geometry import dihedral_angle
from boltzgen.system.terms.bond_parameters import harmonic_bonds
from boltzgen.system.terms.custom_minima import custom_angle_minima

if TYPE_CHECKING:
    import openmm

    from boltzgen.system.molecular_system import MolecularSystem

#: Angles at which a torsion profile is evaluated.
PROFILE_POINTS = 72

#: A minimum within this of 0 or pi is planar, rad.
NEARLY_PLANAR = np.deg2rad(20.0)


@dataclass(frozen=True)
class TermCentres:
    """Equilibrium values of the bond and angle terms.

    ``bonds`` maps a sorted atom pair to nm; ``angles`` maps (a, centre, p), a < p, to rad.
    """

    bonds: dict[tuple[int, int], float]
    angles: dict[tuple[int, int, int], float]

    def bond(self, i: int, j: int, otherwise: float) -> float:
        return self.bonds.get((min(i, j), max(i, j)), otherwise)

    def angle(self, a: int, c: int, p: int, otherwise: float) -> float:
        return self.angles.get((min(a, p), c, max(a, p)), otherwise)

    @classmethod
    def from_system(cls, system: MolecularSystem) -> TermCentres:
        """Collect the centres of every harmonic and custom bond and angle force of `system`."""
        import openmm

        bonds = {pair: length for pair, (length, _) in harmonic_bonds(system).items()}
        angles = {}
        for force in system.openmm_system().getForces():
            if isinstance(force, openmm.HarmonicAngleForce):
                for k in range(force.getNumAngles()):
                    i, j, m, angle, _ = force.getAngleParameters(k)
                    angles[(min(i, m), j, max(i, m))] = _value(angle)
            elif isinstance(force, openmm.CustomAngleForce):
                found = custom_angle_minima(force)
                angles |= {(i, j, m): angle for (i, j, m), (angle, _) in found.items()}
        return cls(bonds, angles)


def torsion_profiles(
    system: MolecularSystem, bonds: list[tuple[int, int]], neighbours: Neighbours, *, flattened: bool = False
) -> np.ndarray:
    """Profile of the torsion terms when each of `bonds` is turned rigidly.

    Parameters
    ----------
    system: read for its PeriodicTorsionForce, RBTorsionForce and CustomTorsionForce terms and its
        reference positions.
    bonds: pairs of bonded atoms. neighbours: bonded atoms of each atom.
    flattened: start from the nearest planar geometry, in which every torsion is 0 or 180 degrees: a small
        ring twists the sides of a double bond against each other, and with them the minima of their sum.

    Returns
    -------
    (len(bonds), PROFILE_POINTS) float, kJ/mol, at turns of 0, 5, 10... degrees from the reference
    positions. Improper terms, which a rotation about the bond leaves alone, are not counted.
    """
    delta = np.linspace(0, 2 * np.pi, PROFILE_POINTS, endpoint=False)
    profiles = {(min(bond), max(bond)): np.zeros(PROFILE_POINTS) for bond in bonds}
    positions = np.asarray(system.reference_positions, dtype=float)
    for (i, j, k, m), energy in _torsion_terms(system):
        profile = profiles.get((min(j, k), max(j, k)))
        if profile is not None and i in neighbours[j] and m in neighbours[k] and len({i, j, k, m}) == 4:
            start = dihedral_angle(positions, i, j, k, m)
            profile += energy((np.pi * (np.cos(start) < 0) if flattened else start) + delta)
    found = [profiles[(min(bond), max(bond))] for bond in bonds]
    return np.array(found).reshape(-1, PROFILE_POINTS)


def has_planar_minima(profile: np.ndarray, torsion: float) -> bool:
    """True when every deep minimum of a profile lies where the torsion is planar.

    `profile` (PROFILE_POINTS,) is a row of `torsion_profiles`, `torsion` the torsion in rad at its first
    point. Deep: in the lower half of the profile. A disulfide has a high barrier too, but its minima are
    near 90 degrees.
    """
    angles = torsion + np.linspace(0, 2 * np.pi, PROFILE_POINTS, endpoint=False)
    lowest = (profile <= np.roll(profile, 1)) & (profile <= np.roll(profile, -1))
    deep = lowest & (profile < 0.5 * (profile.min() + profile.max()))
    return bool(np.all(np.abs(np.sin(angles[deep])) < np.sin(NEARLY_PLANAR)))


def _torsion_terms(system: MolecularSystem):
    """Yield (atoms, function of the torsion in rad -> kJ/mol)."""
    import openmm

    for force in system.openmm_system().getForces():
        if isinstance(force, openmm.PeriodicTorsionForce):
            for index in range(force.getNumTorsions()):
                *atoms, n, phase, k = force.getTorsionParameters(index)
                yield atoms, _periodic(n, _value(phase), _value(k))
        elif isinstance(force, openmm.RBTorsionForce):
            for index in range(force.getNumTorsions()):
                parameters = force.getTorsionParameters(index)
                yield parameters[:4], _ryckaert_bellemans([_value(c) for c in parameters[4:]])
        elif isinstance(force, openmm.CustomTorsionForce):
            if force.getNumTorsions():
                energy = _CustomTorsion(force)
            for index in range(force.getNumTorsions()):
                *atoms, parameters = force.getTorsionParameters(index)
                yield atoms, partial(energy, parameters)


def _value(quantity: openmm.unit.Quantity) -> float:
    """In nm, rad, kJ/mol."""
    from openmm import unit

    return float(quantity.value_in_unit_system(unit.md_unit_system))


def _periodic(n: int, phase: float, k: float):
    return lambda phi: k * (1 + np.cos(n * phi - phase))


def _ryckaert_bellemans(coefficients: list[float]):
    return lambda phi: np.polynomial.polynomial.polyval(np.cos(phi - np.pi), coefficients)


class _CustomTorsion:
    """One torsion of a CustomTorsionForce by itself, evaluated by OpenMM at chosen angles."""

    def __init__(self, force: openmm.CustomTorsionForce) -> None:
        import openmm

        self.force = _with_one_torsion(force)
        self.force.setTorsionParameters(0, 0, 1, 2, 3, self.force.getTorsionParameters(0)[4])
        system = openmm.System()
        for _ in range(4):
            system.addParticle(1.0)
        system.addForce(self.force)
        platform = openmm.Platform.getPlatformByName("Reference")
        self.context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)

    def __call__(self, parameters: tuple[float, ...], phi: np.ndarray) -> np.ndarray:
        self.force.setTorsionParameters(0, 0, 1, 2, 3, parameters)
        self.force.updateParametersInContext(self.context)
        return np.array([self._energy(angle) for angle in phi])

    def _energy(self, phi: float) -> float:
        last = [np.cos(phi), np.sin(phi), 1.0]
        self.context.setPositions([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0], last])
        return _value(self.context.getState(energy=True).getPotentialEnergy())


def _with_one_torsion(force: openmm.CustomTorsionForce) -> openmm.CustomTorsionForce:
    """`force` with its first torsion only."""
    from xml.etree import ElementTree

    import openmm

    root = ElementTree.fromstring(openmm.XmlSerializer.serialize(force))
    for torsions in root.iter("Torsions"):
        for torsion in list(torsions)[1:]:
            torsions.remove(torsion)
    return openmm.XmlSerializer.deserialize(ElementTree.tostring(root, encoding="unicode"))
