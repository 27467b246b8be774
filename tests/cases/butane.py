"""The bonded-only butane of the design's exact references: four united atoms, no nonbonded terms.

`write_butane` makes the System XML and the PDB, the two files that ``boltzgen prepare system.xml
--coordinates butane.pdb`` takes; ``boltzgen/examples/butane`` holds the same two. Its integrals are exact:
``Z = prod int r^2 e^{-bU} dr  prod int sin(theta) e^{-bU} dtheta  int e^{-bU} dphi``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

BOND_LENGTH = 0.1529  # nm
BOND_CONSTANT = 224262.4  # kJ/mol/nm^2
ANGLE = np.deg2rad(112.7)  # rad
ANGLE_CONSTANT = 488.273  # kJ/mol/rad^2
OPLS_TORSION = (1.3, -0.05, 0.2)  # V1, V2, V3, kcal/mol; sum of V_n/2 (1 +- cos n phi)
MASSES = (15.035, 14.027, 14.027, 15.035)  # dalton

#: T in K -> (ln Z_int with lengths in nm, F_gauche - F_trans in kT; gauche: |phi| < 120 degrees)
EXACT = {
    300.0: (-28.32105763, 0.52898),
    600.0: (-26.19161132, -0.05723),
    1000.0: (-24.72329783, -0.30517),
}

#: A states file of the two; atoms 0 to 3 are the carbons.
STATES = {
    "coordinates": {"turn": {"torsion": [0, 1, 2, 3]}},
    "states": [
        {"name": "gauche", "where": {"turn": [-120, 120]}},
        {"name": "trans", "where": "rest"},
    ],
    "differences": [["trans", "gauche"]],
}

_PDB = """\
HETATM    1  C1  BUT A   1    {0}  1.00  0.00
HETATM    2  C2  BUT A   1    {1}  1.00  0.00
HETATM    3  C3  BUT A   1    {2}  1.00  0.00
HETATM    4  C4  BUT A   1    {3}  1.00  0.00
END
"""


def butane_system(torsion=tuple(4.184 * barrier for barrier in OPLS_TORSION)):
    """The OpenMM System; torsion: V1, V2, V3 in kJ/mol."""
    import openmm

    system = openmm.System()
    for mass in MASSES:
        system.addParticle(mass)
    bonds, angles, torsions = (
        openmm.HarmonicBondForce(),
        openmm.HarmonicAngleForce(),
        openmm.PeriodicTorsionForce(),
    )
    for first in range(3):
        bonds.addBond(first, first + 1, BOND_LENGTH, BOND_CONSTANT)
    for first in range(2):
        angles.addAngle(first, first + 1, first + 2, ANGLE, ANGLE_CONSTANT)
    for n, (barrier, phase) in enumerate(zip(torsion, (0.0, np.pi, 0.0), strict=True), start=1):
        torsions.addTorsion(0, 1, 2, 3, n, phase, 0.5 * barrier)
    for force in (bonds, angles, torsions):
        system.addForce(force)
    return system


def butane_positions(phi: float = np.pi) -> np.ndarray:
    """(4, 3) nm: ideal bonds and angles, torsion `phi` in rad."""
    sine, cosine = BOND_LENGTH * np.sin(ANGLE), BOND_LENGTH * np.cos(ANGLE)
    first = [cosine, sine, 0.0]
    last = [BOND_LENGTH - cosine, sine * np.cos(phi), sine * np.sin(phi)]
    return np.array([first, [0.0, 0.0, 0.0], [BOND_LENGTH, 0.0, 0.0], last])


def write_butane(folder: Path) -> tuple[Path, Path]:
    """Write ``system.xml`` and ``butane.pdb`` into `folder`; the PDB states neither bonds nor elements."""
    import openmm

    folder.mkdir(parents=True, exist_ok=True)
    xml, pdb = folder / "system.xml", folder / "butane.pdb"
    xml.write_text(openmm.XmlSerializer.serialize(butane_system()), encoding="utf-8")
    rows = ["".join(f"{value:8.3f}" for value in 10.0 * row) for row in butane_positions()]
    pdb.write_text(_PDB.format(*rows), encoding="utf-8")
    return xml, pdb


def ln_z_internal(temperature: float, points: int = 20001) -> tuple[float, float]:
    """ln Z_int and F_gauche - F_trans in kT by quadrature, independent of OpenMM and of the library."""
    beta = 1.0 / (8.31446261815324e-3 * temperature)
    r = np.linspace(BOND_LENGTH - 0.05, BOND_LENGTH + 0.05, points)
    theta = np.linspace(0.0, np.pi, points)
    phi = np.linspace(-np.pi, np.pi, 120001)
    v1, v2, v3 = (value * 4.184 for value in OPLS_TORSION)
    torsion = 0.5 * (v1 * (1 + np.cos(phi)) + v2 * (1 - np.cos(2 * phi)) + v3 * (1 + np.cos(3 * phi)))
    density = np.exp(-beta * torsion)
    gauche = np.abs(phi) < 2 * np.pi / 3
    z_bond = np.trapezoid(r**2 * np.exp(-0.5 * beta * BOND_CONSTANT * (r - BOND_LENGTH) ** 2), r)
    z_angle = np.trapezoid(np.sin(theta) * np.exp(-0.5 * beta * ANGLE_CONSTANT * (theta - ANGLE) ** 2), theta)
    ln_z = 3 * np.log(z_bond) + 2 * np.log(z_angle) + np.log(np.trapezoid(density, phi))
    share = np.where(gauche, density, 0.0).sum() / density.sum()
    return float(ln_z), float(-np.log(share / (1 - share)))
