"""One flow asked at several temperatures: its density, its shares, its weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from flow_cases import FLOWS, random_flow
from helpers import seeded
from training_cases import WELL

from boltzgen.conditioning.context import Context
from boltzgen.errors import UnsupportedError
from boltzgen.flows.base import Flow
from boltzgen.flows.temperature_mixture import TemperatureMixture, asked_at
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.refine.latent import LatentTarget

HOT = (300.0, 300.0, 900.0)


@pytest.fixture(params=FLOWS)
def flow(request) -> Flow:
    return random_flow(request.param, "butane")


def test_the_density_of_a_sample_is_the_mean_of_those_at_the_temperatures(flow, butane):
    features = Target.from_system(butane).features
    mixture = TemperatureMixture(flow, HOT)
    context = Context.of(features, 350.0, 40)
    with torch.no_grad():
        values, density = mixture.sample(mixture.embed(context), generator=seeded(1))
        again = mixture.log_prob(values, mixture.embed(context))
        each = [flow.log_prob(values, flow.embed(Context.of(features, kelvin, 40))) for kelvin in HOT]
    expected = torch.log(sum(torch.exp(part) for part in each) / 3)
    torch.testing.assert_close(density, expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(again, expected)
    assert float((each[0] - each[2]).abs().min()) > 1e-3


@pytest.mark.parametrize("rows", [1, 2])
def test_few_rows_may_all_come_from_one_temperature(flow, butane, rows):
    generator = BoltzmannGenerator(TemperatureMixture(flow, (300.0, 900.0)), Target.from_system(butane))
    for seed in range(6):
        drawn = generator.sample(rows, 300.0, seed=seed)
        positions = torch.as_tensor(np.array(drawn.positions), dtype=torch.float64)
        np.testing.assert_allclose(drawn.log_q, generator.log_prob(positions, 300.0)[0], atol=1e-2)


class Normal(Flow):
    """A normal in each coordinate, `scale` wide at 300 K, and wider with the root of the temperature."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def embed(self, context: Context) -> torch.Tensor:
        width = self.scale * torch.sqrt(context.temperature / 300.0)
        return width[:, None].expand(-1, context.dimension)

    def log_prob(self, coordinates, embedding):
        return torch.distributions.Normal(0.0, embedding).log_prob(coordinates).sum(1)

    def sample(self, embedding, *, generator):
        values = embedding * torch.randn(embedding.shape, generator=generator, dtype=torch.float64)
        return values, self.log_prob(values, embedding)


def test_each_temperature_draws_its_share():
    """Second moments of 30 000 draws: the mean of the parts' (error of the estimate 1.3 %)."""
    mixture = TemperatureMixture(Normal(1.0), HOT)
    context = Context.of(Target.from_model(WELL).features, 20.0, 30_000)
    values, _ = mixture.sample(mixture.embed(context), generator=seeded(2))
    assert float((values**2).mean()) == pytest.approx((1 + 1 + 3) / 3, rel=0.04)
    again = mixture.sample(mixture.embed(context), generator=seeded(2))[0]
    assert torch.equal(values, again)


def test_a_narrow_flow_gets_bounded_weights_and_the_right_partition_function():
    """The weights of a flow much narrower than its target have no variance; half hot they have one."""
    target = Target.from_model(WELL)
    exact = target.potential.log_partition()
    hot = 300.0 * 16
    narrow = BoltzmannGenerator(Normal(0.5), target).sample(20_000, 300.0, seed=3).diagnostics()
    mixture = BoltzmannGenerator(TemperatureMixture(Normal(0.5), (300.0, hot)), target)
    drawn = mixture.sample(20_000, 300.0, seed=3)
    found = drawn.diagnostics()
    assert found.log_z == pytest.approx(exact, abs=5 * found.log_z_standard_error)
    assert found.log_z_standard_error < 0.05 and found.k_hat < 0.5
    assert narrow.k_hat > 0.7
    positions = torch.as_tensor(np.array(drawn.positions), dtype=torch.float64)
    hot_part = BoltzmannGenerator(TemperatureMixture(Normal(0.5), (hot,)), target)
    bound = -drawn.u - hot_part.log_prob(positions, 300.0)[0].numpy() + math.log(2)
    assert bool((drawn.log_w <= bound + 1e-4).all())


def test_one_temperature_is_the_flow_there_and_none_is_the_flow(butane):
    target, flow = Target.from_system(butane), random_flow("coupling", "butane")
    assert asked_at(flow, []) is flow and asked_at(flow, None) is flow
    hot = BoltzmannGenerator(asked_at(flow, [450.0]), target).sample(50, 300.0, seed=1)
    plain = BoltzmannGenerator(flow, target).sample(50, 450.0, seed=1)
    assert np.array_equal(hot.positions, plain.positions) and np.array_equal(hot.log_q, plain.log_q)
    assert not np.allclose(hot.u, plain.u)


def test_a_mixture_cannot_be_refined(butane):
    mixture = TemperatureMixture(random_flow("coupling", "butane"), HOT)
    with pytest.raises(UnsupportedError, match="latent space"):
        LatentTarget(BoltzmannGenerator(mixture, Target.from_system(butane)), 300.0)
