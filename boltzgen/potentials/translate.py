"""From an OpenMM System to a torch potential; the only file of this room that knows OpenMM.

Each force class that can be translated has one reader below; every other force is refused by name,
unless it has no effect on the energy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm
import torch
from openmm import unit

from boltzgen.errors import BoltzgenError, UnsupportedError
from boltzgen.potentials.molecular_mechanics import MolecularMechanics
from boltzgen.potentials.parameters import ForceFieldParameters

if TYPE_CHECKING:
    from boltzgen.system import MolecularSystem

#: Forces that change velocities or nothing, never the energy.
WITHOUT_ENERGY = ("CMMotionRemover", "AndersenThermostat")

#: What a force that may be empty counts; with a count of 0 it has no effect.
COUNTS = {
    "RBTorsionForce": "getNumTorsions",
    "CMAPTorsionForce": "getNumTorsions",
    "CustomBondForce": "getNumBonds",
    "CustomAngleForce": "getNumAngles",
    "CustomTorsionForce": "getNumTorsions",
    "CustomNonbondedForce": "getNumParticles",
    "CustomGBForce": "getNumParticles",
    "CustomExternalForce": "getNumParticles",
    "CustomCompoundBondForce": "getNumBonds",
    "CustomCentroidBondForce": "getNumBonds",
}

#: Agreement with OpenMM Reference that `check_against_reference` demands (relative, float64).
REFERENCE_TOLERANCE = 1e-6


def translate(system: MolecularSystem) -> MolecularMechanics:
    """The potential of a prepared molecule. Raises UnsupportedError, naming what cannot be translated."""
    return translate_openmm(system.openmm_system())


def translate_openmm(system: openmm.System) -> MolecularMechanics:
    """The potential of an OpenMM System: energies in kJ/mol of positions in nm.

    Raises
    ------
    UnsupportedError
        Naming a force (class and index), cutoff, constraint or virtual site that is not translated.
    """
    _refuse_constraints(system)
    n_atoms = system.getNumParticles()
    collected: dict[str, list[Any]] = {}
    for index, force in enumerate(system.getForces()):
        name = type(force).__name__
        if _has_no_effect(force):
            continue
        where = f"force {index} ({name})"
        if name not in READERS:
            raise UnsupportedError(
                f"The system's {where} is not translated; translated are {', '.join(READERS)}. "
                "Prepare the molecule with a force field that uses only these, for a peptide "
                "`--forcefield amber99sbildn.xml --implicit amber99_obc.xml`."
            )
        if force.usesPeriodicBoundaryConditions():
            raise UnsupportedError(
                f"The system's {where} uses a periodic box; boltzgen treats one molecule without a box. "
                "Prepare it again without explicit water "
                "(`boltzgen prepare INPUT --implicit amber99_obc.xml`)."
            )
        for key, values in READERS[name](force, where).items():
            if key in ONCE and key in collected:
                raise UnsupportedError(f"The system's {where} is the second of its class; one is translated.")
            collected.setdefault(key, []).extend(values)
    arrays = {key: _as_array(key, values) for key, values in collected.items()}
    scalars: dict[str, Any] = {key: arrays.pop(key)[0].item() for key in SCALARS if key in arrays}
    return MolecularMechanics(ForceFieldParameters(**{"n_atoms": n_atoms, **arrays, **scalars}))


def _refuse_constraints(system: openmm.System) -> None:
    if system.getNumConstraints():
        i, j, _ = system.getConstraintParameters(0)
        raise UnsupportedError(
            f"The system has {system.getNumConstraints()} constraints (the first between atoms {i} and {j}); "
            "a flow needs the flexible molecule. Prepare it again with `--constraints none`."
        )
    for i in range(system.getNumParticles()):
        if system.isVirtualSite(i):
            raise UnsupportedError(
                f"Atom {i} is a virtual site, which is not treated; choose a force field without them."
            )


def _has_no_effect(force: openmm.Force) -> bool:
    name = type(force).__name__
    return name in WITHOUT_ENERGY or (name in COUNTS and getattr(force, COUNTS[name])() == 0)


def _numbers(values: Any, where: str) -> list[Any]:
    """Plain numbers in OpenMM's units; NaN and infinity are refused."""
    plain = [v.value_in_unit_system(unit.md_unit_system) if unit.is_quantity(v) else v for v in values]
    if not np.all(np.isfinite(plain)):
        raise UnsupportedError(f"The system's {where} has a parameter that is not a finite number: {plain}.")
    return plain


def _rows(count: int, get: Callable[[int], Any], where: str, what: str) -> Iterator[list[Any]]:
    for index in range(count):
        yield _numbers(get(index), f"{where}, {what} {index},")


def _columns(rows: Iterator[list[Any]], atoms: int, names: tuple[str, ...]) -> dict[str, list[Any]]:
    """Rows of (atoms..., value, value, ...) as one list of atom tuples and one list for each value."""
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for row in rows:
        columns[names[0]].append(row[:atoms])
        for name, value in zip(names[1:], row[atoms:], strict=True):
            columns[name].append(value)
    return columns


def _read_bonds(force: openmm.HarmonicBondForce, where: str) -> dict[str, list[Any]]:
    rows = _rows(force.getNumBonds(), force.getBondParameters, where, "bond")
    return _columns(rows, 2, ("bond_atoms", "bond_length", "bond_stiffness"))


def _read_angles(force: openmm.HarmonicAngleForce, where: str) -> dict[str, list[Any]]:
    rows = _rows(force.getNumAngles(), force.getAngleParameters, where, "angle")
    return _columns(rows, 3, ("angle_atoms", "angle_equilibrium", "angle_stiffness"))


def _read_torsions(force: openmm.PeriodicTorsionForce, where: str) -> dict[str, list[Any]]:
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


def _read_nonbonded(force: openmm.NonbondedForce, where: str) -> dict[str, list[Any]]:
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


def _read_solvent(force: openmm.GBSAOBCForce, where: str) -> dict[str, list[Any]]:
    _refuse_cutoff(force, where)
    particles = _rows(force.getNumParticles(), force.getParticleParameters, where, "particle")
    columns = _columns(particles, 0, ("_", "solvent_charge", "born_radius", "born_scale"))
    del columns["_"]
    medium = (force.getSoluteDielectric(), force.getSolventDielectric(), force.getSurfaceAreaEnergy())
    names = ("solute_dielectric", "solvent_dielectric", "surface_area_energy")
    scalars = dict(zip(names, ([value] for value in _numbers(medium, where)), strict=True))
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


def _as_array(key: str, values: list[Any]) -> np.ndarray:
    if key in ("has_nonbonded", "has_solvent"):
        return np.array(values, dtype=bool)
    if key.endswith("_atoms"):
        width = {"bond_atoms": 2, "angle_atoms": 3, "torsion_atoms": 4, "exception_atoms": 2}[key]
        return np.array(values, dtype=np.int64).reshape(-1, width)
    return np.array(values, dtype=np.int64 if key == "torsion_periodicity" else np.float64)


def reference_energies(system: openmm.System, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """OpenMM Reference's energies (batch,) kJ/mol and forces (batch, N, 3) kJ/mol/nm of `positions` in nm."""
    integrator = openmm.VerletIntegrator(0.001)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    energies, forces = [], []
    for frame in positions:
        context.setPositions(frame)
        state = context.getState(getEnergy=True, getForces=True)
        energies.append(state.getPotentialEnergy().value_in_unit_system(unit.md_unit_system))
        forces.append(state.getForces(asNumpy=True).value_in_unit_system(unit.md_unit_system))
    return np.array(energies), np.array(forces)


def check_against_reference(
    system: MolecularSystem, potential: MolecularMechanics, *, n_perturbed: int = 10, seed: int = 1
) -> dict[str, Any]:
    """Compare `potential` with OpenMM Reference on the reference positions and perturbed ones, in float64.

    The relative energy difference is ``|dE| / max(1 kJ/mol, sum of |terms|)``, that of the forces
    ``max |dF| / max(1 kJ/mol/nm, max |F|)`` a conformation. The result is JSON-able.

    Raises
    ------
    BoltzgenError
        When either exceeds 1e-6: the translation is wrong and must not be used.
    """
    reference = np.asarray(system.reference_positions, dtype=np.float64)
    noise = np.random.default_rng(seed).normal(scale=0.01, size=(n_perturbed, *reference.shape))
    noise *= np.linspace(0.1, 1.0, n_perturbed)[:, None, None]
    positions = np.concatenate([reference[None], reference + noise])
    expected_energy, expected_force = reference_energies(system.openmm_system(), positions)
    x = torch.tensor(positions, requires_grad=True)
    energy = potential.energy(x)
    (gradient,) = torch.autograd.grad(energy.sum(), x)
    terms = potential.energy_by_term(x.detach())
    scale = torch.stack(list(terms.values())).abs().sum(0).numpy() if terms else np.ones(len(positions))
    energy_difference = np.abs(energy.detach().numpy() - expected_energy) / np.maximum(1, scale)
    force_difference = np.abs(gradient.numpy() + expected_force).max(axis=(1, 2))
    force_difference /= np.maximum(1, np.abs(expected_force).max(axis=(1, 2)))
    result = {
        "platform": "Reference",
        "openmm": openmm.version.version,
        "conformations": len(positions),
        "max_relative_energy_difference": float(energy_difference.max()),
        "max_relative_force_difference": float(force_difference.max()),
        "tolerance": REFERENCE_TOLERANCE,
    }
    worst = max(result["max_relative_energy_difference"], result["max_relative_force_difference"])
    if not worst <= REFERENCE_TOLERANCE:
        raise BoltzgenError(
            f"The torch potential of {system.name!r} differs from OpenMM Reference by {worst:.1e} (relative; "
            f"allowed {REFERENCE_TOLERANCE:.0e}), so it cannot be trusted. Please report this system."
        )
    return result
