"""Stereo that an input states is in the domain, or the input is refused; no note claims what is not held."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import rdCIPLabeler, rdDepictor, rdDistGeom, rdForceFieldHelpers, rdMolTransforms

from boltzgen.coordinates.internal import InternalCoordinates
from boltzgen.errors import UnsupportedError
from boltzgen.system.graph.bond_orders import isomer_labels
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.prepare import prepare
from boltzgen.system.small_molecule.stereo import split_extension
from boltzgen.workflows.preparation.prepare import prepare as work

#: What is stated -> the same atoms in the same order as another isomer.
KEPT = {
    "C[C@H](F)Cl": "C[C@@H](F)Cl",
    "C[C@H](N)C(=O)[O-]": "C[C@@H](N)C(=O)[O-]",
    "C[S@](=O)CC": "C[S@@](=O)CC",
    "C[P@](CC)c1ccccc1": "C[P@@](CC)c1ccccc1",
    "C[N@+](CC)(CCC)CF": "C[N@@+](CC)(CCC)CF",
    "C[C@H]1CC[C@@H](O)CC1": "C[C@H]1CC[C@H](O)CC1",
    "C[C@H]1CO1": "C[C@@H]1CO1",
    "CN1C[C@H]1C": "CN1C[C@@H]1C",
    r"C/C=C/CO": r"C/C=C\CO",
    r"F/C(Cl)=C(F)/Cl": r"F/C(Cl)=C(F)\Cl",
    r"C/C(CC)=N/O": r"C/C(CC)=N\O",
    r"C/C=C/C=C\C": r"C/C=C\C=C/C",
    "C1CCC/C=C/CC1": r"C1CCC/C=C\CC1",
    "C1CCC/C(C)=C/CC1": r"C1CCC/C(C)=C\CC1",
    "C1CCCC/C=C/CC1": r"C1CCCC/C=C\CC1",
    r"C1CCC/C=C\CC1": "C1CCC/C=C/CC1",
    "C1CCCCC/C=C/CCCC1": r"C1CCCCC/C=C\CCCC1",
}

#: Refused with these words.
REFUSED = {
    "F[CH]=[C@]=CF": ["allene", "C (atom 3)"],
    "F[CH]=[C@@]=CF": ["allene", "C (atom 3)"],
    "C/C=C=C=C/C": ["cumulated double bonds"],
    "C1CC/C=C/CC1": ["E double bond", "ring of 7 atoms", "SDF"],
    "C1CC/C=C/C1": ["E double bond", "ring of 6 atoms"],
    "C1CCC/C([H])=C/C1": ["ring of 7 atoms"],
    "C[N@]1C[C@H]1C": ["N (atom 2)", "inverts"],
    "C[N@](CC)CCC": ["N (atom 2)", "inverts"],
    "Cc1cccc(Cl)c1-c1c(C)cccc1Cl |wU:7.7|": ["|wU:7.7|", "axis"],
    "C[C@H](F)Cl |&1:1|": ["mixture", "C[C@H](F)Cl"],
    "C[C@H](F)Cl |o1:1| one": ["one of two"],
}

#: What a note says of stereo that is left open, and what it does not say.
OPEN = {
    "CN1CC1C": (["C (atom 4)"], ["N (atom 2)"]),
    "FC=C=CF": (["Both hands", "C (atom 2) to C (atom 4)"], ["kept in every sample"]),
    "CC=C=C=CC": (["cumulated double bonds"], ["kept in every sample"]),
    "Cc1cccc(Cl)c1-c1c(C)cccc1Cl": (["Both hands of the axis", "C (atom 9)"], ["kept in every sample"]),
    "CC=CC": (["C=C (atoms 2 and 3) "], []),
    "CC1CC2CCC1C2": (["C (atom 2)", "C (atom 4)"], []),
}

NOTHING_TO_CHOOSE = [
    "C1CC2CCC1C2",
    "C1CN2CCC1CC2",
    "C1C2CC3CC1CC(C2)C3",
    "C1CC2CCC1CC2",
    "CC=C=C",
    "Cc1cccc(C)c1-c1ccccc1",
    "CCN=C=NCC",
    "C1CCC=CC1",
]


def built(smiles: str, graph: MolecularGraph) -> torch.Tensor:
    """(1, N, 3) nm of an embedding by RDKit, hydrogens of one centre exchanged where their labels need it."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(molecule, randomSeed=11) == 0
    rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=2000)
    return labelled(0.1 * np.array(molecule.GetConformer().GetPositions()), graph)


def labelled(positions: np.ndarray, graph: MolecularGraph) -> torch.Tensor:
    """(1, N, 3) from (N, 3): two hydrogens of each centre that is the other way round are exchanged."""
    x = np.array(positions)
    for hand in graph.hands:
        hydrogens = [n for n in graph.neighbours[hand.centre] if graph.atomic_numbers[n] == 1]
        volume = np.linalg.det(x[list(hand.neighbours)] - x[hand.centre])
        if len(hydrogens) > 1 and volume * hand.sign < 0:
            x[hydrogens[:2]] = x[hydrogens[1::-1]]
    return torch.tensor(x)[None]


@pytest.mark.parametrize("smiles", KEPT)
def test_what_is_stated_is_in_the_domain(smiles):
    coordinates = InternalCoordinates(prepare(smiles=smiles))
    same, other = built(smiles, coordinates.graph), built(KEPT[smiles], coordinates.graph)
    assert coordinates.inside(same).all()
    assert not coordinates.inside(other).any()
    if "@" in smiles and "1CC[C@@" not in smiles:  # a 1,4-disubstituted ring is its own mirror image
        mirrored = labelled(same[0].numpy() * [1.0, 1.0, -1.0], coordinates.graph)
        assert not coordinates.inside(mirrored).any()


@pytest.mark.parametrize("smiles", REFUSED)
def test_what_the_domain_does_not_hold_is_refused(smiles):
    with pytest.raises(UnsupportedError) as caught:
        prepare(smiles=smiles)
    for word in REFUSED[smiles]:
        assert word in str(caught.value)


@pytest.mark.parametrize("smiles", OPEN)
def test_notes_claim_what_is_held(smiles):
    said, unsaid = OPEN[smiles]
    (note,) = prepare(smiles=smiles).provenance["warnings"]
    assert all(word in note for word in said) and not any(word in note for word in unsaid)


@pytest.mark.parametrize("smiles", NOTHING_TO_CHOOSE)
def test_no_note_where_nothing_is_to_choose(smiles):
    assert prepare(smiles=smiles).provenance["warnings"] == []


@pytest.mark.parametrize("smiles", ["FC=C=CF", "Cc1cccc(Cl)c1-c1c(C)cccc1Cl"])
def test_coordinates_that_show_the_hand_of_an_axis_are_refused(tmp_path, smiles):
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(molecule, randomSeed=11)
    path = tmp_path / "axis.sdf"
    path.write_text(Chem.MolToMolBlock(molecule))
    with pytest.raises(UnsupportedError, match=r"one hand of .*smiles="):
        prepare(path)


def test_e_cycloheptene_of_a_file_is_kept(tmp_path):
    """RDKit builds none from a SMILES, so a torsion is pulled over."""
    molecule = Chem.AddHs(Chem.MolFromSmiles("C1CCC=CCC1"))
    rdDistGeom.EmbedMolecule(molecule, randomSeed=3)
    z = 0.1 * np.array(molecule.GetConformer().GetPositions())
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule)
    field = rdForceFieldHelpers.MMFFGetMoleculeForceField(molecule, properties)
    field.Initialize()
    field.MMFFAddTorsionConstraint(2, 3, 4, 5, False, 110.0, 130.0, 50.0)
    for _ in range(5):
        field.Minimize(maxIts=2000)
    rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=5000)
    assert abs(rdMolTransforms.GetDihedralDeg(molecule.GetConformer(), 2, 3, 4, 5)) > 95
    (tmp_path / "ring.sdf").write_text(Chem.MolToMolBlock(molecule))
    system = prepare(tmp_path / "ring.sdf")
    coordinates = InternalCoordinates(system)
    assert coordinates.inside(torch.tensor(system.reference_positions)[None]).all()
    assert coordinates.reasons[int(coordinates.domain(labelled(z, coordinates.graph)))] == "other isomer"


def test_a_crossed_double_bond_is_named(tmp_path):
    molecule = Chem.MolFromSmiles("CC=CCO")
    rdDepictor.Compute2DCoords(molecule)
    text = Chem.MolToMolBlock(molecule)
    assert "  2  3  2  3" in text
    (tmp_path / "crossed.sdf").write_text(text)
    notes = prepare(tmp_path / "crossed.sdf").provenance["warnings"]
    assert "C=C (atoms 2 and 3) E" in notes[-1] or "C=C (atoms 2 and 3) Z" in notes[-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CCO", ("CCO", "", "")),
        ("CCO  two words ", ("CCO", "", "two words")),
        ("CCO |$a;b;c$| name", ("CCO", "$a;b;c$", "name")),
        ("CCO |r|", ("CCO", "r", "")),
    ],
)
def test_an_extension_is_no_name(text, expected):
    assert split_extension(text) == expected
    assert prepare(smiles=text).name == (expected[2] or "CCO")


def test_letters_are_those_of_rdkit():
    smiles = r"C[C@@H](F)/C=C/[C@@H](O)CC"
    summary = work(None, smiles=smiles, check=True)
    molecule = Chem.MolFromSmiles(smiles)
    rdCIPLabeler.AssignCIPLabels(molecule)
    expected = [molecule.GetAtomWithIdx(index).GetProp("_CIPCode") for index in (1, 5)]
    assert summary.stereocentres == ("UNL1 C2", "UNL1 C5")
    assert summary.stereo_labels == (*expected, "E")
    assert set(expected) == {"R", "S"}


def test_mirrored_peptides_are_mentioned(tmp_path):
    """L residues have the letters of textbooks (cysteine R, glycine none); their mirror images are told."""
    system = prepare(sequence="ACE-ALA-CYS-GLY-NME")
    named = {str(system.atom_names[k[0]]): v for k, v in isomer_labels(system, 0).items() if len(k) == 1}
    assert named == {"ALA2 CA": "S", "CYS3 CA": "R"}
    lines = []
    for line in system.topology_pdb.splitlines():
        mirrored = line.startswith(("ATOM", "HETATM"))
        lines.append(f"{line[:30]}{-float(line[30:38]):8.3f}{line[38:]}" if mirrored else line)
    (tmp_path / "l.pdb").write_text(system.topology_pdb)
    (tmp_path / "d.pdb").write_text("\n".join([*lines, ""]))
    assert not any("D amino" in note for note in prepare(tmp_path / "l.pdb").provenance["warnings"])
    (note,) = (n for n in prepare(tmp_path / "d.pdb").provenance["warnings"] if "D amino" in n)
    assert note.startswith("Every chiral residue is a D amino acid: ALA2, CYS3.")
