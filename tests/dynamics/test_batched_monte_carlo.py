"""MALA and HMC in torch: detailed balance, exact densities, adaptation, bad rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gaussian_cases import STIFFNESSES, generator, oscillators

from boltzgen.dynamics.batched_langevin import energy_with_gradient
from boltzgen.dynamics.batched_monte_carlo import (
    boltzmann_density,
    chain_state,
    hamiltonian_step,
    mala_step,
    run_chains,
)
from boltzgen.errors import InputError
from boltzgen.potentials.model_systems import TiltedDoubleWell


def well(x):
    """ln density and gradient of the tilted double well at kT = 2.5."""
    return boltzmann_density(energy_with_gradient(TiltedDoubleWell()), 2.5, (1,))(x)


def exact_well(rows: int, seed: int) -> torch.Tensor:
    """Independent draws (rows, 1) of it from a fine grid."""
    grid = torch.linspace(-3.2, 3.2, 64_001, dtype=torch.float64)
    weights = well(grid[:, None])[0].softmax(0)
    chosen = torch.multinomial(weights, rows, replacement=True, generator=generator(seed))
    return grid[chosen, None]


STEPS = {
    "MALA": lambda state, random: mala_step(state, well, step_size=0.45, generator=random),
    "HMC": lambda state, random: hamiltonian_step(state, well, step_size=0.3, leapfrogs=5, generator=random),
    "HMC, scaled": lambda state, random: hamiltonian_step(
        state, well, step_size=0.6, leapfrogs=3, generator=random, scale=torch.tensor([0.5]).double()
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_monte_carlo_keeps_the_density_and_detailed_balance(name):
    """From 60000 exact draws: bins stay filled as quadrature says, and as many go from i to j as back.

    Steps are so long that a fifth or more is rejected: without the rejection both chi squares explode.
    """
    start = exact_well(60_000, 11)
    state, random = chain_state(start, well), generator(12)
    rejected = []
    for _ in range(4):
        before = state.x
        state, info = STEPS[name](state, random)
        rejected.append(1.0 - info.accepted.double().mean())
    assert 0.03 < float(torch.stack(rejected).mean()) < 0.8
    edges = torch.linspace(-2.4, 2.4, 13, dtype=torch.float64)
    bins, former = torch.bucketize(state.x[:, 0], edges), torch.bucketize(before[:, 0], edges)
    grid = torch.linspace(-3.2, 3.2, 64_001, dtype=torch.float64)
    exact = torch.zeros(14, dtype=torch.float64)
    exact = exact.index_add(0, torch.bucketize(grid, edges), well(grid[:, None])[0].softmax(0)) * len(start)
    counts = torch.bincount(bins, minlength=14).double()
    filled = exact > 20
    chi = ((counts - exact) ** 2 / exact)[filled].sum()
    assert float(chi) < int(filled.sum()) + 4 * math.sqrt(2 * int(filled.sum())), (counts, exact)
    flow = torch.bincount(former * 14 + bins, minlength=196).reshape(14, 14).double()
    both = flow + flow.T
    seen = torch.triu(both, 1) > 20
    balance = ((flow - flow.T) ** 2 / both)[seen].sum()
    assert float(balance) < int(seen.sum()) + 4 * math.sqrt(2 * int(seen.sum()))
    torch.testing.assert_close(state.log_density, well(state.x)[0])


def test_mala_probability_is_the_metropolis_hastings_ratio():
    """Against densities of the two Gaussian proposals, written out."""
    random, h = generator(13), 0.8

    def function(x):
        energy, gradient = oscillators(x)
        return -energy, -gradient

    x = torch.randn(50, 3, dtype=torch.float64, generator=random) / STIFFNESSES.sqrt()
    old = chain_state(x, function)
    proposals = []

    def spy(y):
        proposals.append(y)
        return function(y)

    _, info = mala_step(old, spy, step_size=h / 4, generator=random)
    (new,), h = proposals, h / 4

    def log_proposal(there, here):
        mean = here + 0.5 * h**2 * function(here)[1]
        return torch.distributions.Normal(mean, h).log_prob(there).sum(1)

    ratio = function(new)[0] - function(x)[0] + log_proposal(x, new) - log_proposal(new, x)
    torch.testing.assert_close(info.probability, ratio.clamp_max(0.0).exp())
    assert 0.2 < float(info.probability.mean()) < 0.98


def test_chains_adapt_in_the_warm_up_only_and_count():
    """Two groups with stiffnesses a hundred apart: both reach the acceptance asked for, moments are exact."""
    calls = []
    groups = torch.arange(2000) % 2
    widths = torch.tensor([1.5, 0.15], dtype=torch.float64)[groups][:, None]

    def function(x):
        calls.append(len(x))
        return -0.5 * (x / widths).square().sum(1), -x / widths**2

    run = run_chains(
        torch.full((2000, 4), 0.01, dtype=torch.float64),
        function,
        steps=30,
        warm_up=60,
        leapfrogs=4,
        step_size=0.02,
        groups=groups,
        keep_every=10,
        jitter=0.2,
        target=0.75,
        generator=generator(14),
    )
    assert run.evaluations == sum(calls) == 2000 * (1 + 4 * 90)
    assert run.acceptance.tolist() == pytest.approx([0.75, 0.75], abs=0.04)
    assert float(run.step_size[0] / run.step_size[1]) == pytest.approx(10.0, rel=0.2)
    assert run.samples.shape == (3, 2000, 4)
    for group, width in enumerate((1.5, 0.15)):
        found = float(run.samples[-1][groups == group].square().mean())
        assert found == pytest.approx(width**2, rel=4 * math.sqrt(2 / 4000))
    torch.testing.assert_close(run.log_densities[-1], function(run.samples[-1])[0])


def test_unsound_proposals_are_rejected_and_unsound_starts_leave():
    """A density that is NaN beyond a wall: no row ends there, the start outside comes in."""

    def walled(x):
        outside = x[:, 0] > 0.8
        density = torch.where(outside, torch.nan, -0.5 * x.square().sum(1))
        return density, torch.where(outside[:, None], torch.nan, -x)

    x = torch.zeros(4000, 1, dtype=torch.float64)
    x[7] = 0.9
    run = run_chains(x, walled, steps=60, step_size=0.9, generator=generator(15))
    final = run.state.x[:, 0]
    assert float(final.max()) <= 0.8
    assert run.unsound > 1000
    grid = np.linspace(-8, 0.8, 100_001)
    weight = np.exp(-0.5 * grid**2)
    mean = float((grid * weight).sum() / weight.sum())
    spread = float(np.sqrt((grid**2 * weight).sum() / weight.sum() - mean**2))
    assert float(final.mean()) == pytest.approx(mean, abs=4 * spread / math.sqrt(4000))


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"leapfrogs": 0}, {"jitter": 1.0}, {"step_size": -0.1}])
def test_chains_refuse(wrong):
    x = torch.zeros(3, 1, dtype=torch.float64)
    with pytest.raises(InputError):
        run_chains(x, well, **{"steps": 2, **wrong}, generator=generator(1))
