"""Rotations that the domain holds as the reference has them: what they are called, and which are opened.

An isomer bond (`MolecularGraph.isomer_bonds`) keeps its cis or trans side in every sample. Amides and C=C are
expected to; the O-H of a carboxylic acid and the C-O of an ester turn in nature, over barriers of some
50 kJ/mol, and are held by the same rule. Each is named here by elements and bonds alone, and can be opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from boltzgen.errors import InputError
from boltzgen.system.graph.geometry import dihedral_angle

if TYPE_CHECKING:
    from boltzgen.system.formats.pdb_text import AtomName
    from boltzgen.system.graph.molecular_graph import IsomerBond, MolecularGraph

#: Kinds of held bonds, and the word that opens all of a kind.
KINDS = {
    "acid": "acids",
    "ester": "esters",
    "thioester": "thioesters",
    "amide": "amides",
    "carbamate": "carbamates",
    "urea": "ureas",
    "amidine": "amidines",
    "double bond": "double-bonds",
    "conjugated": "conjugated",
}
#: Opens all that are held.
EVERY = "all"

_H, _C, _N, _O, _S = 1, 6, 7, 8, 16


def kind_of(graph: MolecularGraph, bond: IsomerBond) -> str:
    """One of `KINDS`, by the elements at both ends.

    ``acid``, ``ester`` and ``thioester`` are the bonds from C=O to O or S (of carbonates, carbamates and
    anhydrides too), ``amide``, ``carbamate`` and ``urea`` those from C=O (or C=S) to N, ``amidine`` from a
    carbon with several N to one of them. What is no double bond of C and N is ``conjugated``.
    """
    kinds = {_from_carbon(graph, *ends) for ends in ((bond.c, bond.p), (bond.p, bond.c))} - {None}
    if kinds:
        return str(min(kinds, key=lambda kind: list(KINDS).index(str(kind))))
    valences = [(graph.atomic_numbers[end], len(graph.neighbours[end])) for end in (bond.c, bond.p)]
    full = all(valence in ((_C, 3), (_N, 2)) for valence in valences)
    return "double bond" if full else "conjugated"


def side_of(graph: MolecularGraph, bond: IsomerBond) -> str:
    """Z or E of an acid, ester or thioester (Z: what O carries lies on the side of =O); trans or cis of an
    amide, carbamate or urea whose N carries one hydrogen; "" of all others."""
    kind = kind_of(graph, bond)
    carbon, other = (bond.c, bond.p) if _from_carbon(graph, bond.c, bond.p) == kind else (bond.p, bond.c)
    double = _terminal(graph, carbon)
    carried = [n for n in graph.neighbours[other] if n != carbon]
    if len(carried) == 2:
        carried = [n for n in carried if graph.atomic_numbers[n] != _H]
    if not double or len(carried) != 1 or kind in ("amidine", "double bond", "conjugated"):
        return ""
    torsion = dihedral_angle(graph.reference_positions, double[0], carbon, other, carried[0])
    together = bool(np.cos(torsion) > 0)
    if kind in ("acid", "ester", "thioester"):
        return "Z" if together else "E"
    return "trans" if together else "cis"


def bonds_to_open(
    graph: MolecularGraph, names: Sequence[AtomName], asked: Sequence[str]
) -> tuple[tuple[int, int], ...]:
    """The held bonds that the words `asked` open, each with its lower atom first, rising.

    A word is one of the values of `KINDS`, `EVERY`, or a bond as ``prepare`` names it: ``C1-O2``, in a chain
    ``ASP2 CG-OD2``, ``ALA2 C-NME3 N``. A word of a kind that is not there opens nothing.

    Raises
    ------
    InputError: a word is neither, or names several bonds.
    """
    held = {(min(b.c, b.p), max(b.c, b.p)): b for b in graph.isomer_bonds}
    opened: set[tuple[int, int]] = set()
    for word in asked:
        kinds = {kind for kind, opens in KINDS.items() if word.strip().lower() in (opens, EVERY)}
        if kinds:
            opened |= {pair for pair, bond in held.items() if kind_of(graph, bond) in kinds}
            continue
        found = [pair for pair in held if _plain(word) in _spellings(names, *pair)]
        if len(found) != 1:
            listed = ", ".join(bond_name(names[a], names[b]) for a, b in sorted(held)) or "none"
            wrong = "names several bonds" if found else "is neither a kind nor a bond that is held"
            raise InputError(
                f"`free_rotations={[word]}` {wrong}; use {', '.join(KINDS.values())}, {EVERY}, or one of the "
                f"bonds that are held: {listed}."
            )
        opened.add(found[0])
    return tuple(sorted(opened))


def _from_carbon(graph: MolecularGraph, carbon: int, other: int) -> str | None:
    """The kind of the bond from a carbon with a double bond beside it; None where it is not such a bond."""
    if graph.atomic_numbers[carbon] != _C or len(graph.neighbours[carbon]) != 3:
        return None
    beside = [int(graph.atomic_numbers[n]) for n in graph.neighbours[carbon] if n != other]
    element = int(graph.atomic_numbers[other])
    if not _terminal(graph, carbon):
        return "amidine" if element == _N and _N in beside else None
    if element == _O:
        return "acid" if any(graph.atomic_numbers[n] == _H for n in graph.neighbours[other]) else "ester"
    if element == _S:
        return "thioester"
    if element != _N:
        return None
    return "urea" if _N in beside else "carbamate" if beside.count(_O) == 2 else "amide"


def _terminal(graph: MolecularGraph, carbon: int) -> list[int]:
    """The O or S that only `carbon` holds."""
    around = graph.neighbours[carbon]
    return [n for n in around if graph.atomic_numbers[n] in (_O, _S) and len(graph.neighbours[n]) == 1]


def bond_name(first: AtomName, second: AtomName) -> str:
    """As in ``ASP2 CG-OD2`` or ``ALA2 C-NME3 N``: a residue is named again where it changes."""
    same_residue = str(first).split()[0] == str(second).split()[0]
    return f"{first}-{second.atom if same_residue else second}"


def _spellings(names: Sequence[AtomName], first: int, second: int) -> set[str]:
    """How people may write a bond: either way round, residues named or not."""
    ends = [(str(names[atom]), names[atom].atom) for atom in (first, second)]
    return {_plain(f"{one}-{other}") for pair in (ends, ends[::-1]) for one, other in product(*pair)}


def _plain(text: str) -> str:
    return "-".join(" ".join(part.split()) for part in text.split("-"))
