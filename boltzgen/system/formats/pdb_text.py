"""The columns of a PDB: written and read here only.

The PDB that travels with a system holds names for people, selections and viewers, and every bond as CONECT.

Nothing computes with it: coordinates are rounded to 0.0001 nm, names are cut to their columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boltzgen.errors import InputError
from boltzgen.system.graph.adjacency import adjacency
from boltzgen.units import NM_PER_ANGSTROM

if TYPE_CHECKING:
    import numpy as np
    from openmm import app

#: How the lines of atoms begin, and the columns (from 0) of their coordinates.
_ATOM_RECORDS = ("ATOM  ", "HETATM")
_PLACE = slice(30, 54)
#: Angstrom; from there on, %8.3f with a minus sign needs nine characters.
_FARTHEST = 999.9995

#: Residues whose atoms stand in ATOM records; all others are HETATM.
STANDARD_RESIDUES = frozenset(
    "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL "
    "ASH GLH LYN CYX CYM HID HIE HIP ACE NME A C G U DA DC DG DT".split()
)


@dataclass(frozen=True)
class AtomName:
    """How people call one atom."""

    chain: str
    residue: str
    residue_number: str
    insertion: str
    atom: str
    hetero: bool = False

    def __str__(self) -> str:
        return f"{self.residue}{self.residue_number}{self.insertion} {self.atom}"


def names_of(topology: app.Topology) -> list[AtomName]:
    """The names of the atoms of an OpenMM topology, in its order."""
    return [
        AtomName(
            (atom.residue.chain.id or " ")[:1],
            atom.residue.name,
            str(atom.residue.id),
            (getattr(atom.residue, "insertionCode", "") or "").strip(),
            atom.name,
            atom.residue.name not in STANDARD_RESIDUES,
        )
        for atom in topology.atoms()
    ]


def format_pdb(names: list[AtomName], symbols: list[str], positions: np.ndarray, bonds: np.ndarray) -> str:
    """The text of a PDB file.

    Parameters
    ----------
    names: of N atoms.  symbols: N element symbols, "" where unknown.
    positions: (N, 3) nm.  bonds: (M, 2) atom indices.
    """
    lines = ["REMARK   1 Written by boltzgen; coordinates are rounded, use system.json for computing"]
    for index, (name, symbol, xyz) in enumerate(zip(names, symbols, positions * 10.0, strict=True)):
        record = "HETATM" if name.hetero else "ATOM  "
        atom = name.atom[:4]
        if len(atom) < 4 and len(symbol) < 2:
            atom = " " + atom
        number = name.residue_number[-4:] or "1"
        lines.append(
            f"{record}{(index + 1) % 100000:5d} {atom:<4s} {name.residue[:3]:>3s} {name.chain:1s}{number:>4s}"
            f"{name.insertion[:1]:1s}   {xyz[0]:8.3f}{xyz[1]:8.3f}{xyz[2]:8.3f}  1.00  0.00          "
            f"{symbol:>2s}"
        )
    lines.append("TER")
    for index, partners in enumerate(adjacency(len(names), bonds)):
        for start in range(0, len(partners), 4):
            chunk = "".join(f"{partner + 1:5d}" for partner in partners[start : start + 4])
            lines.append(f"CONECT{index + 1:5d}{chunk}")
    return "\n".join([*lines, "END", ""])


def atom_lines(text: str) -> list[tuple[int, str]]:
    """The ATOM and HETATM lines of all models of a PDB text, each with its number in the text, from 1."""
    return [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.startswith(_ATOM_RECORDS)
    ]


def first_cut_line(text: str) -> tuple[int, str] | None:
    """Number and names of the first atom line that ends before its coordinates; None where none does."""
    cut = ((number, line[:27].strip()) for number, line in atom_lines(text) if len(line) < _PLACE.stop)
    return next(cut, None)


def has_alternate_locations(text: str) -> bool:
    """Whether an atom line names another alternate location than the first (blank, A or 1)."""
    return any(line[16:17] not in ("", " ", "A", "1") for _, line in atom_lines(text))


def parse_names(text: str) -> list[AtomName]:
    """The atom names of the first model of a PDB text."""
    names = [
        AtomName(
            line[21:22].strip() or "A",
            line[17:20].strip(),
            line[22:26].strip(),
            line[26:27].strip(),
            line[12:16].strip(),
            line.startswith("HETATM"),
        )
        for _, line in atom_lines(first_model(text))
    ]
    if not names:
        raise InputError("The topology PDB holds no ATOM or HETATM line; prepare the system again.")
    return names


def residue_keys(text: str) -> list[tuple[str, ...]]:
    """(chain, number, insertion, residue name) of each atom line."""
    return [(line[21:22], line[22:26], line[26:27], line[17:20].strip()) for _, line in atom_lines(text)]


def parse_elements(text: str) -> list[tuple[str, str]]:
    """(name, element symbol) of each atom of the first model, the symbol "" where its columns are blank."""
    return [(line[12:16].strip(), line[76:78].strip()) for _, line in atom_lines(first_model(text))]


def parse_bonds(text: str) -> set[tuple[int, int]]:
    """The bonds in the CONECT records, atoms from 0, the lower first.

    For texts of `format_pdb`, whose atoms are numbered from 1 without a gap.
    """
    bonds = set()
    for line in text.splitlines():
        if line.startswith("CONECT"):
            first, *others = (int(line[start : start + 5]) - 1 for start in range(6, len(line.rstrip()), 5))
            bonds |= {(min(first, other), max(first, other)) for other in others}
    return bonds


def first_model(text: str) -> str:
    """A PDB text up to the end of its first model."""
    return text.partition("\nENDMDL")[0]


def format_models(text: str, models: Iterable[np.ndarray]) -> Iterator[str]:
    """A PDB file in pieces: each of `models` (N, 3) nm as a MODEL on the atom lines of `text`, and its bonds.

    Raises
    ------
    InputError: other than N atom lines; or, at its model, a coordinate that its columns cannot hold.
    """
    import numpy as np

    lines = [line for line in text.splitlines() if line.startswith((*_ATOM_RECORDS, "TER"))]
    count = sum(not line.startswith("TER") for line in lines)
    for number, positions in enumerate(models, start=1):
        if len(positions) != count:
            raise InputError("the topology stored with the samples does not fit them; sample again.")
        angstrom = np.asarray(positions, dtype=np.float64) / NM_PER_ANGSTROM
        if not np.abs(angstrom).max() < _FARTHEST:
            raise InputError("an atom is more than 1000 Angstrom away, which PDB cannot hold; export dcd.")
        yield f"MODEL {number:8d}\n{_placed(lines, angstrom)}ENDMDL\n"
    yield "".join(f"{line}\n" for line in text.splitlines() if line.startswith("CONECT"))
    yield "END\n"


def _placed(lines: list[str], angstrom: np.ndarray) -> str:
    """`lines` (with TER) with these coordinates (N, 3)."""
    places = iter(angstrom)
    out = []
    for line in lines:
        if not line.startswith("TER"):
            x, y, z = next(places)
            line = f"{line[: _PLACE.start]}{x:8.3f}{y:8.3f}{z:8.3f}{line[_PLACE.stop :]}"
        out.append(f"{line}\n")
    return "".join(out)
