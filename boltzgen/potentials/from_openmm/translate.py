"""From an OpenMM System to a torch potential.

Each force class that can be translated has one reader (`read_native`, `read_custom`, `read_gb`); every
other force is refused by name, unless it has no effect on the energy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import openmm

from boltzgen.errors import UnsupportedError
from boltzgen.potentials.from_openmm.read_custom import READERS as CUSTOM_READERS
from boltzgen.potentials.from_openmm.read_custom import ReadingContext, atoms_described
from boltzgen.potentials.from_openmm.read_gb import read_custom_gb
from boltzgen.potentials.from_openmm.read_native import ONCE, as_field
from boltzgen.potentials.from_openmm.read_native import READERS as NATIVE_READERS
from boltzgen.potentials.molecular_mechanics import MolecularMechanics
from boltzgen.potentials.records.parameters import ForceFieldParameters

if TYPE_CHECKING:
    from boltzgen.system.molecular_system import MolecularSystem

#: What reads a force, by its class; custom forces of expressions have `CUSTOM_READERS`.
READERS = {**NATIVE_READERS, "CustomGBForce": read_custom_gb}

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
    "LCPOForce": "getNumParticles",
    "CustomExternalForce": "getNumParticles",
    "CustomCompoundBondForce": "getNumBonds",
    "CustomCentroidBondForce": "getNumBonds",
}

#: How every refusal of a force ends.
REMEDY = "Or prepare it with `bridge=True`: OpenMM then evaluates the energy, more slowly."


def translate(system: MolecularSystem) -> MolecularMechanics:
    """The potential of a prepared molecule. Raises UnsupportedError, naming what cannot be translated."""
    return translate_openmm(system.openmm_system(), system.bonds)


def translate_openmm(system: openmm.System, bonds: np.ndarray | None = None) -> MolecularMechanics:
    """The potential of an OpenMM System: energies in kJ/mol of positions in nm.

    `bonds` (M, 2) tell which terms of custom forces count as bonded; without them, angles and torsions do.

    Raises
    ------
    UnsupportedError
        Naming a force (class and index), cutoff, constraint or virtual site that is not translated.
    """
    refuse_boxes_and_constraints(system)
    context = ReadingContext(system.getNumParticles(), bonds)
    collected: dict[str, list[Any]] = {}
    for index, force in enumerate(system.getForces()):
        name = type(force).__name__
        if _has_no_effect(force):
            continue
        where = f"force {index} ({name})"
        if name not in READERS and name not in CUSTOM_READERS:
            raise UnsupportedError(
                f"The system's {where} is not translated; translated are "
                f"{', '.join([*READERS, *CUSTOM_READERS])}. "
                "Prepare the molecule with a force field that uses only these, for a peptide "
                f'`forcefield="amber99sbildn.xml"`, `implicit="amber99_obc.xml"`. {REMEDY}'
            )
        for key, values in _read(force, where, context).items():
            if key in ONCE and key in collected:
                raise UnsupportedError(
                    f"The system's {where} is the second of its class; one is translated. {REMEDY}"
                )
            collected.setdefault(key, []).extend(values)
    descriptions = collected.pop("described", [])
    known: dict[str, Any] = {key: as_field(key, values) for key, values in collected.items()}
    if "has_nonbonded" not in known:
        known |= atoms_described(descriptions)
    return MolecularMechanics(ForceFieldParameters(n_atoms=context.n_atoms, **known))


def _read(force: openmm.Force, where: str, context: ReadingContext) -> dict[str, Any]:
    """What the reader of `force` finds; its refusals end with the remedy."""
    name = type(force).__name__
    try:
        if name in CUSTOM_READERS:
            return CUSTOM_READERS[name](force, where, context)
        return READERS[name](force, where)
    except UnsupportedError as error:
        raise UnsupportedError(f"{error} {REMEDY}") from error


def refuse_boxes_and_constraints(system: openmm.System) -> None:
    """Raise UnsupportedError for what no flow can sample, whoever computes the energy."""
    for index, force in enumerate(system.getForces()):
        if not _has_no_effect(force) and force.usesPeriodicBoundaryConditions():
            where = f"force {index} ({type(force).__name__})"
            raise UnsupportedError(
                f"The system's {where} uses a periodic box; boltzgen treats one molecule without a box. "
                'Prepare it again without explicit water, `prepare(INPUT, implicit="amber99_obc.xml")`.'
            )
    if system.getNumConstraints():
        i, j, _ = system.getConstraintParameters(0)
        raise UnsupportedError(
            f"The system has {system.getNumConstraints()} constraints (the first between atoms {i} and {j}); "
            'a flow needs the flexible molecule. Prepare it again with `constraints="none"`.'
        )
    for i in range(system.getNumParticles()):
        if system.isVirtualSite(i):
            raise UnsupportedError(
                f"Atom {i} is a virtual site, which is not treated; choose a force field without them."
            )


def _has_no_effect(force: openmm.Force) -> bool:
    name = type(force).__name__
    return name in WITHOUT_ENERGY or (name in COUNTS and getattr(force, COUNTS[name])() == 0)
