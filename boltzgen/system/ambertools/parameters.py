"""GAFF and GAFF2: types by antechamber, what their tables lack by parmchk2, the prmtop by tleap.

Wang, Wolf, Caldwell, Kollman, Case, J. Comput. Chem. 25, 1157 (2004).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boltzgen.errors import BoltzgenError
from boltzgen.interrupts import StopRequest
from boltzgen.system.ambertools.failures import parameters_failed, reason_in
from boltzgen.system.ambertools.mol2 import format_mol2
from boltzgen.system.ambertools.programs import AmberTools, ProgramError, scratch
from boltzgen.system.ambertools.types import atom_types
from boltzgen.system.formats.parsing import parsing

if TYPE_CHECKING:
    from openmm import app
    from rdkit import Chem

#: parmchk2's penalty of a parameter taken from similar types, above which it deserves a note.
LARGEST_PENALTY = 10.0

#: parmchk2's numbers of the force fields. By the word ``gaff2``, which its help offers, that of AmberTools 26
#: takes GAFF's table in half of its runs, and what it writes then overrides GAFF2's own values
#: (findings/parmchk2-gaff2-by-chance.sh).
_NUMBERS = {"gaff": "1", "gaff2": "2"}

_PENALTY = re.compile(r"^(\S.*?)\s+\d.*penalty score=\s*([\d.]+)")

_LEAP = """source leaprc.{forcefield}
molecule = loadmol2 typed.mol2
loadamberparams lacking.frcmod
saveamberparm molecule made.prmtop made.inpcrd
quit
"""

#: What tleap says of what it lacks, as it ends with the code 0 or with another.
_LACKING = re.compile(r".*(?:Could not find|does not have a type|No torsion terms|FATAL).*", re.IGNORECASE)


@dataclass(frozen=True)
class Parameters:
    """prmtop: OpenMM's reader of what tleap wrote. text: that file. kinds: atom types; notes for people."""

    prmtop: app.AmberPrmtopFile
    text: str
    kinds: tuple[str, ...]
    notes: tuple[str, ...]


def gaff_parameters(
    molecule: Chem.Mol,
    names: Sequence[str],
    charges: Sequence[float],
    forcefield: str,
    tools: AmberTools,
    where: str,
    *,
    stop: StopRequest,
) -> Parameters:
    """Parameters of `molecule` (one conformer) under `forcefield`, ``gaff`` or ``gaff2``.

    names: of the atoms, at most four characters, each once. charges: e. Radii are those of tleap's default.

    Raises
    ------
    InputError: no types or parameters; says which. BoltzgenError: a program changed the atoms.
    """
    from openmm import app

    charge = sum(atom.GetFormalCharge() for atom in molecule.GetAtoms())
    kinds, _, doubt = atom_types(molecule, forcefield, charge, tools, where, stop)
    with scratch() as place:
        (place / "typed.mol2").write_text(format_mol2(molecule, names, kinds, charges))
        words = ["-i", "typed.mol2", "-f", "mol2", "-s", _NUMBERS[forcefield], "-o", "lacking.frcmod"]
        try:
            tools.call("parmchk2", words, place, stop)
            notes = _estimated((place / "lacking.frcmod").read_text(), where, forcefield)
            (place / "leap.in").write_text(_LEAP.format(forcefield=forcefield))
            said = tools.call("tleap", ["-f", "leap.in"], place, stop)
        except ProgramError as error:
            raise parameters_failed(where, forcefield, _lacking(error.said)) from error
        made = place / "made.prmtop"
        if not made.is_file() or not made.stat().st_size:
            raise parameters_failed(where, forcefield, _lacking(said))
        with parsing(made, "an Amber prmtop file"):
            prmtop = app.AmberPrmtopFile(str(made))
        text = made.read_text()
    _check_same_atoms(prmtop.topology, molecule, names, where)
    if doubt:
        notes.append(f"antechamber doubts its atom types of {where} ({doubt}); check them.")
    return Parameters(prmtop, text, tuple(kinds), tuple(notes))


def _lacking(said: str) -> str:
    found = [" ".join(line.split()) for line in said.splitlines() if _LACKING.match(line)]
    return "; ".join(dict.fromkeys(found[:3])) if found else reason_in(said)


def _estimated(frcmod: str, where: str, forcefield: str) -> list[str]:
    """A note about parameters that parmchk2 took from other types; refuses those that it left empty."""
    lines = frcmod.splitlines()
    empty = [line.split("  ")[0].strip() for line in lines if "ATTN" in line]
    if empty:
        raise parameters_failed(where, forcefield, f"parmchk2 finds none for {', '.join(empty[:4])}")
    guessed = []
    for line in lines:
        found = _PENALTY.match(line)
        if found is not None and float(found[2]) > LARGEST_PENALTY:
            guessed.append((float(found[2]), found[1].strip()))
    if not guessed:
        return []
    guessed.sort(key=lambda one: -one[0])
    listed = ", ".join(f"{name} ({penalty:.0f})" for penalty, name in guessed[:4])
    more = f" and {len(guessed) - 4} more" if len(guessed) > 4 else ""
    return [
        f"{forcefield.upper()} has no parameters of its own for {listed}{more}; parmchk2 took those of "
        f"similar types (in brackets its penalty, above {LARGEST_PENALTY:.0f}): check torsions about them."
    ]


def _check_same_atoms(topology: app.Topology, molecule: Chem.Mol, names: Sequence[str], where: str) -> None:
    """Refuse a prmtop whose atoms, names or bonds are not those that went in."""
    atoms = list(topology.atoms())
    elements = [0 if atom.element is None else atom.element.atomic_number for atom in atoms]
    bonds = {frozenset((first.index, second.index)) for first, second in topology.bonds()}
    given = {frozenset((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())) for bond in molecule.GetBonds()}
    if (
        elements != [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
        or [atom.name for atom in atoms] != list(names)
        or bonds != given
    ):
        raise BoltzgenError(
            f"{where}: tleap wrote other atoms, names or bonds than were given; report this, with the "
            "molecule."
        )
