"""What turns in a molecule: the one definition of a torsion and of its kinds.

An *axis* is a bond between two atoms that each have another neighbour. Bonds that follow each other in a
near-linear row (alkynes, allenes) are one axis, since what hangs on one end of the row turns against what
hangs on the other; a row that ends in a terminal atom (a nitrile) is none. Every axis has one torsion
``a-b-c-d``, b and c the ends of the axis, a and d the lowest-numbered neighbours there that are off the axis
(heavy ones first), and one kind:

- ``ring``: the axis is a bond in a ring of more than three atoms; a and d are its neighbours in the smallest
  ring of the bond. It cannot turn by itself. Rings come first: an amide in a ring is ``ring``.
- ``isomer``: two isomers are told apart by it (amides, C=C: `MolecularGraph.isomer_bonds`), unless `prepare`
  was told to open it (``free_rotations``).
- ``methyl-like``: at one end hang three equal terminal atoms and nothing else (CH3, NH3+, CF3, a sulfonate:
  `MolecularGraph.rotors`). A third of a turn only exchanges their labels.
- ``open``: all others. A symmetry of two (phenyl, carboxylate) makes no kind of its own.

A torsion is ``heavy`` when neither a nor d is a hydrogen; that of a hydroxyl is not. No name and no bond
order is read. A torsion is *rotatable* when it is in `ROTATABLE`; the other subsets below are parts of the
same list, each with its user and its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boltzgen.system.graph.molecular_graph import MolecularGraph

KINDS = ("open", "methyl-like", "isomer", "ring")


@dataclass(frozen=True)
class Torsion:
    """One torsion, its `kind` (one of `KINDS`) and its axis.

    atoms: a, b, c, d. heavy: whether neither a nor d is a hydrogen. axis: b and c, or the atoms of a
    near-linear row from b to c. opened: whether it would be an isomer and was set free, which makes it open.
    """

    atoms: tuple[int, int, int, int]
    kind: str
    heavy: bool
    axis: tuple[int, ...]
    opened: bool = False

    @property
    def bonds(self) -> tuple[tuple[int, int], ...]:
        """The bonds of the axis, each with its lower atom first."""
        return tuple((min(pair), max(pair)) for pair in pairwise(self.axis))


@dataclass(frozen=True)
class Subset:
    """The torsions of some `kinds`, with `heavy` only those between heavy atoms and those that were opened.

    A hydrogen on a barrier that made an isomer (the O-H of an acid) does not cross it by itself.
    """

    kinds: frozenset[str]
    heavy: bool = False

    def __contains__(self, torsion: Torsion) -> bool:
        return torsion.kind in self.kinds and (torsion.heavy or torsion.opened or not self.heavy)


ALL = Subset(frozenset(KINDS))
#: Torsions that turn, in the table of ``prepare``.
ROTATABLE = Subset(frozenset({"open", "methyl-like"}))
#: Torsions whose states coverage and the probe compare (`boltzgen.trust.rotamers`), as far as the domain lets
#: them turn. The thirds of a methyl-like torsion are equal by symmetry, where the energy has that symmetry.
WITH_STATES = Subset(frozenset({"open", "isomer"}))
#: Torsions that Metropolis moves turn (`boltzgen.dynamics.torsion_moves`); hydrogens cross by themselves.
MOVED = Subset(frozenset({"open"}), heavy=True)
#: Torsions whose correlation times and halves tell whether a simulation was long enough (`boltzgen.data`).
#: Isomers count: one that changes now and then is the slowest of all; so do rings, which invert rarely.
SLOW = Subset(frozenset({"open", "isomer", "ring"}), heavy=True)


def torsions_of(graph: MolecularGraph) -> tuple[Torsion, ...]:
    """One torsion for each axis of `graph`, in the order of the (first) bonds of the axes."""
    found: list[Torsion] = []
    seen: set[tuple[int, int]] = set()
    for first, second in graph.bonds.tolist():
        if (first, second) in graph.ring_bonds:
            torsion = _in_ring(graph, first, second)
        elif (first, second) in seen:
            continue
        else:
            torsion = _about(graph, (*_row(graph, second, first)[::-1], *_row(graph, first, second)))
        if torsion is not None:
            found.append(torsion)
            seen.update(torsion.bonds)
    return tuple(found)


def _in_ring(graph: MolecularGraph, b: int, c: int) -> Torsion | None:
    """Around the smallest ring of the bond; None in a ring of three and where a bend is near-linear."""
    ring = min((ring for ring in graph.rings if b in ring and c in _beside(ring, b)), key=len)
    (a,) = (atom for atom in _beside(ring, b) if atom != c)
    (d,) = (atom for atom in _beside(ring, c) if atom != b)
    if a == d or graph.is_linear(a, b, c) or graph.is_linear(b, c, d):
        return None
    return _torsion(graph, (a, b, c, d), "ring", (b, c))


def _beside(ring: tuple[int, ...], atom: int) -> tuple[int, int]:
    place = ring.index(atom)
    return ring[place - 1], ring[(place + 1) % len(ring)]


def _row(graph: MolecularGraph, before: int, atom: int) -> tuple[int, ...]:
    """`atom` and what follows it, coming from `before`, as long as the bonds go straight on."""
    row = [before, atom]
    while True:
        ahead = [other for other in graph.neighbours[row[-1]] if other != row[-2]]
        if len(ahead) != 1 or not graph.is_linear(row[-2], row[-1], ahead[0]):
            return tuple(row[1:])
        row.append(ahead[0])


def _about(graph: MolecularGraph, axis: tuple[int, ...]) -> Torsion | None:
    """The torsion of a bond or row that is in no ring; None where nothing hangs on one of its ends."""
    ends = [_hanging(graph, *axis[:2]), _hanging(graph, *axis[:-3:-1])]
    if not all(ends):
        return None
    isomers = {frozenset((bond.c, bond.p)) for bond in graph.isomer_bonds}
    if any(frozenset(pair) in isomers for pair in pairwise(axis)):
        kind = "isomer"
    elif any(tuple(sorted(end)) in graph.rotors for end in ends):
        kind = "methyl-like"
    else:
        kind = "open"
    return _torsion(graph, (ends[0][0], axis[0], axis[-1], ends[1][0]), kind, axis)


def _torsion(
    graph: MolecularGraph, atoms: tuple[int, int, int, int], kind: str, axis: tuple[int, ...]
) -> Torsion:
    heavy = all(graph.atomic_numbers[atom] != 1 for atom in (atoms[0], atoms[3]))
    opened = any((min(pair), max(pair)) in graph.opened for pair in pairwise(axis))
    return Torsion(atoms, kind, heavy, axis, opened)


def _hanging(graph: MolecularGraph, end: int, inner: int) -> list[int]:
    """Neighbours of `end` off the line from `inner`, heavy ones first, then by number."""
    off = [n for n in graph.neighbours[end] if n != inner and not graph.is_linear(n, end, inner)]
    return sorted(off, key=lambda atom: (graph.atomic_numbers[atom] == 1, atom))
