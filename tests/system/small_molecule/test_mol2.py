"""Formal charges and atom types of mol2 files: those of UNITY, of GAFF and of other programs than Corina."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from small_molecule_cases import ACETATE, embedded

from boltzgen.errors import InputError
from boltzgen.system.prepare import prepare
from boltzgen.system.terms.charges import partial_charges

UNITY = """@<TRIPOS>MOLECULE
methylammonium
8 7 0 0 0
SMALL
NO_CHARGES

@<TRIPOS>ATOM
1 C1 0.7001 0.0171 0.0338 C.3 1 LIG 0.0000
2 N2 -0.7379 -0.0716 -0.0242 N.4 1 LIG 0.0000
3 H3 1.1637 -0.5159 -0.8253 H 1 LIG 0.0000
4 H4 0.9640 1.0946 -0.0747 H 1 LIG 0.0000
5 H5 1.1350 -0.3419 0.9776 H 1 LIG 0.0000
6 H6 -1.0062 -0.3021 -1.0175 H 1 LIG 0.0000
7 H7 -1.0985 0.8681 0.2652 H 1 LIG 0.0000
8 H8 -1.1202 -0.7483 0.6651 H 1 LIG 0.0000
@<TRIPOS>BOND
1 1 2 1
2 1 3 1
3 1 4 1
4 1 5 1
5 2 6 1
6 2 7 1
7 2 8 1
@<TRIPOS>UNITY_ATOM_ATTR
2 1
charge 1
"""


@pytest.mark.parametrize(
    ("text", "charge"),
    [
        (UNITY, 1),
        (f"{ACETATE}@<TRIPOS>UNITY_ATOM_ATTR\n3 1\ncharge -1\n", -1),
        (f"# made by hand\n{ACETATE}", -1),
    ],
)
def test_formal_charges_of_a_mol2_are_read(tmp_path, text, charge):
    """Where UNITY_ATOM_ATTR states them; an acetate's may stand on either oxygen."""
    (tmp_path / "ion.mol2").write_text(text)
    system = prepare(tmp_path / "ion.mol2")
    assert partial_charges(system.openmm_system()).sum() == pytest.approx(charge, abs=1e-6)


GAFF = Path(__file__).parents[2] / "cases" / "files" / "gaff"

#: What antechamber made, ``-fo mol2 -at gaff2 -c bcc``: file -> its molecule.
OF_GAFF = {
    "nitropropanoate": "O=C([O-])CC[N+](=O)[O-]",
    "ammonium": "Cc1cc(C[NH3+])no1",
}


def gaff_text(name: str) -> str:
    return (GAFF / f"{name}.mol2").read_text()


@pytest.mark.parametrize("name", OF_GAFF)
def test_a_mol2_of_gaff_types_is_the_molecule_that_it_was_made_of(name):
    """Nitro groups and carboxylates have single bonds in it; names stay, and so do the coordinates."""
    system = prepare(GAFF / f"{name}.mol2", minimize=False)
    assert system.provenance["input"]["smiles"] == OF_GAFF[name]
    rows = [line.split() for line in gaff_text(name).splitlines() if " MOL " in line and len(line) > 60]
    assert [str(label.atom) for label in system.atom_names] == [row[1] for row in rows if "ROOT" not in row]
    places = [[float(word) for word in row[2:5]] for row in rows if "ROOT" not in row]
    assert system.reference_positions == pytest.approx(0.1 * np.array(places), abs=1e-9)
    formal = Chem.GetFormalCharge(Chem.MolFromSmiles(OF_GAFF[name]))
    assert partial_charges(system.openmm_system()).sum() == pytest.approx(formal, abs=1e-6)


def without_charges(text: str) -> str:
    return re.sub(r"-?[0-9.]+$", "0.000000", text, flags=re.MULTILINE)


#: Refused with these words: a dianion without charges might be a neutral molecule of something else.
GAFF_FILES = {
    "uncharged.mol2": (without_charges(gaff_text("nitropropanoate")), ["no partial charges", "-at sybyl"]),
    "hydrogen.mol2": (
        gaff_text("ammonium").replace("    13     5    13 1   \n", ""),
        ["C5", "3 neighbours", "instead of 4"],
    ),
    "sum.mol2": (gaff_text("ammonium").replace(" 0.470800", " 0.270800"), ["+0.400 e", "whole number"]),
    "other charge.mol2": (
        gaff_text("ammonium").replace("-0.835600", "-1.835600"),
        ["a net charge of +0 e", "make no molecule", "SDF"],
    ),
    "no atom.mol2": (
        gaff_text("ammonium").replace("    17     6    17 1", "    17     6    99 1"),
        ["not there"],
    ),
}


@pytest.mark.parametrize("name", GAFF_FILES)
def test_mol2_files_of_gaff_types_that_are_refused(tmp_path, name):
    text, expected = GAFF_FILES[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        prepare(tmp_path / name)
    for word in expected:
        assert word in str(caught.value)


def test_a_mol2_of_gaff_types_without_charges_is_read_where_no_atom_needs_one(tmp_path):
    """Acetone as ``antechamber -fo mol2`` writes it without ``-c``."""
    molecule = embedded("CC(C)=O")
    kinds = ["c3", "c", "c3", "o", *["hc"] * 6]
    rows = [
        f"{i + 1} {kinds[i].upper()}{i} {x:.4f} {y:.4f} {z:.4f} {kinds[i]} 1 ACE 0.000000"
        for i, (x, y, z) in enumerate(molecule.GetConformer().GetPositions())
    ]
    bonds = [
        f"{i + 1} {bond.GetBeginAtomIdx() + 1} {bond.GetEndAtomIdx() + 1} 1"
        for i, bond in enumerate(molecule.GetBonds())
    ]
    head = [
        "@<TRIPOS>MOLECULE",
        "ACE",
        "10 9 1 0 0",
        "SMALL",
        "No Charge or Current Charge",
        "",
        "@<TRIPOS>ATOM",
    ]
    (tmp_path / "acetone.mol2").write_text("\n".join([*head, *rows, "@<TRIPOS>BOND", *bonds, ""]))
    assert prepare(tmp_path / "acetone.mol2").provenance["input"]["smiles"] == "CC(C)=O"


#: Refused with these words.
FILES = {
    "gaff.mol2": (ACETATE.replace("O.co2", "o"), ["type 'o'", "GAFF", "-at sybyl", "prmtop"]),
    "amber.mol2": (ACETATE.replace("C.2", "CA"), ["type 'CA'", "antechamber"]),
    "unity.mol2": (
        f"{ACETATE}@<TRIPOS>UNITY_ATOM_ATTR\n3 1\ncharge -2\n",
        ["UNITY_ATOM_ATTR", "-2 e", "-1 e"],
    ),
    "valence.mol2": (ACETATE.replace(" 4 1 5 1", " 4 1 5 2"), ["Corina", "C (atom 1)", "SDF"]),
}


@pytest.mark.parametrize("name", FILES)
def test_mol2_files_that_are_refused(tmp_path, name):
    text, expected = FILES[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        prepare(tmp_path / name)
    for word in expected:
        assert word in str(caught.value)


def test_a_nitro_group_with_single_bonds_is_no_dianion(tmp_path):
    """As antechamber -at sybyl writes nitromethane: N.pl3, O.2, single bonds, and no charges at all."""
    atoms = [
        ("C1", "C.3"),
        ("N1", "N.pl3"),
        ("O1", "O.2"),
        ("O2", "O.2"),
        *((f"H{i}", "H") for i in (1, 2, 3)),
    ]
    places = embedded("C[N+](=O)[O-]").GetConformer().GetPositions()
    rows = [
        f"{i} {name} {x:.4f} {y:.4f} {z:.4f} {kind} 1 NIT 0.0000"
        for i, ((name, kind), (x, y, z)) in enumerate(zip(atoms, places, strict=True), start=1)
    ]
    bonds = ["1 1 2 1", "2 2 3 1", "3 2 4 1", "4 1 5 1", "5 1 6 1", "6 1 7 1"]
    head = ["@<TRIPOS>MOLECULE", "NIT", "7 6 1 0 0", "SMALL", "NO_CHARGES", "", "@<TRIPOS>ATOM"]
    path = tmp_path / "nitro.mol2"
    path.write_text("\n".join([*head, *rows, "@<TRIPOS>BOND", *bonds, ""]))
    with pytest.raises(
        InputError, match=r"atom types contradict \(O \(atom 3\), O \(atom 4\): of a double bond"
    ):
        prepare(path)
    path.write_text(path.read_text().replace("2 2 3 1", "2 2 3 2"))
    path.write_text(path.read_text().replace("3 2 4 1", "3 2 4 2"))
    assert prepare(path).provenance["input"]["smiles"] == "C[N+](=O)[O-]"
