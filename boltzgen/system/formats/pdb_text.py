"""The PDB that travels with a system: names for people, selections and viewers, and every bond as CONECT.

Nothing computes with it: coordinates are rounded to 0.0001 nm, names are cut to their columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from boltzgen.errors import InputError
from boltzgen.system.graph.adjacency import adjacency

if TYPE_CHECKING:
    from openmm import app


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


def parse_names(text: str) -> list[AtomName]:
    """The atom names of the first model of a PDB text."""
    names = []
    for line in text.splitlines():
        if line.startswith(("ATOM  ", "HETATM")):
            names.append(
                AtomName(
                    line[21:22].strip() or "A",
                    line[17:20].strip(),
                    line[22:26].strip(),
                    line[26:27].strip(),
                    line[12:16].strip(),
                    line.startswith("HETATM"),
                )
            )
        elif line.startswith("ENDMDL"):
            break
    if not names:
        raise InputError("The topology PDB holds no ATOM or HETATM line; prepare the system again.")
    return names
