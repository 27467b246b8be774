"""Radii of a prmtop: which set they are, which the model wants, and how `radii` sets it."""

from __future__ import annotations

import numpy as np
import pytest
from programs.amber_cases import FILES

from boltzgen.errors import InputError
from boltzgen.system.parametrise.born_radii import BEST, SETS, radii_of, sets_like, with_radii
from boltzgen.system.prepare import prepare

PRMTOP = FILES / "made.prmtop"  # of tleap, by its default: mbondi

#: Angstrom, of N1 C1 C2 S1 C3 O1 O2 and H on N, N, C, C, C, S: the tables of Amber's manual. Of mbondi3 the
#: carboxylate.
HEAVY = [1.55, 1.70, 1.70, 1.80, 1.70, 1.50, 1.50]
BY_HAND = {
    "bondi": [*HEAVY, *[1.2] * 6],
    "mbondi": [*HEAVY, 1.3, 1.3, 1.3, 1.3, 1.3, 0.8],
    "mbondi2": [*HEAVY, 1.3, 1.3, 1.2, 1.2, 1.2, 1.2],
    "mbondi3": [*HEAVY[:5], 1.4, 1.4, 1.3, 1.3, 1.2, 1.2, 1.2, 1.2],
}


def prepared(**options):
    return prepare(PRMTOP, coordinates=FILES / "made.inpcrd", **options)


def read():
    from openmm import app

    return app.AmberPrmtopFile(str(PRMTOP))


@pytest.mark.parametrize("name", SETS)
def test_the_sets_are_those_of_ambers_manual(name):
    prmtop = read()
    assert np.allclose(radii_of(prmtop.topology, name) * 10, BY_HAND[name], atol=1e-9)
    assert sets_like(prmtop.topology, np.array(BY_HAND[name]) / 10) == [name]
    with_radii(prmtop, name)
    assert np.allclose([float(word) for word in prmtop._prmtop._raw_data["RADII"]], BY_HAND[name], atol=1e-7)


@pytest.mark.parametrize("implicit", ["obc1", "obc2"])
def test_radii_of_another_set_are_used_and_told(implicit):
    system = prepared(implicit=implicit)
    (told,) = [text for text in system.provenance["warnings"] if "radii" in text]
    assert f"has the radii mbondi, which are used; {implicit} was made with mbondi2" in told
    assert '`radii="mbondi2"` sets these' in told and "Non-optimal" not in told
    asked = prepared(implicit=implicit, radii="mbondi2")
    assert not [text for text in asked.provenance["warnings"] if "radii" in text]
    own, best = (one.provenance["reference_energy_kj_mol"] for one in (system, asked))
    assert abs(own - best) > 0.3  # kJ/mol
    assert asked.provenance["options"]["radii"] == "mbondi2"


def test_radii_of_the_models_own_set_need_no_word():
    assert not [text for text in prepared(implicit="hct").provenance["warnings"] if "radii" in text]


def test_what_is_asked_for_is_what_openmm_has_for_the_same_prmtop():
    """Against OpenMM's reader of a prmtop in which the radii are written by hand."""
    from openmm import Context, Platform, VerletIntegrator, app, unit

    system = prepared(implicit="gbn2", radii="mbondi3")
    prmtop = read()
    prmtop._prmtop._raw_data["RADII"] = [str(radius) for radius in BY_HAND["mbondi3"]]
    theirs = prmtop.createSystem(nonbondedMethod=app.NoCutoff, implicitSolvent=app.GBn2)
    context = Context(theirs, VerletIntegrator(0.001), Platform.getPlatformByName("Reference"))
    context.setPositions(system.reference_positions)
    energy = context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    # Ours is of OpenMM's CPU platform, whose Born radii are in single precision.
    assert system.provenance["reference_energy_kj_mol"] == pytest.approx(energy, abs=1e-3)


def test_a_model_without_parameters_for_the_radii_names_the_right_ones():
    with pytest.raises(InputError, match=r'`implicit=\'gbn\'` needs radii of the set bondi.*`radii="bondi"`'):
        prepared(implicit="gbn")
    assert prepared(implicit="gbn", radii="bondi").provenance["options"]["radii"] == "bondi"


def test_every_model_has_its_set():
    from boltzgen.system.parametrise.forcefield import IMPLICIT_MODELS

    assert set(BEST) == set(IMPLICIT_MODELS) and set(BEST.values()) <= set(SETS)
