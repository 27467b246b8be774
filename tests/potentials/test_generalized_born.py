"""Generalized-Born models: native and written as expressions, fused and generic, against OpenMM Reference."""

from __future__ import annotations

import copy
import re

import numpy as np
import openmm
import pytest
import torch
from openmm.app.internal import customgbforces
from potential_checks import assert_agrees, spread, system_of, value_and_gradient, with_bad_rows

from boltzgen.errors import UnsupportedError
from boltzgen.potentials.from_openmm.read_gb import custom_gb_record
from boltzgen.potentials.from_openmm.translate import translate_openmm
from boltzgen.potentials.molecular_mechanics import MolecularMechanics
from boltzgen.potentials.terms.custom_gb import CustomBorn

N_ATOMS = 8
MODELS = {
    "hct": customgbforces.GBSAHCTForce,
    "obc1": customgbforces.GBSAOBC1Force,
    "obc2": customgbforces.GBSAOBC2Force,
    "gbn": customgbforces.GBSAGBnForce,
    "gbn2": customgbforces.GBSAGBn2Force,
}


def amber_model(name: str, seed: int, *, negative: bool = False, **settings) -> openmm.CustomGBForce:
    """OpenMM's own force with random parameters: spheres of 0.1 to 0.2 nm, some scaled beyond others."""
    g = np.random.default_rng(seed)
    force = MODELS[name](solventDielectric=40.0, soluteDielectric=1.7, **settings)
    for radius in g.uniform(0.1, 0.2, N_ATOMS):
        scale = g.uniform(-0.8, -0.2) if negative and g.random() < 0.4 else g.uniform(0.3, 1.4)
        series = list(g.uniform(0.3, 0.9, 3)) if name == "gbn2" else []
        parameters = [g.normal(), radius, scale, *series]
        if hasattr(force, "finalize") and name.startswith("gbn"):
            force.addParticles([parameters])
        else:
            force.addParticle(parameters)
    force.finalize()
    if settings.get("cutoff"):
        force.setNonbondedMethod(openmm.CustomGBForce.CutoffNonPeriodic)
        force.setCutoffDistance(settings["cutoff"])
    return force


def native_model(seed: int) -> openmm.GBSAOBCForce:
    g = np.random.default_rng(seed)
    force = openmm.GBSAOBCForce()
    force.setSoluteDielectric(1.7)
    force.setSolventDielectric(40.0)
    for _ in range(N_ATOMS):
        force.addParticle(g.normal(), g.uniform(0.08, 0.3), g.uniform(0.3, 1.6))
    return force


def positions(name: str, seed: int) -> np.ndarray:
    """Conformations from far too close to far apart; HCT's radii are negative where spheres are crowded."""
    return spread(N_ATOMS, 60, seed, 0.2 if name == "hct" else 0.03, 0.5)


def recognised(potential: MolecularMechanics) -> bool:
    """Whether the solvent is one of the known models, which the fast path computes."""
    known, generic = potential.force_field.solvent is not None, bool(potential.force_field.custom_gb)
    assert known != generic
    return known


@pytest.mark.parametrize("cutoff", [None, 0.6])
@pytest.mark.parametrize("surface", [None, "ACE"])
@pytest.mark.parametrize("name", MODELS)
def test_amber_models_are_recognised_and_exact(name, surface, cutoff):
    """Both paths and the generic expressions against Reference, and all against each other."""
    for seed in (0, 1):
        force = amber_model(name, seed, SA=surface, cutoff=cutoff)
        system, x = system_of(N_ATOMS, force), positions(name, seed)
        potential = assert_agrees(system, x, energy_tolerance=1e-9)
        solvent = potential.force_field.solvent
        assert recognised(potential)
        assert solvent.model == ("hct" if name == "hct" else "tanh")
        assert (solvent.neck is None) == (not name.startswith("gbn"))
        assert (solvent.tension > 0) == (surface is not None)
        assert solvent.cutoff == cutoff
        generic = CustomBorn(custom_gb_record(force, "the force"))
        fused_energy, fused_gradient = value_and_gradient(potential.energy, x)
        energy, gradient = value_and_gradient(generic.energy, x)
        np.testing.assert_allclose(fused_energy, energy, rtol=1e-9, atol=1e-7)
        size = np.maximum(np.abs(gradient).max(axis=(1, 2)), 1)
        assert (np.abs(fused_gradient - gradient).max(axis=(1, 2)) / size).max() < 1e-8


@pytest.mark.parametrize("cutoff", [None, 0.6])
def test_the_native_force(cutoff):
    """With its cutoff it has 1/cutoff subtracted; spheres swallow each other."""
    for seed in range(4):
        force = native_model(seed)
        if cutoff:
            force.setNonbondedMethod(openmm.GBSAOBCForce.CutoffNonPeriodic)
            force.setCutoffDistance(cutoff)
        assert_agrees(system_of(N_ATOMS, force), positions("native", seed))


@pytest.mark.parametrize("name", ["obc1", "gbn2"])
def test_negative_scales(name):
    """GBn2 scales sulfur by -0.7: its integral ends with a jump where the spheres begin to overlap."""
    for seed in (0, 1, 2):
        force = amber_model(name, seed, negative=True, SA="ACE")
        potential = assert_agrees(system_of(N_ATOMS, force), positions(name, seed))
        assert (potential.force_field.solvent.scale < 0).any()


def test_the_random_conformations_meet_every_branch():
    p = translate_openmm(system_of(N_ATOMS, amber_model("gbn2", 0, SA="ACE"))).force_field.solvent
    x = positions("gbn2", 0)
    r = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1) + 10 * np.eye(N_ATOMS)
    own, scaled = p.offset_radius[:, None], p.scaled_radius[None, :]
    assert (scaled - r > own).any()
    assert (r + scaled < own).any()
    assert (r - scaled > own).any()
    reach = own + own.T + p.neck.reach
    assert (r < reach).any() and ((r > reach) & (r < 9)).any()


def test_the_constants_are_those_of_the_force_itself():
    """OpenMM's expressions hold an older Coulomb constant than its native forces."""
    p = translate_openmm(system_of(N_ATOMS, amber_model("obc1", 0, SA="ACE"))).force_field.solvent
    assert p.pair_prefactor == pytest.approx(-138.935485 * (1 / 1.7 - 1 / 40), rel=1e-14)
    assert p.self_prefactor == pytest.approx(0.5 * p.pair_prefactor, rel=1e-14)
    assert p.tension == pytest.approx(28.3919551)
    assert p.probe == pytest.approx(0.14)
    np.testing.assert_allclose(p.radius - p.offset_radius, 0.009, atol=1e-15)
    assert (set(p.alpha), set(p.beta), set(p.gamma)) == ({0.8}, {0.0}, {2.909125})
    native = translate_openmm(system_of(N_ATOMS, native_model(0))).force_field.solvent
    assert native.pair_prefactor == pytest.approx(-138.93545764438198 * (1 / 1.7 - 1 / 40), rel=1e-14)


def changed(force: openmm.CustomGBForce, old: str, new: str) -> openmm.CustomGBForce:
    """A copy in whose expressions `old` is `new`."""
    force = copy.deepcopy(force)
    count = 0
    for n in range(force.getNumComputedValues()):
        name, text, kind = force.getComputedValueParameters(n)
        count += text.count(old)
        force.setComputedValueParameters(n, name, text.replace(old, new), kind)
    for n in range(force.getNumEnergyTerms()):
        text, kind = force.getEnergyTermParameters(n)
        count += text.count(old)
        force.setEnergyTermParameters(n, text.replace(old, new), kind)
    assert count, f"{old!r} is not in the force"
    return force


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("obc1", "0.25*(r-sr2^2/r)", "0.26*(r-sr2^2/r)"),
        ("obc1", "(1/(U^2)-1/(L^2))", "(1/(U^2)-1/(L^3))"),
        ("obc1", "step(r+sr2-or1)", "step(r+sr2-or2)"),
        ("obc1", "tanh(0.8*psi+2.909125*psi^3)", "tanh(0.8*psi+2.909125*psi^4)"),
        ("obc1", "psi=I*or; radius=or+offset; offset=0.009", "psi=I*or; radius=or+offset; offset=0.012"),
        ("obc1", "exp(-r^2/(4*B1*B2))", "exp(-r^2/(3.7*B1*B2))"),
        ("obc1", "(radius/B)^6", "(radius/B)^5"),
        ("hct", "1/(1/or-I)", "1/(1/or-1.1*I)"),
        ("gbn2", "getm0(radindex1,radindex2)", "getm0(radindex2,radindex1)"),
        ("gbn2", "gamma*psi^3", "gamma*psi^5"),
        ("gbn2", "step(radius1+radius2+neckCut-r)", "step(radius1+radius1+neckCut-r)"),
    ],
)
def test_a_changed_structure_is_not_recognised_but_still_exact(name, old, new):
    force = changed(amber_model(name, 0, SA="ACE"), old, new)
    potential = assert_agrees(system_of(N_ATOMS, force), positions("hct", 0), energy_tolerance=1e-9)
    assert not recognised(potential)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("obc1", "2.909125", "2.9"),
        ("obc2", "psi-0.8*psi^2", "1.3*psi-0.7*psi^2"),
        ("obc1", "138.935485", "138.9"),
        ("obc1", "28.3919551*(radius+0.14)^2", "20*(radius+0.13)^2"),
        ("gbn", "neckScale=0.361825; neckCut=0.68", "neckScale=0.5; neckCut=0.5"),
        ("gbn2", "0.3*1000000", "200000"),
        ("gbn2", "(1+100*", "(1+90*"),
        ("obc1", "sr2^2/r", "sr2*sr2/r"),  # another way to write the same
    ],
)
def test_a_changed_number_of_the_model_is_read(name, old, new):
    force = changed(amber_model(name, 0, SA="ACE"), old, new)
    potential = assert_agrees(system_of(N_ATOMS, force), positions(name, 0), energy_tolerance=1e-9)
    assert recognised(potential)


@pytest.mark.parametrize("cutoff", [None, 0.6])
def test_screening_by_salt_goes_the_generic_way(cutoff):
    force = amber_model("obc2", 1, SA="ACE", kappa=0.7, cutoff=cutoff)
    potential = assert_agrees(system_of(N_ATOMS, force), positions("obc2", 1), energy_tolerance=1e-9)
    assert not recognised(potential)
    same = translate_openmm(system_of(N_ATOMS, amber_model("obc2", 1, SA="ACE"))).force_field.descreening()
    np.testing.assert_array_equal(potential.force_field.descreening(), same)  # for a flow's features


def test_a_shift_without_a_cutoff_is_kept():
    """A force written for a cutoff of 0.6 nm whose cutoff was switched off again."""
    force = amber_model("obc1", 0, cutoff=0.6)
    force.setNonbondedMethod(openmm.CustomGBForce.NoCutoff)
    assert_agrees(system_of(N_ATOMS, force), positions("obc1", 0))


def arbitrary_force(cutoff: float | None) -> openmm.CustomGBForce:
    """Every kind of value and term, exclusions, global parameters, a spline and a table."""
    g = np.random.default_rng(5)
    force = openmm.CustomGBForce()
    force.addPerParticleParameter("q")
    force.addPerParticleParameter("a")
    force.addGlobalParameter("scale", 1.3)
    spline = openmm.Continuous1DFunction(g.normal(size=9), 0.0, 1.2)
    force.addTabulatedFunction("spline", spline)
    force.addTabulatedFunction("table", openmm.Discrete1DFunction(list(g.normal(size=3))))
    force.addComputedValue("n", "a2*exp(-r/a1)*scale + 0.1*table(kind); kind=1", force.ParticlePair)
    force.addComputedValue("m", "tanh(n+q)/a", force.SingleParticle)
    force.addComputedValue("k", "m*n + 2", force.SingleParticle)
    force.addEnergyTerm("scale*m^2 + k", force.SingleParticle)
    force.addEnergyTerm("q1*q2*m1*m2/(r+0.1)", force.ParticlePair)
    force.addEnergyTerm("spline(r)*n1*n2*k1*k2", force.ParticlePairNoExclusions)
    force.addEnergyTerm("0.25", force.ParticlePair)
    for _ in range(N_ATOMS):
        force.addParticle([g.normal(), g.uniform(0.1, 0.5)])
    for i, j in ((0, 1), (3, 2), (4, 7)):
        force.addExclusion(i, j)
    if cutoff:
        force.setNonbondedMethod(openmm.CustomGBForce.CutoffNonPeriodic)
        force.setCutoffDistance(cutoff)
    return force


@pytest.mark.parametrize("cutoff", [None, 0.5])
def test_an_arbitrary_custom_force(cutoff):
    force = arbitrary_force(cutoff)
    system = system_of(N_ATOMS, force)
    x = spread(N_ATOMS, 40, 2, 0.05, 0.4)
    potential = assert_agrees(system, x)
    assert not recognised(potential)
    generator = np.random.default_rng(4)
    _, gradient = value_and_gradient(potential.energy, x[5:8])
    direction = generator.normal(size=x[5:8].shape)
    if not cutoff:
        up, down = (potential.energy(torch.tensor(x[5:8] + h * direction)).numpy() for h in (1e-6, -1e-6))
        np.testing.assert_allclose((up - down) / 2e-6, (gradient * direction).sum((1, 2)), rtol=1e-5)


def test_a_force_that_depends_on_the_place_in_space_is_refused():
    force = arbitrary_force(None)
    force.addEnergyTerm("q*x^2", force.SingleParticle)
    with pytest.raises(UnsupportedError, match=re.escape("force 0 (CustomGBForce) depends on the place")):
        translate_openmm(system_of(N_ATOMS, force))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["hct", "obc1", "gbn2", "arbitrary"])
def test_a_bad_row_stays_alone(name, dtype):
    cutoff = 0.6 if name == "gbn2" else None
    force = arbitrary_force(0.5) if name == "arbitrary" else amber_model(name, 0, SA="ACE", cutoff=cutoff)
    potential = translate_openmm(system_of(N_ATOMS, force))
    good = torch.tensor(spread(N_ATOMS, 20, 3, 0.2, 0.3)).to(dtype)
    broken, _bad, rest = with_bad_rows(good)
    energy, gradient = value_and_gradient(potential.energy, good)
    got, got_gradient = value_and_gradient(potential.energy, broken)
    np.testing.assert_array_equal(got[rest], energy[rest])
    np.testing.assert_array_equal(got_gradient[rest], gradient[rest])
    assert np.isfinite(got_gradient).all()
    assert np.isnan(got[3])


@pytest.mark.parametrize("name", ["hct", "obc1", "obc2", "gbn", "gbn2"])
def test_single_precision_on_thermal_conformations(name):
    """0.01 kT at 300 K, and forces to 1e-4; ff14SB, the peptides' target is that with OBC1."""
    from boltzgen.system.prepare import prepare

    molecule = prepare(
        sequence="ACE-ALA-NME", forcefield=("amber14-all.xml",), implicit=f"implicit/{name}.xml"
    )
    noise = np.random.default_rng(0).normal(scale=0.003, size=(30, molecule.n_atoms, 3))
    x = molecule.reference_positions + noise
    potential = assert_agrees(molecule.openmm_system(), x, energy_tolerance=1e-12, force_tolerance=1e-10)
    assert recognised(potential)
    energy, gradient = value_and_gradient(potential.energy, x)
    energy32, gradient32 = value_and_gradient(potential.energy, torch.tensor(x).float())
    assert np.abs(energy - energy32).max() < 0.025
    assert np.abs(gradient - gradient32).max() < 1e-4 * np.abs(gradient).max()


def test_sulfur_under_gbn2_has_a_negative_scale():
    from boltzgen.system.prepare import prepare

    molecule = prepare(sequence="ACE-CYS-NME", forcefield=("amber14-all.xml",), implicit="implicit/gbn2.xml")
    noise = np.random.default_rng(0).normal(scale=0.01, size=(10, molecule.n_atoms, 3))
    potential = assert_agrees(molecule.openmm_system(), molecule.reference_positions + noise)
    assert (potential.force_field.solvent.scale < 0).sum() == 1
