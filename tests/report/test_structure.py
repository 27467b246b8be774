"""The drawing of a molecule: every heavy atom has its index, and hands are those of the reference."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdkit import Chem
from rdkit.Chem import rdCIPLabeler
from toy_molecules import halopropane

from boltzgen.errors import InputError
from boltzgen.report.structure import _drawable, structure_svg, write_structure
from boltzgen.system.graph.bond_orders import isomer_labels
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.preparation.prepare import prepare

SMILES = [
    "C[C@H](N)C(=O)O",
    "C[C@@H]1CC[C@H](O)C[C@@H]1Cl",
    "C/C=C\\[C@@H](F)Br",
    "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O",
]


@pytest.mark.parametrize("smiles", SMILES)
def test_hands_and_isomers_are_those_of_the_reference(smiles: str) -> None:
    system = prepare(smiles=smiles, check=True).system
    drawn = _drawable(system)
    again = Chem.MolFromMolBlock(Chem.MolToMolBlock(drawn), removeHs=False)  # from the wedges of the drawing
    rdCIPLabeler.AssignCIPLabels(again)
    number = {atom.GetIdx(): int(atom.GetProp("atomNote")) for atom in drawn.GetAtoms()}
    found = {
        (number[atom.GetIdx()],): atom.GetProp("_CIPCode")
        for atom in again.GetAtoms()
        if atom.HasProp("_CIPCode")
    }
    wanted = {key: label for key, label in isomer_labels(system, 0).items() if len(key) == 1}
    assert found == wanted and wanted


def test_every_heavy_atom_and_polar_hydrogen_has_its_number() -> None:
    system = MolecularSystem.load("example:elil")
    text = structure_svg(system)
    assert text.startswith("<?xml") and text.rstrip().endswith("</svg>")
    drawn = _drawable(system)
    bonded = {tuple(pair) for pair in system.bonds.tolist()}
    on_carbon = {
        h
        for a, b in bonded
        for c, h in ((a, b), (b, a))
        if system.atomic_numbers[h] == 1 and system.atomic_numbers[c] == 6
    }
    numbers = {int(atom.GetProp("atomNote")) for atom in drawn.GetAtoms()}
    assert numbers == set(range(system.n_atoms)) - on_carbon


def test_what_has_no_lewis_structure_is_drawn_by_its_bonds(tmp_path: Path, butane: MolecularSystem) -> None:
    for system in (butane, halopropane()):
        path = write_structure(tmp_path / f"{system.name}.png", system)
        assert path.read_bytes().startswith(b"\x89PNG")


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"`picture=.*\.svg or \.png"):
        write_structure(tmp_path / "x.jpg", MolecularSystem.load("example:elil"))
    assert not list(tmp_path.iterdir())
