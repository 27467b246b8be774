"""Bonds that an OpenMM System states by its bond forces, for inputs whose PDB states none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from boltzgen.system.terms.custom_minima import custom_bond_minima

if TYPE_CHECKING:
    import openmm

#: kJ/mol/nm2; a custom term that is softer at its minimum is a 1-4 interaction, no bond.
_SOFTEST_BOND = 1000.0

#: Beside harmonic bonds, a custom term is a bond if it is stiffer (kJ/mol/nm2) and shorter (nm) than this.
_STIFF_BOND, _LONGEST_BOND = 5.0e4, 0.25


def bonds_from_forces(system: openmm.System, stated: np.ndarray | None = None) -> np.ndarray:
    """Atom pairs (M, 2) that a HarmonicBondForce or CustomBondForce of `system` joins.

    A term between the ends of an angle, which is an arm of no angle, is a Urey-Bradley term and is left out
    (CHARMM's between the hydrogens of a methyl group is 0.18 nm long, as a bond may be).
    CustomBondForces count by their terms with a stiff minimum, since they also serve for 1-4 interactions and
    restraints; beside a HarmonicBondForce the minimum must be that of a covalent bond.

    stated: (K, 2) pairs that count with any of these terms, since a file calls them bonds.
    """
    import openmm

    given = set() if stated is None else {(int(min(pair)), int(max(pair))) for pair in stated}
    harmonic: set[tuple[int, int]] = set()
    custom: dict[tuple[int, int], tuple[float, float]] = {}
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for index in range(force.getNumBonds()):
                first, second, *_ = force.getBondParameters(index)
                harmonic.add((min(first, second), max(first, second)))
        elif isinstance(force, openmm.CustomBondForce):
            custom |= {(i, j): minimum for (i, j), minimum in custom_bond_minima(force).items()}
    crossing = _only_ends_of_angles(system)
    found = (harmonic - crossing) | (harmonic & given)
    for pair, (place, stiffness) in custom.items():
        covalent = not harmonic or (stiffness > _STIFF_BOND and place < _LONGEST_BOND) or pair in given
        if stiffness > _SOFTEST_BOND and covalent and (pair not in crossing or pair in given):
            found.add(pair)
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 2)


def _only_ends_of_angles(system: openmm.System) -> set[tuple[int, int]]:
    """Pairs that an angle spans and that are no arm of any angle."""
    import openmm

    ends, arms = set(), set()
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicAngleForce | openmm.CustomAngleForce):
            for index in range(force.getNumAngles()):
                first, centre, third, *_ = force.getAngleParameters(index)
                ends.add((min(first, third), max(first, third)))
                arms |= {(min(first, centre), max(first, centre)), (min(third, centre), max(third, centre))}
    return ends - arms
