"""Force fields of OpenFF, where the user's environment has the toolkit: SMIRNOFF names such as openff-2.2.1.

The toolkit comes by conda; pip alone does not bring all that it needs. Of Sage and Parsley the releases
without constraints are taken, which have the same energy.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from boltzgen.errors import BoltzgenError, InputError, MissingExtraError
from boltzgen.system.formats.parsing import reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import openmm
    from rdkit import Chem

_CONSTRAINED = re.compile(r"^openff-(?=\d)")


def openff_file(name: str) -> str:
    """The file that `name` means: with its suffix, and of a release the one without constraints."""
    whole = name if name.endswith(".offxml") else f"{name}.offxml"
    return _CONSTRAINED.sub("openff_unconstrained-", whole)


def openff_system(
    molecule: Chem.Mol, name: str, charges: Sequence[float] | None, where: str
) -> openmm.System:
    """The System of `molecule` (hydrogens, one conformer) under the OpenFF force field `name`, in vacuum.

    charges: e; None: those that the force field asks for, by the toolkit's own means.

    Raises
    ------
    MissingExtraError: the toolkit is missing. InputError: it refuses the name or the molecule; says why.
    """
    toolkit = _toolkit(name)
    file = openff_file(name)
    try:
        field = toolkit.ForceField(file)
    except Exception as error:  # whatever the toolkit raises
        raise InputError(
            f"`forcefield={name!r}`: the OpenFF toolkit does not load {file} ({reason_of(error)})."
        ) from error
    try:
        given = toolkit.Molecule.from_rdkit(molecule, allow_undefined_stereo=True)
        words: dict[str, Any] = {}
        if charges is not None:
            from openff.units import unit

            given.partial_charges = unit.Quantity(list(charges), unit.elementary_charge)
            words["charge_from_molecules"] = [given]
        system: openmm.System = field.create_openmm_system(given.to_topology(), **words)
    except BoltzgenError:
        raise
    except Exception as error:
        raise InputError(
            f"{where}: the OpenFF toolkit makes no parameters of {file} for it ({reason_of(error)}); give "
            '`charges="FILE"`, or another `forcefield`.'
        ) from error
    if system.getNumParticles() != molecule.GetNumAtoms():
        raise InputError(
            f"{where}: {file} has virtual sites, which boltzgen does not sample; give a force field without."
        )
    return system


def _toolkit(name: str) -> Any:
    try:
        from openff import toolkit
    except ImportError as error:
        raise MissingExtraError(
            f"`forcefield={name!r}` needs the OpenFF toolkit, which cannot be imported "
            f"({reason_of(error)}). pip alone does not bring it: run conda install -c conda-forge "
            'openff-toolkit, or take `forcefield="gaff2"`.'
        ) from error
    return toolkit
