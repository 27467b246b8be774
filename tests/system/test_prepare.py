"""`prepare`: every input format, solvents, sequences, and what the verb reports.

Energies are compared with Systems that OpenMM builds here, handedness with RDKit's CIP labels.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import openmm
import pytest
from butane import EXACT, butane_system, ln_z_internal, write_butane
from helpers import ROOT, run_cli
from openmm import app, unit

from boltzgen.errors import InputError
from boltzgen.system.graph.bonds_from_forces import bonds_from_forces
from boltzgen.system.minimise import same_handedness
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.parametrise.forcefield import IMPLICIT_MODELS
from boltzgen.system.parametrise.sequence import parse_sequence
from boltzgen.system.prepare import prepare
from boltzgen.workflows.preparation.prepare import prepare as prepare_folder

EXAMPLES = ROOT / "boltzgen" / "examples"
ALANINE = EXAMPLES / "alanine-dipeptide" / "alanine-dipeptide.pdb"
NATIVE = {"forcefield": ["amber99sbildn.xml"], "implicit": "amber99_obc.xml"}


def energy(system: openmm.System, positions: np.ndarray) -> float:
    """kJ/mol on OpenMM Reference."""
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(positions)
    return context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


def openmm_alanine(*files: str) -> tuple[openmm.System, app.Topology, np.ndarray]:
    """Alanine dipeptide by OpenMM alone."""
    pdb = app.PDBFile(str(ALANINE))
    system = app.ForceField(*files).createSystem(
        pdb.topology, nonbondedMethod=app.NoCutoff, constraints=None, removeCMMotion=False
    )
    return system, pdb.topology, np.array(pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer))


@pytest.fixture(scope="module")
def alanine() -> MolecularSystem:
    return prepare(ALANINE, **NATIVE)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> Path:
    """Alanine dipeptide in vacuum as prmtop, inpcrd, top, gro, cif and System XML."""
    import parmed

    folder = tmp_path_factory.mktemp("foreign")
    system, topology, positions = openmm_alanine("amber99sbildn.xml")
    structure = parmed.openmm.load_topology(topology, system, positions * 10.0)
    for name in ("ala.prmtop", "ala.inpcrd", "ala.top", "ala.gro"):
        structure.save(str(folder / name))
    with open(folder / "ala.cif", "w") as file:
        app.PDBxFile.writeFile(topology, positions * 10.0 * unit.angstrom, file)
    (folder / "ala.xml").write_text(openmm.XmlSerializer.serialize(system))
    (folder / "ala.pdb").write_text(ALANINE.read_text())
    return folder


# --- input formats ----------------------------------------------------------------------------------------


def test_pdb_with_native_solvent(alanine):
    system, _, positions = openmm_alanine("amber99sbildn.xml", "amber99_obc.xml")
    np.testing.assert_allclose(alanine.reference_positions, positions, atol=1e-12)
    assert energy(alanine.openmm_system(), positions) == pytest.approx(energy(system, positions), rel=1e-12)
    assert alanine.n_atoms == 22
    assert alanine.atomic_numbers[4] == 6
    assert alanine.masses.sum() == pytest.approx(144.174, abs=0.01)
    assert alanine.openmm_system().getNumConstraints() == 0
    assert [str(name) for name in alanine.atom_names[8:10]] == ["ALA2 CA", "ALA2 HA"]


@pytest.mark.parametrize(
    ("files", "tolerance"),
    [
        (("ala.pdb", None), 1e-9),
        (("ala.cif", None), 1e-9),
        (("ala.prmtop", "ala.inpcrd"), 0.02),
        (("ala.prmtop", "ala.pdb"), 0.02),
        (("ala.top", "ala.gro"), 0.02),
        (("ala.xml", "ala.pdb"), 1e-9),
    ],
)
def test_every_format_gives_the_same_energy(foreign, files, tolerance):
    """Vacuum energy at the PDB's positions; prmtop and top round charges and constants, kJ/mol."""
    reference, _, positions = openmm_alanine("amber99sbildn.xml")
    parameters, coordinates = (foreign / name if name else None for name in files)
    options = {"forcefield": ["amber99sbildn.xml"]} if coordinates is None else {}
    got = prepare(parameters, coordinates=coordinates, **options)
    assert energy(got.openmm_system(), positions) == pytest.approx(
        energy(reference, positions), abs=tolerance
    )
    np.testing.assert_allclose(got.reference_positions, positions, atol=6e-4)
    assert got.atomic_numbers.tolist() == prepare(ALANINE).atomic_numbers.tolist()
    assert got.bonds.tolist() == prepare(ALANINE).bonds.tolist()
    assert got.provenance["input"]["file"] == parameters.name
    assert got.openmm_system().getNumConstraints() == 0


def test_system_xml_without_conect_takes_bonds_from_its_forces(tmp_path):
    xml, pdb = write_butane(tmp_path)
    butane = prepare(xml, coordinates=pdb)
    assert butane.bonds.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert butane.atomic_numbers.tolist() == [0, 0, 0, 0]
    assert butane.name == "butane"
    warnings = " ".join(butane.provenance["warnings"])
    assert "bonds come from the forces" in warnings
    assert "united atoms" in warnings
    for name in ("system.xml", "butane.pdb"):
        assert (EXAMPLES / "butane" / name).read_text() == (tmp_path / name).read_text()


@pytest.mark.parametrize("temperature", sorted(EXACT))
def test_butane_is_the_butane_of_the_exact_references(temperature):
    ln_z, difference = ln_z_internal(temperature)
    assert ln_z == pytest.approx(EXACT[temperature][0], abs=1e-7)
    assert difference == pytest.approx(EXACT[temperature][1], abs=1e-4)


def test_butane_energy_is_that_of_the_formula():
    from butane import ANGLE_CONSTANT, BOND_CONSTANT, butane_positions

    positions = butane_positions(0.7)
    positions[0] *= 1.01  # bond 1 longer by 1 %, angles kept
    torsion = 0.5 * 4.184 * (1.3 * (1 + np.cos(0.7)) - 0.05 * (1 - np.cos(1.4)) + 0.2 * (1 + np.cos(2.1)))
    expected = torsion + 0.5 * BOND_CONSTANT * 0.001529**2
    assert energy(butane_system(), positions) == pytest.approx(expected, rel=1e-9)
    assert ANGLE_CONSTANT == 488.273


def test_urey_bradley_terms_are_no_bonds():
    system = butane_system()
    urey_bradley = openmm.HarmonicBondForce()
    urey_bradley.addBond(0, 2, 0.254, 9000.0)
    system.addForce(urey_bradley)
    assert bonds_from_forces(system).tolist() == [[0, 1], [1, 2], [2, 3]]


def test_prepared_pdb_prepares_to_the_same_molecule(alanine, tmp_path):
    path = tmp_path / "again.pdb"
    path.write_text(alanine.topology_pdb)
    assert prepare(path, **NATIVE).fingerprint == alanine.fingerprint


def test_hydrogens_are_added(tmp_path):
    lines = [line for line in ALANINE.read_text().splitlines() if not line.endswith(" H")]
    path = tmp_path / "heavy.pdb"
    path.write_text("\n".join(lines) + "\n")
    state = random.getstate()
    first, second = (prepare(path, add_hydrogens=True, ph=7.0) for _ in range(2))
    assert random.getstate() == state
    assert sorted(first.atomic_numbers) == sorted(prepare(ALANINE).atomic_numbers)
    np.testing.assert_array_equal(first.reference_positions, second.reference_positions)


# --- solvents ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", sorted(IMPLICIT_MODELS))
def test_every_implicit_model_is_openmms(model, foreign):
    system, _, positions = openmm_alanine("amber99sbildn.xml", f"implicit/{model}.xml")
    expected = energy(system, positions)
    vacuum = energy(openmm_alanine("amber99sbildn.xml")[0], positions)
    assert abs(expected - vacuum) > 10.0
    got = prepare(ALANINE, forcefield=["amber99sbildn.xml"], implicit=model)
    assert energy(got.openmm_system(), positions) == pytest.approx(expected, abs=1e-4)
    gromacs = prepare(foreign / "ala.top", coordinates=foreign / "ala.gro", implicit=model)
    assert energy(gromacs.openmm_system(), positions) == pytest.approx(expected, abs=0.05)
    amber = prepare(foreign / "ala.prmtop", coordinates=foreign / "ala.inpcrd", implicit=model)
    assert energy(amber.openmm_system(), positions) == pytest.approx(expected, abs=0.05)
    assert "states no Born radii" in " ".join(amber.provenance["warnings"])


def test_prmtop_radii_are_used(foreign, tmp_path):
    """A prmtop with radii of its own: OpenMM's own reader is the reference."""
    import parmed

    energies = {}
    for radii in ("mbondi2", "bondi"):
        structure = parmed.load_file(str(foreign / "ala.prmtop"), xyz=str(foreign / "ala.inpcrd"))
        parmed.tools.changeRadii(structure, radii).execute()
        path = tmp_path / f"{radii}.prmtop"
        structure.save(str(path))
        got = prepare(path, coordinates=foreign / "ala.inpcrd", implicit="obc2")
        expected = app.AmberPrmtopFile(str(path)).createSystem(implicitSolvent=app.OBC2)
        positions = got.reference_positions
        energies[radii] = energy(got.openmm_system(), positions)
        assert energies[radii] == pytest.approx(energy(expected, positions), abs=1e-6)
    assert abs(energies["mbondi2"] - energies["bondi"]) > 0.1


@pytest.mark.parametrize(("implicit", "radii"), [("gbn", "bondi"), ("gbn2", "mbondi3")])
def test_radii_that_a_model_has_no_parameters_for(foreign, tmp_path, implicit, radii):
    import parmed

    structure = parmed.load_file(str(foreign / "ala.prmtop"), xyz=str(foreign / "ala.inpcrd"))
    parmed.tools.changeRadii(structure, "mbondi").execute()
    structure.atoms[0].solvent_radius = 0.8  # Angstrom, that of a hydroxyl hydrogen in mbondi
    structure.save(str(tmp_path / "mbondi.prmtop"))
    with pytest.raises(InputError, match=rf'needs radii of the set {radii}.*mbondi, say.*`radii="{radii}"`'):
        prepare(tmp_path / "mbondi.prmtop", coordinates=foreign / "ala.inpcrd", implicit=implicit)


# --- sequences --------------------------------------------------------------------------------------------


def test_sequences_are_parsed():
    assert str(parse_sequence("ace-ala-nme")) == "ACE-ALA-NME"
    assert str(parse_sequence("GAVL")) == "GLY-ALA-VAL-LEU"
    assert str(parse_sequence("ALA")) == "ALA-LEU-ALA"
    assert str(parse_sequence("P", capped=True)) == "ACE-PRO-NME"
    for wrong in ("", "ACE-NME", "ALA-ACE", "NME-ALA", "ALA-QQQ", "GAXL", "ALA--GLY"):
        with pytest.raises(InputError):
            parse_sequence(wrong)


@pytest.mark.parametrize(
    ("sequence", "n_atoms", "charge"),
    [("ACE-ALA-NME", 22, 0), ("GAVL", 55, 0), ("ACE-LYS-NME", 34, 1), ("DE", 30, -2), ("HIP-ASH-CYS", 45, 1)],
)
def test_sequences_have_their_atoms_and_charges(sequence, n_atoms, charge):
    built = prepare(sequence=sequence)
    assert built.n_atoms == n_atoms
    nonbonded = next(f for f in built.openmm_system().getForces() if isinstance(f, openmm.NonbondedForce))
    total = sum(nonbonded.getParticleParameters(i)[0]._value for i in range(n_atoms))
    assert total == pytest.approx(charge, abs=1e-3)


@pytest.mark.parametrize("text", ["gAVL", "GAvl", "Gly", "PRO", "D-ALA-GLY", "A-G", "a-g", "l-ALA"])
def test_sequences_that_can_mean_something_else_are_refused(text):
    """Small letters among capitals mean D amino acids by a common convention; a name is no code."""
    with pytest.raises(InputError, match=r"D amino acids|name of one residue|single letters"):
        parse_sequence(text)


def test_sequences_that_are_read_in_one_of_two_ways_have_a_note():
    assert parse_sequence("GAVL").notes == parse_sequence("ala-gly").notes == ()
    (note,) = parse_sequence("gavl").notes
    assert "GAVL: L amino acids" in note and str(parse_sequence("gavl")) == "GLY-ALA-VAL-LEU"
    (note,) = prepare(sequence="ALA", implicit="obc2").provenance["warnings"]
    assert "ALA-LEU-ALA" in note and '`sequence="ACE-ALA-NME"`' in note
    assert prepare(sequence="ACE-ALA-NME").n_atoms == 22


def test_sequences_are_l_and_trans():
    """All twenty residues: CIP labels by RDKit from the coordinates, omega by MDTraj."""
    import mdtraj
    from rdkit import Chem

    built = prepare(sequence="ARNDCQEGHILKMFPSTWYV", minimize=True)
    molecule = Chem.MolFromPDBBlock(built.topology_pdb, removeHs=False)
    Chem.AssignStereochemistryFrom3D(molecule)
    labels = {}
    for index, label in Chem.FindMolChiralCenters(molecule, useLegacyImplementation=False):
        name = built.atom_names[index]
        labels[(name.residue, name.atom)] = label
    alpha = {residue: label for (residue, atom), label in labels.items() if atom == "CA"}
    assert len(alpha) == 19
    assert {residue for residue, label in alpha.items() if label == "R"} == {"CYS"}
    assert labels[("ILE", "CB")] == "S"
    assert labels[("THR", "CB")] == "R"
    frame = mdtraj.Trajectory(built.reference_positions[None], built.mdtraj_topology())
    assert (np.abs(mdtraj.compute_omega(frame)[1]) > 2.6).all()


def test_sequences_are_built_alike_every_time():
    first, second = (prepare(sequence="ACE-VAL-NME", implicit="obc1") for _ in range(2))
    assert first.fingerprint == second.fingerprint
    np.testing.assert_array_equal(first.reference_positions, second.reference_positions)


def test_mirror_images_are_noticed(alanine):
    positions = alanine.reference_positions
    mirror = positions * np.array([1.0, 1.0, -1.0])
    assert same_handedness(positions, positions + 0.001, alanine.bonds)
    assert not same_handedness(positions, mirror, alanine.bonds)


# --- the verb ---------------------------------------------------------------------------------------------


def test_workflow_describes_and_records(tmp_path):
    summary = prepare_folder(ALANINE, tmp_path / "SYS", **NATIVE)
    assert (summary.heavy_atoms, summary.bonds, summary.formal_charge) == (10, 21, 0)
    assert summary.stereocentres == ("ALA2 CA",)
    assert summary.rings == ()
    assert set(summary.torsions) == {"ACE1 CH3-C", "ALA2 N-CA", "ALA2 CA-CB", "ALA2 CA-C", "NME3 N-C"}
    assert summary.isomer_bonds == ("ACE1 C-ALA2 N", "ALA2 C-NME3 N")
    assert dict(summary.force_terms)["HarmonicBondForce"] == 21
    assert dict(summary.force_terms)["GBSAOBCForce"] == 22
    assert summary.warnings == ()
    record = MolecularSystem.load(tmp_path / "SYS").provenance["translation_check"]
    assert record["max_relative_energy_difference"] < 1e-6


def test_workflow_names_what_is_not_translated(tmp_path):
    system = butane_system()
    system.addForce(openmm.CustomExternalForce("x"))
    system.getForce(3).addParticle(0, [])
    xml, pdb = write_butane(tmp_path)
    xml.write_text(openmm.XmlSerializer.serialize(system))
    summary = prepare_folder(xml, tmp_path / "SYS", coordinates=pdb)
    assert "CustomExternalForce" in summary.warnings[-1]
    assert summary.translation == "refused"
    assert (
        "CustomExternalForce"
        in json.loads((tmp_path / "SYS" / "system.json").read_text())["provenance"]["translation_check"][
            "refused"
        ]
    )


def test_high_energy_is_warned_of(tmp_path):
    """One hydrogen 0.06 nm from another: no overlap, but far above the minimum."""
    moved = ALANINE.read_text().replace("  -0.813   1.807  -0.375", "   0.843   2.107   0.075")
    assert moved != ALANINE.read_text()
    path = tmp_path / "strained.pdb"
    path.write_text(moved)
    assert "above a nearby minimum" in " ".join(prepare(path).provenance["warnings"])
    assert prepare(path, minimize=True).provenance["warnings"] == []


def test_terminal_prints_the_table_and_writes(tmp_path, command_server):
    done = run_cli(
        "prepare",
        "--sequence",
        "ACE-PRO-NME",
        "-o",
        tmp_path / "SYS",
        "--name",
        "proline",
        server=command_server,
    )
    assert done.returncode == 0, done.stderr
    for word in ("proline", "26 (12 heavy)", "stereocentres", "1: 5 atoms", "HarmonicAngleForce", "SYS"):
        assert word in done.stdout
    assert MolecularSystem.load(tmp_path / "SYS").name == "proline"


def test_check_writes_nothing(tmp_path, command_server):
    done = run_cli("prepare", ALANINE, "-o", "SYS", "--check", cwd=tmp_path, server=command_server)
    assert done.returncode == 0, done.stderr
    assert "22 (10 heavy)" in done.stdout
    assert list(tmp_path.iterdir()) == []
