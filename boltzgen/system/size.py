"""About how large a molecule is, before it is prepared: from its sequence, SMILES or the text of its file.

Nothing is checked or built here, so that it takes no time; whatever cannot be counted is None, and `prepare`
says what is wrong with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from boltzgen.errors import InputError
from boltzgen.system.examples import EXAMPLE, system_folder
from boltzgen.system.formats.bounds import check_smiles_text, read_text
from boltzgen.system.formats.readers import kind_of
from boltzgen.system.options import PrepareOptions
from boltzgen.system.parametrise.sequence import parse_sequence
from boltzgen.system.small_molecule.parametrised import SMALL_MOLECULES
from boltzgen.system.small_molecule.rdkit_messages import rdkit_log

if TYPE_CHECKING:
    from rdkit import Chem

#: Atoms for each torsion that turns, in peptides and most drugs, where a file does not say its bonds.
_ATOMS_A_TORSION = 5

#: What the caps add to the atoms of a chain with charged ends.
_ACETYL, _METHYLAMIDE = 4, 5

#: The first count of a format's header.
_COUNTS = {
    "amber": re.compile(r"%FLAG POINTERS.*\n(?:%.*\n)+\s*(\d+)"),
    "mol2": re.compile(r"@<TRIPOS>MOLECULE.*\n.*\n\s*(\d+)"),
    "sdf": re.compile(r"M  V30 COUNTS +([1-9]\d*)|\A(?:.*\n){3}([ \d]{2}\d)(?!.*V3000)"),
    "gro": re.compile(r"\A.*\n\s*(\d+)"),
}


@dataclass(frozen=True)
class Size:
    """About how many `atoms`, and `torsions` that turn; `small`: from a SMILES, an SDF or a mol2."""

    atoms: int
    torsions: int
    small: bool


def size_of(source: str | PathLike[str] | None, options: PrepareOptions) -> Size | None:
    """About how large that is which `prepare` makes of `source` and `options`, or what a SYS folder holds.

    None where it cannot be counted. InputError as of `prepare` for a sequence or a file's name.
    """
    if options.sequence is not None:
        return _of_sequence(options.sequence, options.capped)
    if options.smiles is not None:
        return _of_smiles(options.smiles)
    if source is None:
        return None
    path = Path(source)
    if str(source).startswith(EXAMPLE) or path.is_dir():
        path = system_folder(path) / "topology.pdb"
    kind = kind_of(path)
    given = None if options.coordinates is None else Path(options.coordinates)
    try:
        atoms = _listed(kind, path, given)
    except InputError:  # not text, say
        return None
    if options.add_hydrogens and atoms:
        atoms *= 2
    return Size(atoms, atoms // _ATOMS_A_TORSION, kind in SMALL_MOLECULES) if atoms else None


def _of_sequence(text: str, capped: bool) -> Size:
    from rdkit import Chem

    sequence = parse_sequence(text, capped=capped)
    atoms, torsions = _counted(Chem.MolFromSequence(sequence.letters))
    atoms += _ACETYL * sequence.acetyl + _METHYLAMIDE * sequence.methylamide
    return Size(atoms, torsions, small=False)


def _of_smiles(text: str) -> Size | None:
    from rdkit import Chem

    check_smiles_text(text)
    with rdkit_log():
        molecule = Chem.MolFromSmiles(text)
    return None if molecule is None else Size(*_counted(molecule), small=True)


def _counted(molecule: Chem.Mol) -> tuple[int, int]:
    """Atoms, hydrogens among them, and bonds that turn."""
    from rdkit import Chem
    from rdkit.Chem import rdMolDescriptors

    return Chem.AddHs(molecule).GetNumAtoms(), rdMolDescriptors.CalcNumRotatableBonds(molecule)


def _listed(kind: str, path: Path, coordinates: Path | None) -> int:
    """Atoms that a file lists, 0 where it does not say."""
    if kind == "gromacs":  # whose molecules stand in files that it includes
        if coordinates is None:
            return 0
        kind, path = "pdb" if coordinates.suffix.lower() == ".pdb" else "gro", coordinates
    text = read_text(path, errors="replace")
    if kind in ("pdb", "mmcif"):
        return len(re.findall(r"^(?:ATOM|HETATM)", text.partition("\nENDMDL")[0], re.MULTILINE))
    if kind == "xml":
        return text.count("<Particle mass")
    found = _COUNTS[kind].search(text)
    return 0 if found is None else int(next(filter(None, found.groups())))
