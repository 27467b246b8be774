"""Dynamics and Monte Carlo in torch: exact moments, detailed balance, exchange, bad rows, OpenMM's averages.

Rows are independent, so standard errors are those of independent draws. Bounds are 4 standard errors unless
said otherwise.
"""

from __future__ import annotations

import math
from importlib import resources

import numpy as np
import pytest
import torch
from gaussian_cases import STIFFNESSES, generator, oscillators
from toy_molecules import bond_grid

from boltzgen.data.statistics import drift
from boltzgen.data.trajectory import read_trajectory
from boltzgen.dynamics.batched_data import batched_replica_exchange, replicas_within
from boltzgen.dynamics.batched_exchange import exchange_round, replicas_on_rungs
from boltzgen.dynamics.batched_langevin import (
    energy_with_gradient,
    langevin,
    minimised,
    phase_point,
    put_back,
    recentred,
)
from boltzgen.dynamics.exchange import ExchangeRecord, swaps_of_round
from boltzgen.dynamics.masses import with_heavy_hydrogens
from boltzgen.errors import BoltzgenError, InputError
from boltzgen.potentials.base import Potential
from boltzgen.potentials.model_systems import DoubleWell
from boltzgen.units import GAS_CONSTANT, thermal_energy


def bond(x, length=0.109, constant=284512.0):
    """A C-H bond, kJ/mol: positions (R, 2, 3)."""
    vector = x[:, 1] - x[:, 0]
    distance = vector.norm(dim=1)
    slope = (constant * (distance - length) / distance)[:, None] * vector
    return 0.5 * constant * (distance - length) ** 2, torch.stack([-slope, slope], dim=1)


# Langevin -------------------------------------------------------------------------------------


def test_oscillators_have_exact_variances_at_every_temperature_and_step():
    """Three temperatures in one batch, from a point, with a step of 0.85 of the limit of stability.

    At that step a splitting with the noise outside is off by a factor; 4 sigma is 9 %.
    """
    kt = torch.tensor([0.4, 1.3, 3.0], dtype=torch.float64).repeat(4000)
    x = torch.zeros(len(kt), 3, dtype=torch.float64)
    masses = torch.tensor([1.3, 2.0, 5.0], dtype=torch.float64)
    random = generator(1)
    limit = 2.0 / float((STIFFNESSES / masses).sqrt().max())
    point = phase_point(x, oscillators, kt=kt, masses=masses, generator=random)
    point, sound = langevin(
        point,
        oscillators,
        steps=120,
        timestep=0.85 * limit,
        friction=1.5,
        kt=kt,
        masses=masses,
        generator=random,
    )
    assert bool(sound.all())
    for value in kt.unique():
        found = point.positions[kt == value].square().mean(0)
        torch.testing.assert_close(found, value / STIFFNESSES, rtol=4 * math.sqrt(2 / 4000), atol=0.0)
    energy, gradient = oscillators(point.positions)
    assert torch.equal(energy, point.energy)
    assert torch.equal(gradient, point.gradient)


@pytest.mark.parametrize("femtoseconds", [0.5, 1.0, 2.0])
def test_bias_of_a_stretching_bond_is_small(femtoseconds):
    """A C-H bond, period 11 fs, 300 K: mean energy against quadrature; within 2 % (4 sigma of the sampling).

    The same step with velocity Verlet's friction at the ends would be 48 % off at 2 fs.
    """
    grid, weights = bond_grid(0.109, 284512.0, 300.0)
    kt = torch.full((1500,), thermal_energy(300.0), dtype=torch.float64)
    masses = torch.tensor([12.011, 1.008], dtype=torch.float64)
    x = torch.tensor([[0.0, 0.0, 0.0], [0.109, 0.0, 0.0]], dtype=torch.float64).repeat(1500, 1, 1)
    random, energies = generator(2), []
    point = phase_point(x, bond, kt=kt, masses=masses, generator=random)
    for burst in range(34):
        point, _ = langevin(
            point,
            bond,
            steps=round(30 / femtoseconds),
            timestep=femtoseconds * 1e-3,
            friction=30.0,
            kt=kt,
            masses=masses,
            generator=random,
        )
        if burst >= 4:
            energies.append(point.energy)
    assert float(torch.stack(energies).mean()) == pytest.approx(float(grid @ weights), rel=0.02)


def test_massless_particles_stay():
    kt = torch.full((5,), 1.7, dtype=torch.float64)
    masses = torch.tensor([0.0, 2.0, 3.0], dtype=torch.float64)
    x = torch.randn(5, 3, dtype=torch.float64, generator=generator(3))
    point = phase_point(x, oscillators, kt=kt, masses=masses, generator=generator(3))
    new, _ = langevin(
        point,
        oscillators,
        steps=20,
        timestep=0.05,
        friction=1.0,
        kt=kt,
        masses=masses,
        generator=generator(4),
    )
    assert torch.equal(new.positions[:, 0], x[:, 0])
    assert bool((new.positions[:, 1:] != x[:, 1:]).all())


def test_a_bad_row_spoils_no_other():
    """A row that becomes NaN on the way: the other rows have the bits that they have without it."""

    def poisoned(x):
        energy, gradient = oscillators(x)
        bad = x[:, 0] > 50.0
        return torch.where(bad, torch.nan, energy), torch.where(bad[:, None], torch.inf, gradient)

    kt = torch.full((6,), 1.7, dtype=torch.float64)
    masses = torch.full((3,), 2.0, dtype=torch.float64)
    good = torch.randn(6, 3, dtype=torch.float64, generator=generator(5))
    bad = good.clone()
    bad[2, 0] = 51.0
    outcome = []
    for x in (good, bad):
        point = phase_point(x, poisoned, kt=kt, masses=masses, generator=generator(6))
        outcome.append(
            (
                point,
                *langevin(
                    point,
                    poisoned,
                    steps=30,
                    timestep=0.05,
                    friction=1.0,
                    kt=kt,
                    masses=masses,
                    generator=generator(7),
                ),
            )
        )
    (_, new, sound), (former, other, unsound) = outcome
    assert sound.tolist() == [True] * 6
    assert unsound.tolist() == [True, True, False, True, True, True]
    assert torch.equal(new.positions[unsound], other.positions[unsound])
    back = put_back(other, former, unsound, torch.full_like(good, 0.25))
    assert torch.equal(back.positions[2], former.positions[2])
    assert back.velocities[2].tolist() == [0.25] * 3
    assert torch.equal(back.positions[unsound], new.positions[unsound])


def test_minimised_goes_down_and_survives_clashes():
    x = torch.tensor([[1.0, -2.0, 0.5], [3.0, 0.1, 0.2], [torch.nan, 0.0, 0.0]], dtype=torch.float64)
    found, energy = minimised(x, oscillators, steps=150)
    assert bool((energy[:2] < 0.05 * oscillators(x)[0][:2]).all())
    torch.testing.assert_close(energy[:2], oscillators(found)[0][:2])
    assert bool(torch.isnan(energy[2]))


def test_recentring_changes_nothing_but_the_place(butane):
    from boltzgen.potentials.of_system import potential_of

    energy = energy_with_gradient(potential_of(butane))
    x = torch.as_tensor(np.array(butane.reference_positions))[None] + torch.tensor([5.0, -7.0, 2.0])
    point = phase_point(
        x,
        energy,
        kt=torch.tensor([2.5]).double(),
        masses=torch.as_tensor(np.array(butane.masses)),
        generator=generator(1),
    )
    moved = recentred(point)
    assert float(moved.positions.mean(1).abs().max()) < 1e-12
    torch.testing.assert_close(energy(moved.positions)[0], point.energy, rtol=1e-9, atol=1e-9)


def test_heavy_hydrogens_weigh_no_more():
    masses, numbers = np.array([12.0, 1.0, 1.0, 16.0, 1.0]), np.array([6, 1, 1, 8, 1])
    bonds = np.array([[0, 1], [2, 0], [0, 3], [3, 4]])
    heavy = with_heavy_hydrogens(masses, numbers, bonds, 3.0)
    np.testing.assert_allclose(heavy, [8.0, 3.0, 3.0, 14.0, 3.0])
    assert masses[0] == 12.0


# Exchange -------------------------------------------------------------------------------------


def test_exchange_probability_and_pairs():
    """20000 ladders with equal energies: the fraction that swaps is exact; pairs are those of `exchange`."""
    temperatures = np.array([300.0, 400.0, 550.0, 700.0])
    beta = torch.as_tensor(1.0 / (GAS_CONSTANT * temperatures))
    energies = np.array([-20.0, -23.0, 11.0, 7.5])
    index = np.array([2, 0, 1, 3])
    ladders = 20_000
    for number in (4, 7):
        energy, rung = (torch.as_tensor(values).repeat(ladders) for values in (energies, index))
        swaps = exchange_round(number, energy, rung, beta, generator(16))
        attempted, _ = swaps_of_round(number, energies, temperatures, index, np.random.default_rng(1))
        assert swaps.low.tolist() == attempted
        on = np.argsort(index)
        for column, low in enumerate(attempted):
            gap = (float(beta[low]) - float(beta[low + 1])) * (energies[on[low]] - energies[on[low + 1]])
            exact = min(1.0, math.exp(gap))
            sigma = math.sqrt(exact * (1 - exact) / ladders)
            found = float(swaps.accepted[:, column].double().mean())
            assert found == pytest.approx(exact, abs=4 * sigma + 1e-12)
        assert bool((swaps.rung.reshape(-1, 4).sort(1).values == torch.arange(4)).all())
        rows = replicas_on_rungs(swaps.rung, 4)
        assert torch.equal(swaps.rung[rows], torch.arange(4).repeat(ladders, 1))
        moved = (swaps.rung.reshape(-1, 4) != torch.as_tensor(index)).sum(1)
        assert torch.equal(moved, 2 * swaps.accepted.sum(1))


def test_energies_that_are_not_finite_are_never_exchanged():
    beta = torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64)
    for bad in (torch.nan, torch.inf, -torch.inf):
        energy = torch.tensor([9.0, bad, 3.0] * 50, dtype=torch.float64)
        rung = torch.tensor([0, 1, 2] * 50)
        for number in (0, 1):
            assert torch.equal(exchange_round(number, energy, rung, beta, generator(1)).rung, rung)


def test_record_counts_every_ladder():
    record = ExchangeRecord.empty(2, 6)
    assert record.acceptance.shape == (1,)
    for rung in ([0, 1, 0, 1, 0, 1], [1, 0, 0, 1, 1, 0], [0, 1, 0, 1, 0, 1]):
        record = record.after(np.array([0, 0, 0]), np.array([0, 0]), np.array(rung))
    assert (record.attempts[0], record.accepted[0]) == (9, 6)
    assert record.half_trips.tolist() == [2, 2, 0, 0, 2, 2]
    assert record.round_trips == 4


def test_populations_of_a_double_well_through_exchange():
    """From one well, at 300 K behind a barrier of 10 kT; the ladder brings it to the exact populations.

    Errors from the scatter of 120 independent ladders; sigma at 300 K is below 0.03, and a cold run
    without exchange would stay at 1.
    """
    frames = batched_replica_exchange(
        DoubleWell(),
        np.array([1.0, 1.3]),
        DoubleWell().reference,
        (300.0, 700.0, 1500.0, 3000.0),
        replicas=480,
        steps=1500,
        save_every=10,
        exchange_every=5,
        equilibration=700,
        timestep=0.12,
        friction=1.5,
        seed=3,
        boltzmann_constant=1 / 300.0,
    )
    assert frames.evaluations == 480 * 1501 + 201
    assert frames.restarts == 0
    grid = torch.linspace(-6, 6, 20_001, dtype=torch.float64)
    for kelvin in (300.0, 3000.0):
        here = frames.temperatures == kelvin
        positions = frames.positions[here].reshape(120, 80, 2)
        assert (frames.walks[here].reshape(120, 80) == np.arange(120)[:, None]).all()
        right = (positions[..., 0] > 0).mean(axis=1)
        weight = torch.exp(-(grid**4 - 6 * grid**2 - 0.5 * grid) * 300.0 / kelvin)
        exact = float(weight[grid > 0].sum() / weight.sum())
        sigma = right.std(ddof=1) / math.sqrt(120)
        assert sigma < 0.04
        assert right.mean() == pytest.approx(exact, abs=4 * sigma), kelvin
        width = (positions[..., 1].astype(float) ** 2).mean(axis=1)
        assert width.mean() == pytest.approx(kelvin / 300.0, abs=4 * width.std(ddof=1) / math.sqrt(120))


SMALL = {
    "replicas": 6,
    "steps": 60,
    "save_every": 5,
    "exchange_every": 5,
    "timestep": 0.05,
    "boltzmann_constant": 0.01,
}


def small_run(**changes):
    return batched_replica_exchange(
        DoubleWell(), np.array([1.0, 2.0]), DoubleWell().reference, (100.0, 250.0), **{**SMALL, **changes}
    )


def test_equal_seeds_give_equal_frames():
    one, two, other = small_run(seed=5), small_run(seed=5), small_run(seed=6)
    assert np.array_equal(one.positions, two.positions)
    assert np.array_equal(one.replicas, two.replicas)
    assert not np.array_equal(one.positions, other.positions)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"replicas": 5}, "multiple"),
        ({"steps": 0}, "no frames"),
        ({"save_every": 100}, "no frame"),
        ({"exchange_every": 7}, "longer interval"),
        ({"timestep": -1.0}, "positive"),
    ],
)
def test_data_in_memory_refuses(changes, words):
    with pytest.raises(InputError, match=words):
        small_run(**changes)


def test_replicas_within_a_budget():
    assert replicas_within(50_000, 6) == 6
    assert replicas_within(10_000_000, 5) == 500
    assert replicas_within(10**9, 4) == 1024


class Cliff(Potential):
    """A harmonic well that is NaN beyond a cliff, in kT."""

    energy_unit = "kT"

    def __init__(self, cliff: float) -> None:
        super().__init__()
        self.cliff = cliff

    def energy(self, positions):
        value = 2.0 * (positions**2).sum(-1)
        return torch.where(positions[:, 0] > self.cliff, torch.nan, value)


def test_rare_breakdowns_are_put_back_and_counted_and_many_end_the_run():
    options = {**SMALL, "replicas": 40, "steps": 400, "friction": 2.0}
    at = {"masses": np.array([1.0]), "reference": np.array([0.1]), "temperatures": (100.0, 130.0)}
    frames = batched_replica_exchange(Cliff(1.5), **at, **options, seed=2)
    assert 0 < frames.restarts < 40
    assert np.isfinite(frames.energies).all()
    assert frames.positions.max() <= 1.5
    with pytest.raises(BoltzgenError, match="shorter `timestep`"):
        batched_replica_exchange(Cliff(0.5), **at, **options, seed=2)
    with pytest.raises(BoltzgenError, match="starting structure"):
        batched_replica_exchange(Cliff(0.05), **at, **options, seed=2)


# Molecules ------------------------------------------------------------------------------------


def test_mean_energies_are_those_of_openmm(alanine_dipeptide):
    """Alanine dipeptide at 300 K and 800 K, against the shipped replica exchange (OpenMM, 4000 frames each).

    Rows start from its frames, which fixes the slow torsions, with the bonds relaxed, so that the energy has
    to find its mean. Sigma is below 1.5 %; 5 % in the temperature would be seen.
    """
    from boltzgen.potentials.of_system import potential_of

    data = read_trajectory(str(resources.files("boltzgen") / "demo_data" / "alanine-dipeptide" / "MD"))
    energy = energy_with_gradient(potential_of(alanine_dipeptide))
    masses = torch.as_tensor(np.array(alanine_dipeptide.masses))
    rows, kelvins, random = 64, (300.0, 800.0), generator(17)
    starts = np.concatenate([data.at(t).positions[np.arange(rows) * 62] for t in kelvins])
    relaxed, _ = minimised(torch.as_tensor(starts), energy, steps=5)
    kt = torch.tensor([thermal_energy(t) for t in kelvins]).repeat_interleave(rows)
    point = phase_point(relaxed, energy, kt=kt, masses=masses, generator=random)
    found = []
    for burst in range(9):
        point, sound = langevin(
            point, energy, steps=90, timestep=1e-3, friction=15.0, kt=kt, masses=masses, generator=random
        )
        assert bool(sound.all())
        if burst >= 4:
            found.append(point.energy.double().reshape(2, rows))
    means = torch.stack(found).mean(0)
    for mean, kelvin in zip(means, kelvins, strict=True):
        expected = data.at(kelvin).energies
        sigma = math.hypot(float(mean.std()) / math.sqrt(rows), expected.std() / math.sqrt(len(expected)))
        assert sigma < 0.018 * 33 * thermal_energy(kelvin)
        assert float(mean.mean()) == pytest.approx(expected.mean(), abs=4 * sigma), kelvin


def test_drift_sees_a_slow_start_and_nothing_else():
    rng = np.random.default_rng(4)
    still = rng.normal(size=(200, 40)).cumsum(axis=1) * 0.05 + rng.normal(size=(200, 1))
    assert abs(drift(still)) < 4.0
    assert drift(still + np.linspace(0.0, 0.5, 40)) > 8.0
    assert drift(still[:7]) == 0.0
