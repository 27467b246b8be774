"""The room `system/`: the record that it makes, on disk and in memory, and files that must not run."""

from __future__ import annotations

import io
import json

import numpy as np
import openmm
import pytest
from butane import butane_system, write_butane
from helpers import ROOT
from openmm import app

from boltzgen.errors import InputError, UnsupportedError
from boltzgen.system.formats.openmm_xml import INERT_FORCES, check_inert
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare
from boltzgen_cli.main import main

EXAMPLES = ROOT / "boltzgen" / "examples"
ALANINE = EXAMPLES / "alanine-dipeptide" / "alanine-dipeptide.pdb"
NATIVE = {"forcefield": ["amber99sbildn.xml"], "implicit": "amber99_obc.xml"}


@pytest.fixture(scope="module")
def alanine() -> MolecularSystem:
    return prepare(ALANINE, **NATIVE)


# --- the record -------------------------------------------------------------------------------------------


def test_saved_and_loaded_system_is_the_same(alanine, tmp_path):
    loaded = MolecularSystem.load(alanine.save(tmp_path / "SYS"))
    assert loaded.fingerprint == alanine.fingerprint
    assert loaded.provenance == alanine.provenance
    for field in ("atomic_numbers", "masses", "bonds", "reference_positions"):
        np.testing.assert_array_equal(getattr(loaded, field), getattr(alanine, field))
    assert sorted(path.name for path in (tmp_path / "SYS").iterdir()) == [
        "system.json",
        "system.xml",
        "topology.pdb",
    ]


def test_fingerprint_is_of_the_energy_and_the_graph_only(alanine):
    from dataclasses import replace

    moved = replace(alanine, reference_positions=alanine.reference_positions + 0.3, name="other")
    renamed = replace(alanine, topology_pdb=alanine.topology_pdb.replace("ALA", "XYZ"))
    assert moved.fingerprint == renamed.fingerprint == alanine.fingerprint
    assert replace(alanine, bonds=alanine.bonds[1:]).fingerprint != alanine.fingerprint
    assert prepare(ALANINE).fingerprint != alanine.fingerprint


def test_arrays_are_read_only(alanine):
    with pytest.raises(ValueError, match="read-only"):
        alanine.reference_positions[0] = 0.0


def test_changed_folder_is_refused(alanine, tmp_path):
    folder = alanine.save(tmp_path / "SYS")
    text = (folder / "system.xml").read_text()
    (folder / "system.xml").write_text(text.replace("OBCForce", "OBCForce ", 1) + "\n")
    with pytest.raises(InputError, match="do not belong together"):
        MolecularSystem.load(folder)
    record = json.loads((folder / "system.json").read_text())
    record["masses_dalton"].pop()
    (folder / "system.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="21 masses"):
        MolecularSystem.load(folder)
    (folder / "system.json").write_text("{")
    with pytest.raises(InputError, match=r"system\.json"):
        MolecularSystem.load(folder)
    with pytest.raises(InputError, match=r"`prepare\(INPUT, output="):
        MolecularSystem.load(tmp_path)


def test_topologies_agree(alanine):
    """OpenMM, MDTraj and the PDB text state the same bonds."""
    import mdtraj

    expected = {tuple(bond) for bond in alanine.bonds.tolist()}
    assert len(expected) == 21
    of_openmm = {tuple(sorted((b[0].index, b[1].index))) for b in alanine.openmm_topology().bonds()}
    of_mdtraj = {tuple(sorted((b[0].index, b[1].index))) for b in alanine.mdtraj_topology().bonds}
    of_pdb = app.PDBFile(io.StringIO(alanine.topology_pdb)).topology
    assert of_openmm == of_mdtraj == expected
    assert {tuple(sorted((b[0].index, b[1].index))) for b in of_pdb.bonds()} == expected
    frame = mdtraj.Trajectory(alanine.reference_positions[None], alanine.mdtraj_topology())
    assert mdtraj.compute_phi(frame)[0].tolist() == [[4, 6, 8, 14]]


# --- executable files -------------------------------------------------------------------------------------


def test_every_force_of_openmm_is_known_as_inert_or_executable():
    """A force class that a new OpenMM brings must be judged before its XML is opened."""
    classes = {
        name
        for name, value in vars(openmm).items()
        if isinstance(value, type) and issubclass(value, openmm.Force) and value is not openmm.Force
    }
    assert classes - INERT_FORCES == {"PythonForce"}


@pytest.mark.parametrize(
    "force",
    [
        '<Force type="PythonForce" version="1"/>',
        '<Force type="Python&#70;orce" version="1"/>',
        '<Force type="TorchForce" file="model.pt"/>',
        '<Force type="SurpriseForce"/>',
        '<Force type="CustomCVForce"><CollectiveVariables><CollectiveVariable name="a">'
        '<Force type="PythonForce"/></CollectiveVariable></CollectiveVariables></Force>',
    ],
)
def test_executable_forces_are_not_opened(force):
    with pytest.raises(UnsupportedError, match="was not opened"):
        check_inert(f'<System type="System"><Forces>{force}</Forces></System>', "bad.xml")


def test_python_force_never_runs(tmp_path):
    """A real PythonForce, pickled by OpenMM, whose unpickling would leave a file behind."""
    if not hasattr(openmm, "PythonForce"):
        pytest.skip("this OpenMM has no PythonForce")
    system = butane_system()
    system.addForce(openmm.PythonForce(_python_energy))
    xml, pdb = write_butane(tmp_path)
    xml.write_text(openmm.XmlSerializer.serialize(system))
    with pytest.raises(UnsupportedError, match="PythonForce"):
        prepare(xml, coordinates=pdb)


def _python_energy(state):
    return 0.0, np.zeros((4, 3))


def test_another_system_is_replaced_only_when_asked(tmp_path):
    def prepared(*more: str) -> int:
        words = ["prepare", str(ALANINE), "-o", str(tmp_path), "--forcefield", "amber99sbildn.xml"]
        return main([*words, *more])

    solvent = ("--implicit", "amber99_obc.xml")
    assert prepared() == 0 and prepared() == 0, "the same system may be written again"
    before = (tmp_path / "system.xml").read_text()
    assert prepared(*solvent) == 2 and (tmp_path / "system.xml").read_text() == before
    assert prepared(*solvent, "--overwrite") == 0 and (tmp_path / "system.xml").read_text() != before
