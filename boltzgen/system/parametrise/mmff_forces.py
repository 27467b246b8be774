"""MMFF94's functional forms as OpenMM forces, in plain algebra.

Sources: T. A. Halgren, J. Comput. Chem. 17 (1996) 490, equations 2 to 8 (bonded), and 520 (van der Waals,
electrostatics); lengths here in nm, angles in rad, energies in kJ/mol. Every function takes rows of atoms and
parameters in MMFF94's own units (mdyn/Angstrom, Angstrom, degrees, kcal/mol, e) and returns one force.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from boltzgen.system.parametrise.mmff_nonbonded import NonbondedAtoms

if TYPE_CHECKING:
    import openmm

KCAL = 4.184
ANGSTROM = 0.1

#: kcal/mol of 1 mdyn Angstrom, as in the paper.
MILLIDYNE_ANGSTROM = 143.9325
#: kcal/mol Angstrom / e^2, as in the paper.
COULOMB = 332.0716
#: Angstrom added to every distance of the electrostatic term.
BUFFER = 0.05
#: Share of the electrostatic energy that atoms three bonds apart have.
SCALE_14 = 0.75

#: kJ/mol of 1 mdyn Angstrom.
_UNIT = MILLIDYNE_ANGSTROM * KCAL

_BOND = "0.5*k*(r-r0)^2*(1 - 20*(r-r0) + (7/12)*400*(r-r0)^2)"
_ANGLE = "0.5*k*(theta-theta0)^2*(1 - 0.4*(theta-theta0))"
_LINEAR_ANGLE = "k*(1 + cos(theta))"
_STRETCH_BEND = "(k12*(distance(p1,p2)-r12) + k23*(distance(p2,p3)-r23))*(angle(p1,p2,p3)-theta0)"

#: Wilson's angles between each bond of atom 1 and the plane of the other two bonds. Their sines are the
#: triple product of the three unit bond vectors over the sine of the angle between those two.
_OUT_OF_PLANE = """
0.5*k*(asin(max(-1, min(1, volume/sine23)))^2
     + asin(max(-1, min(1, volume/sine34)))^2
     + asin(max(-1, min(1, volume/sine42)))^2);
volume = sine23*sine34*sin(dihedral(p2,p1,p3,p4));
sine23 = sin(angle(p2,p1,p3));
sine34 = sin(angle(p3,p1,p4));
sine42 = sin(angle(p4,p1,p2))
"""

#: ``sigma`` is the separation of lowest energy over 2^(1/6), as in a Lennard-Jones potential.
_NONBONDED = f"""
well*(1.07/(ratio + 0.07))^7*(1.12/(ratio^7 + 0.12) - 2)
    + {COULOMB * KCAL * ANGSTROM!r}*charge1*charge2/(r + {BUFFER * ANGSTROM!r});
ratio = r/(unscaled*(1 - 0.2*bridge));
well = (1 - 0.5*bridge)*sqrt(epsilon1*epsilon2)*(minimum1*minimum2)^3/unscaled^6/cosh(mixing1-mixing2);
unscaled = 0.5*(minimum1 + minimum2)*(1 + 0.2*(1 - max(donor1, donor2))*(1 - exp(-12*gamma^2)));
gamma = (minimum1 - minimum2)/(minimum1 + minimum2);
bridge = donor1*acceptor2 + donor2*acceptor1;
minimum1 = {2.0 ** (1 / 6)!r}*sigma1;
minimum2 = {2.0 ** (1 / 6)!r}*sigma2
"""
_CORRECTION_14 = f"{(SCALE_14 - 1.0) * COULOMB * KCAL * ANGSTROM!r}*charges/(r + {BUFFER * ANGSTROM!r})"

NONBONDED_PARAMETERS = ("charge", "sigma", "epsilon", "mixing", "donor", "acceptor")


def bond_force(rows: Sequence[tuple[int, int, float, float]]) -> openmm.CustomBondForce:
    """Quartic stretches. Rows: atoms i, j; force constant in mdyn/Angstrom; length in Angstrom."""
    import openmm

    force = openmm.CustomBondForce(_BOND)
    force.setName("MMFF94 bonds")
    for name in ("k", "r0"):
        force.addPerBondParameter(name)
    for i, j, constant, length in rows:
        force.addBond(i, j, [constant * _UNIT / ANGSTROM**2, length * ANGSTROM])
    return force


def angle_force(rows: Sequence[tuple[int, int, int, float, float]]) -> openmm.CustomAngleForce:
    """Cubic bends. Rows: atoms i, j, k around j; force constant in mdyn Angstrom/rad2; degrees."""
    import openmm

    force = openmm.CustomAngleForce(_ANGLE)
    force.setName("MMFF94 angles")
    for name in ("k", "theta0"):
        force.addPerAngleParameter(name)
    for i, j, k, constant, angle in rows:
        force.addAngle(i, j, k, [constant * _UNIT, math.radians(angle)])
    return force


def linear_angle_force(rows: Sequence[tuple[int, int, int, float]]) -> openmm.CustomAngleForce:
    """Bends of linear centres. Rows: atoms i, j, k around j; force constant in mdyn Angstrom/rad2."""
    import openmm

    force = openmm.CustomAngleForce(_LINEAR_ANGLE)
    force.setName("MMFF94 linear angles")
    force.addPerAngleParameter("k")
    for i, j, k, constant in rows:
        force.addAngle(i, j, k, [constant * _UNIT])
    return force


def stretch_bend_force(
    rows: Sequence[tuple[int, int, int, float, float, float, float, float]],
) -> openmm.CustomCompoundBondForce:
    """Stretch-bend coupling.

    Rows: atoms i, j, k around j; coupling constants of the bonds i-j and k-j in mdyn/rad; their lengths in
    Angstrom; the angle in degrees.
    """
    import openmm

    force = openmm.CustomCompoundBondForce(3, _STRETCH_BEND)
    force.setName("MMFF94 stretch-bends")
    for name in ("k12", "k23", "r12", "r23", "theta0"):
        force.addPerBondParameter(name)
    for i, j, k, first, second, length, other, angle in rows:
        constants = [first * _UNIT / ANGSTROM, second * _UNIT / ANGSTROM]
        lengths = [length * ANGSTROM, other * ANGSTROM]
        force.addBond([i, j, k], [*constants, *lengths, math.radians(angle)])
    return force


def out_of_plane_force(rows: Sequence[tuple[int, int, int, int, float]]) -> openmm.CustomCompoundBondForce:
    """Out-of-plane bends. Rows: the centre and its three neighbours; force constant in mdyn Angstrom/rad2."""
    import openmm

    force = openmm.CustomCompoundBondForce(4, "".join(_OUT_OF_PLANE.split()))
    force.setName("MMFF94 out-of-plane bends")
    force.addPerBondParameter("k")
    for *atoms, constant in rows:
        force.addBond(atoms, [constant * _UNIT])
    return force


def torsion_force(
    rows: Sequence[tuple[int, int, int, int, float, float, float]],
) -> openmm.PeriodicTorsionForce:
    """Torsions. Rows: atoms i, j, k, l; V1, V2, V3 in kcal/mol. Orders without a barrier are left out."""
    import openmm

    force = openmm.PeriodicTorsionForce()
    force.setName("MMFF94 torsions")
    for i, j, k, m, *barriers in rows:
        for order, barrier in enumerate(barriers, start=1):
            if barrier != 0.0:
                phase = math.pi if order == 2 else 0.0
                force.addTorsion(i, j, k, m, order, phase, 0.5 * barrier * KCAL)
    return force


def nonbonded_force(
    atoms: NonbondedAtoms, exclusions: Sequence[tuple[int, int]]
) -> openmm.CustomNonbondedForce:
    """Buffered 14-7 and buffered electrostatics of all pairs but the `exclusions`."""
    import openmm

    force = openmm.CustomNonbondedForce("".join(_NONBONDED.split()))
    force.setName("MMFF94 nonbonded")
    force.setNonbondedMethod(openmm.CustomNonbondedForce.NoCutoff)
    for name in NONBONDED_PARAMETERS:
        force.addPerParticleParameter(name)
    sigma = np.round(atoms.separation * ANGSTROM / 2.0 ** (1 / 6), 12)
    epsilon = np.round(atoms.depth * KCAL, 12)
    for row in np.stack([atoms.charge, sigma, epsilon, atoms.mixing, atoms.donor, atoms.acceptor], axis=1):
        force.addParticle([float(value) for value in row])
    for i, j in exclusions:
        force.addExclusion(i, j)
    return force


def correction_14_force(charge: np.ndarray, pairs: Sequence[tuple[int, int]]) -> openmm.CustomBondForce:
    """What is taken off the electrostatics of `pairs`, which are three bonds apart. `charge` (N,) e."""
    import openmm

    force = openmm.CustomBondForce(_CORRECTION_14)
    force.setName("MMFF94 1-4 electrostatics")
    force.addPerBondParameter("charges")
    for i, j in pairs:
        product = float(charge[i] * charge[j])
        if product != 0.0:
            force.addBond(i, j, [product])
    return force
