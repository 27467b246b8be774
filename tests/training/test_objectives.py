"""Log-dispersion, training weights, the replay buffer and path gradients, each against something else."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import seeded
from scipy.optimize import minimize_scalar
from training_cases import DIMENSION, STIFFNESS, TEMPERATURE, WELL, tiny_flow

from boltzgen.conditioning.context import Context
from boltzgen.generator import Target
from boltzgen.training.losses.annealed_draws import draw_annealed
from boltzgen.training.losses.importance import training_weights, truncated_weights, trust_region_power
from boltzgen.training.losses.log_dispersion import log_dispersion
from boltzgen.training.losses.replay_buffer import ReplayBuffer, draw_samples
from boltzgen.training.losses.reverse_kl import reverse_kl
from boltzgen.training.losses.stored_pairs import stored_pairs_loss
from boltzgen.training.pairs import Pairs
from boltzgen.training.settings import TrainingSettings
from boltzgen.training.step import Objectives

#: The well whose Boltzmann distribution is the base of the flow, a normal of width 2 at 300 K.
OWN_WELL = "harmonic-well-0.25-3"


def gradients(value: torch.Tensor, flow) -> list[torch.Tensor]:
    found = torch.autograd.grad(value, list(flow.parameters()), allow_unused=True, retain_graph=True)
    return [torch.zeros(1) if gradient is None else gradient for gradient in found]


def test_log_dispersion_is_half_the_variance_within_groups():
    values = 3.0 * torch.randn(50, generator=seeded(2), dtype=torch.float64) - 200.0
    groups = torch.arange(50) % 3
    values = values + 40.0 * groups
    expected = sum(values[groups == g].var(correction=0) * (groups == g).sum() for g in range(3)) / 100
    assert log_dispersion(values, groups, 1e6).item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("knee", [0.3, 2.5])
def test_log_dispersion_is_the_least_huber_loss(knee):
    values = 3.0 * torch.randn(41, generator=seeded(4), dtype=torch.float64) + 17.0
    values[3] += 500.0

    def loss(centre: float) -> float:
        d = np.abs(values.numpy() - centre)
        return float(np.where(d < knee, d**2 / 2, knee * (d - knee / 2)).mean())

    best = minimize_scalar(loss, bracket=(10.0, 25.0), tol=1e-12).fun
    found = log_dispersion(values, torch.zeros(41, dtype=torch.long), knee).item()
    assert found == pytest.approx(best, rel=1e-6) and found >= best - 1e-12


def test_log_dispersion_gradient_is_that_of_its_value():
    values = (2.0 * torch.randn(12, generator=seeded(4), dtype=torch.float64)).requires_grad_(True)
    groups = torch.arange(12) % 2
    assert torch.autograd.gradcheck(lambda v: log_dispersion(v, groups, 1.7), (values,), atol=1e-5)


def test_log_dispersion_vanishes_row_by_row_where_the_flow_is_the_target():
    """Rows from anywhere: the gradient is zero to rounding, where the likelihood's is not."""
    target, flow = Target.from_model(OWN_WELL), tiny_flow(0.0)
    x = 1.5 + 2.5 * torch.randn(40, DIMENSION, generator=seeded(1), dtype=torch.float64)
    u = target.reduced_energy(x, TEMPERATURE)
    pairs = Pairs(x, Context.of(target.features, TEMPERATURE, 40), u)
    both = stored_pairs_loss(flow, pairs, "likelihood", 2.0, 3.0)
    alone = stored_pairs_loss(flow, pairs, "likelihood", 0.0, 3.0)
    assert both.parts["likelihood_dispersion"] == pytest.approx(0.0, abs=1e-20)
    for one, other in zip(gradients(both.value, flow), gradients(alone.value, flow), strict=True):
        assert torch.allclose(one, other, atol=1e-10)
    assert max(float(g.abs().max()) for g in gradients(alone.value, flow)) > 0.01


def test_rows_without_energy_are_discarded_only_where_it_is_needed():
    target, flow = Target.from_model(WELL), tiny_flow(0.2)
    x = torch.randn(9, DIMENSION, generator=seeded(1), dtype=torch.float64)
    u = target.reduced_energy(x, TEMPERATURE)
    u[2] = math.nan
    pairs = Pairs(x, Context.of(target.features, TEMPERATURE, 9), u)
    assert stored_pairs_loss(flow, pairs, "reweighted", 0.0, 3.0).rows == 9
    loss = stored_pairs_loss(flow, pairs, "reweighted", 0.7, 3.0)
    assert (loss.rows, loss.discarded) == (8, 1) and set(loss.parts) == {
        "reweighted",
        "reweighted_dispersion",
    }


def test_path_gradient_agrees_in_the_mean_and_vanishes_at_the_target():
    """Mean over 150 batches of 50; each difference within 4.5 of its standard errors. At the target: zero."""
    target, flow = Target.from_model(WELL), tiny_flow(0.05)
    temperature = torch.full((50,), TEMPERATURE, dtype=torch.float64)

    def many(path: bool) -> torch.Tensor:
        rows = []
        for seed in range(150):
            loss = reverse_kl(
                flow, target, temperature, energy_cap=1e6, generator=seeded(seed), path_gradient=path
            )
            rows.append(torch.cat([g.flatten() for g in gradients(loss.value, flow)]))
        return torch.stack(rows)

    plain, path = many(False), many(True)
    error = (plain - path).std(dim=0) / math.sqrt(150)
    score = (plain - path).mean(dim=0).abs() / error.clamp_min(1e-9)
    assert float(score.max()) < 4.5 and float(path.mean(dim=0).abs().max()) > 0.05
    own, flow = Target.from_model(OWN_WELL), tiny_flow(0.0)
    found = reverse_kl(flow, own, temperature, energy_cap=1e6, generator=seeded(3), path_gradient=True)
    assert max(float(g.abs().max()) for g in gradients(found.value, flow)) < 1e-10
    plain = reverse_kl(flow, own, temperature, energy_cap=1e6, generator=seeded(3))
    assert max(float(g.abs().max()) for g in gradients(plain.value, flow)) > 0.01


@pytest.mark.parametrize("spread", [0.1, 3.0, 1e4])
def test_the_largest_share_is_honoured(spread):
    log_w = spread * torch.randn(64, generator=seeded(3), dtype=torch.float64) - 500.0
    weights = truncated_weights(log_w, 0.07)
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-12)
    assert float(weights.max()) <= 0.07 * (1 + 1e-9)
    assert bool((weights[log_w.argsort()].diff() >= -1e-15).all())
    below = weights < 0.07 * (1 - 1e-6)
    ratio = (weights[below].log() - log_w[below])[weights[below] > 1e-300]
    assert float(ratio.max() - ratio.min()) < 1e-6 * max(1.0, spread / 1e3)
    few = truncated_weights(log_w[:9], 0.07)
    assert few.tolist() == pytest.approx([1 / 9] * 9)


def test_the_ceiling_is_the_highest_that_keeps_to_the_share():
    w = np.exp(2.0 * np.random.default_rng(3).normal(size=24))
    ceiling = w.max()
    for _ in range(5000):  # a fixed point from above
        ceiling = min(ceiling, 0.08 * np.minimum(w, ceiling).sum())
    cut = np.minimum(w, ceiling)
    assert w.max() / w.sum() > 0.1
    assert truncated_weights(torch.as_tensor(np.log(w)), 0.08).numpy() == pytest.approx(cut / cut.sum())


@pytest.mark.parametrize("nats", [0.05, 0.4])
def test_the_trust_region_is_a_bound_on_the_divergence_that_is_reached(nats):
    log_w = 3.0 * torch.randn(500, generator=seeded(3), dtype=torch.float64) - 77.0
    weights = training_weights(log_w, log_w, 1.0, trust_region=nats)
    divergence = float((weights * (500 * weights).log()).sum())
    assert nats - 1e-4 < divergence <= nats
    assert trust_region_power(log_w, 100.0) == 1.0


def test_the_trust_region_of_a_normal_in_closed_form():
    """For log w normal of variance s^2, KL = (power s)^2 / 2: 200 000 rows, error of the estimate 0.2 %."""
    log_w = 2.5 * torch.randn(200_000, generator=seeded(5), dtype=torch.float64)
    assert trust_region_power(log_w, 0.08) == pytest.approx(math.sqrt(2 * 0.08) / 2.5, rel=0.01)


def divergence_and_drop(weights: torch.Tensor, log_q: torch.Tensor) -> tuple[float, float]:
    """KL from the proposal of equal weights, and the fall of the entropy, in nats."""
    divergence = float((weights * (len(weights) * weights).log()).sum())
    return divergence, float((weights * log_q).sum() - log_q.mean()) + divergence


def test_the_entropy_bound_of_normals_in_closed_form():
    """N(0, 1) towards N(0, 1/20): the next one is normal whatever the power; the drop says its width."""
    x = torch.randn(200_000, generator=seeded(6), dtype=torch.float64)
    log_q = -0.5 * x**2 - 0.5 * math.log(2 * math.pi)
    weights = training_weights(-9.5 * x**2, log_q, 1.0, entropy_drop=0.3)
    assert float((weights * x**2).sum()) == pytest.approx(math.exp(-0.6), rel=0.01)
    assert divergence_and_drop(weights, log_q)[1] == pytest.approx(0.3, abs=2e-3)
    everything = training_weights(-9.5 * x**2, log_q, 1.0, entropy_drop=2.0)
    assert float((everything * x**2).sum()) == pytest.approx(1 / 20, rel=0.02)


@pytest.mark.parametrize(("nats", "drop"), [(0.5, 0.3), (0.3, 0.6), (0.5, 0.05), (None, 0.4)])
def test_both_bounds_hold_and_no_mixture_comes_nearer_to_the_target(nats, drop):
    """Two dimensions, one to shift and one to narrow; all powers q^a p^b on a grid of 160 x 160."""
    x = torch.randn(4000, 2, generator=seeded(8), dtype=torch.float64)
    log_q = -0.5 * (x**2).sum(1)
    log_p = -0.5 * ((x[:, 0] - 1.2) ** 2 + 6.0 * x[:, 1] ** 2)
    weights = training_weights(log_p - log_q, log_q, 1.0, trust_region=nats, entropy_drop=drop)
    divergence, fall = divergence_and_drop(weights, log_q)
    assert divergence <= (nats or math.inf) + 2e-3 and fall <= drop + 2e-3

    def remaining(shares: torch.Tensor) -> float:
        return float((shares * (shares.log() + log_q - log_p)).sum())

    best = math.inf
    for b in np.linspace(0.01, 1, 160):
        for a in np.linspace(0, 1 - b, 160):
            tried = torch.softmax((a - 1) * log_q + b * log_p, 0)
            if (found := divergence_and_drop(tried, log_q))[1] <= drop and found[0] <= (nats or math.inf):
                best = min(best, remaining(tried))
    assert remaining(weights) <= best + 5e-3


def filled(capacity: int, parts: list[int], temperature: float = TEMPERATURE) -> tuple[Target, ReplayBuffer]:
    target, buffer = Target.from_model(WELL), ReplayBuffer(capacity)
    for seed, rows in enumerate(parts):
        buffer.add(draw_samples(tiny_flow(0.05, seed), target, temperature, rows, seeded(seed)))
    return target, buffer


def test_the_buffer_hands_out_the_target():
    """Second moment of each coordinate, kT / K, from draws of three different flows: 20 000 handed out of
    30 000 (effective size above 9 000: error below 2.2 %); the flows' own moments are twice as large."""
    target, buffer = filled(40_000, [10_000, 10_000, 10_000])
    pairs = buffer.draw(target, TEMPERATURE, 20_000, largest_share=1.0, generator=seeded(9))
    exact = TEMPERATURE / 300.0 / STIFFNESS
    assert (pairs.coordinates**2).mean(dim=0).numpy() == pytest.approx(exact, rel=0.09)
    assert float((buffer.kept["coordinates"] ** 2).mean()) > 1.5 * exact
    assert torch.allclose(pairs.reduced, target.reduced_energy(pairs.coordinates, TEMPERATURE))


def test_annealed_draws_hand_out_the_target():
    """As above, with draws on their way to p^2/q; with the weights to that, moments would be a third less."""
    target, buffer = Target.from_model(WELL), ReplayBuffer(40_000)
    samples = draw_annealed(tiny_flow(0.05), target, TEMPERATURE, 20_000, 3, seeded(4))
    assert samples.evaluations == 80_000
    buffer.add(samples)
    pairs = buffer.draw(target, TEMPERATURE, 20_000, largest_share=1.0, generator=seeded(9))
    exact = TEMPERATURE / 300.0 / STIFFNESS
    assert (pairs.coordinates**2).mean(dim=0).numpy() == pytest.approx(exact, rel=0.09)
    assert torch.allclose(pairs.reduced, target.reduced_energy(pairs.coordinates, TEMPERATURE))


def test_samples_serve_another_temperature():
    """Drawn at 450 K, handed out at 300 K: moments of 300 K."""
    target, buffer = filled(40_000, [30_000])
    pairs = buffer.draw(target, 300.0, 20_000, largest_share=1.0, generator=seeded(9))
    assert (pairs.coordinates**2).mean(dim=0).numpy() == pytest.approx(1 / STIFFNESS, rel=0.1)
    assert bool((pairs.context.temperature == 300.0).all())


def test_the_oldest_give_way_and_a_buffer_survives_a_checkpoint():
    target, buffer = filled(50, [30, 40])
    assert len(buffer) == 50
    again = draw_samples(tiny_flow(0.05, 1), target, TEMPERATURE, 40, seeded(1))
    assert torch.equal(buffer.kept["coordinates"][10:], again.coordinates)
    other = ReplayBuffer(50)
    other.restore(buffer.tensors())
    pairs = [
        b.draw(target, TEMPERATURE, 20, largest_share=0.1, trust_region=0.5, generator=seeded(2))
        for b in (buffer, other)
    ]
    assert torch.equal(pairs[0].coordinates, pairs[1].coordinates)


def test_draws_that_are_no_conformation_are_left_out():
    target = Target.from_model(WELL)
    samples = draw_samples(tiny_flow(0.3), target, TEMPERATURE, 30, seeded(1))
    energy = samples.energy.clone()
    energy[4] = math.inf
    buffer = ReplayBuffer(100)
    buffer.add(replace(samples, energy=energy))
    assert len(buffer) == 29


@pytest.mark.parametrize(
    ("first", "moves", "costs"), [(0, 0, [6, 6, 6]), (40, 0, [40, 6, 6]), (4, 2, [18, 18, 18])]
)
def test_an_empty_buffer_is_filled_at_once(first, moves, costs):
    """One buffer at each of two temperatures: each is filled with `first` draws, then come `fresh` a step."""
    own = {"weight": 1.0, "fresh": 6, "first": first, "moves": moves, "temperatures": [300.0, 400.0]}
    settings = TrainingSettings.model_validate(
        {
            "system": OWN_WELL,
            "likelihood": {"weight": 0.0},
            "reweighted": own,
            "optimizer": {"steps": 40},
        }
    )
    objectives = Objectives(settings, tiny_flow(0.0), [Target.from_model(OWN_WELL)], [])
    spent: dict[int, list[int]] = {}
    for step in range(20):
        (draw,) = objectives.tasks(step, 1)[1]
        samples = draw.compute()
        draw.buffer.add(samples)
        spent.setdefault(id(draw.buffer), []).append(samples.evaluations)
    assert len(spent) == 2
    assert all(costs_of_one[:3] == costs for costs_of_one in spent.values())
