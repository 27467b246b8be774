"""Units and physical constants: the only place where they are written.

At the door: nm, ps, K, kJ/mol, dalton, elementary charge (OpenMM's units).
Inside: reduced energies ``u = U / kT`` without a unit.
"""

from __future__ import annotations

from typing import Any, TypeVar

#: Molar gas constant, kJ/mol/K (CODATA 2018, exact; the value OpenMM uses).
GAS_CONSTANT = 8.31446261815324e-3

#: Model systems have energies in kT; this is the temperature (K) at which that kT is taken.
MODEL_TEMPERATURE = 300.0

#: kT of one kelvin in each unit that a potential's energy may have.
THERMAL_UNITS = {"kJ/mol": GAS_CONSTANT, "kT": 1.0 / MODEL_TEMPERATURE}

#: kJ/mol in one kcal/mol (thermochemical calorie, exact).
KJ_PER_KCAL = 4.184

#: nm in one Angstrom.
NM_PER_ANGSTROM = 0.1

#: nm in one bohr; kJ/mol in one hartree and in one electronvolt (CODATA 2018).
BOHR, HARTREE, ELECTRONVOLT = 0.0529177210903, 2625.4996394799, 96.48533212331


#: Two temperatures closer than this are one, K: files round them.
SAME_TEMPERATURE = 0.01


Kelvin = TypeVar("Kelvin", float, Any)


def thermal_energy(temperature: Kelvin, unit: str = "kJ/mol") -> Kelvin:
    """``kT`` at `temperature` in K, a number, an array or a tensor: an energy over it is reduced.

    unit: ``kJ/mol``, or ``kT`` of a model system, whose energies are in kT at `MODEL_TEMPERATURE`.
    """
    kt: Kelvin = THERMAL_UNITS[unit] * temperature
    return kt


def same_temperature(one: Kelvin, other: float) -> Any:
    """Whether temperatures (K), a number or an array, are one: less than `SAME_TEMPERATURE` apart."""
    return abs(one - other) < SAME_TEMPERATURE


def energy_in_units(value_kt: float, temperature: float) -> dict[str, float]:
    """An energy given in kT, at `temperature` in K, in every unit that results carry."""
    kj = value_kt * thermal_energy(temperature)
    return {"kT": value_kt, "kJ/mol": kj, "kcal/mol": kj / KJ_PER_KCAL}
