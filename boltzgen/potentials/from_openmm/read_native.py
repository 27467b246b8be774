"""Readers of OpenMM's native forces: a force object becomes arrays of `ForceFieldParameters`.

A force is known by its class name and read by its getters, so that this file needs no OpenMM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from boltzgen.errors import UnsupportedError
from boltzgen.potentials.records.parameters import CorrectionMaps, NonbondedCutoff
from boltzgen.potentials.records.solvents import (
    DIELECTRIC_OFFSET,
    GeneralizedBornParameters,
    SurfaceAreaParameters,
)
from boltzgen.potentials.terms.native import COULOMB_CONSTANT

#: The constants of GBSAOBCForce: model II, lengths in nm.
OBC_SERIES = (1.0, 0.8, 4.85)
PROBE_RADIUS = 0.14


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


def _read_ryckaert_bellemans(force: Any, where: str) -> dict[str, list[Any]]:
    """``sum C_n cos^n(phi - pi)`` as periodic torsions: the same function, by powers of cosine as multiples.

    A constant is a torsion of periodicity 0 and barrier k, whose energy is 2 k.
    """
    torsions = ("torsion_atoms", "torsion_periodicity", "torsion_phase", "torsion_barrier")
    columns: dict[str, list[Any]] = {name: [] for name in torsions}
    for row in _rows(force.getNumTorsions(), force.getTorsionParameters, where, "torsion"):
        series = COSINE_POWERS @ (np.array(row[4:]) * [1, -1, 1, -1, 1, -1])
        series[0] = 0.5 * (series[0] - series[1:].sum())
        for periodicity in np.flatnonzero(series).tolist():
            values = (row[:4], periodicity, 0.0, float(series[periodicity]))
            for name, value in zip(torsions, values, strict=True):
                columns[name].append(value)
    return columns


#: Column n: the cosine series of cos^n(x), row k its coefficient of cos(k x).
COSINE_POWERS = np.array(
    [
        [1, 0, 1 / 2, 0, 3 / 8, 0],
        [0, 1, 0, 3 / 4, 0, 5 / 8],
        [0, 0, 1 / 2, 0, 1 / 2, 0],
        [0, 0, 0, 1 / 4, 0, 5 / 16],
        [0, 0, 0, 0, 1 / 8, 0],
        [0, 0, 0, 0, 0, 1 / 16],
    ]
)


def _read_correction_maps(force: Any, where: str) -> dict[str, list[Any]]:
    rows = list(_rows(force.getNumTorsions(), force.getTorsionParameters, where, "torsion"))
    maps = []
    for index in range(force.getNumMaps()):
        size, energy = force.getMapParameters(index)
        values = numbers(plain_number(energy), f"{where}, map {index},")
        maps.append(np.array(values, dtype=np.float64).reshape(size, size, order="F"))
    table = np.array(rows, dtype=np.int64).reshape(-1, 9)
    return {"cmap": [CorrectionMaps(table[:, 1:], table[:, 0], tuple(maps))]}


def cutoff_of(force: Any, where: str) -> float | None:
    """The cutoff (nm) of a force without a periodic box; None when it has none."""
    method = force.getNonbondedMethod()
    if method == type(force).NoCutoff:
        return None
    if method == type(force).CutoffNonPeriodic:
        return float(numbers([force.getCutoffDistance()], where)[0])
    names = ("CutoffPeriodic", "Ewald", "PME", "LJPME")
    named = next((n for n in names if getattr(type(force), n, None) == method), str(method))
    raise UnsupportedError(
        f"The system's {where} uses {named}; translated are NoCutoff and CutoffNonPeriodic. Prepare the "
        "molecule again without a periodic box."
    )


def _read_nonbonded(force: Any, where: str) -> dict[str, list[Any]]:
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
    columns |= _columns(exceptions, 2, names)
    if (distance := cutoff_of(force, where)) is not None:
        start = force.getSwitchingDistance() if force.getUseSwitchingFunction() else None
        dielectric = numbers([force.getReactionFieldDielectric()], where)[0]
        start = None if start is None else float(numbers([start], where)[0])
        columns["cutoff"] = [NonbondedCutoff(distance, start, float(dielectric))]
    return {"has_nonbonded": [True], **columns}


def _read_solvent(force: Any, where: str) -> dict[str, list[Any]]:
    """OpenMM's own OBC model II (Onufriev, Bashford and Case), with the surface term of ACE."""
    particles = list(_rows(force.getNumParticles(), force.getParticleParameters, where, "particle"))
    charge, radius, scale = np.array(particles, dtype=np.float64).reshape(-1, 3).T
    medium = (force.getSoluteDielectric(), force.getSolventDielectric(), force.getSurfaceAreaEnergy())
    solute, solvent, surface = numbers(medium, where)
    prefactor = -COULOMB_CONSTANT * (1 / solute - 1 / solvent) if solute and solvent else 0.0
    offset_radius = radius - DIELECTRIC_OFFSET
    cutoff = cutoff_of(force, where)
    alpha, beta, gamma = (np.full(len(charge), value) for value in OBC_SERIES)
    record = GeneralizedBornParameters(
        charge=charge,
        radius=radius,
        offset_radius=offset_radius,
        scaled_radius=scale * offset_radius,
        scale=scale,
        self_prefactor=0.5 * prefactor,
        pair_prefactor=prefactor,
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        tension=4 * np.pi * surface,
        probe=PROBE_RADIUS,
        swallowed=True,
        cutoff=cutoff,
        shift=0.0 if cutoff is None else 1 / cutoff,
    )
    return {"solvent": [record]}


def _read_surface_area(force: Any, where: str) -> dict[str, list[Any]]:
    rows = list(_rows(force.getNumParticles(), force.getParticleParameters, where, "particle"))
    radius, p1, p2, p3, p4 = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    (tension,) = numbers([force.getSurfaceTension()], where)
    if (radius < 0).any():
        raise UnsupportedError(f"The system's {where} has a particle with a negative radius.")
    return {"surface_area": [SurfaceAreaParameters(radius, p1, p2, p3, p4, float(tension))]}


READERS: dict[str, Callable[[Any, str], dict[str, list[Any]]]] = {
    "HarmonicBondForce": _read_bonds,
    "HarmonicAngleForce": _read_angles,
    "PeriodicTorsionForce": _read_torsions,
    "RBTorsionForce": _read_ryckaert_bellemans,
    "CMAPTorsionForce": _read_correction_maps,
    "NonbondedForce": _read_nonbonded,
    "GBSAOBCForce": _read_solvent,
    "LCPOForce": _read_surface_area,
}
#: What a system has once at most.
ONCE = ("has_nonbonded", "solvent")


def as_field(key: str, values: list[Any]) -> Any:
    """What `ForceFieldParameters` holds under `key`, from the values of all forces."""
    if key in ("has_nonbonded", "solvent", "cutoff"):
        return values[0]
    if key in ("cmap", "custom_gb", "custom", "surface_area"):
        return tuple(values)
    if key.endswith("_atoms"):
        width = {"bond_atoms": 2, "angle_atoms": 3, "torsion_atoms": 4, "exception_atoms": 2}[key]
        return np.array(values, dtype=np.int64).reshape(-1, width)
    return np.array(values, dtype=np.int64 if key == "torsion_periodicity" else np.float64)
