"""Force fields of OpenFF, with a stand-in for the toolkit: what is asked of it, and what it may refuse."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import openmm
import pytest

from boltzgen.errors import InputError, MissingExtraError
from boltzgen.system.parametrise.mmff import mmff_properties, mmff_system
from boltzgen.system.prepare import prepare
from boltzgen.system.small_molecule.openff import openff_file
from boltzgen.system.terms.charges import partial_charges

CHARGES = [0.15, -0.68, 0.02, 0.05, 0.06, 0.40]


@pytest.fixture
def toolkit(monkeypatch):
    """A package openff whose force field has MMFF94's bonds and angles, and charges that were handed over."""
    asked = SimpleNamespace(file=None, charges=None, complaint=None, sites=0)

    class Molecule:
        partial_charges = None

        @staticmethod
        def from_rdkit(molecule, allow_undefined_stereo):
            made = Molecule()
            made.rdkit = molecule
            return made

        def to_topology(self):
            return self

    class ForceField:
        def __init__(self, file):
            asked.file = file
            if "9.9" in file:
                raise OSError(f"Source {file} could not be read")

        def create_openmm_system(self, topology, charge_from_molecules=None):
            if asked.complaint:
                raise ValueError(asked.complaint)
            asked.charges = charge_from_molecules and charge_from_molecules[0].partial_charges
            whole = mmff_system(topology.rdkit, mmff_properties(topology.rdkit))
            system = openmm.System()
            for k in range(whole.getNumParticles()):
                system.addParticle(whole.getParticleMass(k))
            for force in whole.getForces()[:2]:
                system.addForce(openmm.XmlSerializer.clone(force))
            charged = openmm.NonbondedForce()
            for charge in asked.charges or CHARGES[::-1]:
                charged.addParticle(charge, 0.3, 0.1)
            system.addForce(charged)
            for _ in range(asked.sites):
                system.addParticle(0.0)
            return system

    package, made, units = ModuleType("openff"), ModuleType("openff.toolkit"), ModuleType("openff.units")
    made.Molecule, made.ForceField = Molecule, ForceField
    units.unit = SimpleNamespace(Quantity=lambda values, unit: list(values), elementary_charge="e")
    package.toolkit, package.units = made, units
    for name, module in (("openff", package), ("openff.toolkit", made), ("openff.units", units)):
        monkeypatch.setitem(sys.modules, name, module)
    return asked


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("openff-2.2.1", "openff_unconstrained-2.2.1.offxml"),
        ("openff-2.2.1.offxml", "openff_unconstrained-2.2.1.offxml"),
        ("openff_unconstrained-2.1.0", "openff_unconstrained-2.1.0.offxml"),
        ("smirnoff99Frosst-1.1.0", "smirnoff99Frosst-1.1.0.offxml"),
        ("mine/own.offxml", "mine/own.offxml"),
    ],
)
def test_a_release_is_taken_without_constraints(name, file):
    assert openff_file(name) == file


def test_its_own_charges_or_those_given(toolkit, tmp_path):
    system = prepare(smiles="CO", forcefield=("openff-2.2.1",), implicit="obc2")
    assert toolkit.file == "openff_unconstrained-2.2.1.offxml" and toolkit.charges is None
    assert np.allclose(partial_charges(system.openmm_system()), CHARGES[::-1])
    assert system.provenance["parameters"]["file"] == toolkit.file
    assert "charges of OpenFF were not fitted" in " ".join(system.provenance["warnings"])
    path = tmp_path / "own.json"
    path.write_text(json.dumps(CHARGES))
    system = prepare(smiles="CO", forcefield=("openff-2.2.1",), charges=str(path))
    assert toolkit.charges == CHARGES and np.allclose(partial_charges(system.openmm_system()), CHARGES)


def test_what_the_toolkit_refuses_is_a_sentence_with_its_reason(toolkit):
    with pytest.raises(
        InputError, match=r"does not load openff_unconstrained-9\.9\.offxml .*could not be read"
    ):
        prepare(smiles="CO", forcefield=("openff-9.9",))
    toolkit.complaint = "No registered toolkits can provide am1bcc"
    with pytest.raises(InputError, match=r"No registered toolkits can provide am1bcc\); give `charges="):
        prepare(smiles="CO", forcefield=("openff-2.2.1",))
    toolkit.complaint, toolkit.sites = None, 1
    with pytest.raises(InputError, match="has virtual sites"):
        prepare(smiles="CO", forcefield=("openff-2.2.1",))


def test_without_the_toolkit_conda_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openff", None)
    with pytest.raises(MissingExtraError, match="conda install -c conda-forge openff-toolkit"):
        prepare(smiles="CO", forcefield=("openff-2.2.1",))
