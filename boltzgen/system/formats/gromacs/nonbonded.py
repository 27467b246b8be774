"""Lennard-Jones and Coulomb forces of a GROMACS topology: exclusions, [ pairs ], combination rules.

An atom pair within ``nrexcl`` bonds, or listed in [ exclusions ], has no plain interaction. Each line of
[ pairs ] and [ pairs_nb ] adds one of its own, whether the plain one is excluded or not. Lennard-Jones terms
are ``C12/r^12 - C6/r^6``; [ nonbond_params ] replace what the combination rule makes, and what gen-pairs
makes of it (GROMACS 2022 reference manual, "Non-bonded interactions", "Exclusions", "Pair interactions").
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import InputError
from boltzgen.system.formats.gromacs.preprocess import Line
from boltzgen.system.formats.gromacs.topology import (
    AtomType,
    MoleculeType,
    TopologyFile,
    atoms_of,
    number,
    numbers,
)
from boltzgen.system.graph.adjacency import bond_distances

if TYPE_CHECKING:
    import openmm


@dataclass(frozen=True)
class LennardJones:
    """C6 (kJ/mol nm^6) and C12 (kJ/mol nm^12)."""

    c6: float
    c12: float

    def __add__(self, other: LennardJones) -> LennardJones:
        return LennardJones(self.c6 + other.c6, self.c12 + other.c12)

    @property
    def sigma_epsilon(self) -> tuple[float, float] | None:
        """(nm, kJ/mol); None for a pure repulsion or attraction, which has none."""
        if self.c6 == 0.0 and self.c12 == 0.0:
            return 1.0, 0.0
        if self.c6 <= 0.0 or self.c12 <= 0.0:
            return None
        return (self.c12 / self.c6) ** (1 / 6), self.c6**2 / (4 * self.c12)


NOTHING = LennardJones(0.0, 0.0)


@dataclass(frozen=True)
class Pair:
    """What one atom pair has beside the rest: atoms, product of charges (e^2), Lennard-Jones."""

    first: int
    second: int
    charges: float
    lj: LennardJones


class Rules:
    """Lennard-Jones parameters of pairs of atom types."""

    def __init__(self, top: TopologyFile) -> None:
        self.top = top
        self.replaced = self._table("nonbondparams")
        self.pair_types = self._table("pairtypes")

    def plain(self, one: str, other: str) -> LennardJones:
        """Of [ nonbond_params ], or by the combination rule."""
        if (found := self.replaced.get(frozenset((one, other)))) is not None:
            return found
        a, b = self.top.atom_types[one], self.top.atom_types[other]
        if self.top.rule == 1:
            return LennardJones(math.sqrt(a.v * b.v), math.sqrt(a.w * b.w))
        sigma = (a.v + b.v) / 2 if self.top.rule == 2 else math.sqrt(a.v * b.v)
        return _from_sigma(sigma, math.sqrt(a.w * b.w))

    def pair(self, one: str, other: str, line: Line) -> LennardJones:
        """Of [ pairtypes ], or the plain one times fudgeLJ where gen-pairs is yes."""
        if (found := self.pair_types.get(frozenset((one, other)))) is not None:
            return found
        if not self.top.generate:
            raise InputError(
                f"{line.place}: no [ pairtypes ] line for the types {one} and {other}, and gen-pairs is no."
            )
        plain = self.plain(one, other)
        return LennardJones(self.top.fudge_lj * plain.c6, self.top.fudge_lj * plain.c12)

    def of(self, v: float, w: float) -> LennardJones:
        """What two columns of a line mean under the combination rule."""
        return LennardJones(v, w) if self.top.rule == 1 else _from_sigma(v, w)

    def _table(self, section: str) -> dict[frozenset[str], LennardJones]:
        found = {}
        for line in self.top.of_parameters(section):
            if len(line.words) < 5 or line.words[2] != "1":
                raise InputError(f"{line.place}: expected two types, function 1 and two parameters.")
            found[frozenset(line.words[:2])] = self.of(*numbers(line, 3, 2))
        return found


def _from_sigma(sigma: float, epsilon: float) -> LennardJones:
    return LennardJones(4 * epsilon * sigma**6, 4 * epsilon * sigma**12)


def excluded_pairs(molecule: MoleculeType, n_atoms: int) -> set[tuple[int, int]]:
    """Pairs within nrexcl chemical bonds ([ bonds ], [ constraints ] of function 1), and [ exclusions ]."""
    chemical = [
        line for line in molecule.lines("constraints") if len(line.words) > 2 and line.words[2] == "1"
    ]
    bonds = [atoms_of(line, 2, n_atoms) for line in (*molecule.lines("bonds"), *chemical)]
    distances = bond_distances(n_atoms, np.array(bonds, dtype=np.int64))
    near = (distances <= molecule.nrexcl) & (distances < n_atoms)  # n_atoms says that no path is there
    found = {(int(first), int(second)) for first, second in np.argwhere(np.triu(near, 1))}
    for line in molecule.lines("exclusions"):
        first, *others = atoms_of(line, len(line.words), n_atoms)
        found |= {(min(first, other), max(first, other)) for other in others if other != first}
    return found


def special_pairs(molecule: MoleculeType, rules: Rules) -> list[Pair]:
    """Every pair of one molecule whose interaction is not the plain one, with all that it has."""
    types = [line.words[1] for line in molecule.lines("atoms")]
    charges = charges_of(molecule, rules.top)
    excluded = excluded_pairs(molecule, len(types))
    sums: dict[tuple[int, int], tuple[float, LennardJones]] = {pair: (0.0, NOTHING) for pair in excluded}
    for (first, second), charge, lj in _listed(molecule, rules, types, charges):
        if (first, second) not in sums:
            sums[first, second] = (charges[first] * charges[second], rules.plain(types[first], types[second]))
        before, lj_before = sums[first, second]
        sums[first, second] = (before + charge, lj_before + lj)
    return [Pair(*atoms, *sums[atoms]) for atoms in sorted(sums)]


def _listed(
    molecule: MoleculeType, rules: Rules, types: list[str], charges: list[float]
) -> Iterator[tuple[tuple[int, int], float, LennardJones]]:
    for line in molecule.lines("pairs"):
        first, second = sorted(atoms_of(line, 2, len(types)))
        function = line.words[2] if len(line.words) > 2 else ""
        if function == "1":
            own = len(line.words) >= 5
            lj = rules.of(*numbers(line, 3, 2)) if own else rules.pair(types[first], types[second], line)
            yield (first, second), rules.top.fudge_qq * charges[first] * charges[second], lj
        elif function == "2":
            fudge, one, other, v, w = numbers(line, 3, 5)
            yield (first, second), fudge * one * other, rules.of(v, w)
        else:
            raise InputError(f"{line.place}: function {function or '(none)'} of [ pairs ] is not 1 or 2.")
    for line in molecule.lines("pairsnb"):
        first, second = sorted(atoms_of(line, 2, len(types)))
        if len(line.words) < 3 or line.words[2] != "1":
            raise InputError(f"{line.place}: [ pairs_nb ] knows function 1 alone.")
        one, other, v, w = numbers(line, 3, 4)
        yield (first, second), one * other, rules.of(v, w)


def charges_of(molecule: MoleculeType, top: TopologyFile) -> list[float]:
    """Charges (e) of one molecule's atoms: their own, or those of their types."""
    return [
        number(line, 6) if len(line.words) > 6 else type_of(line, top).charge
        for line in molecule.lines("atoms")
    ]


def type_of(line: Line, top: TopologyFile) -> AtomType:
    """The atom type of a line of [ atoms ]."""
    if len(line.words) < 5:
        raise InputError(f"{line.place} is too short for a line of [ atoms ].")
    if line.words[1] not in top.atom_types:
        raise InputError(f"{line.place}: no line of [ atomtypes ] has the type {line.words[1]!r}.")
    return top.atom_types[line.words[1]]


def add_nonbonded(system: openmm.System, top: TopologyFile) -> None:
    """Add the forces to `system`, whose particles are the atoms of `top` in order.

    Rule 2 without [ nonbond_params ] is a NonbondedForce alone; otherwise its Lennard-Jones part stands in a
    CustomNonbondedForce, and that of special pairs in a CustomBondForce.
    """
    import openmm

    rules = Rules(top)
    types = [
        line.words[1] for kind, count in top.molecules for _ in range(count) for line in kind.lines("atoms")
    ]
    replaced = any(rules.replaced.get(frozenset((a, b))) is not None for a in set(types) for b in set(types))
    plain = top.rule == 2 and not replaced
    coulomb, bonded = openmm.NonbondedForce(), openmm.CustomBondForce("-C/r^6+A/r^12")
    for name in ("C", "A"):
        bonded.addPerBondParameter(name)
    bonded.setName("LennardJonesExceptions")
    lj = None if plain else _lennard_jones(rules, types, replaced)
    charges = [q for kind, count in top.molecules for _ in range(count) for q in charges_of(kind, top)]
    for charge, name in zip(charges, types):
        own = top.atom_types[name]
        coulomb.addParticle(charge, own.v if plain else 1.0, own.w if plain else 0.0)
    begin = 0
    for kind, count in top.molecules:
        special = special_pairs(kind, rules)
        for _ in range(count):
            for pair in special:
                _add_special(pair, begin, coulomb, bonded, lj)
            begin += len(kind.lines("atoms"))
    coulomb.setNonbondedMethod(openmm.NonbondedForce.NoCutoff)
    system.addForce(coulomb)
    if lj is not None:
        lj.setNonbondedMethod(openmm.CustomNonbondedForce.NoCutoff)
        system.addForce(lj)
    if bonded.getNumBonds():
        system.addForce(bonded)


def _add_special(
    pair: Pair, begin: int, coulomb: openmm.NonbondedForce, bonded: openmm.CustomBondForce, lj: Any
) -> None:
    first, second = begin + pair.first, begin + pair.second
    both = pair.lj.sigma_epsilon if lj is None else None
    sigma, epsilon = both or (1.0, 0.0)
    coulomb.addException(first, second, pair.charges, sigma, epsilon)
    if lj is not None:
        lj.addExclusion(first, second)
    if both is None and (pair.lj.c6 or pair.lj.c12):
        bonded.addBond(first, second, (pair.lj.c6, pair.lj.c12))


def _lennard_jones(rules: Rules, types: list[str], replaced: bool) -> openmm.CustomNonbondedForce:
    import openmm

    if not replaced:
        force = openmm.CustomNonbondedForce("A1*A2/r^12-C1*C2/r^6")
        for name in ("C", "A"):
            force.addPerParticleParameter(name)
        for name in types:
            own = rules.plain(name, name)
            force.addParticle((math.sqrt(own.c6), math.sqrt(own.c12)))
        return force
    force = openmm.CustomNonbondedForce("(a/r6)^2-b/r6; r6=r^6; a=acoef(type1, type2); b=bcoef(type1, type2)")
    names = sorted(set(types))
    terms = [[rules.plain(one, other) for other in names] for one in names]
    a = np.sqrt([[term.c12 for term in row] for row in terms]).ravel().tolist()
    b = np.array([[term.c6 for term in row] for row in terms]).ravel().tolist()
    for name, values in (("acoef", a), ("bcoef", b)):
        force.addTabulatedFunction(name, openmm.Discrete2DFunction(len(names), len(names), values))
    force.addPerParticleParameter("type")
    for name in types:
        force.addParticle((names.index(name),))
    return force
