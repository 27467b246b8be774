"""Conformations of one molecule in SDF and XYZ files, their atoms in the order of the molecule.

An XYZ file has no bonds: its atoms must stand in the order of the molecule (CREST keeps it), and bonds are
never guessed from distances. An SDF file has bonds: atoms in another order are matched by elements and bonds,
and where several matches are possible one with the hands of the reference is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from boltzgen.data.checks import wrong_hands
from boltzgen.errors import InputError
from boltzgen.files import read_text
from boltzgen.system.formats.parsing import refusing
from boltzgen.system.graph.mirror import placed_by_hands
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.small_molecule.rdkit_messages import rdkit_log

if TYPE_CHECKING:
    from rdkit import Chem

#: Matches of equal atoms that are tried for the hands of the reference.
_MOST_MATCHES = 10_000
_MISSING = "no such file; expected conformations of the molecule."


def read_xyz(path: Path, system: MolecularSystem) -> np.ndarray:
    """``(frames, atoms, 3)`` nm of an XYZ file of one or many frames, as CREST and xtb write them (angstrom).

    InputError where a frame is cut short, or its elements are not those of `system` in their order.
    """
    lines = read_text(path, missing=_MISSING).splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    frames: list[np.ndarray] = []
    at = 0
    while at < len(lines):
        with refusing(path, "an XYZ file"):
            count = int(lines[at])
            rows = [line.split() for line in lines[at + 2 : at + 2 + count]]
            symbols = [row[0] for row in rows]
            frame = np.array([[float(word) for word in row[1:4]] for row in rows]).reshape(-1, 3)
        if count < 1 or len(frame) < count:
            raise InputError(f"{path}: structure {len(frames) + 1} is cut short; copy the file anew.")
        check_elements(path, len(frames), [_number(path, symbol) for symbol in symbols], system)
        frames.append(0.1 * frame)
        at += 2 + count
    if not frames:
        raise InputError(f"{path} holds no structures; give at least one.")
    return np.array(frames)


def read_sdf(path: Path, system: MolecularSystem) -> np.ndarray:
    """``(records, atoms, 3)`` nm of an SDF file, each record with the hydrogens and bonds of `system`."""
    from rdkit import Chem

    text = read_text(path, missing=_MISSING)
    text = text.replace("\r\n", "\n")
    records = [record for record in text.split("$$$$\n") if record.strip()]
    if not records:
        raise InputError(f"{path} holds no structures; give at least one.")
    wanted = _of_system(system)
    found = []
    for number, record in enumerate(records):
        with rdkit_log():
            molecule = Chem.MolFromMolBlock(record, sanitize=False, removeHs=False)
        if molecule is None or not molecule.GetNumConformers():
            raise InputError(f"{path}: record {number + 1} does not read as SDF; write the file again.")
        found.append(_in_order(path, number, molecule, wanted, system))
    return np.array(found)


def check_elements(path: Path, frame: int, numbers: Sequence[int], system: MolecularSystem) -> None:
    """InputError unless the atomic `numbers` of structure `frame` (from 0) are those of `system`."""
    expected = np.asarray(system.atomic_numbers).tolist()
    if len(numbers) != len(expected):
        raise InputError(
            f"{path}: structure {frame + 1} has {len(numbers)} atoms, the system {system.name!r} has "
            f"{len(expected)}; give conformations of that molecule, with all hydrogens."
        )
    for index, (here, there) in enumerate(zip(numbers, expected, strict=True)):
        if here != there:
            raise InputError(
                f"{path}: atom {index} of structure {frame + 1} is of element {here}, in {system.name!r} it "
                f"is {there} ({system.atom_names[index]}); put the atoms into the order of the system."
            )


def _number(path: Path, symbol: str) -> int:
    from rdkit import Chem

    if symbol.isdigit():
        return int(symbol)
    if symbol in ("X", "*"):  # united atoms, as ASE and RDKit write what has no element
        return 0
    with rdkit_log():
        try:
            return int(Chem.GetPeriodicTable().GetAtomicNumber(symbol.capitalize()))
        except RuntimeError:
            raise InputError(f"{path}: {symbol!r} is no element; write the file again.") from None


def _of_system(system: MolecularSystem) -> Chem.Mol:
    """Its elements and bonds alone."""
    return _bare(np.asarray(system.atomic_numbers).tolist(), np.asarray(system.bonds).tolist())


def _plain(molecule: Chem.Mol) -> Chem.Mol:
    """The same elements and bonds, without charges and orders."""
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    return _bare(numbers, [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()])


def _bare(numbers: Sequence[int], bonds: Sequence[Sequence[int]]) -> Chem.Mol:
    """A molecule of atomic `numbers` and `bonds`, all bonds alike."""
    from rdkit import Chem

    molecule = Chem.RWMol()
    for number in numbers:
        molecule.AddAtom(Chem.Atom(number))
    for first, second in bonds:
        molecule.AddBond(first, second, Chem.BondType.SINGLE)
    return molecule.GetMol()


def _in_order(
    path: Path, number: int, molecule: Chem.Mol, wanted: Chem.Mol, system: MolecularSystem
) -> np.ndarray:
    """The places (atoms, 3) nm of one record in the order of `system`."""
    places = 0.1 * molecule.GetConformer().GetPositions()
    plain = _plain(molecule)
    if plain.GetNumAtoms() != wanted.GetNumAtoms() or plain.GetNumBonds() != wanted.GetNumBonds():
        raise InputError(
            f"{path}: record {number + 1} has {plain.GetNumAtoms()} atoms and {plain.GetNumBonds()} bonds, "
            f"{system.name!r} has {wanted.GetNumAtoms()} and {wanted.GetNumBonds()}; give conformations of "
            "that molecule, with all hydrogens."
        )
    if _same_order(plain, wanted):
        return np.asarray(places)
    graph, first = MolecularGraph.from_system(system), None
    for match in plain.GetSubstructMatches(wanted, uniquify=False, maxMatches=_MOST_MATCHES):
        placed = placed_by_hands(graph, places[list(match)][None])
        first = placed if first is None else first
        if wrong_hands(placed, system) is None:
            return np.asarray(placed[0])
    if first is None:
        raise InputError(
            f"{path}: record {number + 1} is another molecule than {system.name!r}: its atoms and bonds do "
            "not match; give conformations of that molecule."
        )
    return np.asarray(first[0])


def _same_order(first: Chem.Mol, second: Chem.Mol) -> bool:
    def told(molecule: Chem.Mol) -> tuple[list[int], set[tuple[int, ...]]]:
        ends = ((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds())
        return [atom.GetAtomicNum() for atom in molecule.GetAtoms()], {tuple(sorted(pair)) for pair in ends}

    return told(first) == told(second)
