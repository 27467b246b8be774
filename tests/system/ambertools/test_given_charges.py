"""Charges that the user brings: their forms, their number and their sum; names and order as they went in."""

from __future__ import annotations

import json

import numpy as np
import pytest
from programs.amber_cases import CHARGES, SMILES, scripted_tools
from rdkit import Chem

from boltzgen.errors import InputError
from boltzgen.system.prepare import prepare
from boltzgen.system.small_molecule.molecule import atom_names, from_smiles
from boltzgen.system.terms.charges import partial_charges

#: Charges of nobody's method, so that they cannot be the programs'.
OWN = np.round(np.array(CHARGES) * 0.9 - (1 - 0.9) / 13, 4)


@pytest.fixture(autouse=True)
def answering(tmp_path, monkeypatch):
    """tleap's script writes a prmtop with the charges of the mol2 that it is given, as tleap does."""
    tleap = """cp {files}/made.inpcrd made.inpcrd
python3 - {files}/made.prmtop <<'PY'
import re, sys
rows = open("typed.mol2").read().split("@<TRIPOS>ATOM\\n")[1].split("@<")[0].splitlines()
words = [f"{float(row.split()[8]) * 18.2223:16.8E}" for row in rows]
lines = "".join("".join(words[k:k + 5]) + "\\n" for k in range(0, len(words), 5))
text = open(sys.argv[1]).read()
text = re.sub(r"(%FLAG CHARGE.*\\n.*\\n)(?:[^%].*\\n)+", lambda found: found[1] + lines, text)
open("made.prmtop", "w").write(text)
PY"""
    tools = scripted_tools(tmp_path, tleap=tleap)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("AMBERHOME", raising=False)
    monkeypatch.setenv("PATH", f"{tools.folder}:/usr/bin:/bin")


def charges_of(system):
    return partial_charges(system.openmm_system())


def molecule():
    return from_smiles(SMILES, field="gaff2").molecule


@pytest.mark.parametrize("form", ["list", "mapping", "text"])
def test_every_form_gives_the_same_charges(tmp_path, form):
    path = tmp_path / "charges.txt"
    names = atom_names(molecule())
    shuffled = np.random.default_rng(3).permutation(13)
    content = {
        "list": json.dumps(OWN.tolist()),
        "mapping": json.dumps({names[k]: OWN[k] for k in shuffled}),
        "text": "# mine\n" + "\n".join(f"{charge:.4f}  # {name}" for charge, name in zip(OWN, names)),
    }
    path.write_text(content[form])
    system = prepare(smiles=SMILES, forcefield=("gaff2",), charges=str(path))
    assert np.allclose(charges_of(system), OWN, atol=1e-7)
    record = system.provenance["parameters"]["charges"]
    assert record["method"] == "given" and record["file"] == "charges.txt" and len(record["sha256"]) == 64
    assert not (tmp_path / "cache").exists()


def test_those_of_an_sdf_are_its_own(tmp_path):
    path = tmp_path / "own.sdf"
    record = Chem.MolToMolBlock(molecule())
    listed = " ".join(f"{charge:.4f}" for charge in OWN)
    path.write_text(f"{record}> <atom.dprop.PartialCharge>\n{listed}\n\n$$$$\n")
    system = prepare(path, forcefield=("gaff2",), charges="file")
    assert np.allclose(charges_of(system), OWN, atol=1e-7)
    path.write_text(f"{record}$$$$\n")
    with pytest.raises(InputError, match=r"own mol2 or SDF \(property atom\.dprop\.PartialCharge\) states"):
        prepare(path, forcefield=("gaff2",), charges="file")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (json.dumps(OWN[:-1].tolist()), "has 12 charges, .* has 13 atoms"),
        (json.dumps([*OWN[:-1], OWN[-1] + 0.5]), r"add up to -0\.4\d+ e, the formal charge of .* is -1 e"),
        (json.dumps([*OWN[:-1].tolist(), "x"]), "charge 13 is 'x', no number"),
        (json.dumps([*OWN[:-1].tolist(), True]), "charge 13 is 'True', no number"),
        ("0.1 0.2 nan", "charge 3 is 'nan', no number"),
        (json.dumps({"C1": 0.5}), "names other atoms than the molecule has"),
        ("[0.1, 0.2", "charges.txt"),
    ],
)
def test_what_is_wrong_with_them_is_said(tmp_path, content, reason):
    path = tmp_path / "charges.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=reason):
        prepare(smiles=SMILES, forcefield=("gaff2",), charges=str(path))


@pytest.mark.parametrize("wanted", ["file", "resp", "gone.json"])
def test_a_word_that_is_neither_a_method_nor_a_file(wanted):
    with pytest.raises(
        InputError, match=f"`charges='{wanted}'` (takes the charges|is neither bcc, abcg2 nor)"
    ):
        prepare(smiles=SMILES, forcefield=("gaff2",), charges=wanted)
