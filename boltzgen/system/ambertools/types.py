"""Atom types by antechamber, and by which reading of the bonds: its own, or the orders that were stated.

Left to itself (``-j 4``) antechamber guesses bond orders from valences, which makes a sulfonate or a nitro
group out of any way to write one. A few anions, tetrazolates among them, it gets wrong and says so; their
stated bond orders (``-j 5``) are taken.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from boltzgen.interrupts import StopRequest
from boltzgen.system.ambertools.failures import types_failed
from boltzgen.system.ambertools.mol2 import typed_atoms
from boltzgen.system.ambertools.programs import AmberTools, ProgramError, scratch

if TYPE_CHECKING:
    from rdkit import Chem

#: antechamber's ``-j``: bond orders of its own, and those stated.
GUESSED, STATED = "4", "5"

#: What all calls have in common: no diagnosis of its own, names and order of the atoms as they are.
READING = "-i given.sdf -fi mdl -fo mol2 -dr n -pf n -an n -du n -seq n".split()

_DOUBT = re.compile(r"^.*\bmay be wrong\b.*$", re.MULTILINE)


def atom_types(
    molecule: Chem.Mol, forcefield: str, charge: int, tools: AmberTools, where: str, stop: StopRequest
) -> tuple[list[str], str, str]:
    """The types of `molecule`, the reading of its bonds that gave them, and what antechamber doubts ("").

    InputError where neither reading gives a type to every atom.
    """
    failed = None
    doubted: tuple[list[str], str, str] | None = None
    for reading in (GUESSED, STATED):
        try:
            kinds, doubt = _types(molecule, forcefield, charge, tools, stop, reading)
        except ProgramError as error:
            failed = failed or error
            continue
        if not doubt:
            return kinds, reading, ""
        doubted = doubted or (kinds, reading, doubt)
    if doubted is not None:
        return doubted
    assert failed is not None
    raise types_failed(where, forcefield, failed.said) from failed


def _types(
    molecule: Chem.Mol, forcefield: str, charge: int, tools: AmberTools, stop: StopRequest, reading: str
) -> tuple[list[str], str]:
    """Types and doubts; ProgramError where there are none, or an atom has none."""
    from rdkit import Chem

    with scratch() as place:
        (place / "given.sdf").write_text(Chem.MolToMolBlock(molecule))
        words = [*READING, "-o", "types.mol2", "-at", forcefield, "-nc", str(charge), "-j", reading]
        said = tools.call("antechamber", words, place, stop)
        made = place / "types.mol2"
        if not made.is_file():
            raise ProgramError("antechamber wrote nothing.", said)
        kinds = [atom.kind for atom in typed_atoms(made.read_text(), molecule)]
    unknown = [k for k, kind in enumerate(kinds) if kind.upper() == "DU"]
    if unknown:
        atoms = [molecule.GetAtomWithIdx(k) for k in unknown[:4]]
        listed = ", ".join(f"{atom.GetSymbol()} (atom {atom.GetIdx() + 1})" for atom in atoms)
        raise ProgramError("Atoms have no type.", f"no type for {listed}")
    found = _DOUBT.search(said)
    return kinds, "" if found is None else " ".join(found[0].split()).rstrip(".")
