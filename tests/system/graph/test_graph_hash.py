"""The hash of a molecule's graph: blind to names and order, and to nothing else; the stored ones."""

from __future__ import annotations

from hashlib import sha256
from types import SimpleNamespace

import molecules
import numpy as np
import pytest
from rdkit import Chem

from boltzgen.coordinates import InternalCoordinates
from boltzgen.system.examples import system_folder
from boltzgen.system.graph.graph_hash import graph_hash
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.molecular_system import MolecularSystem


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


# stored: what shipped models and published data hold, written down before one code took the place of two ---

#: Example -> graph hash, start of the SHA-256 of the canonical order, digest of the domain.
EXAMPLES = {
    "alanine-dipeptide-fab": ("e059e896b38d02a17064fad97c67fb20", "7402f135cc166126", "4fbea9fcf67c"),
    "capped-tri-alanine": ("7a6d18bdd079633989cda6b51066ff61", "6c4878c3bc45d7ec", "ea2fc2a3ee46"),
    "capped-penta-alanine": ("4216fb22c7ce1bcb908b80efd8208c52", "3bede147aefe3852", "99c862edb223"),
    "elil": ("c847d7dab03e26624d3287e7c0488c95", "2cdc0cc6e5837425", "744081d58f00"),
}

#: Name in `molecules.SMILES` -> graph hash.
HASHES = {
    "cystine": "0ff20f490f8dd9276eff2f6d3be14993",
    "tryptophan": "15e4d96ff880d291a6377fe0a60246cc",
    "drug": "7a793f61608cfc3c8c395e7602966a8c",
    "sulfoxide": "0b66b129f05a4870fb726903678e49f7",
    "steroid": "d0e5362d73ce55e320ecb666588ae3ad",
    "alkyne": "33ea38de89eb087cba56d6beb6b3e9d2",
    "norbornane": "a2d87148505856fd8b8c1e536ee12fa7",
    "cubane": "09b6f66d4ac7c011410a19110e3a0f12",
    "phosphate": "25aca9d409045425c5daea65e3f859fe",
    "macrocycle": "e2aeaa8fb5fedf47e1440eaf9b19777a",
    "spiro": "0b86a9ca6dc0dbb8b4d3abcd8d0b3808",
    "water": "42f4dd7ca30f37d6a5018929dcc3c906",
    "allene": "0a944e4c049305b42815ce2dd7ac45b9",
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name):
    system = MolecularSystem.load(system_folder(f"example:{name}"))
    graph = MolecularGraph.from_system(system)
    order = sha256(repr(graph.canonical.tolist()).encode()).hexdigest()[:16]
    domain = InternalCoordinates(system).domain_label
    assert (graph_hash(system), order) == EXAMPLES[name][:2]
    assert domain == f"isomers: reference, {EXAMPLES[name][2]}"


def test_canonical_orders_written_out(butane):
    system = MolecularSystem.load(system_folder("example:alanine-dipeptide-fab"))
    order = MolecularGraph.from_system(system).canonical.tolist()
    assert order == [12, 13, 11, 9, 21, 20, 19, 3, 0, 2, 17, 7, 1, 10, 18, 8, 4, 14, 16, 6, 5, 15]
    assert graph_hash(butane) == "bc80566fdbc8893ceba17b4dc55150f2"
    assert MolecularGraph.from_system(butane).canonical.tolist() == [1, 2, 0, 3]
    assert InternalCoordinates(butane).domain_label == "isomers: reference, 4f53cda18c2b"


@pytest.mark.parametrize("name", HASHES)
def test_hashes(name):
    assert graph_hash(stub(Chem.AddHs(Chem.MolFromSmiles(molecules.SMILES[name])))) == HASHES[name]
