"""Ready names of torsions: phi, psi, omega and chi1 to chi5 of peptides, by the names of atoms.

The patterns are MDTraj's (`mdtraj.geometry.dihedral`), with ``CD`` of isoleucine as CHARMM calls its CD1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boltzgen.system.formats.pdb_text import AtomName

#: Ready names of torsions; ``phi:3`` picks the residue with PDB number 3, ``chi`` is short for chi1.
READY_NAMES = ("phi", "psi", "omega", "chi1", "chi2", "chi3", "chi4", "chi5")

#: Name -> the four atoms by name, ``-`` in the residue before and ``+`` in the one after.
_PATTERNS = {
    "phi": ("-C N CA C",),
    "psi": ("N CA C +N",),
    "chi1": ("N CA CB CG", "N CA CB CG1", "N CA CB SG", "N CA CB OG", "N CA CB OG1"),
    "chi2": (
        "CA CB CG CD",
        "CA CB CG CD1",
        "CA CB CG1 CD1",
        "CA CB CG1 CD",
        "CA CB CG OD1",
        "CA CB CG ND1",
        "CA CB CG SD",
    ),
    "chi3": ("CB CG CD NE", "CB CG CD CE", "CB CG CD OE1", "CB CG SD CE"),
    "chi4": ("CG CD NE CZ", "CG CD CE NZ"),
    "chi5": ("CD NE CZ NH1",),
}


@dataclass(frozen=True)
class Residue:
    """One residue: its PDB number, its name, and the index of each atom by name."""

    number: int
    name: str
    atoms: dict[str, int]


def chains_of(names: Sequence[AtomName]) -> list[list[Residue]]:
    """The residues of each chain, in the order of the atoms with these `names`."""
    chains = []
    for _, members in groupby(enumerate(names), key=lambda one: one[1].chain):
        residues = []
        keyed = groupby(members, key=lambda one: (one[1].residue, one[1].residue_number, one[1].insertion))
        for (name, number, _), atoms in keyed:
            known = int(number) if number.removeprefix("-").isdecimal() else 0
            residues.append(Residue(known, name, {atom.atom: index for index, atom in atoms}))
        chains.append(residues)
    return chains


def ready_torsions(base: str, chains: Iterable[Sequence[Residue]]) -> list[tuple[int, tuple[int, ...]]]:
    """(PDB number of the residue, four atom indices) of every torsion called `base` (of `READY_NAMES`).

    phi, psi and chi belong to the residue of their C-alpha, omega to the residue before the bond. Caps take
    part (ACE's CH3 stands for a C-alpha in omega, as does the methyl carbon of NME).
    """
    if base == "omega":
        return [found for chain in chains for found in _omegas(chain)]
    return [
        (residue.number, atoms)
        for chain in chains
        for place, residue in enumerate(chain)
        for pattern in _PATTERNS[base]
        if (atoms := _matched(pattern, chain, place)) is not None
    ]


def _matched(pattern: str, chain: Sequence[Residue], place: int) -> tuple[int, ...] | None:
    found = []
    for word in pattern.split():
        at = place + {"-": -1, "+": 1}.get(word[0], 0)
        atom = chain[at].atoms.get(word.lstrip("-+")) if 0 <= at < len(chain) else None
        if atom is None:
            return None
        found.append(atom)
    return tuple(found)


def _omegas(chain: Sequence[Residue]) -> list[tuple[int, tuple[int, ...]]]:
    def named(residue: Residue, *names: str) -> int | None:
        return next((residue.atoms[name] for name in names if name in residue.atoms), None)

    found = []
    for before, after in pairwise(chain):
        last = ("CA",) if after.name != "NME" else ("CH3", "C", "CA")
        atoms = (named(before, "CA", "CH3"), named(before, "C"), named(after, "N"), named(after, *last))
        if None not in atoms:
            found.append((before.number, tuple(int(a) for a in atoms if a is not None)))
    return found
