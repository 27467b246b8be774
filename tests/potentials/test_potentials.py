"""Potentials against OpenMM Reference, the fast path against plain autograd, bad rows."""

from __future__ import annotations

import copy

import numpy as np
import openmm
import pytest
import torch
from potential_checks import reference, value_and_gradient

from boltzgen.errors import BoltzgenError, InputError
from boltzgen.potentials.from_openmm.translate import translate, translate_openmm


def thermal(system: openmm.System, start: np.ndarray, frames: int, temperature: float = 300.0) -> np.ndarray:
    """(frames, N, 3) nm of Langevin dynamics with a step of 0.5 fs, 20 steps apart."""
    integrator = openmm.LangevinMiddleIntegrator(temperature, 5.0, 0.0005)
    integrator.setRandomNumberSeed(5)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(start)
    context.setVelocitiesToTemperature(temperature, 7)
    integrator.step(400)
    out = []
    for _ in range(frames):
        integrator.step(20)
        out.append(context.getState(getPositions=True).getPositions(asNumpy=True)._value)
    return np.array(out)


def distorted(start: np.ndarray, frames: int, largest: float = 0.05) -> np.ndarray:
    """(frames, N, 3) nm: noise of 0.002 nm up to `largest` on every coordinate."""
    noise = np.random.default_rng(3).normal(size=(frames, *start.shape))
    return start + noise * np.linspace(0.002, largest, frames)[:, None, None]


def random_system(seed: int, *, solvent: bool = True, surface: float = 2.0) -> openmm.System:
    """Nine atoms with arbitrary parameters of every term: odd phases, exceptions, spheres inside spheres."""
    g = np.random.default_rng(seed)
    system = openmm.System()
    bonds, angles = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    torsions = openmm.PeriodicTorsionForce()
    nonbonded, born = openmm.NonbondedForce(), openmm.GBSAOBCForce()
    born.setSoluteDielectric(1.7)
    born.setSolventDielectric(40.0)
    born.setSurfaceAreaEnergy(surface)
    for _ in range(9):
        system.addParticle(12.0)
        nonbonded.addParticle(g.normal(), g.uniform(0.05, 0.2), g.uniform(0, 1))
        born.addParticle(g.normal(), g.uniform(0.08, 0.3), g.uniform(0.5, 1.6))
    for _ in range(8):
        i, j, k, m = (int(n) for n in g.permutation(9)[:4])
        bonds.addBond(i, j, g.uniform(0.1, 0.3), g.uniform(100, 1000))
        angles.addAngle(i, j, k, g.uniform(0.5, 3.0), g.uniform(10, 100))
        for periodicity in (1, 2, 3, 6):
            torsions.addTorsion(i, j, k, m, periodicity, g.uniform(-3, 3), g.normal())
        nonbonded.addException(j, i, g.normal(), g.uniform(0.05, 0.1), g.choice([0, 1.0]), True)
    for force in (bonds, angles, torsions, nonbonded, *([born] if solvent else [])):
        system.addForce(force)
    return system


@pytest.fixture(scope="module")
def peptide():
    """ACE-ALA-PHE-NME, 42 atoms: a ring, and pairs far apart."""
    from boltzgen.system.prepare import prepare

    return prepare(sequence="ACE-ALA-PHE-NME", forcefield=("amber99sbildn.xml",), implicit="amber99_obc.xml")


@pytest.fixture(params=["alanine_dipeptide", "peptide", "butane"])
def molecule(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("kind", ["thermal", "distorted"])
def test_agrees_with_openmm_reference(molecule, kind):
    """100 conformations each; the bar is 1e-6, what is reached is rounding."""
    system, start = molecule.openmm_system(), molecule.reference_positions
    x = thermal(system, start, 100) if kind == "thermal" else distorted(start, 100)
    expected_energy, expected_force = reference(system, x)
    potential = translate(molecule)
    for function in (potential.energy, potential.energy_plain):
        energy, gradient = value_and_gradient(function, torch.tensor(x))
        np.testing.assert_allclose(energy, expected_energy, rtol=1e-9)
        error = np.abs(gradient + expected_force).max(axis=(1, 2)) / np.abs(expected_force).max(axis=(1, 2))
        assert error.max() < 1e-9


def test_each_term_agrees_with_its_own_force(alanine_dipeptide):
    whole = alanine_dipeptide.openmm_system()
    x = distorted(alanine_dipeptide.reference_positions, 5)
    parts = translate(alanine_dipeptide).energy_by_term(torch.tensor(x))
    names = {
        "HarmonicBondForce": "bond",
        "HarmonicAngleForce": "angle",
        "PeriodicTorsionForce": "torsion",
        "NonbondedForce": "nonbonded",
        "GBSAOBCForce": "solvent",
    }
    assert set(parts) == set(names.values())
    for force in whole.getForces():
        if type(force).__name__ not in names:
            continue
        alone = openmm.System()
        for i in range(whole.getNumParticles()):
            alone.addParticle(whole.getParticleMass(i))
        alone.addForce(copy.copy(force))
        expected, _ = reference(alone, x)
        got = parts[names[type(force).__name__]]
        np.testing.assert_allclose(got, expected, rtol=1e-10, err_msg=str(force))


def test_bonded_energy_is_bonds_angles_and_torsions(alanine_dipeptide):
    potential = translate(alanine_dipeptide)
    x = torch.tensor(distorted(alanine_dipeptide.reference_positions, 9))
    parts = potential.energy_by_term(x)
    expected = parts["bond"] + parts["angle"] + parts["torsion"]
    torch.testing.assert_close(potential.bonded_energy(x), expected, rtol=1e-12, atol=0)
    bare = potential.bonded_energy
    step = torch.randn(x[:1].shape, generator=torch.Generator().manual_seed(2), dtype=x.dtype)
    product = torch.autograd.functional.hvp(lambda y: bare(y).sum(), x[:1], step)[1]
    ends = [value_and_gradient(bare, x[:1] + sign * 1e-6 * step)[1] for sign in (1, -1)]
    np.testing.assert_allclose(product, (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("seed", range(6))
def test_arbitrary_parameters_and_overlapping_spheres(seed):
    """Every branch of the Born integral: atoms from 0.01 nm apart, one sphere inside the other."""
    system = random_system(seed, solvent=seed != 5, surface=[2.0, 0.0][seed % 2])
    potential = translate_openmm(system)
    x = np.random.default_rng(seed).normal(size=(60, 9, 3)) * np.linspace(0.02, 0.5, 60)[:, None, None]
    expected_energy, expected_force = reference(system, x)
    plain = value_and_gradient(potential.energy_plain, torch.tensor(x))
    fused = value_and_gradient(potential.energy, torch.tensor(x))
    scale = torch.stack(list(potential.energy_by_term(torch.tensor(x)).values())).abs().sum(0).numpy()
    size = np.abs(expected_force).max(axis=(1, 2))
    for energy, gradient in (plain, fused):
        assert (np.abs(energy - expected_energy) / scale).max() < 1e-10
        assert (np.abs(gradient + expected_force).max(axis=(1, 2)) / size).max() < 1e-8
    assert (np.abs(plain[0] - fused[0]) / scale).max() < 1e-10
    assert (np.abs(plain[1] - fused[1]).max(axis=(1, 2)) / size).max() < 1e-10


def test_the_overlap_test_meets_every_branch():
    """Guards the test above: its conformations hold swallowed, partly overlapping and separate spheres."""
    noise = np.random.default_rng(0).normal(size=(60, 9, 3))
    x = torch.tensor(noise * np.linspace(0.02, 0.5, 60)[:, None, None])
    p = translate_openmm(random_system(0)).force_field
    own, scaled = torch.tensor(p.solvent.offset_radius), torch.tensor(p.solvent.scaled_radius)
    r = torch.cdist(x, x) + 10 * torch.eye(9)
    assert (scaled[None, None] - r > own[:, None]).any()
    assert (r + scaled < own[:, None]).any()
    assert (r - scaled > own[:, None]).any()


def test_gradient_by_finite_differences(alanine_dipeptide):
    potential = translate(alanine_dipeptide)
    x = torch.tensor(distorted(alanine_dipeptide.reference_positions, 3, 0.02))
    gradient = value_and_gradient(potential.energy, x)[1]
    generator = torch.Generator().manual_seed(4)
    for _ in range(10):
        direction = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        one, two = (
            (potential.energy(x + h * direction) - potential.energy(x - h * direction)) / (2 * h)
            for h in (1e-5, 2e-5)
        )
        change = (4 * one - two) / 3  # the error of fourth order in the step is left
        expected = (torch.tensor(gradient) * direction).sum((1, 2))
        np.testing.assert_allclose(change, expected, rtol=1e-7, atol=1e-5)


def test_single_precision(molecule):
    """0.01 kT at 300 K on thermal conformations, and forces to 1e-4."""
    potential = translate(molecule)
    x = torch.tensor(thermal(molecule.openmm_system(), molecule.reference_positions, 30))
    energy, gradient = value_and_gradient(potential.energy, x)
    energy32, gradient32 = value_and_gradient(potential.energy, x.float())
    assert energy32.dtype == gradient32.dtype == np.float32
    assert np.abs(energy - energy32).max() < 0.025
    assert np.abs(gradient - gradient32).max() < 1e-4 * np.abs(gradient).max()
    again = potential.energy(x)
    np.testing.assert_array_equal(again, energy)  # float32 in between has cost nothing


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("path", ["energy", "energy_plain"])
def test_a_bad_row_stays_alone(alanine_dipeptide, dtype, path):
    function = getattr(translate(alanine_dipeptide), path)
    good = torch.tensor(distorted(alanine_dipeptide.reference_positions, 40, 0.01)).to(dtype)
    energy, gradient = value_and_gradient(function, good)
    broken = good.clone()
    broken[3, 4, 1] = torch.nan
    broken[7, 5] = broken[7, 4]  # bonded
    broken[11] *= 1e25
    broken[15, 0, 0] = torch.inf
    broken[19, 20] = broken[19, 2]  # not bonded
    broken[23] = 0.0
    bad = np.array([3, 7, 11, 15, 19, 23])
    rest = np.setdiff1d(np.arange(40), bad)
    got_energy, got_gradient = value_and_gradient(function, broken)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    np.testing.assert_allclose(got_energy[rest], energy[rest], rtol=tolerance)
    np.testing.assert_allclose(got_gradient[rest], gradient[rest], rtol=tolerance, atol=tolerance * 1e4)
    if path == "energy":
        assert np.isfinite(got_gradient).all()
        assert not np.isfinite(got_energy[[3, 7, 15, 19, 23]]).any()
        assert not got_gradient[~np.isfinite(got_energy)].any()


def test_a_masked_loss_survives_a_bad_row(alanine_dipeptide):
    """0 x NaN is NaN: a gradient that is not finite would reach the network through a mask."""
    potential = translate(alanine_dipeptide)
    x = torch.tensor(distorted(alanine_dipeptide.reference_positions, 4, 0.01))
    x[2, 3] = x[2, 9]
    scale = torch.ones(1, dtype=torch.float64, requires_grad=True)
    energy = potential.energy(x * scale)
    torch.where(torch.isfinite(energy), energy, 0.0).sum().backward()
    assert torch.isfinite(scale.grad).all()
    assert scale.grad.abs() > 0


def test_blocks_order_layout_and_empty_batches(alanine_dipeptide):
    potential = translate(alanine_dipeptide)
    x = torch.tensor(distorted(alanine_dipeptide.reference_positions, 1500, 0.02))
    energy, gradient = potential.energy_and_gradient(x)
    order = torch.randperm(1500, generator=torch.Generator().manual_seed(0))
    shuffled, shuffled_gradient = potential.energy_and_gradient(x[order])
    torch.testing.assert_close(shuffled, energy[order], rtol=1e-12, atol=0)
    torch.testing.assert_close(shuffled_gradient, gradient[order], rtol=1e-9, atol=1e-8)
    strided = x.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    torch.testing.assert_close(potential.energy(strided), energy, rtol=1e-12, atol=0)
    assert potential.energy(x[:0]).shape == (0,)
    assert potential.energy(x[0].expand(5, -1, -1)).unique().numel() == 1


def test_reduced_matrix_precision_of_the_network_does_not_reach_the_energy(alanine_dipeptide):
    potential = translate(alanine_dipeptide)
    x = torch.tensor(distorted(alanine_dipeptide.reference_positions, 64, 0.01)).float()
    expected = potential.energy(x)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = potential.energy(x)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-3)


def test_the_number_of_threads_changes_nothing(alanine_dipeptide):
    potential = translate(alanine_dipeptide)
    x = torch.tensor(distorted(alanine_dipeptide.reference_positions, 600, 0.02))
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(potential.energy_and_gradient(x))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)


def test_inference_mode_first_then_training(alanine_dipeptide):
    potential = translate(alanine_dipeptide)
    x = torch.tensor(alanine_dipeptide.reference_positions)[None].float()  # so that constants are cast
    with torch.inference_mode():
        inferred = [f(x).item() for f in (potential.energy, potential.energy_plain)]
    trained = [value_and_gradient(f, x)[0].item() for f in (potential.energy, potential.energy_plain)]
    assert inferred == pytest.approx(trained, rel=1e-6)


def test_second_derivatives_only_by_the_plain_expression(butane):
    potential = translate(butane)
    x = torch.tensor(butane.reference_positions)[None].requires_grad_()
    (gradient,) = torch.autograd.grad(potential.energy(x).sum(), x, create_graph=True)
    with pytest.raises(BoltzgenError, match="energy_plain"):
        gradient.sum().backward()
    hessian = torch.autograd.functional.hessian(lambda y: potential.energy_plain(y).sum(), x.detach())
    assert torch.isfinite(hessian).all()
    step = torch.zeros_like(x.detach())
    step[0, 1, 2] = 1e-6
    up, down = (value_and_gradient(potential.energy, x.detach() + s)[1] for s in (step, -step))
    np.testing.assert_allclose(hessian[0, 1, 2], (up - down) / 2e-6, rtol=1e-4, atol=1e-2)


def test_positions_of_a_wrong_shape_or_type(butane):
    potential = translate(butane)
    with pytest.raises(InputError, match=r"\(batch, 4, 3\)"):
        potential.energy(torch.zeros(2, 5, 3))
    with pytest.raises(InputError, match="float32 or float64"):
        potential.energy(torch.zeros(2, 4, 3, dtype=torch.long))


def test_the_record_of_parameters(alanine_dipeptide):
    p = translate(alanine_dipeptide).force_field
    assert (len(p.bond_atoms), len(p.angle_atoms), p.n_atoms) == (21, 36, 22)
    assert p.charge.sum() == pytest.approx(0, abs=1e-6)
    np.testing.assert_array_equal(p.charge, p.solvent.charge)
    assert not p.charge.flags.writeable
    assert p.solvent.pair_prefactor == pytest.approx(-138.935457644 * (1 - 1 / 78.3), rel=1e-9)
    pairs = p.pairs()
    assert len(pairs.atoms) == 231
    # 21 bonds and 36 angles are excluded; 1-4 pairs have their own, weaker parameters
    assert len(pairs.interacting().atoms) == 231 - 21 - 36
