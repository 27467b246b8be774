"""Systems for tests of hybrids: one that holds every force class, built by hand with any choice of terms."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np

#: Atoms of `zoo`.
N_ATOMS = 10

Wanted = Callable[[tuple[int, ...]], bool]


def zoo(wanted: Wanted, *, others: bool = True):
    """An OpenMM System of a chain with terms of every class and all pairs, less what is not `wanted`.

    `others`: with solvent and an external field, which belong to no pair or bond.
    """
    import openmm

    system = openmm.System()
    for _ in range(N_ATOMS):
        system.addParticle(12.0)

    def tuples(size: int):
        return [t for t in (tuple(range(k, k + size)) for k in range(N_ATOMS - size + 1)) if wanted(t)]

    def add(force):
        system.addForce(force)
        return force

    bond, angle = add(openmm.HarmonicBondForce()), add(openmm.HarmonicAngleForce())
    torsion, ryckaert = add(openmm.PeriodicTorsionForce()), add(openmm.RBTorsionForce())
    cmap = add(openmm.CMAPTorsionForce())
    own_bond = add(openmm.CustomBondForce("k*(r-0.1)^4"))
    own_bond.addPerBondParameter("k")
    own_angle = add(openmm.CustomAngleForce("k*theta^3"))
    own_angle.addPerAngleParameter("k")
    own_torsion = add(openmm.CustomTorsionForce("k*cos(theta)^3"))
    own_torsion.addPerTorsionParameter("k")
    compound = add(openmm.CustomCompoundBondForce(3, "k*distance(p1,p2)*distance(p2,p3)"))
    compound.addPerBondParameter("k")
    grid = np.random.default_rng(0).normal(size=16)
    cmap.addMap(4, grid.tolist())
    for t in tuples(2):
        bond.addBond(*t, 0.15 + 0.001 * t[0], 1000.0)
        own_bond.addBond(*t, [500.0 + t[0]])
    for t in tuples(3):
        angle.addAngle(*t, 1.9, 100.0 + t[0])
        own_angle.addAngle(*t, [3.0 + t[0]])
        compound.addBond(t, [7.0 + t[0]])
    for t in tuples(4):
        torsion.addTorsion(*t, 3, 0.1, 5.0 + t[0])
        ryckaert.addTorsion(*t, 1.0, 2.0, 3.0, 0.5, 0.2, 0.1 * t[0])
        own_torsion.addTorsion(*t, [4.0 + t[0]])
    for t in tuples(5):
        cmap.addTorsion(0, *t[:4], *t[1:])
    _add_pairs(system, wanted)
    if others:
        _add_others(system)
    return system


def _add_pairs(system, wanted: Wanted) -> None:
    import openmm

    nonbonded = openmm.NonbondedForce()
    custom = openmm.CustomNonbondedForce("a1*a2*exp(-3*r)")
    custom.addPerParticleParameter("a")
    for k in range(N_ATOMS):
        nonbonded.addParticle(0.1 * (-1) ** k, 0.2, 0.3 + 0.01 * k)
        custom.addParticle([1.0 + k])
    for i, j in combinations(range(N_ATOMS), 2):
        if not wanted((i, j)):
            nonbonded.addException(i, j, 0.0, 1.0, 0.0)
            custom.addExclusion(i, j)
        elif j - i == 1:
            nonbonded.addException(j, i, 0.0, 1.0, 0.0)
            custom.addExclusion(j, i)
        elif j - i == 2:
            nonbonded.addException(i, j, 0.05, 0.25, 0.4)
    system.addForce(nonbonded)
    system.addForce(custom)


def _add_others(system) -> None:
    import openmm

    solvent = openmm.GBSAOBCForce()
    field = openmm.CustomExternalForce("3*x + y^2")
    for k in range(N_ATOMS):
        solvent.addParticle(0.1 * (-1) ** k, 0.15, 0.8)
        field.addParticle(k, [])
    system.addForce(solvent)
    system.addForce(field)
    system.addForce(openmm.CMMotionRemover())


def zoo_positions(frames: int = 3) -> np.ndarray:
    """(frames, N_ATOMS, 3) nm: a helix with noise."""
    turn = 1.2 * np.arange(N_ATOMS)
    helix = np.stack([0.1 * np.cos(turn), 0.1 * np.sin(turn), 0.08 * np.arange(N_ATOMS)], axis=1)
    return helix + np.random.default_rng(1).normal(scale=0.005, size=(frames, N_ATOMS, 3))


def amber_subsystem(system, atoms):
    """The energy inside `atoms` of an Amber System (no solvent) as a System of these atoms alone."""
    import openmm

    place = {atom: k for k, atom in enumerate(atoms)}
    small = openmm.System()
    for atom in atoms:
        small.addParticle(system.getParticleMass(atom))

    def inside(members):
        return all(atom in place for atom in members)

    for force in system.getForces():
        copy = type(force)()
        if isinstance(force, openmm.HarmonicBondForce):
            rows = [force.getBondParameters(k) for k in range(force.getNumBonds())]
            for *t, length, stiffness in [row for row in rows if inside(row[:2])]:
                copy.addBond(*(place[atom] for atom in t), length, stiffness)
        elif isinstance(force, openmm.HarmonicAngleForce):
            rows = [force.getAngleParameters(k) for k in range(force.getNumAngles())]
            for *t, centre, stiffness in [row for row in rows if inside(row[:3])]:
                copy.addAngle(*(place[atom] for atom in t), centre, stiffness)
        elif isinstance(force, openmm.PeriodicTorsionForce):
            rows = [force.getTorsionParameters(k) for k in range(force.getNumTorsions())]
            for *t, n, phase, barrier in [row for row in rows if inside(row[:4])]:
                copy.addTorsion(*(place[atom] for atom in t), n, phase, barrier)
        elif isinstance(force, openmm.NonbondedForce):
            for atom in atoms:
                copy.addParticle(*force.getParticleParameters(atom))
            rows = [force.getExceptionParameters(k) for k in range(force.getNumExceptions())]
            for first, second, *rest in [row for row in rows if inside(row[:2])]:
                copy.addException(place[first], place[second], *rest)
        else:
            continue
        small.addForce(copy)
    return small
