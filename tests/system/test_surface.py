"""The option `surface`: ACE is what it was, LCPO and none are OpenMM's."""

from __future__ import annotations

import re
from pathlib import Path

import openmm
import pytest
from force_field_cases import system_of_file
from openmm import app, unit

from boltzgen.errors import InputError, UnsupportedError
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare
from boltzgen.workflows.installation.cite import cite
from boltzgen.workflows.preparation.prepare import prepare as prepare_folder

ORDER = Path(__file__).parents[1] / "cases" / "files" / "order"
AMBER = {"source": ORDER / "ala.prmtop", "coordinates": ORDER / "ala.inpcrd"}
needs_lcpo = pytest.mark.skipif(not hasattr(openmm, "LCPOForce"), reason="OpenMM 8.5 brings LCPOForce")


def energy(system: openmm.System, positions) -> float:
    """kJ/mol on OpenMM Reference."""
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    return context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)


def kinds(system: MolecularSystem) -> list[str]:
    return [type(force).__name__ for force in system.openmm_system().getForces()]


@needs_lcpo
@pytest.mark.parametrize(("surface", "method"), [("ace", "ACE"), ("lcpo", "LCPO"), ("none", None)])
@pytest.mark.parametrize(("implicit", "model"), [("obc2", app.OBC2), ("hct", app.HCT)])
def test_a_prmtop_gets_the_surface_term_of_openmm(surface, method, implicit, model, tmp_path):
    system_of_file("prmtop with radii", implicit, "PGFKD, capped", tmp_path)
    files = {"source": tmp_path / "molecule.prmtop", "coordinates": tmp_path / "molecule.inpcrd"}
    got = prepare(**files, implicit=implicit, surface=surface)
    expected = app.AmberPrmtopFile(str(files["source"])).createSystem(
        implicitSolvent=model, sasaMethod=method, constraints=None, rigidWater=False, removeCMMotion=False
    )
    x = got.reference_positions
    assert energy(got.openmm_system(), x) == pytest.approx(energy(expected, x), rel=1e-12)
    assert ("LCPOForce" in kinds(got)) == (surface == "lcpo")


@needs_lcpo
def test_a_prmtop_without_radii_gets_it_by_its_bonds():
    """ala.prmtop states radii of 0."""
    terms = {name: prepare(**AMBER, implicit="obc2", surface=name) for name in ("ace", "lcpo", "none")}
    x = terms["none"].reference_positions
    value = {name: energy(system.openmm_system(), x) for name, system in terms.items()}
    assert value["ace"] - value["none"] > 1.0 and value["lcpo"] - value["none"] > 1.0
    assert [name for name, system in terms.items() if "LCPOForce" in kinds(system)] == ["lcpo"]


@needs_lcpo
@pytest.mark.parametrize("options", [{"sequence": "KD"}, {"smiles": "CC(=O)Nc1ccc(O)cc1"}])
def test_without_a_prmtop_the_types_follow_from_bonds(options, tmp_path):
    """LCPO is what lies between `lcpo` and `none`, with 5 cal/mol/A2; the torch energy agrees."""
    summary = prepare_folder(**options, implicit="obc2", surface="lcpo", output=tmp_path / "SYS")
    assert dict(summary.force_terms)["LCPOForce"] == summary.system.n_atoms
    assert summary.system.provenance["translation_check"]["max_relative_energy_difference"] < 1e-9
    assert summary.system.provenance["options"]["surface"] == "lcpo"
    (force,) = (f for f in summary.system.openmm_system().getForces() if isinstance(f, openmm.LCPOForce))
    assert force.getSurfaceTension()._value == pytest.approx(0.005 * 4.184 * 100)
    x = summary.system.reference_positions
    bare = prepare(**options, implicit="obc2", surface="none", minimize=False)
    alone = openmm.System()
    for _ in range(len(x)):
        alone.addParticle(1.0)
    alone.addForce(openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(force)))
    total = energy(summary.system.openmm_system(), x)
    assert total == pytest.approx(energy(bare.openmm_system(), x) + energy(alone, x), rel=1e-10)
    assert "weiser1999" in cite(tmp_path / "SYS").bibtex()


def test_the_default_is_what_it_was():
    plain, named = prepare(**AMBER, implicit="obc2"), prepare(**AMBER, implicit="obc2", surface="ace")
    assert plain.fingerprint == named.fingerprint and "surface" not in plain.provenance["options"]
    assert "28.39" in plain.system_xml
    assert "28.39" not in prepare(**AMBER, implicit="obc2", surface="none").system_xml


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"surface": "LCPO", "implicit": "obc2"}, "expected ace, lcpo, none"),
        ({"surface": "lcpo"}, "`implicit=\"obc2\"`; `implicit='none'` was given"),
        ({"surface": "none", "implicit": "amber99_obc.xml"}, "`implicit='amber99_obc.xml'` was given"),
    ],
)
def test_surfaces_that_are_refused(options, expected):
    with pytest.raises(InputError, match=re.escape(expected)):
        prepare(sequence="ACE-ALA-NME", **options)


@needs_lcpo
def test_an_atom_without_parameters_is_named():
    with pytest.raises(UnsupportedError, match=r"LCPO has parameters for .*atomic number 35"):
        prepare(smiles="CBr", implicit="obc2", surface="lcpo")
    assert prepare(smiles="CBr", implicit="obc2", surface="none").n_atoms == 5


def test_an_older_openmm_is_named(monkeypatch):
    monkeypatch.delattr(openmm, "LCPOForce", raising=False)
    with pytest.raises(UnsupportedError, match=r"needs OpenMM 8\.5 or later"):
        prepare(sequence="ACE-ALA-NME", implicit="obc2", surface="lcpo")
