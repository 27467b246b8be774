"""Partial charges of an OpenMM System, wherever its force field keeps them, and whether it has a solvent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import openmm

#: Names of the per-particle parameter that a CustomNonbondedForce may keep charges under.
CHARGE_NAMES = ("charge", "q")


def partial_charges(system: openmm.System) -> np.ndarray | None:
    """(N,) charges in e, or None when no force states them.

    From the NonbondedForce; without one, from the CustomNonbondedForce with a parameter of `CHARGE_NAMES`.
    Several forces of one kind add up.
    """
    import openmm

    sources = [force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)]
    if sources:
        found = [[f.getParticleParameters(i)[0]._value for i in range(f.getNumParticles())] for f in sources]
        return np.sum(np.array(found, dtype=np.float64), axis=0)
    found = []
    for force in system.getForces():
        if isinstance(force, openmm.CustomNonbondedForce):
            column = charge_column(force)
            if column is not None:
                found.append([force.getParticleParameters(i)[column] for i in range(force.getNumParticles())])
    return np.sum(np.array(found, dtype=np.float64), axis=0) if found else None


def has_implicit_solvent(system: openmm.System) -> bool:
    """Whether the System has a generalized-Born force."""
    return any(type(force).__name__ in ("GBSAOBCForce", "CustomGBForce") for force in system.getForces())


def charge_column(force: openmm.CustomNonbondedForce) -> int | None:
    """Which per-particle parameter of `force` is the charge; None when none is called so."""
    for index in range(force.getNumPerParticleParameters()):
        if force.getPerParticleParameterName(index) in CHARGE_NAMES:
            return index
    return None
