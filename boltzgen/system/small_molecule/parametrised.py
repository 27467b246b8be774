"""The part of `prepare` that small molecules take: options in, a parametrised molecule out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boltzgen.errors import InputError
from boltzgen.interrupts import StopRequest
from boltzgen.provenance import versions
from boltzgen.system import checks
from boltzgen.system.ambertools.gaff import charges_of, gaff_system
from boltzgen.system.formats.bounds import read_text
from boltzgen.system.formats.readers import RawMolecule, kind_of
from boltzgen.system.options import PrepareOptions
from boltzgen.system.parametrise.forcefield import IMPLICIT_MODELS, add_implicit
from boltzgen.system.parametrise.mmff import mmff_properties, mmff_system
from boltzgen.system.small_molecule.checks import check_typed
from boltzgen.system.small_molecule.fields import GAFF, field_of, is_openff, title_of
from boltzgen.system.small_molecule.files import read_small_molecule
from boltzgen.system.small_molecule.molecule import from_smiles
from boltzgen.system.small_molecule.openff import openff_file, openff_system

if TYPE_CHECKING:
    import openmm
    from rdkit import Chem

#: Kinds of `readers.KINDS` that state bond orders and formal charges.
SMALL_MOLECULES = ("smiles", "sdf", "mol2")

DEFAULT_FIELD = ("mmff94",)

_SOLVENT_NOTE = (
    "The charges of {} were not fitted together with the Generalized Born radii of {}; solvation is "
    "approximate."
)


def small_molecule_system(
    source: Path | None, asked: PrepareOptions, *, stop: StopRequest, before: Callable[[int], None]
) -> tuple[RawMolecule, openmm.System, list[str]]:
    """The molecule of `asked.smiles` or of the file `source`, its System, and notes.

    stop, before: as of `boltzgen.system.prepare.prepare`.

    Raises
    ------
    InputError, UnsupportedError: one sentence naming input, atom and remedy.
    """
    where = str(source) if source is not None else "a SMILES"
    field = field_of(asked, where)
    _check_options(asked, where)
    relax = asked.minimize is not False
    if source is None:
        assert asked.smiles is not None  # PrepareOptions.check has seen to it
        found = from_smiles(asked.smiles, field=field, relax=relax)
        kind, path = "smiles", Path(f"the SMILES {asked.smiles}")
    else:
        kind, path = kind_of(source), source
        found = read_small_molecule(
            path, read_text(path), add_hydrogens=asked.add_hydrogens, field=field, relax=relax
        )
    topology, positions = found.topology(), found.positions
    record: dict[str, Any] | None
    checks.check_positions(topology, positions, path)
    if field in GAFF:
        system, record, notes = gaff_system(
            found.molecule, field, asked, source, str(path), stop=stop, before=before
        )
    else:
        system, record, notes = _other_system(found.molecule, field, asked, source, path, stop, before)
        if asked.implicit != "none":
            add_implicit(system, topology, asked.implicit, asked.surface, str(path))
            notes.append(_SOLVENT_NOTE.format(title_of(field), asked.implicit))
    raw = RawMolecule(
        kind,
        path,
        topology,
        positions,
        notes=found.notes,
        smiles=found.smiles,
        stereo=found.stereo,
        parameters=record,
    )
    return raw, system, notes


def _other_system(
    molecule: Chem.Mol,
    field: str,
    asked: PrepareOptions,
    source: Path | None,
    path: Path,
    stop: StopRequest,
    before: Callable[[int], None],
) -> tuple[openmm.System, dict[str, Any] | None, list[str]]:
    """Under MMFF94 or a force field of OpenFF, in vacuum; where its parameters come from, and notes."""
    if not is_openff(field):
        properties = check_typed(molecule, mmff_properties(molecule, field), str(path))
        return mmff_system(molecule, properties), None, []
    charges = None
    if asked.charges is not None:
        charges = charges_of(molecule, field, asked.charges, source, str(path), stop=stop, before=before)
    system = openff_system(molecule, field, None if charges is None else charges.values, str(path))
    record: dict[str, Any] = {
        "file": openff_file(field),
        "charges": {"method": "the force field's own"} if charges is None else charges.record,
        "versions": versions("openff-toolkit", "openff-interchange"),
    }
    return system, record, list(() if charges is None else charges.notes)


def _check_options(asked: PrepareOptions, where: str) -> None:
    if asked.coordinates is not None:
        raise InputError(f"{where} needs no `coordinates={str(asked.coordinates)!r}`; leave it out.")
    if asked.ph != PrepareOptions.ph:
        raise InputError(
            f"`ph={asked.ph:g}` changes nothing in {where}, which states its own charges; leave it out "
            "and write the charge that you want, for example CC(=O)[O-]."
        )
    if asked.implicit != "none" and asked.implicit not in IMPLICIT_MODELS:
        raise InputError(
            f"`implicit={asked.implicit!r}` goes with OpenMM force fields; for {where} use "
            f"{', '.join(IMPLICIT_MODELS)}."
        )
