"""The part of `prepare` that small molecules take: options in, a parametrised molecule out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from boltzgen.errors import InputError
from boltzgen.system import checks
from boltzgen.system.formats.bounds import read_text
from boltzgen.system.formats.readers import RawMolecule, kind_of
from boltzgen.system.options import PrepareOptions
from boltzgen.system.parametrise.forcefield import IMPLICIT_MODELS, add_implicit
from boltzgen.system.parametrise.mmff import VARIANTS, mmff_properties, mmff_system
from boltzgen.system.small_molecule.checks import check_typed
from boltzgen.system.small_molecule.files import read_small_molecule
from boltzgen.system.small_molecule.molecule import from_smiles

if TYPE_CHECKING:
    import openmm

#: Kinds of `readers.KINDS` whose parameters come from MMFF94.
SMALL_MOLECULES = ("smiles", "sdf", "mol2")

DEFAULT_VARIANT = ("mmff94",)

_SOLVENT_NOTE = (
    "MMFF94's charges were not fitted together with the Generalized Born radii of {}; solvation is "
    "approximate."
)


def small_molecule_system(
    source: Path | None, asked: PrepareOptions
) -> tuple[RawMolecule, openmm.System, list[str]]:
    """The molecule of `asked.smiles` or of the file `source`, its System, and notes.

    Raises
    ------
    InputError, UnsupportedError: one sentence naming input, atom and remedy.
    """
    where = str(source) if source is not None else "a SMILES"
    variant = _variant(asked.forcefield, where)
    _check_options(asked, where)
    relax = asked.minimize is not False
    if source is None:
        assert asked.smiles is not None  # PrepareOptions.check has seen to it
        found = from_smiles(asked.smiles, variant=variant, relax=relax)
        kind, path = "smiles", Path(f"the SMILES {asked.smiles}")
    else:
        kind, path = kind_of(source), source
        found = read_small_molecule(
            path, read_text(path), add_hydrogens=asked.add_hydrogens, variant=variant, relax=relax
        )
    topology, positions = found.topology(), found.positions
    checks.check_positions(topology, positions, path)
    properties = check_typed(found.molecule, mmff_properties(found.molecule, variant), str(path))
    system = mmff_system(found.molecule, properties)
    notes = []
    if asked.implicit != "none":
        add_implicit(system, topology, asked.implicit, asked.surface, str(path))
        notes.append(_SOLVENT_NOTE.format(asked.implicit))
    raw = RawMolecule(
        kind, path, topology, positions, notes=found.notes, smiles=found.smiles, stereo=found.stereo
    )
    return raw, system, notes


def refuse_mmff(forcefield: tuple[str, ...]) -> None:
    """Raise InputError when MMFF94 is asked for an input that states no bond orders and formal charges."""
    for name in forcefield:
        if name.lower() in VARIANTS:
            raise InputError(
                f"`forcefield={name!r}` goes with `smiles`, SDF and mol2, which state bond orders and "
                "charges; a PDB, mmCIF or sequence does not. Give the molecule as one of those, or an OpenMM "
                "force-field file."
            )


def _variant(forcefield: tuple[str, ...], where: str) -> str:
    words = forcefield or DEFAULT_VARIANT
    if len(words) == 1 and words[0].lower() in VARIANTS:
        return words[0].lower()
    raise InputError(
        f"`forcefield`: {' '.join(words)} has no parameters for {where}: SMILES, SDF and mol2 go with "
        f"{' or '.join(VARIANTS)}, OpenMM's files with PDB, mmCIF and sequences. Leave out `forcefield`, or "
        "bring the molecule as prmtop, GROMACS top or System XML."
    )


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
