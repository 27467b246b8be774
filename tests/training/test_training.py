"""The losses: values in closed form, gradients by other means, and the workers that add them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import seeded
from scipy import stats
from training_cases import DIMENSION, STIFFNESS, TEMPERATURE, WELL, WIDTH, tiny_flow

from boltzgen.conditioning.context import Context
from boltzgen.coordinates.identity import IdentityCoordinates
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.training.losses.likelihood import LikelihoodSettings
from boltzgen.training.losses.loss import Loss
from boltzgen.training.losses.reverse_kl import reverse_kl, tame_energy
from boltzgen.training.losses.stored_pairs import stored_pairs_loss
from boltzgen.training.optimizer.gradients import GradientWorkers, Task
from boltzgen.training.pairs import Pairs
from boltzgen.training.schedule import schedule_value


def likelihood(flow, x: torch.Tensor, context: Context) -> Loss:
    unknown = torch.full((len(x),), math.nan, dtype=torch.float64)
    return stored_pairs_loss(flow, Pairs(x, context, unknown), "likelihood", 0.0, 3.0)


@pytest.mark.parametrize(
    ("progress", "value"),
    [(0.0, 2.0), (0.1, 2.0), (0.3, 4.0), (0.5, 6.0), (0.501, 2.995), (0.7, 2.0), (0.95, 1.0), (1.0, 1.0)],
)
def test_schedules_join_their_points_and_may_jump(progress, value):
    points = [(0.1, 2.0), (0.5, 6.0), (0.5, 3.0), (0.9, 1.0)]
    assert schedule_value(points, progress) == pytest.approx(value)
    assert schedule_value(0.7, progress) == 0.7


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ([(0.5, 1.0), (0.2, 1.0)], "rising"),
        ([(0.0, 1.0), (1.2, 2.0)], "rising"),
        ([], "rising"),
        ([(0.3, -1.0)], "negative"),
        (-2.0, "negative"),
    ],
)
def test_schedules_that_make_no_sense_are_refused(points, told):
    with pytest.raises(ValueError, match=told):
        LikelihoodSettings(weight=points)


def test_likelihood_of_the_base_in_closed_form():
    target = Target.from_model(WELL)
    x = 1.5 + 2.5 * torch.randn(40, DIMENSION, generator=seeded(1), dtype=torch.float64)
    loss = likelihood(tiny_flow(0.0), x, Context.of(target.features, TEMPERATURE, 40))
    variance = WIDTH**2 * TEMPERATURE / 300.0
    expected = stats.norm(0, math.sqrt(variance)).logpdf(x.numpy()).sum(axis=1).mean()
    assert loss.value.item() == pytest.approx(-expected, abs=1e-10)
    assert (loss.rows, loss.discarded, loss.parts) == (40, 0, {"likelihood": loss.value.item()})


def test_a_bad_row_is_counted_and_spoils_no_gradient():
    target, flow = Target.from_model(WELL), tiny_flow(0.2)
    x = torch.randn(9, DIMENSION, generator=seeded(1), dtype=torch.float64)
    bad = x.clone()
    bad[4, 1], bad[7, 0] = math.nan, math.inf
    good = [row for row in range(9) if row not in (4, 7)]
    loss = likelihood(flow, bad, Context.of(target.features, TEMPERATURE, 9))
    alone = likelihood(flow, x[good], Context.of(target.features, TEMPERATURE, 7))
    assert (loss.rows, loss.discarded) == (7, 2)
    for one, other in zip(gradients(loss, flow), gradients(alone, flow), strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)


def gradients(loss: Loss, flow) -> list[torch.Tensor]:
    found = torch.autograd.grad(loss.value, list(flow.parameters()), allow_unused=True, retain_graph=True)
    return [torch.zeros(1) if gradient is None else gradient for gradient in found]


def test_reverse_kl_of_the_base_in_closed_form():
    """E_q[log q + K x^2 / 2kT]: 100 000 draws have a standard error of 0.007; the test allows four."""
    target, rows = Target.from_model(WELL), 100_000
    temperature = torch.full((rows,), TEMPERATURE, dtype=torch.float64)
    loss = reverse_kl(tiny_flow(0.0), target, temperature, energy_cap=1e4, generator=seeded(5))
    variance = WIDTH**2 * TEMPERATURE / 300.0
    reduced = STIFFNESS * 300.0 / TEMPERATURE
    entropy = 0.5 * (1 + math.log(2 * math.pi * variance))
    assert loss.value.item() == pytest.approx(DIMENSION * (0.5 * reduced * variance - entropy), abs=0.028)
    assert (loss.rows, loss.energy_evaluations) == (rows, rows)


def test_reverse_kl_gradient_against_finite_differences():
    """With the same draws, across the cap (some rows above it) and at several temperatures."""
    target, flow = Target.from_model("double-well"), tiny_flow(0.2)
    ladder = torch.tensor([250.0, 300.0, 450.0], dtype=torch.float64).repeat(8)

    def value() -> Loss:
        return reverse_kl(flow, target, ladder, energy_cap=25.0, generator=seeded(2), path_gradient=False)

    found = gradients(value(), flow)
    direction = [torch.randn(p.shape, generator=seeded(8), dtype=torch.float64) for p in flow.parameters()]
    slope = sum(float((g * d).sum()) for g, d in zip(found, direction, strict=True))
    step, ends = 1e-6, []
    for sign in (1, -2):
        with torch.no_grad():
            for parameter, d in zip(flow.parameters(), direction, strict=True):
                parameter.add_(sign * step * d)
        ends.append(value().value.item())
    assert abs(slope) > 0.1
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)


def test_tamed_energy_agrees_in_value_and_slope_at_the_cap():
    cap = 7.0
    points = [-3.0, 6.0, cap - 1e-9, cap, cap + 1e-9, 27.0, 1e30, math.nan]
    x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    y = tame_energy(x, cap)
    slope = torch.autograd.grad(y[:-1].sum(), x)[0]
    expected = [-3.0, 6.0, cap, cap, cap, cap + math.log(21.0), cap + math.log(1e30)]
    assert y.detach()[:-1].tolist() == pytest.approx(expected, abs=2e-9) and math.isnan(y.detach()[-1])
    assert slope[:-1].tolist() == pytest.approx([1, 1, 1, 1, 1, 1 / 21, 0.0], abs=2e-9)


def test_weights_use_the_raw_energy():
    """Fresh samples of the double well lie up to hundreds of kT above the cap of the loss."""
    target = Target.from_model("double-well")
    ensemble = BoltzmannGenerator(tiny_flow(0.0), target).sample(2000, 300.0, seed=4)
    x, y = ensemble.positions.astype(float).T
    raw = x**4 - 6 * x**2 - x / 2 + y**2 / 2
    assert raw.max() > 500.0
    assert np.allclose(ensemble.u, raw, rtol=1e-5, atol=1e-4)
    log_q = stats.norm(0, WIDTH).logpdf(x) + stats.norm(0, WIDTH).logpdf(y)
    assert np.allclose(ensemble.log_w, -raw - log_q, rtol=1e-5, atol=1e-4)


class RightHalf(IdentityCoordinates):
    """Only x > 0 is in the domain."""

    reasons = ("", "left half")

    def domain(self, positions):
        return (positions[:, 0] <= 0).long()


def test_rejected_rows_count_in_the_partition_function():
    """ln Z over half the plane is ln Z - ln 2; without the rejected rows in N it would be ln Z."""
    target = replace(Target.from_model(WELL), coordinates=RightHalf(DIMENSION))
    ensemble = BoltzmannGenerator(tiny_flow(0.0), target).sample(20_000, 300.0, seed=4)
    assert ensemble.rejected()["left half"] == pytest.approx(10_000, abs=300)
    exact = 0.5 * DIMENSION * math.log(2 * math.pi / STIFFNESS) - math.log(2)
    assert ensemble.diagnostics().log_z == pytest.approx(exact, abs=0.06)


def likelihood_task(flow, target: Target, weight: float, share: float, seed: int) -> Task:
    x = 2.0 + torch.randn(6, 2, generator=seeded(seed), dtype=torch.float64)
    return Task(
        weight,
        share,
        lambda: likelihood(flow, x, Context.of(target.features, TEMPERATURE, 6)),
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_add_clipped_gradients(workers):
    target, flow = Target.from_model("double-well"), tiny_flow(0.2)
    tasks = [
        likelihood_task(flow, target, 0.7, 0.25, 1),
        likelihood_task(flow, target, 0.7, 0.75, 2),
        likelihood_task(flow, target, 3.0, 1.0, 3),
    ]
    losses = [task.compute() for task in tasks]
    norms = [math.sqrt(sum(float((g**2).sum()) for g in gradients(loss, flow))) for loss in losses]
    clip = 0.5 * (min(norms) + max(norms))  # some are clipped, some are not
    total = torch.zeros((), dtype=torch.float64)
    for task, loss, norm in zip(tasks, losses, norms, strict=True):
        total = total + loss.value * task.weight * task.share * min(1.0, clip / norm)
    expected = gradients(Loss(total, 1, 0), flow)

    def broken() -> Loss:
        zero = next(flow.parameters()).sum() * 0.0
        return Loss(torch.sqrt(zero) + 2.0, 5, 1, parts={"broken": 2.0})  # gradient 0 * inf

    failed = [Task(1.0, 1.0, broken), Task(1.0, 1.0, lambda: Loss(None, 0, 4))]
    pool = GradientWorkers(flow, workers, clip)
    with pool.alone():
        outcomes, others = pool([tasks[0], failed[0], tasks[1], failed[1], tasks[2]], [lambda: 7, lambda: 8])
    assert others == [7, 8]
    for parameter, e in zip(flow.parameters(), expected, strict=True):
        found = torch.zeros_like(e) if parameter.grad is None else parameter.grad
        assert torch.allclose(found, e, rtol=1e-12, atol=1e-12)
    assert [bool(outcome.gradients) for outcome in outcomes] == [True, False, True, False, True]
    assert [outcome.norm for outcome in outcomes][::2] == pytest.approx(norms)
    assert (outcomes[1].parts, outcomes[3].parts, outcomes[3].discarded) == ({"broken": 2.0}, {}, 4)
