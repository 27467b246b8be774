"""Units and physical constants: the only place where they are written.

At the door: nm, ps, K, kJ/mol, dalton, elementary charge (OpenMM's units).
Inside: reduced energies ``u = U / kT`` without a unit.
"""

from __future__ import annotations

#: Molar gas constant, kJ/mol/K (CODATA 2018, exact; the value OpenMM uses).
GAS_CONSTANT = 8.31446261815324e-3

#: kJ/mol in one kcal/mol (thermochemical calorie, exact).
KJ_PER_KCAL = 4.184

#: nm in one Angstrom.
NM_PER_ANGSTROM = 0.1

#: nm in one bohr; kJ/mol in one hartree and in one electronvolt (CODATA 2018).
BOHR, HARTREE, ELECTRONVOLT = 0.0529177210903, 2625.4996394799, 96.48533212331


def thermal_energy(temperature: float) -> float:
    """``kT`` in kJ/mol at `temperature` in K."""
    return GAS_CONSTANT * temperature


def energy_in_units(value_kt: float, temperature: float) -> dict[str, float]:
    """An energy given in kT, at `temperature` in K, in every unit that results carry."""
    kj = value_kt * thermal_energy(temperature)
    return {"kT": value_kt, "kJ/mol": kj, "kcal/mol": kj / KJ_PER_KCAL}
