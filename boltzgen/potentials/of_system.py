"""Which potential a prepared molecule gets: translated, through the OpenMM bridge, or a hybrid."""

from __future__ import annotations

from boltzgen.errors import UnsupportedError
from boltzgen.potentials.base import Potential
from boltzgen.potentials.molecular_mechanics import MolecularMechanics
from boltzgen.potentials.openmm_bridge import bridge, translatable_part
from boltzgen.potentials.translate import translate
from boltzgen.system.molecular_system import MolecularSystem


def potential_of(system: MolecularSystem) -> Potential:
    """The energy of `system`, as its ``energy_model`` says.

    Raises
    ------
    UnsupportedError: the System cannot be translated (and no bridge was asked for); InputError: a backend
    is missing or does not fit the molecule.
    """
    model = system.energy_model
    if model.region is not None:
        raise UnsupportedError("Hybrids are not connected yet.")
    if model.engine == "bridge":
        return bridge(system, model.platform, model.workers)
    return translate(system)


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
