"""What `prepare` makes of a SMILES starts in the best of many conformers, not in the first embedding."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolTransforms

from boltzgen.system.prepare import prepare
from boltzgen.system.small_molecule.conformers import SEED, _has_straight_angle
from boltzgen.system.small_molecule.molecule import from_smiles

SATURATED = {
    "piperidine": "C1CCNCC1",
    "tetrahydropyran": "C1CCOCC1",
    "morpholine": "C1COCCN1",
    "N-methylpiperazine": "CN1CCNCC1",
    "4-methylpiperidine": "CC1CCNCC1",
    "tert-butylcyclohexane": "CC(C)(C)C1CCCCC1",
    "hexopyranose": "OC[C@H]1OC(O)[C@H](O)[C@@H](O)[C@@H]1O",
    "methylcyclohexane": "CC1CCCCC1",
    "cyclooctane": "C1CCCCCCC1",
    "thiane": "C1CCSCC1",
}


def energy(molecule) -> float:
    """MMFF94, kcal/mol, of the molecule's conformer."""
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule)
    return rdForceFieldHelpers.MMFFGetMoleculeForceField(molecule, properties).CalcEnergy()


def best_of_fifty(molecule, seed: int) -> float:
    """kcal/mol, of other embeddings (ETKDGv3 as RDKit has it) of the same stereoisomer."""
    copy = Chem.Mol(molecule)
    Chem.AssignStereochemistryFrom3D(copy)
    parameters = rdDistGeom.ETKDGv3()
    parameters.randomSeed = seed
    rdDistGeom.EmbedMultipleConfs(copy, 50, parameters)
    found = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(copy, numThreads=1, maxIters=5000)
    return min(value for _, value in found)


@pytest.mark.parametrize("name", SATURATED)
def test_saturated_rings_start_at_the_best_of_fifty(name):
    molecule = from_smiles(SATURATED[name]).molecule
    assert molecule.GetNumConformers() == 1
    assert energy(molecule) < best_of_fifty(molecule, seed=77) + 0.5


@pytest.mark.parametrize(
    "smiles", ["C1CCCCCC1", "C1CCCCCCCC1", "O=C1CCCCCN1", "C1CCC/C=C\\CC1", "C1CCNCCCC1"]
)
def test_rings_of_seven_to_ten_have_no_straight_angle(smiles):
    molecule = from_smiles(smiles).molecule
    assert not _has_straight_angle(molecule)
    assert energy(molecule) < best_of_fifty(molecule, seed=5) + 0.5


def test_a_straight_angle_is_seen_where_there_is_one():
    """The angle at atom 0 of cyclooctane, opened by hand; a ring alkyne is as straight and no artefact."""
    molecule = from_smiles("C1CCCCCCC1").molecule
    assert not _has_straight_angle(molecule)
    place = molecule.GetConformer()
    ring = molecule.GetRingInfo().AtomRings()[0]
    left, right = (place.GetAtomPosition(ring[k]) for k in (0, 2))
    place.SetAtomPosition(ring[1], (left + right) * 0.5)
    assert rdMolTransforms.GetAngleDeg(place, ring[0], ring[1], ring[2]) == pytest.approx(180.0, abs=1e-3)
    assert _has_straight_angle(molecule)


def test_a_ring_alkyne_is_as_straight_and_no_artefact():
    ring = Chem.MolFromSmiles("C1CCCC#CCCC1")
    place = Chem.Conformer(ring.GetNumAtoms())
    for k in range(
        ring.GetNumAtoms()
    ):  # the atoms of C#C and their neighbours (3 to 6) on one line, bends of 90
        place.SetAtomPosition(k, ((k - 3) * 1.5, 0.0, 0.0) if 3 <= k <= 6 else (9.0, 1.5 * (k % 2), 1.5 * k))
    ring.AddConformer(place)
    atoms = ring.GetAtomWithIdx(4), ring.GetAtomWithIdx(5)
    assert all(atom.GetHybridization() == Chem.HybridizationType.SP for atom in atoms)
    assert rdMolTransforms.GetAngleDeg(place, 3, 4, 5) == pytest.approx(180.0)
    assert not _has_straight_angle(ring)
    for atom in atoms:
        atom.SetHybridization(Chem.HybridizationType.SP3)
    assert _has_straight_angle(ring)


def test_the_same_every_time_and_stereo_is_kept():
    smiles = "C[C@H]1CC[C@@H](O)C[C@H]1N"
    first, again = (from_smiles(smiles) for _ in range(2))
    np.testing.assert_array_equal(first.positions, again.positions)
    assert first.smiles == Chem.CanonSmiles(smiles)


def test_the_fingerprint_does_not_depend_on_the_places():
    """Prepared from the best conformer and from it as embedded: other places, one fingerprint."""
    both = [prepare(smiles="CN1CCNCC1", minimize=minimize) for minimize in (True, False)]
    assert not np.allclose(both[0].reference_positions, both[1].reference_positions, atol=1e-3)
    assert both[0].fingerprint == both[1].fingerprint


@pytest.mark.parametrize(
    ("smiles", "isomer"),
    [
        ("C1CC2CCCC(C1)C2", "C1C[C@H]2CCC[C@@H](C1)C2"),
        ("C1CC2(C)CCCC(C1)C2", "C[C@]12CCC[C@H](CCC1)C2"),
        ("C12CCCCC(CCCC1)C2", "C1CC[C@H]2CCCC[C@@H](C1)C2"),
        ("C12CCCCC(CC1)C2", "C1CC[C@H]2CC[C@@H](C1)C2"),
        ("C1CC2CCC1C2", "C1C[C@H]2CC[C@@H]1C2"),
        ("C1CCC2CC2C1", "C1CC[C@H]2C[C@H]2C1"),
        ("C1CC2CCCN(C1)C2", None),
        ("C1C2CC3CC1CC(C2)C3", None),
    ],
)
def test_open_stereo_of_cages_is_never_that_of_an_impossible_isomer(smiles, isomer):
    """A bridgehead that points inside lies 60 to 310 kJ/mol higher; open SMILES embed to both."""
    found = from_smiles(smiles)
    if isomer is not None:
        assert found.smiles == Chem.CanonSmiles(isomer)
    plain = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMultipleConfs(plain, 12, randomSeed=9)
    others = [value for _, value in rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(plain, maxIters=5000)]
    assert energy(found.molecule) < min(others) + 0.5


@pytest.mark.parametrize("smiles", ["C1CCC2CCCC2C1", "C1CCC2CCCCC2C1", "C1CCCCCC=C1"])
def test_open_stereo_of_rings_that_may_be_meant_is_that_of_the_first_embedding_and_said(smiles):
    """Trans-hydrindane lies 2 kJ/mol above cis: both are molecules, and no energy chooses between them."""
    plain = Chem.AddHs(Chem.MolFromSmiles(smiles))
    parameters = rdDistGeom.ETKDGv3()
    parameters.randomSeed = SEED
    rdDistGeom.EmbedMolecule(plain, parameters)
    Chem.AssignStereochemistryFrom3D(plain)
    system = prepare(smiles=smiles)
    expected = Chem.MolToSmiles(Chem.RemoveHs(plain))
    assert system.provenance["input"]["smiles"] == expected
    (note,) = system.provenance["warnings"]
    assert "leaves stereo open" in note and expected in note


def test_without_minimisation_the_structure_is_the_chosen_one_as_embedded():
    raw, relaxed = (from_smiles("C1CCNCC1", relax=relax).molecule for relax in (False, True))
    assert energy(raw) > energy(relaxed) + 0.05
    rdForceFieldHelpers.MMFFOptimizeMolecule(raw, maxIters=5000)
    assert energy(raw) == pytest.approx(energy(relaxed), abs=0.02)


@pytest.mark.parametrize("smiles", ["C1CCCC1", "C1CCCCC1", "C1CC1"])
def test_rings_whose_embedding_breaks_down_are_built_all_the_same(smiles):
    """RDKit's minimiser raises for cyclopentane with the torsions of small rings."""
    molecule = from_smiles(smiles).molecule
    places = molecule.GetConformer().GetPositions()
    lengths = [
        np.linalg.norm(places[b.GetBeginAtomIdx()] - places[b.GetEndAtomIdx()]) for b in molecule.GetBonds()
    ]
    assert 1.0 < min(lengths) and max(lengths) < 1.6
