"""Neighbours, branches, sides, pieces and distances of the bond graph, against RDKit."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem

from boltzgen.system.graph.adjacency import (
    adjacency,
    bond_distances,
    branch,
    connected_pieces,
    side,
    smaller_side,
)

SMILES = (
    "C[C@H](N)C(=O)O",
    "C1CCC2CCCCC2C1",
    "CC1CC1C",
    "c1ccc(cc1)CC#N",
    "C1CCC12CCOC2",
    "O",
    "[H][H]",
    "[He]",
    "C#N",
    "[Na+].[Cl-].OCC.C1CC1",
)


def read(smiles: str) -> tuple[Chem.Mol, np.ndarray]:
    """The molecule with hydrogens, its atoms shuffled, and its bonds in either direction."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    generator = np.random.default_rng(len(smiles))
    molecule = Chem.RenumberAtoms(molecule, generator.permutation(molecule.GetNumAtoms()).tolist())
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    return molecule, np.array([pair[:: generator.choice([1, -1])] for pair in bonds]).reshape(-1, 2)


@pytest.mark.parametrize("smiles", SMILES)
def test_neighbours_pieces_and_distances_agree_with_rdkit(smiles):
    molecule, bonds = read(smiles)
    count = molecule.GetNumAtoms()
    neighbours = adjacency(count, bonds)
    for atom in molecule.GetAtoms():
        assert list(neighbours[atom.GetIdx()]) == sorted(other.GetIdx() for other in atom.GetNeighbors())
    pieces = connected_pieces(neighbours)
    assert sorted(map(tuple, pieces)) == sorted(tuple(sorted(piece)) for piece in Chem.GetMolFrags(molecule))
    assert [len(piece) for piece in pieces] == sorted(map(len, pieces), reverse=True)
    expected = Chem.GetDistanceMatrix(molecule)
    assert np.array_equal(bond_distances(count, bonds), np.where(expected > count, count, expected))


@pytest.mark.parametrize("smiles", SMILES)
def test_sides_are_the_fragments_of_the_cut_bond(smiles):
    """Of a bond in a ring there are none; a branch is what is left in one piece without an atom."""
    molecule, bonds = read(smiles)
    neighbours = adjacency(molecule.GetNumAtoms(), bonds)
    for first, second in bonds.tolist():
        bond = molecule.GetBondBetweenAtoms(first, second)
        found = [side(neighbours, first, second), side(neighbours, second, first)]
        if bond.IsInRing():
            assert found == [None, None] and smaller_side(neighbours, first, second) is None
        else:
            cut = Chem.RWMol(molecule)
            cut.RemoveBond(first, second)
            parts = [set(part) for part in Chem.GetMolFrags(cut, sanitizeFrags=False)]
            assert found == [next(p for p in parts if end in p) for end in (second, first)]
            whole = set(range(len(neighbours)))
            sides = [found[0], whole - found[0]]  # of several molecules, the others are with `first`
            assert smaller_side(neighbours, first, second) == min(sides, key=len)
        bonds_without = [pair for pair in bonds.tolist() if first not in pair]
        rest = connected_pieces(adjacency(len(neighbours), bonds_without))
        assert branch(neighbours, second, without=first) == set(next(p for p in rest if second in p))


def test_a_branch_goes_round_a_ring_and_a_side_does_not():
    """Methylcyclopropane's heavy atoms: 0 hangs on the ring 1, 2, 3."""
    neighbours = adjacency(4, [(0, 1), (2, 1), (2, 3), (1, 3)])
    assert branch(neighbours, 2, without=1) == {2, 3}
    assert side(neighbours, 1, 2) is None
    assert side(neighbours, 0, 1) == {1, 2, 3} and side(neighbours, 1, 0) == {0}
    assert smaller_side(neighbours, 0, 1) == {0}


def test_of_two_equal_sides_the_second_atom_has_the_smaller():
    neighbours = adjacency(4, [(0, 1), (1, 2), (2, 3)])
    assert smaller_side(neighbours, 1, 2) == {2, 3} and smaller_side(neighbours, 2, 1) == {0, 1}
