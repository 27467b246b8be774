"""Bonds that an OpenMM System states by its bond forces, for inputs whose PDB states none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from boltzgen.system.terms.custom_minima import custom_bond_minima

if TYPE_CHECKING:
    import openmm

#: nm; a harmonic term between the ends of an angle that is longer than this is a Urey-Bradley term, no bond.
_UREY_BRADLEY_LENGTH = 0.2

#: kJ/mol/nm2; a custom term that is softer at its minimum is a 1-4 interaction, no bond.
_SOFTEST_BOND = 1000.0


def bonds_from_forces(system: openmm.System) -> np.ndarray:
    """Atom pairs (M, 2) that a HarmonicBondForce or CustomBondForce of `system` joins.

    A term longer than 0.2 nm between the ends of an angle is a Urey-Bradley term and is left out.
    CustomBondForces count only when there is no HarmonicBondForce, and only their terms with a stiff minimum,
    since they also serve for 1-4 interactions and restraints.
    """
    import openmm

    harmonic: list[tuple[int, int]] = []
    custom: list[tuple[int, int]] = []
    ends = _angle_ends(system)
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for index in range(force.getNumBonds()):
                first, second, length, _ = force.getBondParameters(index)
                pair = (min(first, second), max(first, second))
                if not (pair in ends and length._value > _UREY_BRADLEY_LENGTH):
                    harmonic.append(pair)
        elif isinstance(force, openmm.CustomBondForce):
            for (first, second), (place, stiffness) in custom_bond_minima(force).items():
                far = (first, second) in ends and place > _UREY_BRADLEY_LENGTH
                if stiffness > _SOFTEST_BOND and not far:
                    custom.append((first, second))
    return np.array(sorted(set(harmonic or custom)), dtype=np.int64).reshape(-1, 2)


def _angle_ends(system: openmm.System) -> set[tuple[int, int]]:
    import openmm

    ends = set()
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicAngleForce | openmm.CustomAngleForce):
            for index in range(force.getNumAngles()):
                first, _, third, *_ = force.getAngleParameters(index)
                ends.add((min(first, third), max(first, third)))
    return ends
