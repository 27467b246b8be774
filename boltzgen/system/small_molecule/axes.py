"""Axes with a hand: allenes, cumulenes, and bonds between rings whose neighbours keep them from turning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boltzgen.system.small_molecule.checks import label_of

if TYPE_CHECKING:
    from rdkit import Chem


def axes_of(molecule: Chem.Mol) -> list[str]:
    """What people are told of each axis of `molecule` that has two hands (or isomers)."""
    from rdkit import Chem

    ranks = list(Chem.CanonicalRankAtoms(molecule, breakTies=False))
    return _cumulenes(molecule, ranks) + _biaryls(molecule, ranks)


def is_cumulated(atom: Chem.Atom) -> bool:
    """Whether `atom` has two double bonds and no other neighbour."""
    return atom.GetDegree() == 2 and all(bond.GetBondTypeAsDouble() == 2 for bond in atom.GetBonds())


def _cumulenes(molecule: Chem.Mol, ranks: list[int]) -> list[str]:
    found = []
    for first in molecule.GetAtoms():
        chain = _chain_from(first)
        if len(chain) > 2 and first.GetIdx() < chain[-1].GetIdx():
            sides = [_others(end, inner) for end, inner in ((first, chain[1]), (chain[-1], chain[-2]))]
            if all(_differ(side, ranks) for side in sides):
                found.append(f"the cumulated double bonds {label_of(first)} to {label_of(chain[-1])}")
    return found


def _chain_from(first: Chem.Atom) -> list[Chem.Atom]:
    """The cumulated chain of which `first` is an end; of one atom where it is none."""
    chain = [first]
    if is_cumulated(first):
        return chain
    following = [n for n in first.GetNeighbors() if is_cumulated(n)]
    while following and following[0].GetIdx() not in [atom.GetIdx() for atom in chain]:
        chain.append(following[0])
        last, before = chain[-1], chain[-2].GetIdx()
        following = [n for n in last.GetNeighbors() if n.GetIdx() != before] if is_cumulated(last) else []
    return chain


def _others(end: Chem.Atom, inner: Chem.Atom) -> list[Chem.Atom]:
    return [atom for atom in end.GetNeighbors() if atom.GetIdx() != inner.GetIdx()]


def _differ(side: list[Chem.Atom], ranks: list[int]) -> bool:
    """Whether two different neighbours hang at an end (a lone pair is none: carbodiimides invert)."""
    return len(side) == 2 and ranks[side[0].GetIdx()] != ranks[side[1].GetIdx()]


def _biaryls(molecule: Chem.Mol, ranks: list[int]) -> list[str]:
    """Single bonds between planar atoms, at least one of an aromatic ring, with too many ortho neighbours.

    Three beside the bond are taken to hold it between two six-membered rings, four elsewhere.
    """
    found = []
    for bond in molecule.GetBonds():
        ends = (bond.GetBeginAtom(), bond.GetEndAtom())
        if bond.IsInRing() or bond.GetBondTypeAsDouble() != 1 or not any(end.GetIsAromatic() for end in ends):
            continue
        sides = [_others(end, other) for end, other in (ends, ends[::-1])]
        if not all(map(_is_planar, ends)) or not all(_differ(side, ranks) for side in sides):
            continue
        blocking = sum(_blocks(atom, end) for end, side in zip(ends, sides, strict=True) for atom in side)
        if blocking >= (3 if all(map(_is_six_ring, ends)) else 4):
            found.append(f"the axis {label_of(ends[0])} - {label_of(ends[1])}")
    return found


def _is_planar(atom: Chem.Atom) -> bool:
    return atom.GetDegree() == 3 and atom.GetHybridization().name == "SP2"


def _is_six_ring(atom: Chem.Atom) -> bool:
    return bool(atom.GetIsAromatic() and atom.IsInRingSize(6))


def _blocks(atom: Chem.Atom, end: Chem.Atom) -> bool:
    """Whether `atom`, beside the bond's `end`, carries a heavy atom that stands in the way (or is one)."""
    if atom.GetAtomicNum() == 1:
        return False
    if not end.GetIsAromatic():
        return True
    return sum(n.GetAtomicNum() > 1 for n in atom.GetNeighbors()) > 2
