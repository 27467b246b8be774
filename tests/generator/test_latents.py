"""Positions to latents and back: determinants by autograd, round trips, and rows without a density."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from flow_cases import random_flow

from boltzgen.coordinates.base import wrap_angle
from boltzgen.errors import UnsupportedError
from boltzgen.flows.temperature_mixture import TemperatureMixture
from boltzgen.generator import BoltzmannGenerator, Target

#: Of the flow, in K; and Euler angles (rad) at which the square Jacobian is taken.
TEMPERATURE, EULER = 341.0, (0.3, 0.9, -1.2)


@pytest.fixture(scope="module", params=["coupling", "autoregressive"])
def kind(request):
    return request.param


@pytest.fixture(scope="module", params=["butane", "alanine"])
def generator(request, kind, butane, alanine_dipeptide) -> BoltzmannGenerator:
    """Random flows, far from where training starts."""
    molecule = {"butane": butane, "alanine": alanine_dipeptide}[request.param]
    return BoltzmannGenerator(random_flow(kind, request.param), Target.from_system(molecule))


def drawn(generator: BoltzmannGenerator, rows: int) -> torch.Tensor:
    """Latents (rows, D) of the flow's own base."""
    embedding = generator.embed(TEMPERATURE, rows)
    return generator.latent_flow.draw_latents(embedding, generator=torch.Generator().manual_seed(8))[0]


def turned(angles: torch.Tensor) -> torch.Tensor:
    """Rotation (3, 3) about z, then x, then z, as a product of three."""
    axes = torch.zeros(3, 3, 3, dtype=torch.float64)
    for number, (i, j) in enumerate(((0, 1), (1, 2), (0, 1))):
        axes[number, i, j], axes[number, j, i] = -1.0, 1.0
    first, second, third = torch.linalg.matrix_exp(angles[:, None, None] * axes)
    return first @ second @ third


@torch.no_grad()
def test_there_and_back(generator):
    """Latents return (circular ones around the circle), positions up to their place, densities exactly."""
    latents = drawn(generator, 20)
    positions, forth = generator.decode(latents, TEMPERATURE)
    again, back = generator.encode(positions, TEMPERATURE)
    circular = generator.target.features.circular
    difference = torch.where(circular, wrap_angle(again - latents), again - latents)
    assert bool(circular.any()) and float(difference.abs().max()) < 1e-7
    assert float((forth + back).abs().max()) < 1e-6 and float(forth.abs().min()) > 1.0
    moved = positions @ turned(torch.tensor(EULER, dtype=torch.float64)).T + torch.tensor([0.4, -1.3, 2.0])
    elsewhere, there = generator.encode(moved, TEMPERATURE)
    third = generator.decode(elsewhere, TEMPERATURE)[0]
    assert torch.allclose(there, back, atol=1e-7)
    for one, other in zip(positions, third, strict=True):
        assert torch.allclose(torch.pdist(one), torch.pdist(other), atol=1e-9)


def jacobian(function, point: torch.Tensor) -> torch.Tensor:
    """(outputs, inputs) of `function`, rows to rows, at `point` (inputs,): a row for each output."""
    with torch.enable_grad():
        size = function(point[None]).shape[1]
        rows = point.repeat(size, 1).requires_grad_()
        (gradient,) = torch.autograd.grad(function(rows).diagonal().sum(), rows)
    return gradient


def test_the_determinant_is_that_of_the_square_jacobian(generator):
    """(place, Euler angles, latents) -> 3N positions: the shape measure leaves ln sin(beta) over."""
    (latents,) = drawn(generator, 1)
    rotation = torch.tensor(EULER, dtype=torch.float64)
    shape = generator.target.reference.shape[1:]

    def place(rows: torch.Tensor) -> torch.Tensor:
        atoms = generator.decode(rows[:, 6:], TEMPERATURE)[0]
        rotations = torch.stack([turned(angles) for angles in rows[:, 3:6]])
        return (atoms @ rotations.transpose(1, 2) + rows[:, None, :3]).flatten(1)

    def back(rows: torch.Tensor) -> torch.Tensor:
        return generator.encode(place(rows).unflatten(1, shape), TEMPERATURE)[0]

    point = torch.cat([rotation.new_tensor([0.1, -0.2, 0.3]), rotation, latents])
    square = jacobian(place, point)
    assert square.shape[0] == square.shape[1]
    expected = float(torch.linalg.slogdet(square)[1]) - math.log(math.sin(EULER[1]))
    log_det = generator.decode(latents[None], TEMPERATURE)[1]
    assert float(log_det.detach()) == pytest.approx(expected, abs=1e-7)
    unit = torch.eye(len(point), dtype=torch.float64)[6:]  # encode takes up the latents and nothing else
    assert float((jacobian(back, point) - unit).abs().max()) < 1e-6


@torch.no_grad()
def test_the_density_is_that_of_log_prob(generator):
    positions, _ = generator.decode(drawn(generator, 12), TEMPERATURE)
    latents, log_det = generator.encode(positions, TEMPERATURE)
    base = generator.latent_flow.latent_log_prob(latents, generator.embed(TEMPERATURE, len(latents)))
    density, reasons = generator.log_prob(positions, TEMPERATURE)
    assert set(reasons) == {""}
    assert torch.allclose(base + log_det, density, rtol=0, atol=1e-10)
    assert not torch.allclose(density, generator.log_prob(positions, TEMPERATURE + 90.0)[0], atol=1e-3)


@torch.no_grad()
def test_rows_outside_have_no_density_and_a_reason(kind, alanine_dipeptide):
    """A mirror image, a row that is no number, atoms that coincide: each for itself, and nothing raises."""
    generator = BoltzmannGenerator(random_flow(kind), Target.from_system(alanine_dipeptide))
    good, _ = generator.decode(drawn(generator, 1), TEMPERATURE)
    broken = torch.where(torch.arange(22)[:, None] == 7, torch.nan, good)
    rows = torch.cat([good, good * torch.tensor([1.0, 1.0, -1.0]), broken, torch.zeros_like(good)])
    latents, log_det = generator.encode(rows, TEMPERATURE)
    reasons = generator.target.reasons(rows)
    assert bool(torch.isfinite(log_det[0])) and bool(torch.isneginf(log_det[1:]).all())
    assert reasons[0] == "" and reasons[1] == "handedness" and "" not in reasons[1:]
    assert bool(torch.isfinite(latents).all())
    base = generator.latent_flow.latent_log_prob(latents, generator.embed(TEMPERATURE, len(rows)))
    assert bool(torch.isneginf((base + log_det)[1:]).all())
    alone = generator.encode(good, TEMPERATURE)
    assert torch.allclose(alone[0], latents[:1]) and torch.allclose(alone[1], log_det[:1])


def test_model_systems_have_the_lebesgue_measure():
    """Both determinants against autograd's, of a flow over the eight coordinates of a many-well."""
    generator = BoltzmannGenerator(random_flow("coupling", "small"), Target.from_model("many-well-8"))
    (latents,) = drawn(generator, 1)
    (point,), _ = generator.decode(latents[None], TEMPERATURE)
    for step, start in ((generator.decode, latents), (generator.encode, point.detach())):
        square = jacobian(lambda rows, to=step: to(rows, TEMPERATURE)[0], start)
        expected = float(torch.linalg.slogdet(square)[1])
        assert abs(expected) > 0.1
        assert float(step(start[None], TEMPERATURE)[1].detach()) == pytest.approx(expected, abs=1e-9)
    values, log_det = generator.encode(torch.full((1, 8), np.inf, dtype=torch.float64), TEMPERATURE)
    assert bool(torch.isneginf(log_det).all()) and bool(torch.isfinite(values).all())


def test_a_flow_without_latents_is_refused(butane):
    mixture = TemperatureMixture(random_flow("coupling", "butane"), [300.0, 450.0])
    generator = BoltzmannGenerator(mixture, Target.from_system(butane))
    assert not generator.has_latents
    with pytest.raises(UnsupportedError, match="TemperatureMixture has no latent space"):
        generator.encode(generator.target.reference, TEMPERATURE)
    with pytest.raises(UnsupportedError, match="one temperature"):
        generator.decode(torch.zeros(2, 6, dtype=torch.float64), TEMPERATURE)
