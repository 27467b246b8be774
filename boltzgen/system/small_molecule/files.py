"""SDF (MDL mol) and Tripos mol2 files in, a `SmallMolecule` out."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from boltzgen.errors import InputError
from boltzgen.system.formats.bounds import check_counts
from boltzgen.system.formats.numbers import is_whole
from boltzgen.system.formats.parsing import refusing
from boltzgen.system.parametrise.mmff import mmff_properties
from boltzgen.system.small_molecule import checks as checks
from boltzgen.system.small_molecule.gaff_mol2 import has_gaff_types, read_gaff_mol2
from boltzgen.system.small_molecule.molecule import SmallMolecule, as_read, built, drop_labels
from boltzgen.system.small_molecule.rdkit_messages import rdkit_log
from boltzgen.system.small_molecule.stereo import check_drawing

if TYPE_CHECKING:
    from rdkit import Chem

#: e; partial charges of a mol2 may add up to this much beside a whole number.
_CHARGE_TOLERANCE = 0.5

#: Tripos writes an element and, after a point, its hybridisation: C.ar, N.pl3, Cl, Hal.
_TRIPOS_TYPE = re.compile(r"[A-Z][a-z]?(\.[A-Za-z0-9]+)?|CL|BR|LP|Any|Hal|Het|Hev")


def read_small_molecule(
    path: Path, text: str, *, add_hydrogens: bool, field: str, relax: bool
) -> SmallMolecule:
    """The first molecule of `text`, the contents of `path`, by its suffix.

    Raises
    ------
    InputError, UnsupportedError: truncated, without hydrogens, or no molecule that `field` can describe.
    """
    reader = _read_mol2 if path.suffix.lower() == ".mol2" else _read_sdf
    what = "a mol2 file" if reader is _read_mol2 else "an SDF file"
    with rdkit_log() as lines, refusing(path, what):
        return reader(path, text, lines, add_hydrogens=add_hydrogens, field=field, relax=relax)


def _read_sdf(
    path: Path, text: str, lines: list[str], *, add_hydrogens: bool, field: str, relax: bool
) -> SmallMolecule:
    from rdkit import Chem

    where, notes = str(path), []
    records = [record for record in text.split("$$$$") if record.strip()]
    if not records:
        raise InputError(f"{where} holds no molecule; is it an SDF file?")
    if len(records) > 1:
        notes.append(f"{path.name} holds {len(records)} molecules; the first is used.")
    block = records[0]
    check_counts(_counts_of_v3000(block), block, where)
    molecule = Chem.MolFromMolBlock(block, sanitize=False, removeHs=False)
    if molecule is None:
        raise InputError(
            f"{where} does not read as an SDF file ({_last(lines)}); it may be truncated or damaged. Write "
            "it again."
        )
    checks.check_chemistry(molecule, where)
    molecule = Chem.MolFromMolBlock(block, removeHs=False)
    checks.check_molecule(molecule, where, field)
    notes += drop_labels(molecule)
    title = block.splitlines()[0].strip() if block.splitlines() else ""
    if not molecule.GetConformer().Is3D():
        notes.append(
            f"{path.name} holds a drawing in two dimensions; missing hydrogens and all coordinates were "
            "built."
        )
        check_drawing(Chem.MolFromMolBlock(block, sanitize=False, removeHs=False), molecule, where)
        drawn = Chem.AddHs(molecule)
        drawn.RemoveAllConformers()
        return built(drawn, title, where, field=field, relax=relax, notes=notes)
    _check_coordinates(molecule, where)
    if add_hydrogens:
        molecule = Chem.AddHs(molecule, addCoords=True)
    checks.check_hydrogens(
        molecule, where, "add them with `add_hydrogens=True` (charges stay as the file says)."
    )
    return as_read(molecule, title, where, field=field, notes=notes)


def _read_mol2(
    path: Path, text: str, lines: list[str], *, add_hydrogens: bool, field: str, relax: bool
) -> SmallMolecule:
    from rdkit import Chem

    where, notes = str(path), []
    remedy = f"`obabel {shlex.quote(str(path))} -O {path.stem}.sdf`"
    count = text.count("@<TRIPOS>MOLECULE")
    if count == 0:
        raise InputError(f"{where} holds no @<TRIPOS>MOLECULE record; is it a mol2 file?")
    if count > 1:
        notes.append(f"{path.name} holds {count} molecules; the first is used.")
    if add_hydrogens:
        raise InputError(
            f"`add_hydrogens=True` does not go with {where}: a mol2 states no formal charges, they follow "
            f"from its hydrogens. Convert it ({remedy} -h) and check the charges, then prepare the SDF."
        )
    text = text[text.index("@<TRIPOS>MOLECULE") :]
    check_counts(_counts_of_mol2(text), text, where)
    atoms = _rows(text, "ATOM")
    if has_gaff_types(atoms):
        other = f"Write it with Tripos (SYBYL) types by {_to_sybyl(path)}, or give an SDF."
        molecule = read_gaff_mol2(atoms, _rows(text, "BOND"), where, other)
        checks.check_chemistry(molecule, where)
        checks.check_molecule(molecule, where, field)
        _check_coordinates(molecule, where)
        return as_read(molecule, _title_of(text), where, field=field, notes=notes)
    _check_types(text, path)
    core = text.partition("@<TRIPOS>UNITY_ATOM_ATTR")[0]  # RDKit leaves carboxylates as they are beside one
    molecule = Chem.MolFromMol2Block(core, sanitize=False, removeHs=False)
    if molecule is None or molecule.GetNumAtoms() == 0:
        raise InputError(
            f"{where} does not read as a mol2 file ({_last(lines)}); it may be truncated. Write it again, or "
            "give an SDF."
        )
    stated = _stated_charge(molecule, text)
    formal = _take_unity_charges(molecule, text)
    try:
        checks.check_chemistry(molecule, where)
    except InputError as error:
        raise InputError(
            f"{where}: by the rules of Corina, which RDKit follows, its atom types and bond orders make no "
            f"molecule ({str(error).removeprefix(where).lstrip(': ').split('; ')[0]}). Other programs write "
            f"aromatic rings and charges otherwise; let the one that wrote it write an SDF, or try {remedy}."
        ) from error
    Chem.SanitizeMol(molecule)
    _check_mol2_hydrogens(molecule, where, remedy)
    checks.check_molecule(molecule, where, field)
    _check_coordinates(molecule, where)
    charge = Chem.GetFormalCharge(molecule)
    if formal is not None and formal != charge:
        raise InputError(
            f"{where}: its section UNITY_ATOM_ATTR states {formal:+d} e in all, its atom types and "
            f"bonds to {charge:+d} e. Correct one of them, or give an SDF."
        )
    if stated is not None and abs(stated - charge) > _CHARGE_TOLERANCE:
        raise InputError(
            f"{where}: its partial charges add up to {stated:+.2f} e, its atom types and bonds to "
            f"{charge:+d} e; a mol2 states no formal charges. Convert it ({remedy}) and check the charges."
        )
    try:
        typed = mmff_properties(molecule)  # tells of any force field whether types and bonds agree
        if typed is not None:
            checks.check_typed(molecule, typed, where)
        return as_read(molecule, _title_of(text), where, field=field, notes=notes)
    except checks.UntypedChargeError as error:
        raise InputError(
            f"{where}: its bonds make a molecule of {charge:+d} e, which its atom types contradict"
            f"{_without_double_bond(molecule)}. A mol2 states no formal charges, and programs write nitro "
            "and sulfonate groups with single bonds only. Give the molecule as an SDF of its own program, or "
            "`smiles`."
        ) from error


def _without_double_bond(molecule: Chem.Mol) -> str:
    """The atoms whose type has a double bond that they lack, in brackets; "" where none do."""
    from rdkit import Chem

    lacking = [
        atom
        for atom in molecule.GetAtoms()
        if atom.GetProp("_TriposAtomType") in ("C.2", "N.2", "O.2", "S.2")
        and all(bond.GetBondType() == Chem.BondType.SINGLE for bond in atom.GetBonds())
    ]
    if not lacking:
        return ""
    return f" ({checks.labels_of(lacking)}: of a double bond by type, with single bonds)"


def _counts_of_v3000(block: str) -> list[int]:
    """Atoms and bonds by the header of an SDF of version V3000; the older one has no room for many."""
    found = re.search(r"^M  V30 COUNTS +(-?[0-9]{1,20}) +(-?[0-9]{1,20})", block, re.MULTILINE)
    return [] if found is None else [int(found[1]), int(found[2])]


def _counts_of_mol2(text: str) -> list[int]:
    """Atoms, bonds and the like by the header of a mol2."""
    lines = text.split("@<TRIPOS>MOLECULE", 1)[1].splitlines()
    found = re.findall(r"-?[0-9]{1,20}", lines[2]) if len(lines) > 2 else []
    return [int(number) for number in found]


def _title_of(text: str) -> str:
    """What a mol2 calls its molecule; "" for stars."""
    title = text.split("@<TRIPOS>MOLECULE", 1)[1].lstrip("\r\n").split("\n", 1)[0].strip()
    return "" if set(title) <= {"*"} else title


def _to_sybyl(path: Path) -> str:
    """The command that writes the mol2 `path` with Tripos types."""
    return f"`antechamber -i {shlex.quote(str(path))} -fi mol2 -o OUT.mol2 -fo mol2 -at sybyl`"


def _check_mol2_hydrogens(molecule: Chem.Mol, where: str, remedy: str) -> None:
    """Refuse open valences: RDKit takes the atoms of a mol2 as complete, and would call them radicals."""
    from rdkit import Chem

    filled = Chem.RWMol(molecule)
    for atom in filled.GetAtoms():
        atom.SetNoImplicit(False)
        atom.SetNumRadicalElectrons(0)
    filled.UpdatePropertyCache(strict=False)
    checks.check_hydrogens(
        filled, where, f"add them where the protonation is known, for example {remedy} -h, and prepare that."
    )


def _check_types(text: str, path: Path) -> None:
    """Refuse atom types that are neither Tripos's nor all GAFF's: RDKit takes GAFF's ca for calcium."""
    for words in _rows(text, "ATOM"):
        if len(words) > 5 and not _TRIPOS_TYPE.fullmatch(words[5]):
            raise InputError(
                f"{path} does not read as a mol2 file of Tripos (SYBYL) or GAFF atom types: atom {words[0]} "
                f"has the type {words[5]!r} among others, as of another force field or of two. Write it with "
                f"{_to_sybyl(path)}, or bring the molecule with its parameters as prmtop."
            )


def _take_unity_charges(molecule: Chem.Mol, text: str) -> int | None:
    """Give atoms the formal charges of the section UNITY_ATOM_ATTR; their sum, None without that section.

    RDKit ignores the section. Where it has told a charge from the atom types (carboxylates, guanidinium) that
    stays, for it may stand on the other oxygen.
    """
    rows, total = _rows(text, "UNITY_ATOM_ATTR"), 0
    atom = None
    for words in rows:
        if words[0] == "charge" and atom is not None and len(words) == 2:
            charge = int(float(words[1]))
            total += charge
            if atom.GetFormalCharge() == 0 and atom.GetProp("_TriposAtomType") not in ("O.co2", "C.cat"):
                atom.SetFormalCharge(charge)
        elif is_whole(words[0]) and 0 < int(words[0]) <= molecule.GetNumAtoms():
            atom = molecule.GetAtomWithIdx(int(words[0]) - 1)
    return total if rows else None


def _rows(text: str, section: str) -> list[list[str]]:
    """The words of each line of the first `section`."""
    body = text.partition(f"@<TRIPOS>{section}\n")[2].partition("@<TRIPOS>")[0]
    return [line.split() for line in body.splitlines() if line.strip()]


def _stated_charge(molecule: Chem.Mol, text: str) -> float | None:
    """The sum of the file's partial charges; None when it states none."""
    head = text.split("@<TRIPOS>ATOM", 1)[0]
    key = "_TriposPartialCharge"
    if "NO_CHARGES" in head or not all(atom.HasProp(key) for atom in molecule.GetAtoms()):
        return None
    charges = [float(atom.GetProp(key)) for atom in molecule.GetAtoms()]
    return sum(charges) if any(charges) else None


def _check_coordinates(molecule: Chem.Mol, where: str) -> None:
    """Refuse coordinates that are all the same or not finite; overlaps are found later, as in every input."""
    if molecule.GetNumConformers() == 0:
        raise InputError(f"{where} holds no coordinates; give `smiles`, or a file with coordinates.")
    positions = np.asarray(molecule.GetConformer().GetPositions())
    if not np.isfinite(positions).all() or (len(positions) > 1 and np.ptp(positions, axis=0).max() < 1e-3):
        raise InputError(f"{where} holds no usable coordinates (all zero, or not finite); give `smiles`.")


def _last(lines: list[str]) -> str:
    return lines[-1].rstrip(".")[:200] if lines else "no reason given"
