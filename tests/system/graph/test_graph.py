"""The molecular graph: rings, centres, isomers and canonical order, against RDKit and by relabelling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from molecules import SMILES, from_smiles, relabelled
from rdkit import Chem

from boltzgen.errors import InputError
from boltzgen.system.graph.molecular_graph import ISOMER_BARRIER, MolecularGraph
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare
from boltzgen.system.terms.equilibrium import torsion_profiles

NAMES = (
    "cystine",
    "proline",
    "tryptophan",
    "drug",
    "sulfoxide",
    "steroid",
    "alkyne",
    "amine",
    "butadiene",
    "phosphate",
    "macrocycle",
)


def rdkit_molecule(name: str) -> Chem.Mol:
    return Chem.AddHs(Chem.MolFromSmiles(SMILES[name]))


@pytest.mark.parametrize("name", NAMES)
def test_centres_agree_with_rdkit(name):
    graph, molecule = MolecularGraph.from_system(from_smiles(name)), rdkit_molecule(name)
    assert sorted(map(len, graph.rings)) == sorted(map(len, Chem.GetSSSR(molecule)))
    threes = [atom for atom in molecule.GetAtoms() if atom.GetDegree() == 3]
    assert {atom.GetIdx() for atom in threes if atom.GetIsAromatic()} <= graph.planar
    sulfur = {atom.GetIdx() for atom in threes if atom.GetSymbol() == "S"}
    tetrahedral = {atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetDegree() == 4}
    assert graph.tetrahedral == tetrahedral | sulfur
    assert not graph.tetrahedral & (graph.planar | graph.invertible)
    centres = Chem.FindMolChiralCenters(molecule, includeUnassigned=True, useLegacyImplementation=False)
    assert graph.stereocentres == {index for index, _ in centres}


def test_invertible_amines():
    graph = MolecularGraph.from_system(from_smiles("amine"))
    assert {int(graph.atomic_numbers[atom]) for atom in graph.invertible} == {7}
    assert len(graph.invertible) == 2


def test_hand_signs_agree_with_rdkit_chirality():
    """Mirror images differ in every hand, and in nothing else."""
    left, right = (MolecularGraph.from_system(from_smiles(s)) for s in ("C[C@H](F)Cl", "C[C@@H](F)Cl"))
    centre = next(iter(left.stereocentres))
    signs = [{h.neighbours: h.sign for h in graph.hands if h.centre == centre} for graph in (left, right)]
    assert len(signs[0]) == 4
    assert all(signs[0][key] == -signs[1][key] for key in signs[0])
    assert left.stereocentres == right.stereocentres


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("CC(=O)NC", {frozenset((1, 3))}),
        (r"C/C=C/C", {frozenset((1, 2))}),
        ("CCCC", set()),
        ("COC", set()),
        ("C1CCC=CC1", set()),  # a small ring holds one isomer only
        ("c1ccccc1-c1ccccc1", set()),
        ("CC#CC", set()),
    ],
)
def test_isomer_bonds_by_barrier(smiles, expected):
    graph = MolecularGraph.from_system(from_smiles(smiles))
    assert {frozenset((bond.c, bond.p)) for bond in graph.isomer_bonds} == expected
    assert all(bond.barrier > 40 for bond in graph.isomer_bonds)


def test_isomer_of_the_reference():
    trans = MolecularGraph.from_system(from_smiles(r"C/C=C/C")).isomer_bonds[0]
    cis = MolecularGraph.from_system(from_smiles(r"C/C=C\C")).isomer_bonds[0]
    assert {trans.a, trans.g} == {0, 3}
    assert trans.planar == pytest.approx(np.pi)
    assert cis.planar == 0.0


def test_isomers_of_a_force_field():
    """ff99SB-ILDN: 3 amides, the guanidinium's 3 bonds and the side-chain amide; no rotor of the chain."""
    system = prepare(sequence="ACE-ARG-ASN-NME", forcefield=["amber99sbildn.xml"], minimize=False)
    graph = MolecularGraph.from_system(system)
    names = [name.atom for name in system.atom_names]
    pairs = sorted(tuple(sorted((names[bond.c], names[bond.p]))) for bond in graph.isomer_bonds)
    assert pairs == sorted([("C", "N")] * 3 + [("CZ", "NE"), ("CZ", "NH1"), ("CZ", "NH2"), ("CG", "ND2")])


@pytest.mark.parametrize(("phase", "expected"), [(0.0, set()), (np.pi, {frozenset((1, 2))})])
def test_a_high_barrier_alone_makes_no_isomers(phase, expected):
    """ff14SB's disulfide turns over 42 kJ/mol, yet rests near 90 degrees; n = 2 with phase pi is planar."""
    import openmm

    system = from_smiles("CSSC")
    bare = openmm.XmlSerializer.deserialize(system.system_xml)
    torsions = next(f for f in bare.getForces() if isinstance(f, openmm.PeriodicTorsionForce))
    for n, shift, k in ((4, 0.0, 1.585736), (3, 0.0, 2.853488), (2, phase, 18.74432), (1, 0.0, 1.75728)):
        torsions.addTorsion(0, 1, 2, 3, n, shift, k)
    stiff = replace(system, system_xml=openmm.XmlSerializer.serialize(bare))
    graph = MolecularGraph.from_system(stiff)
    assert np.ptp(torsion_profiles(stiff, [(1, 2)], graph.neighbours)) > ISOMER_BARRIER
    assert {frozenset((bond.c, bond.p)) for bond in graph.isomer_bonds} == expected


@pytest.mark.parametrize("form", ["custom", "ryckaert-bellemans"])
def test_isomers_of_other_torsion_forces(form):
    """The same profile written as another OpenMM force gives the same isomer bonds and barriers."""
    import openmm

    system = from_smiles("CC(=O)NC")
    bare = openmm.XmlSerializer.deserialize(system.system_xml)
    index = next(
        k for k, force in enumerate(bare.getForces()) if isinstance(force, openmm.PeriodicTorsionForce)
    )
    old = bare.getForce(index)
    custom, polynomial = openmm.CustomTorsionForce("k*(1+cos(n*theta-phase))"), openmm.RBTorsionForce()
    for name in ("k", "n", "phase"):
        custom.addPerTorsionParameter(name)
    for term in range(old.getNumTorsions()):
        *atoms, n, phase, k = old.getTorsionParameters(term)
        k = k._value
        custom.addTorsion(*atoms, [k, n, phase._value])
        if n == 2:  # k (1 + cos(2 phi - pi)) = 2 k - 2 k cos^2
            polynomial.addTorsion(*atoms, 2 * k, 0, -2 * k, 0, 0, 0)
    bare.removeForce(index)
    bare.addForce(custom if form == "custom" else polynomial)
    other = MolecularGraph.from_system(replace(system, system_xml=openmm.XmlSerializer.serialize(bare)))
    expected = MolecularGraph.from_system(system).isomer_bonds
    assert [(b.a, b.c, b.p, b.g) for b in other.isomer_bonds] == [(b.a, b.c, b.p, b.g) for b in expected]
    assert other.isomer_bonds[0].barrier == pytest.approx(expected[0].barrier, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_canonical_order_survives_relabelling(name):
    """The geometry in canonical order is the same whatever the labels (the hand included)."""
    system = from_smiles(name)
    graph = MolecularGraph.from_system(system)
    x = system.reference_positions[graph.canonical]
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(system.n_atoms)
        other = relabelled(system, order, seed)
        again = MolecularGraph.from_system(other)
        y = other.reference_positions[again.canonical]
        assert np.abs(distances(x) - distances(y)).max() < 1e-7
        assert np.array_equal(system.atomic_numbers[graph.canonical], other.atomic_numbers[again.canonical])
        assert volume(x) == pytest.approx(volume(y), abs=1e-9)
        assert np.array_equal(order[again.canonical], graph.canonical)


@pytest.mark.parametrize("smiles", ["C", "CC", "c1ccccc1", "ClCCl", "FC=CF", "C12C3C4C1C5C2C3C45"])
def test_canonical_order_of_symmetric_molecules(smiles):
    """Idealised symmetric geometry: any of the equivalent orders will do, all look alike."""
    system = symmetrised(from_smiles(smiles))
    x = system.reference_positions[MolecularGraph.from_system(system).canonical]
    for seed in range(4):
        other = relabelled(system, np.random.default_rng(seed).permutation(system.n_atoms), seed)
        y = other.reference_positions[MolecularGraph.from_system(other).canonical]
        assert np.abs(distances(x) - distances(y)).max() < 1e-4
        assert np.sign(np.round(volume(x), 6)) == np.sign(np.round(volume(y), 6))


def distances(x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x[:, None] - x[None], axis=-1)


def volume(x: np.ndarray) -> float:
    """A pseudo-scalar of all atoms in order: changes its sign in a mirror."""
    rows = np.arange(1, len(x) + 1)[:, None] * (x - x.mean(0))
    cut = len(x) // 3 or 1
    return float(np.linalg.det([rows[:cut].sum(0), rows[cut : 2 * cut].sum(0), rows[2 * cut :].sum(0)]))


def symmetrised(system: MolecularSystem) -> MolecularSystem:
    """Average the reference over relabellings that keep bonds, elements and (nearly) all distances."""
    x = system.reference_positions - system.reference_positions.mean(0)
    molecule = Chem.AddHs(Chem.MolFromSmiles(SMILES.get(system.name, system.name)))
    total, count = np.zeros_like(x), 0
    for match in molecule.GetSubstructMatches(molecule, uniquify=False, maxMatches=2000):
        y = x[list(match)]
        u, _, vt = np.linalg.svd(y.T @ x)
        turned = y @ u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
        if np.abs(turned - x).max() < 0.01:
            total, count = total + turned, count + 1
    assert count > 1
    return replace(system, reference_positions=total / count)


def test_no_names_are_read():
    """The graph of a system whose PDB calls every atom alike is the same."""
    system = from_smiles("proline")
    nameless = replace(system, topology_pdb="")
    one, other = MolecularGraph.from_system(system), MolecularGraph.from_system(nameless)
    assert np.array_equal(one.canonical, other.canonical)
    assert one.isomer_bonds == other.isomer_bonds


def test_disconnected_is_refused():
    system = from_smiles("water")
    with pytest.raises(InputError, match="not all connected"):
        MolecularGraph.from_system(replace(system, bonds=system.bonds[:1]))


def test_leading_neighbours_put_the_largest_branch_first():
    graph = MolecularGraph.from_system(from_smiles("CCCC(C)O"))
    assert graph.leading_neighbours(3)[0] == 2
    assert len(graph.branch(2, without=3)) == 10
    assert sorted(graph.leading_neighbours(3)) == sorted(graph.neighbours[3])
