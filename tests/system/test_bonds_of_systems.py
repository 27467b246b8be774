"""Bonds of a PDB against those of a System XML, whose terms decide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openmm
import pytest

from boltzgen.errors import InputError
from boltzgen.system.graph.bonds_from_forces import bonds_from_forces
from boltzgen.system.prepare import prepare

CONECT = Path(__file__).parents[1] / "cases" / "files" / "conect"


def test_a_false_conect_makes_no_ring():
    got = prepare(CONECT / "butane.xml", coordinates=CONECT / "but_false.pdb")
    assert len(got.bonds) == 13
    assert [0, 3] not in got.bonds.tolist()
    (note,) = got.provenance["warnings"]
    assert "UNL 1 C1 (atom 1) - UNL 1 C4 (atom 4)" in note and "the System decides" in note


def test_a_missing_conect_keeps_the_ring():
    got = prepare(CONECT / "mthf.xml", coordinates=CONECT / "mthf_missing.pdb")
    assert len(got.bonds) == 16
    assert [1, 5] in got.bonds.tolist()
    (note,) = got.provenance["warnings"]
    assert "1 bond comes from the forces" in note and "UNL 1 C2 (atom 2) - UNL 1 O1 (atom 6)" in note


@pytest.mark.parametrize("minimize", [False, True])
def test_a_bond_that_the_coordinates_of_an_sdf_deny_is_refused(minimize, tmp_path):
    from rdkit import Chem
    from rdkit.Chem import AllChem

    ethanol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    AllChem.EmbedMolecule(ethanol, randomSeed=1)
    x, y, z = ethanol.GetConformer().GetAtomPosition(0)
    ethanol.GetConformer().SetAtomPosition(0, (x - 1.0, y, z))
    Chem.MolToMolFile(ethanol, str(tmp_path / "long.sdf"))
    with pytest.raises(InputError, match=r"C1 \(atom 1\) and .* are bonded, but 0\.\d+ nm apart"):
        prepare(tmp_path / "long.sdf", minimize=minimize)


@pytest.mark.parametrize(
    ("options", "bonds"),
    [
        ({"sequence": "ACE-SER-PRO-NME", "forcefield": ["charmm36_2024.xml"]}, 37),  # Urey-Bradley terms
        ({"smiles": "CC1CO1"}, 10),  # every bond of the ring spans an angle
        ({"smiles": "CSSC"}, 9),  # long bonds
    ],
)
@pytest.mark.parametrize("conect", [True, False])
def test_the_terms_of_a_system_give_its_bonds(options, bonds, conect, tmp_path):
    made = prepare(**options)
    assert len(made.bonds) == bonds
    lines = made.topology_pdb.splitlines()
    if not conect:  # nor names that tell
        lines = [f"{s[:17]}LIG{s[20:]}" if s.startswith(("ATOM", "HETATM")) else s for s in lines]
        lines = [line for line in lines if not line.startswith("CONECT")]
    (tmp_path / "made.xml").write_text(made.system_xml)
    (tmp_path / "made.pdb").write_text("\n".join(lines) + "\n")
    got = prepare(tmp_path / "made.xml", coordinates=tmp_path / "made.pdb")
    assert got.bonds.tolist() == made.bonds.tolist()
    assert bool(got.provenance["warnings"]) != conect


def test_restraints_are_no_bonds(tmp_path):
    system = openmm.XmlSerializer.deserialize((CONECT / "butane.xml").read_text())
    restraint = openmm.HarmonicBondForce()
    restraint.addBond(0, 3, 0.31, 4184.0)
    system.addForce(restraint)
    (tmp_path / "held.xml").write_text(openmm.XmlSerializer.serialize(system))
    lines = (CONECT / "but_false.pdb").read_text().splitlines()
    true = [line for line in lines if line.split() not in (["CONECT", "1", "4"], ["CONECT", "4", "1"])]
    (tmp_path / "true.pdb").write_text("\n".join(true) + "\n")
    got = prepare(tmp_path / "held.xml", coordinates=tmp_path / "true.pdb")
    assert len(got.bonds) == 13


def test_terms_that_do_not_join_all_atoms_do_not_decide(tmp_path):
    """As in a System whose terms inside a region were taken out."""
    system = openmm.XmlSerializer.deserialize((CONECT / "mthf.xml").read_text())
    for index in reversed(range(system.getNumForces())):
        force = system.getForce(index)
        if isinstance(force, openmm.HarmonicBondForce | openmm.CustomBondForce):
            system.removeForce(index)
    few = openmm.HarmonicBondForce()
    few.addBond(1, 5, 0.142, 250000.0)
    system.addForce(few)
    (tmp_path / "few.xml").write_text(openmm.XmlSerializer.serialize(system))
    got = prepare(tmp_path / "few.xml", coordinates=CONECT / "mthf_missing.pdb")
    assert len(got.bonds) == 16
    assert "do not join all atoms" in " ".join(got.provenance["warnings"])


def test_urey_bradley_terms_between_hydrogens_are_no_bonds():
    """CHARMM36's between the hydrogens of a methyl group is 0.1802 nm long; water's are angles' ends too."""
    system = openmm.System()
    for mass in (15.999, 1.008, 1.008):
        system.addParticle(mass)
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for i, j, length in ((0, 1, 0.0957), (0, 2, 0.0957), (1, 2, 0.1514)):
        bonds.addBond(i, j, length, 4.5e5)
    angles.addAngle(1, 0, 2, 1.82, 460.0)
    system.addForce(bonds)
    system.addForce(angles)
    assert bonds_from_forces(system).tolist() == [[0, 1], [0, 2]]
    assert bonds_from_forces(system, np.array([[2, 1]])).tolist() == [[0, 1], [0, 2], [1, 2]]
