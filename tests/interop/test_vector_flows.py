"""Transforms of nflows and flows of bgflow as kinds of flow: densities, bad rows, and a whole run of each."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from flow_cases import small_molecule
from helpers import randomised

from boltzgen.conditioning.context import Context
from boltzgen.config.build import build_flow
from boltzgen.config.model import load_model
from boltzgen.coordinates.support import unlink
from boltzgen.ensemble.diagnostics import log_z
from boltzgen.ensemble.store import load_ensemble
from boltzgen.errors import InputError, MissingExtraError
from boltzgen.flows.settings import FlowSettings
from boltzgen.flows.vector_flow import VectorFlow, require_one_to_one
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.interop.nflows import NflowsFlow
from boltzgen.workflows.sampling.sample import sample
from boltzgen.workflows.training.train import train

needs_nflows = pytest.mark.skipif(
    importlib.util.find_spec("nflows") is None, reason="nflows is an extra and not installed"
)
needs_bgflow = pytest.mark.skipif(
    importlib.util.find_spec("bgflow") is None,
    reason="bgflow is not on the package index, nor installed here",
)

#: Settings by name; the spline inside a box is one-to-one on all vectors by the maps around it.
FLOWS = {
    "autoregressive splines": {"kind": "nflows", "repeats": 1, "hidden": 12, "bins": 5},
    "coupling": {
        "kind": "nflows",
        "transforms": ["PiecewiseRationalQuadraticCouplingTransform", "RandomPermutation", "LULinear"],
        "repeats": 2,
        "hidden": 10,
    },
    "in a box": {
        "kind": "nflows",
        "transforms": ["Sigmoid", "MaskedPiecewiseQuadraticAutoregressiveTransform", "Logit"],
        "repeats": 1,
        "hidden": 12,
        "arguments": {"tails": None},
    },
    "bgflow": {"kind": "bgflow", "blocks": 2, "hidden": 12},
}
MARKS = [pytest.param(n, marks=needs_bgflow if n == "bgflow" else needs_nflows) for n in FLOWS]

#: -ln Z of the double well x^4 - 6x^2 - x/2 + y^2/2 in kT.
DOUBLE_WELL_LOG_Z = 10.293479707


def random_flow(name: str, dimension: int, spread: float = 0.1) -> VectorFlow:
    """A flow far from where training starts."""
    flow = build_flow(FlowSettings.model_validate({**FLOWS[name], "dimension": dimension}), seed=5)
    assert isinstance(flow, VectorFlow)
    randomised(flow, spread)
    return flow


def draw(flow: VectorFlow, molecule, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return flow.sample(
            flow.embed(Context.of(molecule, 350.0, rows)), generator=torch.Generator().manual_seed(3)
        )


@pytest.mark.parametrize("name", MARKS)
@pytest.mark.parametrize("kinds", [("circle", "circle"), ("bond", "circle"), ("bond", "angle")])
def test_density_integrates_to_one_and_is_that_of_the_draw(name, kinds):
    molecule, flow = small_molecule(kinds), random_flow(name, 2)
    edges = torch.linspace(-6.5, 6.5, 401, dtype=torch.float64)
    line = (edges[:-1] + edges[1:]) / 2
    grid = torch.cartesian_prod(line, line)  # of links, and of a torsion's quantiles, so that no tail is cut
    values, slope = unlink(grid, molecule.lower, molecule.upper)
    normal = torch.distributions.Normal(0.0, 1.0)
    values = torch.where(molecule.circular, (2 * normal.cdf(grid) - 1) * math.pi, values)
    turn = normal.log_prob(grid) + math.log(2 * math.pi)
    volume = torch.where(molecule.circular, turn, slope).sum(dim=1)
    with torch.no_grad():
        density = flow.log_prob(values, flow.embed(Context.of(molecule, 350.0, len(grid)))) + volume
    cell = float(line[1] - line[0]) ** 2
    assert float(density.exp().sum() * cell) == pytest.approx(1.0, abs=4e-3)
    drawn, log_q = draw(flow, molecule, 200)
    with torch.no_grad():
        again = flow.log_prob(drawn, flow.embed(Context.of(molecule, 350.0, 200)))
    assert float((again - log_q).abs().max()) < 1e-5 and float(log_q.std()) > 0.1


@pytest.mark.parametrize("name", MARKS)
def test_log_det_is_the_autograd_jacobian(name, butane):
    molecule = Target.from_system(butane).features
    flow = random_flow(name, molecule.dimension, 0.05)
    values, _ = draw(flow, molecule, 3)
    size = molecule.dimension
    embedding = flow.embed(Context.of(molecule, 350.0, size))
    for row in values:
        copies = row.repeat(size, 1).requires_grad_()  # copy i gives row i of the Jacobian
        latents, log_det = flow.encode(copies, embedding)
        jacobian = torch.autograd.grad(latents.diagonal().sum(), copies)[0]
        expected = torch.linalg.slogdet(jacobian)[1]
        assert float((log_det - expected).detach().abs().max()) == pytest.approx(0.0, abs=1e-6)


@needs_nflows
def test_a_row_that_nflows_refuses_is_lost_alone():
    """A spline without tails raises on the first number beyond its box, for the whole batch."""
    from nflows.transforms import MaskedPiecewiseQuadraticAutoregressiveTransform
    from nflows.transforms.base import InputOutsideDomain

    transform = MaskedPiecewiseQuadraticAutoregressiveTransform(features=2, hidden_features=8).double()
    flow = NflowsFlow(transform, 2)
    vectors = 0.1 + 0.8 * torch.rand(9, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected, expected_det = transform(vectors)
    vectors[2, 1], vectors[7, 0] = 1.7, -0.3
    with pytest.raises(InputOutsideDomain):
        transform(vectors)
    vectors[4, 0] = math.nan
    found, log_det = flow._row_by_row(flow.to_latent, vectors)
    lost = torch.isnan(log_det)
    assert lost.tolist() == torch.isnan(found).any(dim=1).tolist()
    assert torch.nonzero(lost)[:, 0].tolist() == [2, 4, 7]
    torch.testing.assert_close(found[~lost], expected[~lost])
    torch.testing.assert_close(log_det[~lost], expected_det[~lost])
    found[~lost].sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in transform.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", MARKS)
def test_bad_rows_have_no_density_and_end_no_batch(name):
    target = Target.from_model("double-well")
    flow = random_flow(name, 2)
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    whole, _ = BoltzmannGenerator(flow, target).log_prob(x, 300.0)
    x[1, 0], x[3, 1] = math.nan, math.inf
    found, _ = BoltzmannGenerator(flow, target).log_prob(x, 300.0)
    assert torch.isneginf(found[[1, 3]]).all()
    torch.testing.assert_close(found[[0, 2, 4, 5]], whole[[0, 2, 4, 5]])


@pytest.mark.parametrize("name", MARKS)
def test_train_sample_weigh_save_load(name, tmp_path):
    """Of the double well: ln Z within 4 standard errors from 4000 weighted samples of a saved model."""
    config = tmp_path / "run.yaml"
    asked = {
        "system": "model:double-well",
        "flow": FLOWS[name],
        "reverse_kl": {"weight": [[0.0, 1.0], [0.3, 0.0]], "batch_size": 64},
        "reweighted": {"weight": 1.0, "batch_size": 128, "fresh": 128},
        "optimizer": {"steps": 60, "learning_rate": 0.01},
        "evaluation": {"every": 60, "samples": 500},
        "workers": 1,
        "seed": 4,
    }
    config.write_text(json.dumps(asked))
    train(config, [], tmp_path / "RUN")
    model = load_model(tmp_path / "RUN")
    assert model.record["flow"]["kind"] == FLOWS[name]["kind"] and model.record["flow"]["dimension"] == 2
    sample(tmp_path / "RUN", "model:double-well", tmp_path / "OUT", 4000)
    ensemble = load_ensemble(tmp_path / "OUT")
    value, error = log_z(ensemble.log_w)
    assert error < 0.2 and abs(value - DOUBLE_WELL_LOG_Z) < 4 * error
    again = load_model(tmp_path / "RUN").flow
    x = torch.as_tensor(np.array(ensemble.positions[:100]), dtype=torch.float64)
    one, other = (
        BoltzmannGenerator(flow, Target.from_model("double-well")).log_prob(x, 300.0)[0]
        for flow in (model.flow, again)
    )
    assert torch.equal(one, other)
    np.testing.assert_allclose(one.numpy(), ensemble.log_q[:100], atol=1e-3)  # positions are float32
    single = sample(tmp_path / "RUN", "model:double-well", tmp_path / "SINGLE", 100, dtype="float32")
    assert single.kept == 100
    train(config, ["optimizer.steps=61"], tmp_path / "RUN", resume="auto")


@needs_nflows
def test_one_flow_has_one_number_of_coordinates(tmp_path, butane):
    settings = FlowSettings.model_validate({"kind": "nflows"})
    two, six = Target.from_model("double-well").features, Target.from_system(butane).features
    assert settings.for_molecules([two, two]).dimension == 2
    with pytest.raises(InputError, match=r"one number of coordinates, and here are \[2, 6\]"):
        settings.for_molecules([two, six])
    with pytest.raises(InputError, match=r"here are \[2, 5\]"):
        settings.model_copy(update={"dimension": 5}).for_molecules([two])
    with pytest.raises(InputError, match=r"flow\.dimension of kind nflows is not known"):
        build_flow(settings, seed=0)
    flow = build_flow(settings.for_molecules([two]), seed=0)
    with pytest.raises(InputError, match="has 2 coordinates and knows one molecule"):
        flow.embed(Context.of(six, 300.0, 3))


@needs_nflows
@pytest.mark.parametrize(
    ("departures", "words"),
    [
        ({"transforms": ["Splnie"]}, "nflows has no transform 'Splnie'"),
        ({"transforms": ["CompositeTransform"]}, "CompositeTransform needs transforms; give plain values"),
        ({"transforms": ["Tanh", "LULinear"]}, "do not come back from the latent space"),
        ({"transforms": ["ReversePermutation"]}, "have nothing to learn"),
        ({"transforms": ["ActNorm"]}, "ActNorm is not one density"),
        ({"arguments": {"dropout_probability": 0.2}}, "Dropout is not one density"),
        ({"arguments": {"use_batch_norm": True}}, "BatchNorm1d is not one density"),
        ({"arguments": {"num_blocs": 3}}, "none of the transforms has an argument 'num_blocs'"),
        ({"arguments": {"tails": "circular"}}, "cannot make|do not come back"),
    ],
)
def test_what_nflows_cannot_be_is_refused_in_words(departures, words):
    settings = FlowSettings.model_validate({"kind": "nflows", "dimension": 3, "hidden": 8, **departures})
    with pytest.raises(InputError, match=words):
        build_flow(settings, seed=0)


@needs_nflows
def test_a_transform_of_one_s_own_is_a_flow():
    """Not only those that settings can name: any object of nflows' class."""
    from nflows.transforms import AffineTransform, CompositeTransform, InverseTransform, LULinear

    shift = AffineTransform(shift=torch.tensor([0.3, -0.2]), scale=torch.tensor([1.5, 0.7]))
    flow = NflowsFlow(CompositeTransform([InverseTransform(LULinear(2)), shift]), 2)
    require_one_to_one(flow, "own")
    ensemble = BoltzmannGenerator(flow, Target.from_model("harmonic-well-0.7-2")).sample(20_000, 300.0)
    value, error = log_z(ensemble.log_w)
    assert error < 0.1 and abs(value - math.log(2 * math.pi / 0.7)) < 4 * error


@pytest.mark.parametrize(
    ("kind", "words"),
    [("nflows", r"pip install 'boltzgen-sampler\[nflows\]'"), ("bgflow", "noegroup/bgflow")],
)
def test_without_the_library_the_error_says_where_it_is(kind, words, monkeypatch):
    monkeypatch.setitem(sys.modules, kind, None)
    settings = FlowSettings.model_validate({"kind": kind, "dimension": 2})
    with pytest.raises(MissingExtraError, match=words):
        build_flow(settings, seed=0)


def test_shipped_kinds_need_no_library_to_be_read(tmp_path: Path):
    program = (
        "import sys\nfrom boltzgen.flows.settings import FlowSettings\n"
        "for kind in ('nflows', 'bgflow'): FlowSettings.model_validate({'kind': kind})\n"
        "assert not {'nflows', 'bgflow'} & set(sys.modules)\n"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
