"""Which potential a prepared molecule gets: translated, through the OpenMM bridge, or a hybrid."""

from __future__ import annotations

from boltzgen.errors import UnsupportedError
from boltzgen.potentials.base import Potential
from boltzgen.potentials.molecular_mechanics import MolecularMechanics
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
    if model.region is not None or model.engine == "bridge":
        raise UnsupportedError("Hybrids and the bridge are not connected yet.")
    return translate(system)


def description_of(system: MolecularSystem) -> MolecularMechanics:
    """The molecular mechanics of `system`, for what a flow knows of it; not for energies.

    Forces that cannot be translated are left out, and a machine-learned region is described by the force
    field that it replaces.
    """
    return translate(system)
