"""Charged groups without a solvent are noted, with a remedy that works; neutral groups are not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from boltzgen.system.prepare import prepare

CASES = Path(__file__).parents[1] / "cases" / "files"


def notes(**options) -> list[str]:
    return [note for note in prepare(**options).provenance["warnings"] if "in vacuum" in note]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sequence": "GAVL"}, r"Charged groups \(GLY1 \+1, LEU4 -1\)"),
        ({"sequence": "ACE-LYS-NME"}, r"Charged groups \(LYS2 \+1\)"),
        ({"sequence": "GAVL", "forcefield": ("charmm36_2024.xml",)}, r"Charged groups \(GLY1 \+1, LEU4 -1\)"),
        ({"sequence": "EK"}, "zwitterion"),  # both residues add up to 0: NH3+ with COO-, twice
        ({"smiles": "CC(=O)[O-]"}, "A charge of -1 e"),
        ({"smiles": "[NH3+]CC(=O)[O-]"}, "zwitterion"),
        ({"smiles": "C[N+](C)(C)CC(=O)[O-]"}, "zwitterion"),
    ],
)
def test_charges_in_vacuum_are_noted_and_a_solvent_ends_it(options, expected):
    (note,) = notes(**options)
    assert re.search(expected, note) and '`implicit="obc2"`' in note
    assert notes(**options, implicit="obc2") == []


@pytest.mark.parametrize(
    "options",
    [
        {"sequence": "ACE-ALA-NME"},
        {"smiles": "CCO"},
        {"smiles": "C[N+](=O)[O-]"},  # neighbours of opposite sign are one group
        {"smiles": "CN=[N+]=[N-]"},
        {"smiles": "C[N+](C)(C)[O-]"},
        {"source": CASES / "order" / "ala.prmtop", "coordinates": CASES / "order" / "ala.inpcrd"},
    ],
)
def test_neutral_groups_are_not_noted(options):
    assert notes(**options) == []


def test_the_remedy_of_a_system_xml_and_of_a_region_is_theirs(tmp_path):
    first = prepare(sequence="ACE-LYS-NME")
    (tmp_path / "s.xml").write_text(first.system_xml)
    (tmp_path / "s.pdb").write_text(first.topology_pdb)
    (note,) = notes(source=tmp_path / "s.xml", coordinates=tmp_path / "s.pdb")
    assert "Build the System with a solvent" in note and "implicit=" not in note
    pytest.importorskip("tblite")
    (note,) = notes(smiles="CC(=O)[O-]", ml="gfn2")
    assert '`ml_options={"solvent": "water"}`' in note
    assert notes(smiles="CC(=O)[O-]", ml="gfn2", ml_options={"solvent": "water"}) == []
