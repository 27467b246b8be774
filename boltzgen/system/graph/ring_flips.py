"""Which rings of a molecule can be turned over as a whole, and what is carried along, from the graph alone.

A *flip* mirrors a ring at its mean plane; ring torsions change their signs. What hangs on one ring atom is
carried rigidly in the frame of that atom and its ring neighbours, so that every hand stays: what was axial
becomes equatorial. `boltzgen.dynamics.ring_moves` makes the move.

- *Fused rings* (two rings share one bond, as in decalin) flip together where both atoms of the bond are
  tetrahedral. Each ring is mirrored, and they keep their angle about the bond. Whether the hands allow that,
  the reference tells: those of cis-decalin do, those of trans-decalin do not.
- Where both atoms of the shared bond are planar (tetralin), the other ring is carried as it is.
- A spiro ring is a branch. Bridged rings (norbornane) and atoms in three rings have no flip.
- *Nitrogen of three neighbours in a ring*, which inverts: its third neighbour goes to the other side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from boltzgen.system.graph.adjacency import connected_pieces, side
from boltzgen.system.graph.puckers import FLAT

if TYPE_CHECKING:
    from boltzgen.system.graph.molecular_graph import MolecularGraph

#: Atoms of a ring above which no flip is tried: macrocycles move by their torsions.
LARGEST_RING = 12
#: Ring atoms that are not planar, below which a ring has no pucker that lasts.
_FEWEST_BENT = 2


@dataclass(frozen=True)
class Junction:
    """A bond of a ring that is placed already, and the `atoms` that are placed by it.

    bond: its two atoms p and q. beside: the other neighbours of p and of q in the ring that is placed.
    atoms: of a fused ring that is mirrored, in order from the neighbour of p to that of q; else those of a
    rigid piece.
    """

    bond: tuple[int, int]
    beside: tuple[int, int]
    atoms: tuple[int, ...]


@dataclass(frozen=True)
class Branch:
    """What hangs on one ring atom: `atoms` on `root`, whose frame is told by three of its ring neighbours.

    frame: one neighbour, and two whose mean direction counts (the same one twice on an atom of one ring).
    turns: the atom at the other end of the bond from `root`, if the branch may turn about it; else None.
    """

    root: int
    frame: tuple[int, int, int]
    atoms: tuple[int, ...]
    turns: int | None


@dataclass(frozen=True)
class RingFlip:
    """`rings` that flip together, the first one at its mean plane, the others as `mirrored` places them."""

    rings: tuple[tuple[int, ...], ...]
    mirrored: tuple[Junction, ...]
    carried: tuple[Junction, ...]
    branches: tuple[Branch, ...]


@dataclass(frozen=True)
class NitrogenFlip:
    """A nitrogen in a ring, its two ring neighbours, and the `atoms` of its third branch, `third` first."""

    nitrogen: int
    beside: tuple[int, int]
    atoms: tuple[int, ...]


@dataclass(frozen=True)
class UnmovedRings:
    """`rings` that are not flat and have no flip, and why, in words."""

    rings: tuple[tuple[int, ...], ...]
    why: str


def ring_flips(graph: MolecularGraph) -> tuple[tuple[RingFlip, ...], tuple[UnmovedRings, ...]]:
    """The flips of `graph`, whether or not hands allow them, and the rings without one."""
    flips: list[RingFlip] = []
    unmoved: list[UnmovedRings] = []
    for rings in _linked(graph):
        bent = [ring for ring in rings if is_bent(graph, ring)]
        if not bent:
            continue
        why = _why_none(graph, rings)
        root = max(bent, key=len)
        found = None if why else _flip(graph, [root, *(ring for ring in rings if ring != root)])
        if found is None:
            unmoved.append(UnmovedRings(tuple(bent), why or "another part of the molecule bridges it"))
        else:
            flips.append(found)
    return tuple(flips), tuple(unmoved)


def nitrogen_flips(graph: MolecularGraph) -> tuple[NitrogenFlip, ...]:
    """The nitrogens in a ring that invert and carry one branch outside all rings of theirs."""
    found = []
    for atom in sorted(graph.invertible):
        around = graph.neighbours[atom]
        inside = [n for n in around if (min(atom, n), max(atom, n)) in graph.ring_bonds]
        if len(inside) != 2:
            continue
        (third,) = set(around) - set(inside)
        branch = side(graph.neighbours, atom, third)
        if branch is not None:
            found.append(NitrogenFlip(atom, (inside[0], inside[1]), (third, *sorted(branch - {third}))))
    return tuple(found)


def is_bent(graph: MolecularGraph, ring: Sequence[int]) -> bool:
    """Whether a ring has a pucker: four atoms or more, two of them not planar, and not flat in the reference.

    Atoms of two neighbours (O, S, a pyridine's N) tell nothing by themselves.
    """
    bent = [atom for atom in ring if atom not in graph.planar and len(graph.neighbours[atom]) > 2]
    bent += [
        atom for atom in ring if len(graph.neighbours[atom]) == 2 and graph.atomic_numbers[atom] in _SOFT
    ]
    if len(ring) < 4 or len(bent) < _FEWEST_BENT:
        return False
    places = graph.reference_positions[list(ring)]
    return bool(np.linalg.norm(out_of_plane(places)) > FLAT)


#: Elements that may bend with two neighbours in a ring: O, S, Se.
_SOFT = frozenset({8, 16, 34})


def out_of_plane(places: np.ndarray) -> np.ndarray:
    """(n,) distances of the atoms of one ring (n, 3), in order, from Cremer and Pople's mean plane."""
    x = places - places.mean(axis=0)
    turn = 2 * np.pi * np.arange(len(x)) / len(x)
    normal = np.cross(np.sin(turn) @ x, np.cos(turn) @ x)
    return np.asarray(x @ normal / max(float(np.linalg.norm(normal)), np.finfo(float).tiny))


def _linked(graph: MolecularGraph) -> list[list[tuple[int, ...]]]:
    """Rings in groups that can only flip together: those that share more than an atom or a planar bond."""
    groups: list[list[tuple[int, ...]]] = []
    for ring in graph.rings:
        touching = [group for group in groups if any(_is_linked(graph, ring, other) for other in group)]
        groups = [group for group in groups if group not in touching]
        groups.append([*(other for group in touching for other in group), ring])
    return groups


def _is_linked(graph: MolecularGraph, first: Sequence[int], second: Sequence[int]) -> bool:
    shared = set(first) & set(second)
    return len(shared) > 2 or (len(shared) == 2 and not shared <= graph.planar)


def _why_none(graph: MolecularGraph, rings: Sequence[tuple[int, ...]]) -> str:
    """Why the linked `rings` have no flip by their bonds alone; "" where they may have one."""
    if max(map(len, rings)) > LARGEST_RING:
        return f"it has more than {LARGEST_RING} atoms"
    shared = [set(a) & set(b) for a, b in combinations(rings, 2)]
    if any(len(atoms) > 2 for atoms in shared):
        return "it is bridged"
    fused = [atoms for atoms in shared if len(atoms) == 2]
    if any(sum(atom in ring for ring in rings) > 2 for atoms in fused for atom in atoms):
        return "an atom belongs to three of its rings"
    if any(len(atoms) == 1 for atoms in shared) or len(fused) != len(rings) - 1:
        return "its rings are fused in a circle"
    if any(not atoms <= graph.tetrahedral for atoms in fused):
        return "an atom that two of its rings share is planar or inverts"
    return ""


def _flip(graph: MolecularGraph, rings: list[tuple[int, ...]]) -> RingFlip | None:
    """The flip of `rings`, the first one the root; None where what hangs on them meets again."""
    placed, waiting, mirrored = [rings[0]], list(rings[1:]), []
    while waiting:
        ring, on = next((r, p) for r in waiting for p in placed if len(set(r) & set(p)) == 2)
        waiting.remove(ring)
        placed.append(ring)
        mirrored.append(_junction(on, ring))
    own = {atom for ring in rings for atom in ring}
    carried, branches = [], []
    partner = {atom: other for one in mirrored for atom, other in (one.bond, one.bond[::-1])}
    for piece in _pieces(graph, own):
        roots = sorted({n for atom in piece for n in graph.neighbours[atom] if n in own})
        if len(roots) == 1:
            branches.append(_branch(graph, own, roots[0], partner.get(roots[0]), piece))
            continue
        holding = [ring for ring in placed if len(roots) == 2 and set(roots) <= set(ring)]
        if not holding or roots[1] not in graph.neighbours[roots[0]]:
            return None
        beside = _others(holding[0], roots[0], roots[1]), _others(holding[0], roots[1], roots[0])
        carried.append(Junction((roots[0], roots[1]), beside, tuple(sorted(piece))))
    return RingFlip(tuple(placed), tuple(mirrored), tuple(carried), tuple(branches))


def _junction(on: Sequence[int], ring: Sequence[int]) -> Junction:
    """The bond by which `ring` is placed once `on` is."""
    p, q = sorted(set(ring) & set(on))
    start = ring.index(p)
    around = [*ring[start:], *ring[:start]]
    chain = around[1:-1] if around[-1] == q else around[:1:-1]
    return Junction((p, q), (_others(on, p, q), _others(on, q, p)), tuple(chain))


def _others(ring: Sequence[int], atom: int, without: int) -> int:
    place = ring.index(atom)
    before, after = ring[place - 1], ring[(place + 1) % len(ring)]
    return after if before == without else before


def _pieces(graph: MolecularGraph, own: set[int]) -> list[set[int]]:
    """The connected pieces of the molecule without the atoms `own`."""
    left = [() if a in own else tuple(set(n) - own) for a, n in enumerate(graph.neighbours)]
    return [set(piece) for piece in connected_pieces(left) if piece[0] not in own]


def _branch(graph: MolecularGraph, own: set[int], root: int, partner: int | None, piece: set[int]) -> Branch:
    inside = [n for n in graph.neighbours[root] if n in own]
    first = inside[0] if partner is None else partner
    rest = [n for n in inside if n != first]
    heads = [n for n in graph.neighbours[root] if n in piece]
    turns = None
    for torsion in graph.torsions():
        if torsion.kind == "open" and len(heads) == 1 and (root, heads[0]) in _ends(torsion.axis):
            turns = heads[0]
    atoms = tuple(sorted(piece, key=lambda atom: (atom not in heads, atom)))
    return Branch(root, (first, rest[0], rest[-1]), atoms, turns)


def _ends(axis: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    return axis[:2], axis[:-3:-1]
