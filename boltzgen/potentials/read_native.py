"""Readers of OpenMM's native forces: a force object becomes arrays of `ForceFieldParameters`.

A force is known by its class name and read by its getters, so that this file needs no OpenMM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from boltzgen.errors import UnsupportedError


def plain_number(value: Any) -> Any:
    """`value` without its unit, in OpenMM's own: every getter answers in nm, ps, kJ/mol, rad and e."""
    return getattr(value, "_value", value)


def numbers(values: Any, where: str) -> list[Any]:
    """Plain numbers in OpenMM's units; NaN and infinity are refused."""
    plain = [plain_number(value) for value in values]
    if not np.all(np.isfinite(plain)):
        raise UnsupportedError(f"The system's {where} has a parameter that is not a finite number: {plain}.")
    return plain


def _rows(count: int, get: Callable[[int], Any], where: str, what: str) -> Iterator[list[Any]]:
    for index in range(count):
        yield numbers(get(index), f"{where}, {what} {index},")


def _columns(rows: Iterator[list[Any]], atoms: int, names: tuple[str, ...]) -> dict[str, list[Any]]:
    """Rows of (atoms..., value, value, ...) as one list of atom tuples and one list for each value."""
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for row in rows:
        columns[names[0]].append(row[:atoms])
        for name, value in zip(names[1:], row[atoms:], strict=True):
            columns[name].append(value)
    return columns


def _read_bonds(force: Any, where: str) -> dict[str, list[Any]]:
    rows = _rows(force.getNumBonds(), force.getBondParameters, where, "bond")
    return _columns(rows, 2, ("bond_atoms", "bond_length", "bond_stiffness"))


def _read_angles(force: Any, where: str) -> dict[str, list[Any]]:
    rows = _rows(force.getNumAngles(), force.getAngleParameters, where, "angle")
    return _columns(rows, 3, ("angle_atoms", "angle_equilibrium", "angle_stiffness"))


def _read_torsions(force: Any, where: str) -> dict[str, list[Any]]:
    rows = _rows(force.getNumTorsions(), force.getTorsionParameters, where, "torsion")
    return _columns(rows, 4, ("torsion_atoms", "torsion_periodicity", "torsion_phase", "torsion_barrier"))


def _refuse_cutoff(force: Any, where: str) -> None:
    names = ("CutoffNonPeriodic", "CutoffPeriodic", "Ewald", "PME", "LJPME")
    if force.getNonbondedMethod() != type(force).NoCutoff:
        named = next(n for n in names if getattr(type(force), n, None) == force.getNonbondedMethod())
        raise UnsupportedError(
            f"The system's {where} uses {named}; only NoCutoff is translated. Prepare the molecule again "
            "without a cutoff."
        )


def _read_nonbonded(force: Any, where: str) -> dict[str, list[Any]]:
    _refuse_cutoff(force, where)
    if force.getNumParticleParameterOffsets() or force.getNumExceptionParameterOffsets():
        raise UnsupportedError(
            f"The system's {where} has parameter offsets (an alchemical system), which are not translated; "
            "give the system without them."
        )
    particles = _rows(force.getNumParticles(), force.getParticleParameters, where, "particle")
    columns = _columns(particles, 0, ("_", "charge", "sigma", "epsilon"))
    del columns["_"]
    exceptions = _rows(force.getNumExceptions(), force.getExceptionParameters, where, "exception")
    names = ("exception_atoms", "exception_charge_product", "exception_sigma", "exception_epsilon")
    return {"has_nonbonded": [True], **columns, **_columns(exceptions, 2, names)}


def _read_solvent(force: Any, where: str) -> dict[str, list[Any]]:
    _refuse_cutoff(force, where)
    particles = _rows(force.getNumParticles(), force.getParticleParameters, where, "particle")
    columns = _columns(particles, 0, ("_", "solvent_charge", "born_radius", "born_scale"))
    del columns["_"]
    medium = (force.getSoluteDielectric(), force.getSolventDielectric(), force.getSurfaceAreaEnergy())
    names = ("solute_dielectric", "solvent_dielectric", "surface_area_energy")
    scalars = dict(zip(names, ([value] for value in numbers(medium, where)), strict=True))
    return {"has_solvent": [True], **columns, **scalars}


READERS: dict[str, Callable[[Any, str], dict[str, list[Any]]]] = {
    "HarmonicBondForce": _read_bonds,
    "HarmonicAngleForce": _read_angles,
    "PeriodicTorsionForce": _read_torsions,
    "NonbondedForce": _read_nonbonded,
    "GBSAOBCForce": _read_solvent,
}
SCALARS = ("has_nonbonded", "has_solvent", "solute_dielectric", "solvent_dielectric", "surface_area_energy")
ONCE = ("has_nonbonded", "has_solvent")


def as_array(key: str, values: list[Any]) -> np.ndarray:
    if key in ("has_nonbonded", "has_solvent"):
        return np.array(values, dtype=bool)
    if key.endswith("_atoms"):
        width = {"bond_atoms": 2, "angle_atoms": 3, "torsion_atoms": 4, "exception_atoms": 2}[key]
        return np.array(values, dtype=np.int64).reshape(-1, width)
    return np.array(values, dtype=np.int64 if key == "torsion_periodicity" else np.float64)
