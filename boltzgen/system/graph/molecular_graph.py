"""What a molecule's bonds, terms and reference geometry say about its shape.

Everything here is physics: elements, masses, parameters, bonds and reference positions. No atom
or residue name is read, so a ligand is treated as a peptide is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from boltzgen.errors import InputError
from boltzgen.system.graph.adjacency import Neighbours, adjacency, branch, connected_pieces
from boltzgen.system.graph.canonical import atom_invariants, canonical_order, refine
from boltzgen.system.graph.geometry import angle, dihedral_angle
from boltzgen.system.graph.torsions import ALL, Subset, Torsion, torsions_of
from boltzgen.system.terms.equilibrium import TermCentres, has_planar_minima, torsion_profiles

if TYPE_CHECKING:
    from boltzgen.system.molecular_system import MolecularSystem

#: A centre of three neighbours whose angles sum to more than this is planar, rad.
PLANAR_ANGLE_SUM = np.deg2rad(350.0)
#: A bend of more than this is near-linear, rad.
LINEAR_ANGLE = np.deg2rad(165.0)
#: A rigid rotation that costs more than this separates two isomers (if both are planar), kJ/mol.
ISOMER_BARRIER = 40.0
#: Rings smaller than this hold the trans isomer of a double bond only where the reference shows it.
SMALLEST_RING_WITH_ISOMERS = 8
#: A triple of unit bond vectors of less volume than this has no hand (a regular tetrahedron: 0.77).
SMALLEST_HAND = 0.2
#: Nitrogen and carbon pass through the plane; three-coordinate P, S, As, Se, Sb, Te do not.
PYRAMIDAL_ELEMENTS = frozenset({15, 16, 33, 34, 51, 52})


@dataclass(frozen=True)
class IsomerBond:
    """A bond with two isomers, and the torsion `a-c-p-g` that tells them apart.

    The choice of `a` and `g` depends on the molecule alone, not on a tree; ``planar`` is the
    reference isomer's planar value of the torsion, 0 or pi.
    """

    a: int
    c: int
    p: int
    g: int
    planar: float
    barrier: float


@dataclass(frozen=True)
class Hand:
    """Three neighbours of a centre that cannot pass through one plane with it.

    ``sign`` is that of the triple product of the vectors from the centre to ``neighbours``
    in the reference positions.
    """

    centre: int
    neighbours: tuple[int, int, int]
    sign: float


@dataclass(frozen=True)
class MolecularGraph:
    """The graph of one molecule with its rings, centres and canonical order.

    Attributes
    ----------
    neighbours: for each atom its bonded atoms, ascending.
    rings: smallest set of smallest rings, atoms in order around each.
    planar: atoms with three neighbours in one plane, by the equilibrium angles or in the reference.
    tetrahedral: atoms that cannot invert: four neighbours, or three around a pyramidal S or P
        (or a united atom).
    invertible: atoms with three neighbours, neither planar nor tetrahedral: amines.
    stereocentres: tetrahedral atoms whose neighbours all differ; the other tetrahedral atoms only
        keep the labels of equivalent neighbours (hydrogens) apart.
    hands: triples of neighbours whose orientation is part of the domain.
    rotors: the three terminal atoms, ascending, of each methyl-like group: on an atom of four neighbours, and
        equal in element, mass, charge and nonbonded parameters.
    isomer_bonds: bonds with two isomers (amides, C=C), by barrier and planar minima of their torsions.
    opened: atom pairs, ascending, of bonds that would be among them and were set free (``free_rotations``).
    linear: triples (a, c, p), a < p, around a near-linear centre c.
    classes: (N,) equal for atoms that the force field and the bonds do not tell apart.
    canonical: (N,) int array; canonical[k] is the atom of canonical rank k.
    reference_positions: (N, 3) float64 nm.
    """

    n_atoms: int
    atomic_numbers: np.ndarray
    masses: np.ndarray
    bonds: np.ndarray
    neighbours: Neighbours
    rings: tuple[tuple[int, ...], ...]
    planar: frozenset[int]
    tetrahedral: frozenset[int]
    invertible: frozenset[int]
    stereocentres: frozenset[int]
    hands: tuple[Hand, ...]
    rotors: tuple[tuple[int, int, int], ...]
    isomer_bonds: tuple[IsomerBond, ...]
    opened: frozenset[tuple[int, int]]
    linear: frozenset[tuple[int, int, int]]
    classes: tuple[int, ...]
    canonical: np.ndarray
    centres: TermCentres
    reference_positions: np.ndarray

    @cached_property
    def rank(self) -> np.ndarray:
        """(N,) int: canonical rank of each atom."""
        rank = np.empty(self.n_atoms, dtype=int)
        rank[self.canonical] = np.arange(self.n_atoms)
        return rank

    @cached_property
    def ring_bonds(self) -> dict[tuple[int, int], int]:
        """Sorted atom pair of each bond in a ring -> size of its smallest ring."""
        return _ring_bonds(self.rings)

    @cached_property
    def _torsions(self) -> tuple[Torsion, ...]:
        return torsions_of(self)

    def torsions(self, subset: Subset = ALL) -> tuple[Torsion, ...]:
        """The torsions in `subset`, one for each axis; `boltzgen.system.graph.torsions` defines them."""
        return tuple(torsion for torsion in self._torsions if torsion in subset)

    def branch(self, start: int, without: int) -> set[int]:
        """The atoms that are reached from `start`, itself among them, without passing atom `without`."""
        return branch(self.neighbours, start, without)

    def leading_neighbours(self, atom: int) -> tuple[int, ...]:
        """Neighbours of `atom`, the largest branch first, then the heavier, then the canonical first."""
        return _leading(self.neighbours, self.masses, self.rank, atom)

    def is_linear(self, a: int, c: int, p: int) -> bool:
        """True when the angle a-c-p is near-linear in the force field or in the reference."""
        if (min(a, p), c, max(a, p)) in self.linear:
            return True
        return angle(self.reference_positions, a, c, p) > LINEAR_ANGLE

    @classmethod
    def from_system(cls, system: MolecularSystem) -> MolecularGraph:
        """The graph of `system`. Raises InputError when it is not one connected molecule."""
        positions = np.asarray(system.reference_positions, dtype=float)
        bonds = np.asarray(system.bonds, dtype=int).reshape(-1, 2)
        numbers, masses = np.asarray(system.atomic_numbers), np.asarray(system.masses, dtype=float)
        neighbours = adjacency(len(numbers), bonds)
        if len(connected_pieces(neighbours)) != 1:
            raise InputError(
                f"{system.name}: the atoms are not all connected by bonds, but one connected molecule is "
                "needed; prepare one molecule at a time, and add missing CONECT records."
            )
        centres = TermCentres.from_system(system)
        invariants = atom_invariants(system)
        classes = refine(invariants, neighbours)
        canonical = canonical_order(classes, neighbours, positions)
        rank = np.empty(len(numbers), dtype=int)
        rank[canonical] = np.arange(len(numbers))
        rings = rings_of_bonds(len(numbers), bonds)
        linear = _linear_triples(neighbours, positions, centres)
        planar, pyramidal = _three_coordinate(neighbours, positions, centres)
        cannot_invert = {a for a in pyramidal if numbers[a] in PYRAMIDAL_ELEMENTS or numbers[a] == 0}
        hands = _hands(neighbours, positions, cannot_invert)
        tetrahedral = frozenset(hand.centre for hand in hands)
        stereo = {c for c in tetrahedral if len({classes[n] for n in neighbours[c]}) == len(neighbours[c])}
        isomers = _isomer_bonds(system, neighbours, masses, rank, rings, cannot_invert, linear)
        free = frozenset(system.free_rotations)
        return cls(
            n_atoms=len(numbers),
            atomic_numbers=numbers,
            masses=masses,
            bonds=bonds,
            neighbours=neighbours,
            rings=rings,
            planar=frozenset(planar),
            tetrahedral=tetrahedral,
            invertible=frozenset(pyramidal - tetrahedral),
            stereocentres=frozenset(stereo),
            hands=hands,
            rotors=_rotors(neighbours, classes),
            isomer_bonds=tuple(b for b in isomers if (min(b.c, b.p), max(b.c, b.p)) not in free),
            opened=free,
            linear=frozenset(linear),
            classes=tuple(classes),
            canonical=canonical,
            centres=centres,
            reference_positions=positions,
        )


def _leading(neighbours, masses, rank, atom: int) -> tuple[int, ...]:
    return tuple(
        sorted(
            neighbours[atom],
            key=lambda n: (-len(branch(neighbours, n, atom)), -round(masses[n], 3), rank[n]),
        )
    )


def rings_of_bonds(n_atoms: int, bonds: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """The smallest set of smallest rings, atoms in order around each; `bonds` (M, 2)."""
    if len(bonds) < n_atoms:
        return ()
    from rdkit import Chem

    molecule = Chem.RWMol()
    for _ in range(n_atoms):
        molecule.AddAtom(Chem.Atom(0))
    for i, j in bonds:
        molecule.AddBond(int(i), int(j), Chem.BondType.SINGLE)
    return tuple(tuple(ring) for ring in Chem.GetSSSR(molecule))


def _ring_bonds(rings: tuple[tuple[int, ...], ...]) -> dict[tuple[int, int], int]:
    sizes: dict[tuple[int, int], int] = {}
    for ring in sorted(rings, key=len):
        for i, j in zip(ring, ring[1:] + ring[:1], strict=True):
            sizes.setdefault((min(i, j), max(i, j)), len(ring))
    return sizes


def _linear_triples(neighbours, positions, centres: TermCentres) -> set[tuple[int, int, int]]:
    found = set()
    for c, around in enumerate(neighbours):
        for k, a in enumerate(around):
            for p in around[k + 1 :]:
                if centres.angle(a, c, p, angle(positions, a, c, p)) > LINEAR_ANGLE:
                    found.add((a, c, p))
    return found


def _three_coordinate(neighbours, positions, centres: TermCentres) -> tuple[set[int], set[int]]:
    """Atoms with three neighbours: (planar, pyramidal)."""
    planar: set[int] = set()
    pyramidal: set[int] = set()
    for c, around in enumerate(neighbours):
        if len(around) == 3:
            pairs = [(around[0], around[1]), (around[1], around[2]), (around[0], around[2])]
            found = [angle(positions, a, c, p) for a, p in pairs]
            wanted = [centres.angle(a, c, p, measured) for (a, p), measured in zip(pairs, found)]
            (planar if max(sum(found), sum(wanted)) > PLANAR_ANGLE_SUM else pyramidal).add(c)
    return planar, pyramidal


def _hands(neighbours, positions, cannot_invert: set[int]) -> tuple[Hand, ...]:
    hands = []
    for c, around in enumerate(neighbours):
        if len(around) == 4:
            triples = [tuple(n for n in around if n != left_out) for left_out in around]
        elif c in cannot_invert:
            triples = [around]
        else:
            continue
        for triple in triples:
            vectors = np.array([positions[n] - positions[c] for n in triple])
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            volume = float(np.linalg.det(vectors))
            if abs(volume) > SMALLEST_HAND:
                hands.append(Hand(c, triple, float(np.sign(volume))))
    return tuple(hands)


def _rotors(neighbours: Neighbours, classes: list[int]) -> tuple[tuple[int, int, int], ...]:
    found = []
    for around in neighbours:
        terminal = [atom for atom in around if len(neighbours[atom]) == 1]
        if len(around) == 4 and len(terminal) == 3 and len({classes[atom] for atom in terminal}) == 1:
            found.append((terminal[0], terminal[1], terminal[2]))
    return tuple(found)


def _isomer_bonds(system, neighbours, masses, rank, rings, cannot_invert, linear) -> tuple[IsomerBond, ...]:
    positions = np.asarray(system.reference_positions, dtype=float)
    ring_bonds, trans = _ring_bonds(rings), _trans_in_rings(rings, positions)
    linear_centres = {c for _, c, _ in linear}

    def can_be_end(atom: int) -> bool:
        return len(neighbours[atom]) in (2, 3) and atom not in cannot_invert and atom not in linear_centres

    candidates = []
    for i, j in np.asarray(system.bonds, dtype=int).reshape(-1, 2):
        ring = ring_bonds.get((int(i), int(j)))
        both = ring is None or ring >= SMALLEST_RING_WITH_ISOMERS or (int(i), int(j)) in trans
        if can_be_end(i) and can_be_end(j) and both:
            candidates.append((int(i), int(j)))
    found = []
    profiles = torsion_profiles(system, candidates, neighbours)
    flattened = torsion_profiles(system, candidates, neighbours, flattened=True) if trans else profiles
    for (c, p), profile, flat in zip(candidates, profiles, flattened, strict=True):
        barrier = float(np.ptp(profile))
        if barrier > ISOMER_BARRIER:
            a = next(n for n in _leading(neighbours, masses, rank, c) if n != p)
            g = next(n for n in _leading(neighbours, masses, rank, p) if n != c)
            torsion = dihedral_angle(positions, a, c, p, g)
            planar = 0.0 if np.cos(torsion) > 0 else float(np.pi)
            twisted = (c, p) in trans and has_planar_minima(flat, planar)
            if has_planar_minima(profile, torsion) or twisted:
                found.append(IsomerBond(a, c, p, g, planar, barrier))
    return tuple(found)


def _trans_in_rings(rings: tuple[tuple[int, ...], ...], positions) -> set[tuple[int, int]]:
    """Bonds, either way round, whose ring leaves them on opposite sides in the reference (E-cyclooctene)."""
    found = set()
    for ring in rings:
        for k, (i, j) in enumerate(zip(ring, ring[1:] + ring[:1], strict=True)):
            before, after = ring[k - 1], ring[(k + 2) % len(ring)]
            if len(ring) > 4 and np.cos(dihedral_angle(positions, before, i, j, after)) < 0:
                found |= {(i, j), (j, i)}
    return found
