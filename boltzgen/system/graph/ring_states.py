"""What conformations a ring has that last: the one definition of the states of rings.

- *Rings of six*: two chairs, and boats with their twist boats between (theta of Cremer and Pople from 60 to
  120 degrees). With two neighbours that are planar (cyclohexene, a lactam): two half-chairs, divided at 90.
  Chairs that a symmetry of the molecule exchanges, a mirror image too, are one state (cyclohexane): nobody
  can tell them apart.
- *Rings of seven and more*: the signs of their torsions, about planar bonds left out; patterns that a
  symmetry exchanges are one state.
- *Nitrogen of three neighbours in a ring*, which inverts: axial or equatorial in a chair; in other rings the
  side of the reference or the other, where the molecule has a stereocentre: without one they are mirrored.
- Rings of five and fewer have none: pseudorotation crosses barriers of about kT. Nor have flat ones.

A substituent on a chair is axial where its bond goes along the axis. Which it is follows from the chair and
the hand of its ring atom, so that words of a state hold for every conformation in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from boltzgen.system.graph.adjacency import adjacency
from boltzgen.system.graph.geometry import dihedral_angles
from boltzgen.system.graph.molecular_graph import rings_of_bonds
from boltzgen.system.graph.puckers import FLAT, cremer_pople

if TYPE_CHECKING:
    from boltzgen.system.graph.molecular_graph import MolecularGraph

#: Degrees of theta from a pole within which a ring of six is a chair.
CHAIR = 60.0
#: Planar atoms from which a ring of six turns over freely or is flat (1,3-cyclohexadiene, aromatic rings).
_MOSTLY_PLANAR = 4
#: Atoms of four neighbours that make a ring of six a saturated one.
_SATURATED = 3
#: Substituents that the name of a state lists.
_MOST_WORDS = 4
#: Ring torsions of which signs are looked at; a code is a whole number of as many bits.
_MOST_SIGNS = 60


class RingStates(Protocol):
    """States of one ring or of a nitrogen in it; each state has a whole number, its code."""

    @property
    def atoms(self) -> tuple[int, ...]:
        """The ring, in order."""

    def classify(self, positions: np.ndarray) -> np.ndarray:
        """(B,) int, the code of each conformation (B, N, 3) nm; -1 where it has none or is not finite."""

    def state(self, code: int, names: Sequence[str]) -> str:
        """The state in words, for people; `names` (N,) are those of the atoms."""

    def substituents_of(self, code: int, names: Sequence[str]) -> str:
        """What is axial and what equatorial; "" where the state says neither."""


@dataclass(frozen=True)
class ChairStates:
    """The chairs (or half-chairs) of a ring of six: code 0 is theta near 0, 1 theta near 180, 2 between.

    substituents: (place in the ring, atom, face) of each that has a word; a face is +1 where the bond goes to
    the side of Cremer and Pople's normal. half: half-chairs. alike: both chairs are one state, code 0.
    """

    atoms: tuple[int, ...]
    substituents: tuple[tuple[int, int, int], ...]
    half: bool
    alike: bool

    def classify(self, positions: np.ndarray) -> np.ndarray:
        codes = _poles(positions, self.atoms, 90.0 if self.half else CHAIR)
        return np.where(codes == 1, 0, codes) if self.alike else codes

    def state(self, code: int, names: Sequence[str]) -> str:
        ring = ring_name(self.atoms, names)
        if code == 2:
            return f"{ring} as a boat or twist boat"
        shape = "half-chair" if self.half else "chair"
        if self.alike:
            return f"{ring} as a chair"
        words = self.substituents_of(code, names) or f"{names[self.atoms[0]]} {('above', 'below')[code]}"
        return f"{ring} as the {shape} with {words}"

    def substituents_of(self, code: int, names: Sequence[str]) -> str:
        if code not in (0, 1) or self.alike:
            return ""
        return ", ".join(
            f"{names[atom]} {'axial' if is_axial(code, place, face) else 'equatorial'}"
            for place, atom, face in self.substituents[:_MOST_WORDS]
        )


@dataclass(frozen=True)
class SignStates:
    """The signs of the torsions of a ring of seven or more, a code of one bit each, set where positive.

    axes: places of the bonds looked at. images: for each symmetry the place that each bond goes to, and
    whether signs change; the code is the lowest of all images.
    """

    atoms: tuple[int, ...]
    axes: tuple[int, ...]
    images: tuple[tuple[tuple[int, ...], bool], ...]

    def classify(self, positions: np.ndarray) -> np.ndarray:
        angles = dihedral_angles(positions, torsions_around(self.atoms))
        positive = angles > 0
        codes = np.min([self._code(positive, *image) for image in self.images], axis=0)
        return np.where(np.isfinite(angles).all(axis=1), codes, -1)

    def _code(self, positive: np.ndarray, order: tuple[int, ...], mirrored: bool) -> np.ndarray:
        moved = np.empty_like(positive)
        moved[:, list(order)] = positive ^ mirrored
        return moved[:, list(self.axes)] @ (1 << np.arange(len(self.axes)))

    def state(self, code: int, names: Sequence[str]) -> str:
        bits = {place: "+-"[not code >> k & 1] for k, place in enumerate(self.axes)}
        signs = "".join(bits.get(place, ".") for place in range(len(self.atoms)))
        return f"{ring_name(self.atoms, names)} with torsions {signs}"

    def substituents_of(self, code: int, names: Sequence[str]) -> str:
        return ""


@dataclass(frozen=True)
class NitrogenStates:
    """The side of the third neighbour of a nitrogen at `place` of a ring: in chairs 0 axial, 1 equatorial.

    In other rings 0 is the side of the reference, 1 the other. face: of the reference.
    """

    atoms: tuple[int, ...]
    place: int
    third: int
    chair: bool
    face: int

    def classify(self, positions: np.ndarray) -> np.ndarray:
        faces = _faces(positions, self.atoms, self.place, self.third)
        if not self.chair:
            return np.where(faces == 0, -1, faces != self.face).astype(np.int64)
        chairs = _poles(positions, self.atoms, CHAIR)
        axial = is_axial(chairs, self.place, faces)
        return np.where((chairs < 0) | (chairs == 2) | (faces == 0), -1, ~axial).astype(np.int64)

    def state(self, code: int, names: Sequence[str]) -> str:
        nitrogen = names[self.atoms[self.place]]
        if self.chair:
            return f"{names[self.third]} {('axial', 'equatorial')[code]} on {nitrogen}"
        return f"{nitrogen} {('as in the reference', 'inverted')[code]}"

    def substituents_of(self, code: int, names: Sequence[str]) -> str:
        return self.state(code, names) if self.chair and code >= 0 else ""


def ring_states(graph: MolecularGraph) -> tuple[RingStates, ...]:
    """The states of the rings of `graph`, then of the nitrogens in them; empty where no ring has any."""
    rings: list[RingStates] = []
    nitrogens: dict[int, NitrogenStates] = {}
    for ring in sorted(
        (from_lowest(ring) for ring in graph.rings), key=lambda ring: (len(ring) != 6, len(ring))
    ):
        found = _states_of(graph, ring)
        if found is not None:
            rings.append(found)
        chair = isinstance(found, ChairStates) and not found.half
        for atom in ring:
            if atom in graph.invertible and atom not in nitrogens and (chair or graph.stereocentres):
                nitrogens[atom] = _nitrogen(graph, ring, atom, chair)
    return (*rings, *nitrogens.values())


def _states_of(graph: MolecularGraph, ring: tuple[int, ...]) -> RingStates | None:
    planar = [atom in graph.planar for atom in ring]
    if len(ring) == 6:
        if sum(planar) >= _MOSTLY_PLANAR or not cremer_pople(graph.reference_positions[list(ring)])[0] > FLAT:
            return None
        half = any(planar[k] and planar[k - 1] for k in range(6))
        alike = any(turn % 2 != swapped for turn, _, swapped in _symmetries(graph, ring))
        return None if half and alike else ChairStates(ring, _substituents(graph, ring), half, alike)
    axes = [k for k in range(len(ring)) if not (planar[k] and planar[(k + 1) % len(ring)])]
    if len(ring) < 7 or len(axes) < 3:
        return None
    images = []
    for turn, way, swapped in _symmetries(graph, ring):
        ends = [(way * k + turn) % len(ring) for k in range(len(ring))]  # where atom k goes
        order = [end if way > 0 else (end - 1) % len(ring) for end in ends]  # the bond of k and k + 1
        images.append((tuple(order), (way > 0) == swapped))
    return SignStates(ring, tuple(axes[:_MOST_SIGNS]), tuple(images))


def _symmetries(graph: MolecularGraph, ring: tuple[int, ...]) -> list[tuple[int, int, bool]]:
    """(turn, way, swapped): atom k of `ring` may go to ``way * k + turn``, the faces exchanged or not.

    What the molecule cannot tell apart: equal classes of ring atoms and of what they carry on both faces. A
    mirror image counts, and nothing but the identity where other atoms than these have a hand.
    """
    if any(_has_hand(graph, atom) for atom in graph.tetrahedral if atom not in ring):
        return [(0, 1, False)]
    carried = [_carried(graph, ring, place) for place in range(len(ring))]
    size, found = len(ring), []
    for turn, way, swapped in product(range(size), (1, -1), (False, True)):
        images = [carried[(way * k + turn) % size] for k in range(size)]
        if all(
            graph.classes[ring[k]] == graph.classes[ring[(way * k + turn) % size]]
            and carried[k] == (image[::-1] if swapped else image)
            for k, image in enumerate(images)
        ):
            found.append((turn, way, swapped))
    return found


def _has_hand(graph: MolecularGraph, atom: int) -> bool:
    """Whether the sides of `atom` differ: a stereocentre, or an atom of a ring with two unlike groups."""
    if atom in graph.stereocentres:
        return True
    for ring in graph.rings:
        if atom in ring and len({graph.classes[n] for n in graph.neighbours[atom] if n not in ring}) > 1:
            return True
    return False


def _carried(graph: MolecularGraph, ring: tuple[int, ...], place: int) -> tuple[Any, Any]:
    """Classes of what a ring atom carries on its positive and its negative face; on both if it turns."""
    others = [n for n in graph.neighbours[ring[place]] if n not in _beside(ring, place)]
    if len(others) != 2:
        either = tuple(sorted(graph.classes[n] for n in others))
        return either, either
    first, second = sorted(others, key=lambda n: -_reference_face(graph, ring, place, n))
    return graph.classes[first], graph.classes[second]


def _substituents(graph: MolecularGraph, ring: tuple[int, ...]) -> tuple[tuple[int, int, int], ...]:
    """What has a word: of two unlike neighbours off the ring, the one that leads the larger branch."""
    found = []
    for place, atom in enumerate(ring):
        others = [n for n in graph.leading_neighbours(atom) if n not in _beside(ring, place)]
        if len(others) == 2 and graph.classes[others[0]] != graph.classes[others[1]]:
            lead = min(others, key=lambda n: (graph.atomic_numbers[n] == 1, others.index(n)))
            found.append((place, lead, _reference_face(graph, ring, place, lead)))
    return tuple(found)


def _nitrogen(graph: MolecularGraph, ring: tuple[int, ...], atom: int, chair: bool) -> NitrogenStates:
    place = ring.index(atom)
    (third,) = (n for n in graph.neighbours[atom] if n not in _beside(ring, place))
    return NitrogenStates(ring, place, third, chair, _reference_face(graph, ring, place, third))


def is_axial(chair: Any, place: Any, face: Any) -> Any:
    """Whether what `place` carries on `face` is axial in `chair` (0 or 1); numbers or arrays of them.

    In chair 0 even places stand above the mean plane: what they carry on the positive face is axial, and what
    odd ones carry on the negative face.
    """
    return ((chair == 0) == (np.asarray(place) % 2 == 0)) == (face > 0)


def torsions_around(ring: Sequence[int]) -> np.ndarray:
    """(n, 4) atoms of the torsion about each bond of `ring`, that of its atoms k and k + 1 in row k."""
    return np.stack([np.roll(ring, shift) for shift in (1, 0, -1, -2)], axis=1)


def _poles(positions: np.ndarray, ring: tuple[int, ...], width: float) -> np.ndarray:
    """(B,) int: 0 and 1 for theta within `width` degrees of 0 and 180, else 2; -1 where it is not defined."""
    theta = np.degrees(cremer_pople(np.asarray(positions)[:, list(ring)])[1])
    codes = np.where(theta < width, 0, np.where(theta >= 180.0 - width, 1, 2))
    return np.where(np.isfinite(theta), codes, -1)


def _faces(positions: np.ndarray, ring: tuple[int, ...], place: int, atom: int) -> np.ndarray:
    """(B,) +1 where `atom` lies on the side of Cremer and Pople's normal of its ring atom, else -1; or 0."""
    before, after = _beside(ring, place)
    x = np.asarray(positions, dtype=np.float64)
    first, second, third = (x[:, n] - x[:, ring[place]] for n in (before, after, atom))
    volume = np.einsum("bi,bi->b", np.cross(first, second), third)
    return np.sign(np.nan_to_num(volume)).astype(np.int64)


def _reference_face(graph: MolecularGraph, ring: tuple[int, ...], place: int, atom: int) -> int:
    return int(_faces(graph.reference_positions[None], ring, place, atom)[0])


def _beside(ring: tuple[int, ...], place: int) -> tuple[int, int]:
    return ring[place - 1], ring[(place + 1) % len(ring)]


def from_lowest(ring: Sequence[int]) -> tuple[int, ...]:
    """The same ring from its lowest atom on, towards the lower of its two neighbours."""
    start = int(np.argmin(ring))
    turned = [*ring[start:], *ring[:start]]
    return tuple(int(a) for a in (turned if turned[1] < turned[-1] else [turned[0], *turned[:0:-1]]))


def saturated_rings(n_atoms: int, bonds: np.ndarray) -> list[tuple[int, ...]]:
    """The rings of six with at least `_SATURATED` atoms of four neighbours, each from its lowest atom on.

    Theta of Cremer and Pople tells the chairs of these apart: the variable ``pucker`` of a states file.
    """
    neighbours = adjacency(n_atoms, bonds)
    return [
        from_lowest(ring)
        for ring in rings_of_bonds(n_atoms, bonds)
        if len(ring) == 6 and sum(len(neighbours[atom]) == 4 for atom in ring) >= _SATURATED
    ]


def ring_name(ring: Sequence[int], names: Sequence[str]) -> str:
    """A ring for people, by the `names` (N,) of its atoms."""
    return "ring " + "-".join(names[atom] for atom in ring)
