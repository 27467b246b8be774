"""Which potential a prepared molecule gets: translated, through the OpenMM bridge, or a hybrid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from boltzgen.errors import InputError, UnsupportedError
from boltzgen.potentials.base import Potential
from boltzgen.potentials.from_openmm.bridge import bridge, translatable_part
from boltzgen.potentials.from_openmm.translate import translate
from boltzgen.potentials.hybrid import HybridPotential
from boltzgen.potentials.learned.backends import make_backend
from boltzgen.potentials.molecular_mechanics import MolecularMechanics
from boltzgen.system.energy_model import MachineLearnedRegion
from boltzgen.system.formats.openmm_xml import serialize_system
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.region.division import without_internal_terms


def potential_of(system: MolecularSystem) -> Potential:
    """The energy of `system`, as its ``energy_model`` says.

    Raises
    ------
    UnsupportedError: the System cannot be translated (and no bridge was asked for), or `prepare` found that
    the energy disagrees with OpenMM Reference; InputError: a backend is missing or does not fit the molecule.
    """
    model = system.energy_model
    checked = system.provenance.get("translation_check", {})
    if checked.get("agrees") is False:
        raise UnsupportedError(
            f"{checked['refused']} Prepare it again, with `bridge=True` or with a newer version of boltzgen."
        )
    if model.region is not None:
        return _hybrid(system, model.region)
    if model.engine == "bridge":
        return bridge(system, model.platform, model.workers)
    return translate(system)


def without_region(system: MolecularSystem) -> MolecularSystem:
    """`system` with the force field's energy inside its machine-learned region left out, and no region."""
    region = system.energy_model.region
    assert region is not None
    rest = without_internal_terms(system.openmm_system(), region.atoms)
    model = replace(system.energy_model, region=None)
    return replace(system, system_xml=serialize_system(rest), energy_model=model)


def _hybrid(system: MolecularSystem, region: MachineLearnedRegion) -> HybridPotential:
    """The force field outside `region` and between it and the rest, its backend inside."""
    members = [*region.atoms, *(atom for link in region.links for atom in (link.inside, link.outside))]
    if not region.atoms or min(members) < 0 or max(members) >= system.n_atoms:
        raise InputError(
            f"The machine-learned region of {system.name!r} names atoms outside 0..{system.n_atoms - 1}; "
            "prepare it again."
        )
    region.check_file()
    numbers = np.array([*system.atomic_numbers[list(region.atoms)], *(1 for _ in region.links)])
    rest = potential_of(without_region(system))
    learned = make_backend(region.backend, numbers, region.options, workers=system.energy_model.workers)
    return HybridPotential(rest, learned, region.atoms, region.links, system.reference_positions)


def description_of(system: MolecularSystem) -> MolecularMechanics:
    """The molecular mechanics of `system`, for what a flow knows of it; not for energies.

    Forces that cannot be translated are left out, and a machine-learned region is described by the force
    field that it replaces.
    """
    try:
        return translate(system)
    except UnsupportedError:
        return translatable_part(system)


def require_invariance(potential: Potential, name: str) -> None:
    """Raise UnsupportedError unless the energy of `name` stays as it is when the molecule moves or turns."""
    if not potential.invariant:
        raise UnsupportedError(
            f"The energy of {name!r} changes when the molecule moves or turns as a whole (for example by a "
            "CustomExternalForce), which internal coordinates cannot describe; take that force out of the "
            "System."
        )
