"""One battery for every flow: the obligations of `Flow` and `InvertibleFlow`, far from the start."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from flow_cases import FLOWS, random_flow, small_molecule

from boltzgen.conditioning.context import Context
from boltzgen.config.build import build_flow
from boltzgen.coordinates.support import unlink
from boltzgen.ensemble.diagnostics import kish_ess
from boltzgen.flows.autoregressive import AutoregressiveSettings
from boltzgen.flows.coupling import CouplingSettings
from boltzgen.flows.splines import UNIT_SLOPE, n_parameters, spline
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.units import GAS_CONSTANT


@pytest.fixture(scope="module")
def targets(alanine_dipeptide, butane) -> dict[str, Target]:
    return {"alanine": Target.from_system(alanine_dipeptide), "butane": Target.from_system(butane)}


@pytest.fixture(params=FLOWS)
def name(request) -> str:
    return request.param


def draw(flow, target: Target, rows: int, temperature: float = 350.0, seed: int = 3):
    embedding = flow.embed(Context.of(target.features, temperature, rows))
    with torch.no_grad():
        return flow.sample(embedding, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("molecule", ["alanine", "butane"])
def test_random_weights_move_the_density_by_more_than_ten_nats(name, molecule, targets):
    target = targets[molecule]
    plain = build_flow(FLOWS[name], seed=5).to(torch.float64)
    values, density = draw(random_flow(name, molecule), target, 64)
    embedding = plain.embed(Context.of(target.features, 350.0, 64))
    with torch.no_grad():
        change = (plain.log_prob(values, embedding) - density).abs()
    assert float(change.max()) > 10.0


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 2e-3)])
@pytest.mark.parametrize("molecule", ["alanine", "butane"])
def test_decode_inverts_encode(name, molecule, dtype, tolerance, targets):
    flow, target = random_flow(name, molecule, dtype), targets[molecule]
    embedding = flow.embed(Context.of(target.features, 350.0, 32))
    values, density = draw(flow, target, 32)
    with torch.no_grad():
        latents, log_det = flow.encode(values, embedding)
        again, back = flow.decode(latents, embedding)
        log_prob = flow.log_prob(values, embedding)
    difference = torch.where(target.features.circular, torch.sin((again - values) / 2) * 2, again - values)
    assert float(difference.abs().max()) < tolerance
    assert float((log_det + back).abs().max()) < tolerance * 100
    assert float((log_prob - density).abs().max()) < tolerance * 100
    assert log_prob.dtype == torch.float64


@pytest.mark.parametrize("molecule", ["alanine", "butane"])
def test_log_det_is_the_autograd_jacobian(name, molecule, targets):
    flow, target = random_flow(name, molecule), targets[molecule]
    values, _ = draw(flow, target, 3)
    size = values.shape[1]
    embedding = flow.embed(Context.of(target.features, 350.0, size))
    for row in values:
        copies = row.repeat(size, 1).requires_grad_()  # copy i gives row i of the Jacobian
        latents, log_det = flow.encode(copies, embedding)
        jacobian = torch.autograd.grad(latents.diagonal().sum(), copies)[0]
        expected = torch.linalg.slogdet(jacobian)[1]
        assert float((log_det - expected).detach().abs().max()) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize(
    "kinds", [("circle", "circle"), ("circle", "angle"), ("bond", "angle"), ("bond", "circle")]
)
def test_density_integrates_to_one(name, kinds):
    molecule, flow = small_molecule(kinds), random_flow(name, "small")
    lines = []
    for kind in kinds:  # a bounded coordinate is integrated over its link, so that no tail is cut
        half = math.pi if kind == "circle" else 5.0
        edges = torch.linspace(-half, half, 301, dtype=torch.float64)
        lines.append((edges[:-1] + edges[1:]) / 2)
    grid = torch.cartesian_prod(*lines)
    bounded = ~molecule.circular
    values, slope = unlink(grid, molecule.lower, molecule.upper)
    values = torch.where(bounded, values, grid)
    volume = torch.where(bounded, slope, 0.0).sum(dim=1)
    with torch.no_grad():
        embedding = flow.embed(Context.of(molecule, 400.0, len(values)))
        density = flow.log_prob(values, embedding) + volume
    cell = math.prod(float(line[1] - line[0]) for line in lines)
    assert float(density.exp().sum() * cell) == pytest.approx(1.0, abs=2e-3)


def test_rows_do_not_depend_on_their_batch(name, targets):
    """One instance, two molecules, padding, another order: the same numbers for every row."""
    flow = random_flow(name)
    alanine, butane = targets["alanine"], targets["butane"]
    (a, density_a), (b, density_b) = draw(flow, alanine, 5, 300.0), draw(flow, butane, 4, 500.0)
    width = a.shape[1]
    padded = torch.cat([a, torch.nn.functional.pad(b, (0, width - b.shape[1]), value=99.0)])
    context = Context.concatenate(
        [Context.of(alanine.features, 300.0, 5), Context.of(butane.features, 500.0, 4)]
    )
    order = torch.tensor([6, 0, 8, 3, 1, 5, 2, 7, 4])
    shuffled = Context(context.molecules, context.molecule[order], context.temperature[order])
    with torch.no_grad():
        mixed = flow.log_prob(padded[order], flow.embed(shuffled))
        drawn, drawn_density = flow.sample(flow.embed(shuffled), generator=torch.Generator().manual_seed(1))
        checked = flow.log_prob(drawn, flow.embed(shuffled))
    assert torch.allclose(mixed, torch.cat([density_a, density_b])[order], atol=1e-9)
    assert torch.allclose(checked, drawn_density, atol=1e-7)
    assert float(drawn[~shuffled.mask].abs().max()) == 0.0


def test_a_bad_row_stays_alone(name, targets):
    flow, target = random_flow(name), targets["alanine"]
    values, density = draw(flow, target, 4)
    spoiled = values.clone()
    spoiled[1, 7] = math.nan
    spoiled[2, 0] = -1.0
    with torch.no_grad():
        found = flow.log_prob(spoiled, flow.embed(Context.of(target.features, 350.0, 4)))
    assert torch.allclose(found[[0, 3]], density[[0, 3]], atol=1e-7)
    assert not bool(torch.isfinite(found[[1, 2]]).any())


def test_the_physics_changes_the_density(name, butane, targets):
    """Another force constant, another density: through the base and through the features."""
    stiffer = replace(butane, system_xml=butane.system_xml.replace('k="488.273', 'k="600.273'))
    assert stiffer.system_xml != butane.system_xml
    other = Target.from_system(stiffer)
    flow, target = random_flow(name, "butane"), targets["butane"]
    values, density = draw(flow, target, 16)
    with torch.no_grad():
        found = flow.log_prob(values, flow.embed(Context.of(other.features, 350.0, 16)))
        same_base = replace(
            other.features, centre=target.features.centre, whitening=target.features.whitening
        )
        by_features = flow.log_prob(values, flow.embed(Context.of(same_base, 350.0, 16)))
        hotter = flow.log_prob(values, flow.embed(Context.of(target.features, 450.0, 16)))
    assert float((found - density).abs().min()) > 1e-4
    assert float((by_features - density).abs().max()) > 1e-6
    assert float((hotter - density).abs().min()) > 1e-4


def test_rigid_motion_changes_nothing(name, targets):
    target = targets["alanine"]
    generator = BoltzmannGenerator(random_flow(name), target)
    positions = target.coordinates.decode(draw(generator.flow, target, 6)[0])[0]
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    rotation = rotation * torch.sign(torch.linalg.det(rotation))
    moved = positions @ rotation.T + torch.tensor([1.3, -0.4, 2.2], dtype=torch.float64)
    first, second = generator.log_prob(positions, 350.0)[0], generator.log_prob(moved, 350.0)[0]
    assert torch.isfinite(first).all()
    assert torch.allclose(first, second, atol=1e-6)


def test_the_base_is_the_bonded_gaussian(targets):
    """Before training, at 20 K, stretching and bending of butane are sampled all but perfectly."""
    target = targets["butane"]
    flow = build_flow(FLOWS["coupling"], seed=0).to(torch.float64)
    with torch.no_grad():
        for layer in flow.layers:
            for generator in (layer.output_linear, layer.output_circular):
                generator.weight.zero_()
    values, density = draw(flow, target, 4000, temperature=20.0)
    positions, log_det = target.coordinates.decode(values)
    terms = target.potential.energy_by_term(positions)
    u = (terms["bond"] + terms["angle"]) / (GAS_CONSTANT * 20.0)
    assert kish_ess((-u - density + log_det).numpy()) > 0.98


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("inverse", [False, True])
def test_spline_agrees_with_nflows(circular, inverse):
    """Values, slopes and gradients, in float64, away from the start."""
    from nflows.transforms.splines.rational_quadratic import rational_quadratic_spline

    bins, bound = 7, 3.3
    parameters = torch.randn(300, 2, n_parameters(bins, circular), dtype=torch.float64, requires_grad=True)
    inputs = ((torch.rand(300, 2, dtype=torch.float64) * 2 - 1) * bound).requires_grad_()
    values, slopes = spline(inputs, parameters, bound=bound, circular=circular, inverse=inverse)
    widths, heights, inner = (
        parameters[..., :bins],
        parameters[..., bins : 2 * bins],
        parameters[..., 2 * bins :],
    )
    inner = inner + UNIT_SLOPE
    if circular:
        inner = torch.cat([inner, inner[..., :1]], dim=-1)
    else:
        inner = torch.nn.functional.pad(inner, (1, 1), value=UNIT_SLOPE)
    expected, expected_slopes = rational_quadratic_spline(
        inputs,
        widths,
        heights,
        inner,
        inverse=inverse,
        left=-bound,
        right=bound,
        bottom=-bound,
        top=bound,
        min_derivative=1e-3,
    )
    assert torch.allclose(values, expected, atol=1e-11)
    assert torch.allclose(slopes, expected_slopes, atol=1e-11)
    cotangents = torch.randn_like(values), torch.randn_like(values)
    ours = torch.autograd.grad((cotangents[0] * values + cotangents[1] * slopes).sum(), (inputs, parameters))
    theirs = torch.autograd.grad(
        (cotangents[0] * expected + cotangents[1] * expected_slopes).sum(), (inputs, parameters)
    )
    for own, other in zip(ours, theirs, strict=True):
        assert torch.allclose(own, other, rtol=1e-8, atol=1e-9)


def test_spline_outside_at_the_edge_and_not_a_number():
    parameters = torch.randn(6, n_parameters(5, False), dtype=torch.float64)
    inputs = torch.tensor([-7.0, -2.0, 2.0, 9.5, math.nan, 0.3], dtype=torch.float64)
    values, slopes = spline(inputs, parameters, bound=2.0, circular=False, inverse=False)
    assert torch.allclose(values[:4], inputs[:4], atol=1e-12)
    assert torch.allclose(slopes[:4], torch.zeros(4, dtype=torch.float64), atol=1e-7)
    assert math.isnan(values[4]) and math.isnan(slopes[4])
    assert math.isfinite(values[5])


@pytest.mark.parametrize(
    ("kind", "numbers", "expected"),
    ((AutoregressiveSettings, 7430, 43.80697162), (CouplingSettings, 7352, -13.74951892)),
)
def test_a_seed_gives_the_weights_that_it_gave(kind, numbers, expected):
    """Those of 30 November 2026: parts that are built in another order would draw others."""
    sizes = {"layers": 2} if kind is CouplingSettings else {"depth": 1}
    flow = build_flow(kind(hidden=8, bins=4, embedding=8, encoder_blocks=1, **sizes), seed=7)
    weights = torch.cat([part.flatten() for part in flow.state_dict().values()]).double()
    assert len(weights) == numbers
    assert float(weights @ torch.linspace(0.3, 1.7, numbers).double()) == pytest.approx(expected, abs=1e-4)
