"""The molecules of the small-molecule model: sizes, splits, what is held out, and the draw that repeats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cases.made_molecules.draw import splits
from cases.made_molecules.keys import first_block, skeleton, split_key
from cases.made_molecules.pool import HELD_OUT, held_out, kind_of
from rdkit import Chem

from boltzgen.config.settings import load_settings
from boltzgen.config.shipped import shipped_configs
from boltzgen.workflows.datasets.settings import DatasetSettings

ROOT = Path(__file__).resolve().parents[2]
GIVEN = ROOT.parent / "shared" / "held-out-inchikeys.txt"
SPLITS = ("train", "validation", "test")

#: What the issue asks for -> how many training molecules have it at least.
ASKED = {
    "amide": ("[CX3](=O)[NX3]", 30),
    "amine": ("[NX3;!$(N-*=[O,N,S])]", 30),
    "ether": ("[OX2]([CX4])[CX4]", 30),
    "ester": ("[CX3](=O)[OX2][#6]", 30),
    "sulfone": ("[SX4](=O)(=O)([#6])[#6]", 8),
    "sulfonamide": ("[SX4](=O)(=O)[NX3]", 8),
    "phosphate": ("[PX4](=O)([OX2])[OX2]", 8),
    "nitro": ("[N+](=O)[O-]", 5),
    "thioether": ("[SX2]([#6])[#6]", 15),
    "disulfide": ("[SX2][SX2]", 2),
    "nitrile": ("C#N", 5),
    "carboxylate": ("C(=O)[O-]", 4),
    "ammonium": ("[NX4+]", 20),
    "guanidinium": ("NC(N)=[N+]", 3),
    "aromatic ring": ("c1ccccc1", 15),
    "aromatic ring with nitrogen": ("[n]", 50),
    "spiro": ("[x4;!$(*(@*)(@*)(@*)@[x3])]", 5),
    **{symbol: (f"[{symbol}]", 4) for symbol in ("F", "Cl", "Br", "I")},
}


@pytest.fixture(scope="module")
def molecules() -> dict[str, list[Chem.Mol]]:
    settings = load_settings(DatasetSettings, shipped_configs()["dataset-small-molecules"])
    return {split: [Chem.MolFromSmiles(one.smiles) for one in getattr(settings, split)] for split in SPLITS}


def atoms(molecule: Chem.Mol) -> int:
    return int(Chem.AddHs(molecule).GetNumAtoms())


def charged(molecule: Chem.Mol) -> bool:
    return Chem.GetFormalCharge(molecule) != 0


def test_the_test_molecules_are_as_the_issue_asks(molecules):
    sizes = np.array([atoms(one) for one in molecules["test"]])
    assert len(sizes) == 60 and abs(sizes.mean() - 18.0) < 1.0
    assert np.mean(sizes <= 30) >= 0.95
    assert sum(kind_of(one) == "saturated" for one in molecules["test"]) >= 20
    assert sum(map(charged, molecules["test"])) >= 10
    assert len({split_key(one) for one in molecules["test"]}) == 60


def test_no_scaffold_and_no_skeleton_stands_in_two_splits(molecules):
    keys = {split: {split_key(one) for one in molecules[split]} for split in SPLITS}
    chains = {split: [one for one in molecules[split] if kind_of(one) == "chain"] for split in SPLITS}
    graphs = {split: {skeleton(one) for one in chains[split]} for split in SPLITS}
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not keys[first] & keys[second]
        assert not graphs[first] & graphs[second]


def test_nothing_is_held_out_and_nothing_stands_twice(molecules):
    blocks = [first_block(one) for split in SPLITS for one in molecules[split]]
    assert len(held_out()) == 639 and not set(blocks) & held_out()
    assert len(set(blocks)) == len(blocks) == 500


@pytest.mark.skipif(
    not GIVEN.is_file(), reason="the list that the project was given is not beside this folder"
)
def test_the_list_of_what_is_held_out_is_the_given_one():
    assert HELD_OUT.read_text(encoding="ascii") == GIVEN.read_text(encoding="ascii")


@pytest.mark.parametrize("name", ASKED)
def test_training_has_all_kinds(molecules, name):
    pattern, fewest = ASKED[name]
    query = Chem.MolFromSmarts(pattern)
    assert sum(one.HasSubstructMatch(query) for one in molecules["train"]) >= fewest


def test_sizes_charges_and_rings_of_training(molecules):
    sizes = np.array([atoms(one) for one in molecules["train"]])
    assert len(sizes) == 420 and sizes.min() >= 5 and sizes.max() <= 35 and sizes.max() >= 32
    assert sum(kind_of(one) == "saturated" for one in molecules["train"]) == 170
    for sign in (-1, 1):
        assert sum(Chem.GetFormalCharge(one) == sign for one in molecules["train"]) >= 25
    half = molecules["train"][:210]  # any first part is balanced
    assert abs(sum(kind_of(one) == "saturated" for one in half) - 85) < 20


def test_all_stereo_is_stated(molecules):
    for one in (one for split in SPLITS for one in molecules[split]):
        for element in Chem.FindPotentialStereo(one):
            if element.type == Chem.StereoType.Atom_Tetrahedral:
                atom = one.GetAtomWithIdx(element.centeredOn)
                inverts = atom.GetAtomicNum() == 7 and atom.GetTotalDegree() == 3
                cage = one.GetRingInfo().NumAtomRings(atom.GetIdx()) > 1  # forced where all are bridgeheads
                if inverts or (cage and "@" not in Chem.MolToSmiles(one)):
                    continue
            assert element.specified == Chem.StereoSpecified.Specified, Chem.MolToSmiles(one)


def test_the_committed_seed_draws_these_molecules(molecules):
    for split, drawn in splits().items():
        assert [one.block for one in drawn] == [first_block(one) for one in molecules[split]]


def test_keys_by_hand():
    """Charges, stereo and what hangs on a ring do not count; orders of a ring do, those of a chain do not."""

    def key(smiles: str) -> str:
        return split_key(Chem.MolFromSmiles(smiles))

    assert key("C[C@H]1CCC[NH+](C)C1") == key("OC1CCNCC1") != key("c1ccncc1")
    assert key("O=C1CCCCC1") != key("C1CCCCC1")
    assert key("CCC(=O)[O-]") == key("CC=C(O)O") == key("CCC(O)=O") != key("CCC(N)=O")
    assert key("CCCO") != key("CCOC") != key("CCCN")
    assert key("C1CC1CC1CC1") != key("C1CC1C1CC1")
