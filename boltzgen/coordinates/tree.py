"""The order in which atoms are placed, and the atoms that each is placed by.

A tree is chosen from the molecular graph alone: a root near the middle, then atom by atom outwards.
Ring systems are finished before anything hangs on them, and all neighbours of an atom are placed
before their own neighbours, so that torsions are the chain's own (of an isomer bond: the very
torsion that tells its isomers apart) and hands are offsets.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from boltzgen.errors import InputError, UnsupportedError
from boltzgen.system.graph.adjacency import bond_distances
from boltzgen.system.graph.geometry import angle
from boltzgen.system.graph.molecular_graph import MolecularGraph

#: Bends below which (from 0 or from pi) three atoms define no plane, rad: the second where the first leaves
#: no way to place all atoms, as beyond the rod of a 2,4-hexadiyne: the hydrogens behind stand out little.
DEGENERATE = (np.deg2rad(15.0), np.deg2rad(2.0))


@dataclass(frozen=True)
class Placement:
    """One atom, how it is placed (`style`) and its references; -1 where there is none.

    ``first``, ``second``, ``third``: the first three atoms of the tree.
    ``torsion``: bond a-c, angle a-c-p, torsion a-c-p-g. ``offset``: the same, g a neighbour of c.
    ``bend``: a continues the line p-c; g sets its axes. ``closure``: c and p are both bonded to a.
    """

    atom: int
    style: str
    c: int = -1
    p: int = -1
    g: int = -1


def build_tree(graph: MolecularGraph, root: int | None = None) -> tuple[Placement, ...]:
    """The placement of every atom of `graph`, in order.

    Parameters
    ----------
    graph: the molecule.
    root: atom placed first; default: a terminal atom near the middle of the molecule.

    Raises
    ------
    UnsupportedError: all atoms lie on one line and there are more than three.
    InputError: every choice of the second and third atom after `root` is near-linear.
    """
    if root is not None:
        return _Builder(graph, root).build()
    for degenerate in DEGENERATE:
        for candidate in root_candidates(graph):
            try:
                return _Builder(graph, candidate, degenerate).build()
            except InputError:
                continue
    raise UnsupportedError(
        f"All {graph.n_atoms} atoms lie on one line, which internal coordinates cannot treat; "
        "use a molecule with at least one bend."
    )


def root_candidates(graph: MolecularGraph) -> list[int]:
    """Atoms to try as the root: terminal ones first, heavy ones first, the most central first."""
    eccentricity = bond_distances(graph.n_atoms, graph.bonds).max(axis=1)

    def key(atom: int) -> tuple:
        around = graph.neighbours[atom]
        return (len(around) > 1, graph.masses[atom] < 3.5, eccentricity[atom], graph.rank[atom])

    return sorted(range(graph.n_atoms), key=key)


class _Builder:
    def __init__(self, graph: MolecularGraph, root: int, degenerate: float = DEGENERATE[0]) -> None:
        self.graph = graph
        self.root = root
        self.degenerate = degenerate
        self.leading = [graph.leading_neighbours(atom) for atom in range(graph.n_atoms)]
        self.rings_of = [
            {k for k, ring in enumerate(graph.rings) if atom in ring} for atom in range(graph.n_atoms)
        ]
        self.parent: dict[int, int] = {}
        self.order: dict[int, int] = {}
        self.placements: list[Placement] = []

    def build(self) -> tuple[Placement, ...]:
        graph = self.graph
        self._add(Placement(self.root, "first"))
        if graph.n_atoms == 1:
            return tuple(self.placements)
        second = self.leading[self.root][0]
        self._add(Placement(second, "second", self.root))
        self.parent[self.root] = second
        turn = 0
        while turn < len(self.placements):  # centres in order of placement, the second atom first
            centre = self.placements[1 - turn if turn < 2 else turn].atom
            self._grow_ring_system(centre)
            for atom in self.leading[centre]:
                if atom not in self.order:
                    self._place(atom, centre)
            turn += 1
        return tuple(self.placements)

    def _grow_ring_system(self, start: int) -> None:
        """Place every atom that ring bonds connect to `start`, closing each ring as soon as possible."""
        queue = deque([start])
        while queue:
            centre = queue.popleft()
            for atom in self.leading[centre]:
                if atom not in self.order and self._ring_bond(atom, centre):
                    before = len(self.placements)
                    self._place(atom, centre)
                    self._close_rings()
                    queue.extend(placement.atom for placement in self.placements[before:])

    def _close_rings(self) -> None:
        while True:
            ready = [
                atom
                for atom in range(self.graph.n_atoms)
                if atom not in self.order and len(self.order) >= 3 and len(self._placed(atom)) >= 2
            ]
            if not ready:
                return
            atom = min(ready, key=lambda a: self.graph.rank[a])
            self._place(atom, self._placed(atom)[0])

    def _placed(self, atom: int, *without: int) -> list[int]:
        """Placed neighbours of `atom`, in the order of their placement."""
        found = [n for n in self.graph.neighbours[atom] if n in self.order and n not in without]
        return sorted(found, key=self.order.__getitem__)

    def _ring_bond(self, i: int, j: int) -> bool:
        return (min(i, j), max(i, j)) in self.graph.ring_bonds

    def _share_ring(self, *atoms: int) -> bool:
        return bool(set.intersection(*(self.rings_of[atom] for atom in atoms)))

    def _add(self, placement: Placement) -> None:
        self.order[placement.atom] = len(self.order)
        self.parent[placement.atom] = placement.c
        self.placements.append(placement)

    def _place(self, atom: int, centre: int) -> None:
        around = self._placed(centre, atom)
        if len(self.order) == 2:
            self._place_third(atom, centre, around[0])
        elif len(self._placed(atom)) >= 2:
            self._add(self._closure(atom))
        else:
            self._add(self._open(atom, centre, around))

    def _place_third(self, atom: int, centre: int, other: int) -> None:
        """The third atom; one that is not in line with the first two, if the molecule has one."""
        choices = [
            (a, c, o)
            for c, o in ((centre, other), (other, centre))
            for a in ([atom] if c == centre else []) + list(self.leading[c])
            if a not in self.order and not self.graph.is_linear(a, c, o)
        ]
        if choices:
            self._add(Placement(choices[0][0], "third", choices[0][1], choices[0][2]))
        if not choices and self.graph.n_atoms > 3:
            raise InputError(f"Atom {self.root} cannot be the root: the atoms next to it lie on one line.")
        if not choices:
            self._add(Placement(atom, "third", centre, other))
        elif choices[0][0] != atom:
            self._place(atom, centre)

    def _closure(self, atom: int) -> Placement:
        placed = self._placed(atom)
        pairs = [(c, p) for k, c in enumerate(placed) for p in placed[k + 1 :]]
        c, p = next((pair for pair in pairs if self._share_ring(atom, *pair)), pairs[0])
        near = [n for n in self._placed(c, p) + self._placed(p, c) if n != atom]
        return Placement(atom, "closure", c, p, self._reference(c, p, near, ring_with=atom))

    def _open(self, atom: int, centre: int, around: list[int]) -> Placement:
        parents = sorted(
            around,
            key=lambda n: (not self._share_ring(atom, centre, n), n != self.parent[centre], self.order[n]),
        )
        straight = [n for n in parents if not self.graph.is_linear(atom, centre, n)]
        if not straight:
            p = parents[0]
            return Placement(atom, "bend", centre, p, self._reference(centre, p, self._placed(p, centre)))
        p = straight[0]
        siblings = [n for n in around if n != p and not self.graph.is_linear(p, centre, n)]
        if siblings:
            return Placement(atom, "offset", centre, p, siblings[0])
        near = [n for n in self.leading[p] if n in self.order and n != centre]
        return Placement(atom, "torsion", centre, p, self._reference(centre, p, near, ring_with=atom))

    def _reference(self, c: int, p: int, near: list[int], ring_with: int = -1) -> int:
        """An atom g, placed, that spans a plane with c and p; first of `near`, else the closest."""
        if ring_with >= 0 and self._share_ring(ring_with, c, p):
            near = sorted(near, key=lambda n: not self._share_ring(ring_with, c, p, n))
        seen, layer = {c, p, *near}, near
        placed_layers: list[int] = []
        while layer:
            placed_layers += [n for n in layer if n in self.order and n != ring_with]
            layer = list(dict.fromkeys(m for n in layer for m in self.leading[n] if m not in seen))
            seen.update(layer)
        placed_layers += [n for n in self.order if n not in {c, p, *placed_layers}]
        for g in placed_layers:
            if self._spans_plane(c, p, g):
                return g
        raise InputError(
            f"Atom {self.root} cannot be the root: no placed atom is off the line through atoms {c} and {p}."
        )

    def _spans_plane(self, c: int, p: int, g: int) -> bool:
        bend = angle(self.graph.reference_positions, c, p, g)
        bonded = g in self.graph.neighbours[p]
        straight = bonded and self.graph.is_linear(c, p, g)
        return bool(self.degenerate < bend < np.pi - self.degenerate) and not straight


def decode_reference(placements: tuple[Placement, ...]) -> list[tuple[int, int]]:
    """For each placement (g, base): the reference that decode uses, and the atom whose torsion it adds.

    An offset from a sibling that turns about the same axis is the sum of both torsions, seen from the
    sibling's own reference: siblings are placed together.
    """
    by_atom = {placement.atom: placement for placement in placements}
    references = []
    for placement in placements:
        sibling = by_atom.get(placement.g)
        if (
            placement.style == "offset"
            and sibling is not None
            and sibling.style == "torsion"
            and (sibling.c, sibling.p) == (placement.c, placement.p)
        ):
            references.append((sibling.g, sibling.atom))
        else:
            references.append((placement.g, -1))
    return references


def levels(placements: tuple[Placement, ...]) -> list[list[int]]:
    """Indices of placements that can be decoded together, level by level, after the first three."""
    level: dict[int, int] = {}
    groups: list[list[int]] = []
    for index, (placement, (g, _)) in enumerate(zip(placements, decode_reference(placements), strict=True)):
        if index < 3:
            level[placement.atom] = -1
            continue
        depth = 1 + max(level[atom] for atom in (placement.c, placement.p, g))
        level[placement.atom] = depth
        groups += [[] for _ in range(depth + 1 - len(groups))]
        groups[depth].append(index)
    return groups
