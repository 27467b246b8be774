"""Bond terms of a prepared molecule as springs, read from its OpenMM System."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boltzgen.system.terms.custom_minima import custom_bond_minima

if TYPE_CHECKING:
    import numpy as np
    import openmm

    from boltzgen.system.molecular_system import MolecularSystem


def harmonic_bonds(system: MolecularSystem) -> dict[tuple[int, int], tuple[float, float]]:
    """`springs_of` the System and the bonds of a prepared molecule."""
    return springs_of(system.openmm_system(), system.bonds)


def springs_of(system: openmm.System, bonds: np.ndarray) -> dict[tuple[int, int], tuple[float, float]]:
    """Equilibrium length (nm) and force constant (kJ/mol/nm2) of each sorted pair of atoms.

    A CustomBondForce counts on `bonds` (M, 2) only (on other pairs it serves for 1-4 interactions
    and restraints), by its minimum and second derivative there. Several terms on one pair are added up:
    ``k = sum k_i``, ``r0 = sum k_i r_i / k``. Terms without stiffness are left out.
    """
    import openmm
    from openmm import unit

    totals: dict[tuple[int, int], tuple[float, float]] = {}

    def add(pair: tuple[int, int], length: float, constant: float) -> None:
        if constant > 0.0:
            weighted, total = totals.get(pair, (0.0, 0.0))
            totals[pair] = (weighted + constant * length, total + constant)

    bonded = {(int(i), int(j)) for i, j in bonds}
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for index in range(force.getNumBonds()):
                i, j, length, constant = force.getBondParameters(index)
                k = constant.value_in_unit(unit.kilojoule_per_mole / unit.nanometer**2)
                add((min(i, j), max(i, j)), length.value_in_unit(unit.nanometer), k)
        elif isinstance(force, openmm.CustomBondForce):
            for atoms, (place, stiffness) in custom_bond_minima(force).items():
                if atoms in bonded:
                    add((atoms[0], atoms[1]), place, stiffness)
    return {pair: (weighted / k, k) for pair, (weighted, k) in totals.items()}
