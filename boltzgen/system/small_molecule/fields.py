"""The force fields that small molecules may have: names, what they cover, and what is asked of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boltzgen.errors import InputError
from boltzgen.system.parametrise.mmff import VARIANTS

if TYPE_CHECKING:
    from boltzgen.system.options import PrepareOptions

#: Those of AmberTools.
GAFF = ("gaff", "gaff2")

#: H C N O F Si P S Cl Br I: the elements that MMFF94 binds covalently; GAFF and OpenFF's have no silicon.
MMFF_ELEMENTS = frozenset({1, 6, 7, 8, 9, 14, 15, 16, 17, 35, 53})
ORGANIC_ELEMENTS = MMFF_ELEMENTS - {14}

_OPENFF_SUFFIX = ".offxml"
_OPENFF_BEGINNINGS = ("openff", "smirnoff")


def is_openff(name: str) -> bool:
    """Whether `name` is a force field of OpenFF: ``openff-2.2.1``, ``X.offxml``."""
    return name.endswith(_OPENFF_SUFFIX) or name.lower().startswith(_OPENFF_BEGINNINGS)


def is_for_small_molecules(name: str) -> bool:
    """Whether `name` needs bond orders and formal charges, which SMILES, SDF and mol2 state."""
    return name.lower() in (*VARIANTS, *GAFF) or is_openff(name)


def title_of(field: str) -> str:
    """How messages call the force field."""
    return "OpenFF" if is_openff(field) else {"mmff94s": "MMFF94s"}.get(field, field.upper())


def elements_of(field: str) -> frozenset[int]:
    """Atomic numbers that it covers."""
    return MMFF_ELEMENTS if field in VARIANTS else ORGANIC_ELEMENTS


def field_of(asked: PrepareOptions, where: str) -> str:
    """The one force field that `asked` names, in small letters, MMFF94 for none; InputError for another."""
    words = asked.forcefield or ("mmff94",)
    if len(words) != 1 or not is_for_small_molecules(words[0]):
        raise InputError(
            f"`forcefield`: {' '.join(words)} has no parameters for {where}: SMILES, SDF and mol2 go with "
            f"{', '.join((*VARIANTS, *GAFF))} or an OpenFF one, OpenMM's files with PDB, mmCIF and "
            "sequences. Leave out `forcefield`, or bring the molecule as prmtop, GROMACS top or System XML."
        )
    field = words[0] if is_openff(words[0]) else words[0].lower()
    if asked.charges is not None and field in VARIANTS:
        raise InputError(
            f"`charges={asked.charges!r}` does not go with {title_of(field)}, which has charges of its own; "
            'leave it out, or give `forcefield="gaff2"`.'
        )
    if asked.charges == "abcg2" and field != "gaff2":
        raise InputError(
            f'`charges="abcg2"` was made for GAFF2 alone; give `forcefield="gaff2"`, or `charges="bcc"` with '
            f"{title_of(field)}."
        )
    if asked.radii is not None and field not in GAFF:
        raise InputError(
            f"`radii={asked.radii!r}` goes with gaff, gaff2 or an Amber prmtop; with {title_of(field)} "
            f"OpenMM assigns the radii of {asked.implicit}. Leave it out."
        )
    return field


def refuse_small(asked: PrepareOptions, what: str, *, radii: bool) -> None:
    """Raise InputError when `asked` has what only small molecules take, for the input `what`.

    radii: whether the input may have `radii`.
    """
    for name in asked.forcefield:
        if is_for_small_molecules(name):
            raise InputError(
                f"`forcefield={name!r}` goes with `smiles`, SDF and mol2, which state bond orders and "
                "charges; a PDB, mmCIF or sequence does not. Give the molecule as one of those, or an OpenMM "
                "force-field file."
            )
    if asked.charges is not None:
        raise InputError(
            f"`charges={asked.charges!r}` goes with `smiles`, SDF and mol2 under gaff, gaff2 or OpenFF; "
            f"{what} has those of its parameters. Leave it out."
        )
    if asked.radii is not None and not radii:
        raise InputError(
            f"`radii={asked.radii!r}` goes with gaff, gaff2 or an Amber prmtop; for {what} OpenMM assigns "
            f"the radii of {asked.implicit}. Leave it out."
        )
