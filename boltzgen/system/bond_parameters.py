"""Harmonic bond terms of a prepared molecule, read from its OpenMM System."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boltzgen.system.molecular_system import MolecularSystem


def harmonic_bonds(system: MolecularSystem) -> dict[tuple[int, int], tuple[float, float]]:
    """Equilibrium length (nm) and force constant (kJ/mol/nm2) of each sorted pair of atoms.

    Several terms on one pair are added up: ``k = sum k_i``, ``r0 = sum k_i r_i / k``. Terms without
    stiffness are left out.
    """
    import openmm
    from openmm import unit

    totals: dict[tuple[int, int], tuple[float, float]] = {}
    for force in system.openmm_system().getForces():
        if not isinstance(force, openmm.HarmonicBondForce):
            continue
        for index in range(force.getNumBonds()):
            i, j, length, constant = force.getBondParameters(index)
            k = constant.value_in_unit(unit.kilojoule_per_mole / unit.nanometer**2)
            if k <= 0.0:
                continue
            pair = (min(i, j), max(i, j))
            weighted, total = totals.get(pair, (0.0, 0.0))
            totals[pair] = (weighted + k * length.value_in_unit(unit.nanometer), total + k)
    return {pair: (weighted / k, k) for pair, (weighted, k) in totals.items()}
