"""The hash of a molecule's graph: blind to names and order, and to nothing else of the constitution."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from rdkit import Chem

from boltzgen.system.graph.graph_hash import graph_hash


def stub(molecule) -> SimpleNamespace:
    """What `graph_hash` looks at, of an RDKit molecule."""
    return SimpleNamespace(
        n_atoms=molecule.GetNumAtoms(),
        atomic_numbers=[atom.GetAtomicNum() for atom in molecule.GetAtoms()],
        masses=[atom.GetMass() for atom in molecule.GetAtoms()],
        bonds=[(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()],
    )


SMILES = [
    "CCO",
    "OCC",
    "COC",
    "C[C@H](N)C(=O)O",
    "C[C@@H](N)C(=O)O",
    "NCCC(=O)O",
    "[NH3+]C(C)C([O-])=O",
    "C1CCC2CCCCC2C1",
    "C1CCC(C1)C1CCCC1",
    "CC(C)(C)C",
    "CCC(C)C",
    "CCCCC",
    "c1ccccc1C",
    "C1=CC=CC=C1C",
    "C/C=C/C",
    "C/C=C\\C",
    "C1CC1C",
    "C1CCC1",
    "C1CCCCC1",
    "C12C3C4C1C5C2C3C45",
    "OC(=O)CS",
    "SC(=O)CO",
]


def test_the_hash_tells_apart_what_canonical_smiles_tell_apart():
    """RDKit's canonical form, with stereo and bond orders left out, is the independent judge of all pairs."""
    known, hashes = [], []
    generator = np.random.default_rng(5)
    for smiles in SMILES:
        molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
        order = generator.permutation(molecule.GetNumAtoms()).tolist()
        for one in (molecule, Chem.RenumberAtoms(molecule, order)):
            known.append(constitution(one))
            hashes.append(graph_hash(stub(one)))
    pairs = [(a, b) for a in range(len(known)) for b in range(a)]
    assert [hashes[a] == hashes[b] for a, b in pairs] == [known[a] == known[b] for a, b in pairs]
    assert len(set(known)) == len(SMILES) - 4  # CCO, alanine and its enantiomer, toluene, butene come twice


def constitution(molecule) -> str:
    plain = Chem.RWMol()
    for atom in molecule.GetAtoms():
        one = Chem.Atom(atom.GetAtomicNum())
        one.SetNoImplicit(True)
        plain.AddAtom(one)
    for bond in molecule.GetBonds():
        plain.AddBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), Chem.BondType.SINGLE)
    return Chem.MolToSmiles(plain)


def test_united_atoms_are_told_apart_by_their_mass(butane):
    mixed = SimpleNamespace(
        n_atoms=4,
        atomic_numbers=butane.atomic_numbers,
        bonds=butane.bonds,
        masses=butane.masses[[1, 0, 2, 3]],
    )
    assert graph_hash(butane) != graph_hash(mixed)
