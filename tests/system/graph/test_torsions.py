"""The one definition of a torsion: against RDKit's bonds, the tree of coordinates, and cases written out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from coordinate_cases import MOLECULES, molecule
from molecules import from_smiles, relabelled
from rdkit import Chem

from boltzgen.coordinates import InternalCoordinates
from boltzgen.system.graph.geometry import angle
from boltzgen.system.graph.molecular_graph import LINEAR_ANGLE, MolecularGraph
from boltzgen.system.graph.torsions import ALL, MOVED, ROTATABLE, SLOW, WITH_STATES, Torsion
from boltzgen.system.prepare import prepare


def graph_of(smiles: str) -> MolecularGraph:
    return MolecularGraph.from_system(from_smiles(smiles))


def axes(graph: MolecularGraph, subset=ALL) -> dict[tuple[int, ...], str]:
    return {torsion.axis: torsion.kind for torsion in graph.torsions(subset)}


@pytest.mark.parametrize("name", MOLECULES)
def test_the_axes_are_those_of_the_coordinates(name):
    """The tree of internal coordinates is built without this definition and has one free circle for each
    rotatable torsion, with isomers set free one for each isomer bond outside rings more."""
    system = molecule(name)
    graph = MolecularGraph.from_system(system)
    turning = {"open", "methyl-like"}
    for isomers, kinds in (("reference", turning), ("free", turning | {"isomer"})):
        table = InternalCoordinates(system, isomers=isomers).table
        rows = {bond: torsion.axis for torsion in graph.torsions() for bond in torsion.bonds}
        found = [
            rows[min(b, c), max(b, c)] for _, b, c, _ in table.atoms[np.flatnonzero(table.circular)].tolist()
        ]
        expected = [torsion.axis for torsion in graph.torsions() if torsion.kind in kinds]
        assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("name", MOLECULES)
def test_every_torsion_is_what_its_kind_says(name):
    system = molecule(name)
    graph = MolecularGraph.from_system(system)
    seen: set[tuple[int, int]] = set()
    for torsion in graph.torsions():
        a, b, c, d = torsion.atoms
        assert (b, c) == (torsion.axis[0], torsion.axis[-1]) and len({a, b, c, d}) == 4
        assert all(other in graph.neighbours[one] for one, other in pairwise((a, *torsion.axis, d)))
        bends = [angle(system.reference_positions, a, b, torsion.axis[1])]
        bends.append(angle(system.reference_positions, torsion.axis[-2], c, d))
        assert max(bends) < LINEAR_ANGLE, "the four atoms define an angle"
        assert torsion.heavy == (system.atomic_numbers[a] != 1 and system.atomic_numbers[d] != 1)
        assert (torsion.kind == "ring") == (torsion.bonds[0] in graph.ring_bonds)
        assert not seen & set(torsion.bonds), "a bond belongs to one axis"
        seen.update(torsion.bonds)
        assert all(bond in set(map(tuple, graph.bonds.tolist())) for bond in torsion.bonds)


@pytest.mark.parametrize(
    "smiles", ["CC(C)Cc1ccc(cc1)C(C)C(=O)O", "CC(=O)NC(CO)C(=O)NC", "FC(F)(F)COC", "CCC#N"]
)
def test_rotatable_bonds_of_rdkit(smiles):
    """What the SMARTS of rotatable bonds finds, without amides, nitriles and CF3, are the heavy open ones."""
    molecule = Chem.MolFromSmiles(smiles)
    end = "[!$(*#*)&!D1&!$([CX4](F)(F)F)]"
    found, amides = (
        {frozenset(pair) for pair in molecule.GetSubstructMatches(Chem.MolFromSmarts(smarts))}
        for smarts in (f"{end}-&!@{end}", "[$(C=O)][NX3]")
    )
    assert {frozenset(t.axis) for t in graph_of(smiles).torsions(MOVED)} == found - amides


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("CCCO", {(0, 1): "methyl-like", (1, 2): "open", (2, 3): "open"}),
        ("CC#CC", {(0, 1, 2, 3): "methyl-like"}),
        ("CCC#CCC", {(0, 1): "methyl-like", (1, 2, 3, 4): "open", (4, 5): "methyl-like"}),
        ("CC=C=CC", {(0, 1): "methyl-like", (1, 2, 3): "open", (3, 4): "methyl-like"}),
        ("CCC#N", {(0, 1): "methyl-like"}),
        ("C#CCO", {(2, 3): "open"}),
        ("FC(F)(F)CO", {(1, 4): "methyl-like", (4, 5): "open"}),
        ("OO", {(0, 1): "open"}),
        ("CC(=O)NC", {(0, 1): "methyl-like", (1, 3): "isomer", (3, 4): "methyl-like"}),
        ("C1CC1C", {(2, 3): "methyl-like"}),  # a ring of three has no torsion
        ("C", {}),
        ("C#N", {}),
    ],
)
def test_written_out(smiles, expected):
    assert axes(graph_of(smiles)) == expected


def test_rings():
    """Each bond of cyclobutanol's ring with its neighbours in the ring; an amide in a ring is of the ring."""
    graph = graph_of("OC1CCC1")
    ring = {t.axis: t.atoms for t in graph.torsions() if t.kind == "ring"}
    assert {tuple(sorted(atoms)) for atoms in ring.values()} == {(1, 2, 3, 4)} and len(ring) == 4
    assert ring[2, 3] == (1, 2, 3, 4)
    assert axes(graph, ROTATABLE) == {(0, 1): "open"} and not graph.torsions(MOVED)
    lactam = axes(graph_of("macrocycle"))
    assert set(lactam.values()) == {"ring"} and len(lactam) == 12


def test_the_atoms_are_the_lowest_heavy_neighbours():
    found = graph_of("CC(C)C(O)F").torsions(MOVED)
    assert found == (Torsion((0, 1, 3, 4), "open", True, (1, 3)),)


def test_subsets_of_a_peptide():
    """Amides are slow, and have states where the domain lets them; moves turn heavy atoms only."""
    system = prepare(sequence="ACE-SER-ASN-NME", forcefield=["amber99sbildn.xml"], minimize=False)
    graph, names = MolecularGraph.from_system(system), [name.atom for name in system.atom_names]

    def named(subset) -> list[str]:
        return sorted("-".join(sorted((names[t.axis[0]], names[t.axis[-1]]))) for t in graph.torsions(subset))

    moved = ["C-CA", "C-CA", "CA-CB", "CA-CB", "CA-N", "CA-N", "CB-CG"]
    assert named(MOVED) == moved
    assert named(SLOW) == sorted([*moved, "C-N", "C-N", "C-N"])
    assert named(ROTATABLE) == sorted([*moved, "CB-OG", "C-CH3", "C-N"])
    assert named(WITH_STATES) == sorted([*moved, "CB-OG", "C-N", "C-N", "C-N", "CG-ND2"])


def test_a_methyl_of_unequal_hydrogens_is_open(alanine_dipeptide):
    from dataclasses import replace

    import openmm

    graph = MolecularGraph.from_system(alanine_dipeptide)
    assert len(graph.rotors) == 3
    changed = openmm.XmlSerializer.deserialize(alanine_dipeptide.system_xml)
    force = next(f for f in changed.getForces() if isinstance(f, openmm.NonbondedForce))
    atom = graph.rotors[1][2]
    charge, *rest = force.getParticleParameters(atom)
    force.setParticleParameters(atom, charge * 1.01, *rest)
    other = MolecularGraph.from_system(
        replace(alanine_dipeptide, system_xml=openmm.XmlSerializer.serialize(changed))
    )
    assert other.rotors == (graph.rotors[0], graph.rotors[2])
    assert len(other.torsions(WITH_STATES)) == len(graph.torsions(WITH_STATES)) + 1
    assert len(other.torsions(MOVED)) == len(graph.torsions(MOVED)), "its hydrogens are no heavy atoms"


@pytest.mark.parametrize("name", ["alkyne", "amine", "butadiene", "steroid"])
def test_relabelling_keeps_axes_and_kinds(name):
    system = from_smiles(name)
    order = np.random.default_rng(4).permutation(system.n_atoms)
    here, there = (axes(MolecularGraph.from_system(one)) for one in (system, relabelled(system, order)))
    back = {tuple(sorted(int(order[k]) for k in axis)): kind for axis, kind in there.items()}
    assert back == {tuple(sorted(axis)): kind for axis, kind in here.items()}
