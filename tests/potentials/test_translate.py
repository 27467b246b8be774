"""What is translated, what is refused and by which words, and the check against OpenMM Reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import openmm
import pytest
import torch

from boltzgen.errors import BoltzgenError, UnsupportedError
from boltzgen.potentials.from_openmm.reference import check_against_reference, perturbed
from boltzgen.potentials.from_openmm.translate import translate, translate_openmm
from boltzgen.potentials.molecular_mechanics import MolecularMechanics
from boltzgen.system.molecular_system import MolecularSystem


def test_check_against_reference(alanine_dipeptide):
    potential = translate(alanine_dipeptide)
    result = check_against_reference(alanine_dipeptide, potential)
    assert result["conformations"] == 16
    assert 0 < result["max_relative_energy_difference"] < 1e-10
    assert result["max_relative_force_difference"] < 1e-10
    by_force = result["max_relative_energy_difference_by_force"]
    assert set(by_force) == {
        "HarmonicBondForce",
        "HarmonicAngleForce",
        "PeriodicTorsionForce",
        "NonbondedForce",
        "GBSAOBCForce",
    }
    assert max(by_force.values()) < 1e-10


@pytest.mark.parametrize(
    ("field", "force"),
    [
        ("charge", "NonbondedForce"),
        ("bond_length", "HarmonicBondForce"),
        ("angle_stiffness", "HarmonicAngleForce"),
        ("torsion_phase", "PeriodicTorsionForce"),
        ("torsion_periodicity", "PeriodicTorsionForce"),
    ],
)
def test_check_against_reference_names_the_force_that_differs(alanine_dipeptide, field, force):
    parameters = translate(alanine_dipeptide).force_field
    value = getattr(parameters, field)
    wrong = value + 1 if field == "torsion_periodicity" else value * 1.0001
    if field == "torsion_phase":
        wrong = value + 0.001
    with pytest.raises(BoltzgenError, match=f"differs from OpenMM Reference.*most in {force}"):
        check_against_reference(alanine_dipeptide, MolecularMechanics(replace(parameters, **{field: wrong})))


def test_check_against_reference_meets_nan_and_other_conformations(alanine_dipeptide):
    """Bonds are turned beyond what noise reaches, and an energy that is not a number agrees with nothing."""
    x = perturbed(alanine_dipeptide, 10, 1)
    assert np.abs(x[1:11] - x[0]).max() < 0.06
    assert (np.abs(x[11:] - x[0]).max(axis=(1, 2)) > 0.1).sum() >= 4
    lengths = [np.linalg.norm(x[:, i] - x[:, j], axis=1) for i, j in alanine_dipeptide.bonds]
    assert np.abs(np.array(lengths) - np.array(lengths)[:, :1]).max() < 0.08
    parameters = translate(alanine_dipeptide).force_field
    wrong = replace(parameters, charge=parameters.charge * np.nan)
    with pytest.raises(BoltzgenError, match="differs from OpenMM Reference"):
        check_against_reference(alanine_dipeptide, MolecularMechanics(wrong))


def test_a_potential_that_disagrees_is_refused_ever_after(monkeypatch, tmp_path):
    """The workflow of prepare records a disagreement, and nothing samples with such an energy later."""
    from boltzgen.potentials import of_system
    from boltzgen.workflows.preparation.prepare import prepare

    def wrong(system):
        right = translate(system).force_field
        return MolecularMechanics(replace(right, bond_length=1.001 * right.bond_length))

    monkeypatch.setattr(of_system, "translate", wrong)
    options = {"sequence": "ACE-ALA-NME", "forcefield": ("amber99sbildn.xml",)}
    summary = prepare(None, tmp_path / "SYS", **options)
    assert summary.translation == "disagrees with OpenMM Reference"
    assert any("train and sample do not" in warning for warning in summary.warnings)
    monkeypatch.undo()
    with pytest.raises(UnsupportedError, match=r"most in HarmonicBondForce.*Prepare it again"):
        of_system.potential_of(MolecularSystem.load(tmp_path / "SYS"))


def three_atoms(*forces: openmm.Force) -> openmm.System:
    system = openmm.System()
    for _ in range(3):
        system.addParticle(1.0)
    for force in forces:
        if isinstance(force, openmm.NonbondedForce | openmm.GBSAOBCForce) and not force.getNumParticles():
            for _ in range(3):
                force.addParticle(0.1, 0.1, 0.1)
        system.addForce(force)
    return system


def _nonbonded(method: int) -> openmm.NonbondedForce:
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(method)
    return force


def _bond(*parameters) -> openmm.HarmonicBondForce:
    force = openmm.HarmonicBondForce()
    force.addBond(0, 1, *parameters)
    return force


def _centroids() -> openmm.CustomCentroidBondForce:
    force = openmm.CustomCentroidBondForce(2, "distance(g1,g2)")
    force.addGroup([0, 1])
    force.addGroup([2])
    force.addBond([0, 1])
    return force


def _with_offsets() -> openmm.NonbondedForce:
    force = openmm.NonbondedForce()
    force.addGlobalParameter("lambda", 0.5)
    for _ in range(3):
        force.addParticle(0.1, 0.1, 0.1)
    force.addParticleParameterOffset("lambda", 0, 1, 0, 0)
    return force


def _periodic() -> openmm.HarmonicBondForce:
    force = _bond(0.1, 100.0)
    force.setUsesPeriodicBoundaryConditions(True)
    return force


@pytest.mark.parametrize(
    ("forces", "words"),
    [
        ([openmm.CMMotionRemover(), _centroids()], ["force 1", "CustomCentroidBondForce", "2 atoms"]),
        ([openmm.CustomManyParticleForce(3, "r")], ["force 0", "CustomManyParticleForce"]),
        ([openmm.MonteCarloBarostat(1.0, 300.0)], ["force 0", "MonteCarloBarostat"]),
        ([_nonbonded(openmm.NonbondedForce.PME)], ["NonbondedForce", "periodic box"]),
        ([_with_offsets()], ["NonbondedForce", "offsets"]),
        ([_periodic()], ["HarmonicBondForce", "periodic"]),
        ([_bond(0.1, float("nan"))], ["HarmonicBondForce", "bond 0", "not a finite number"]),
        ([_bond(float("inf"), 1.0)], ["HarmonicBondForce", "not a finite number"]),
        ([openmm.NonbondedForce(), openmm.NonbondedForce()], ["force 1", "second"]),
    ],
)
def test_what_cannot_be_translated_is_refused_by_name(forces, words):
    with pytest.raises(UnsupportedError) as refusal:
        translate_openmm(three_atoms(*forces))
    for word in words:
        assert word in str(refusal.value)


def test_constraints_and_virtual_sites_are_refused():
    constrained = three_atoms(_bond(0.1, 100.0))
    constrained.addConstraint(0, 2, 0.1)
    with pytest.raises(UnsupportedError, match=r"1 constraints .*atoms 0 and 2.*`constraints=.none.`"):
        translate_openmm(constrained)
    virtual = three_atoms(_bond(0.1, 100.0))
    virtual.setVirtualSite(2, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    with pytest.raises(UnsupportedError, match="Atom 2 is a virtual site"):
        translate_openmm(virtual)


def test_forces_without_effect_are_passed_over():
    harmless = (openmm.CMMotionRemover(), openmm.AndersenThermostat(300.0, 1.0), openmm.RBTorsionForce())
    potential = translate_openmm(three_atoms(_bond(0.1, 100.0), *harmless))
    x = torch.tensor([[[0.0, 0, 0], [0.3, 0, 0], [1.0, 0, 0]]], dtype=torch.float64)
    assert potential.energy(x).item() == pytest.approx(0.5 * 100 * 0.2**2)


def test_two_forces_of_one_bonded_class_add_up():
    potential = translate_openmm(three_atoms(_bond(0.1, 100.0), _bond(0.2, 50.0)))
    x = torch.tensor([[[0.0, 0, 0], [0.3, 0, 0], [1.0, 0, 0]]], dtype=torch.float64)
    assert potential.energy(x).item() == pytest.approx(0.5 * 100 * 0.2**2 + 0.5 * 50 * 0.1**2)
