"""Model systems: their energies integrate to the exact values of the design's table of references."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from boltzgen.errors import InputError
from boltzgen.potentials.model_systems import ModelSystem, MuellerBrown, by_name


def on_grid(system: ModelSystem, *axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of the product grid, and exp(-u) times the cell at each."""
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    cell = math.prod(axis[1] - axis[0] for axis in axes)
    return points, np.exp(-system.energy(torch.tensor(points)).numpy()) * cell


def test_double_well():
    system = by_name("double-well")
    points, weight = on_grid(system, np.linspace(-6, 6, 1200), np.linspace(-9, 9, 901))
    total = weight.sum()
    right = points[:, 0] > 0
    assert math.log(total) == pytest.approx(10.293479707, abs=1e-8)
    assert total / math.sqrt(2 * math.pi) == pytest.approx(11784.509265, abs=1e-5)
    assert -math.log(weight[right].sum() / weight[~right].sum()) == pytest.approx(-1.690631, abs=1e-5)
    assert (weight * points[:, 0]).sum() / total == pytest.approx(1.187961, abs=1e-5)
    assert system.log_partition() == pytest.approx(10.293479707, abs=1e-8)


def test_tilted_double_well():
    system = by_name("tilted-double-well")
    points, weight = on_grid(system, np.linspace(-6, 6, 20_000))  # an even number: no point at 0
    right = points[:, 0] > 0
    assert math.log(weight.sum()) == pytest.approx(10.101528697, abs=1e-8)
    assert -math.log(weight[right].sum() / weight[~right].sum()) == pytest.approx(3.379901071, abs=1e-6)
    assert system.log_partition() == pytest.approx(10.101528697, abs=1e-8)


@pytest.mark.parametrize(
    ("dimension", "log_z"), [(32, 164.695675313), (64, 329.391350626), (128, 658.782701253)]
)
def test_many_well(dimension, log_z):
    system = by_name(f"many-well-{dimension}")
    assert system.log_partition() == pytest.approx(log_z, abs=1e-7)
    x = np.random.default_rng(0).normal(size=(7, dimension))
    pairs = x.reshape(7, -1, 2)
    u, v = pairs[..., 0], pairs[..., 1]
    expected = (u**4 - 6 * u**2 - u / 2 + v**2 / 2).sum(1)
    np.testing.assert_allclose(system.energy(torch.tensor(x)), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("scale", "difference"),
    [(0.15, 5.69354549), (1 / 15, 2.23618477), (0.1, 3.65667693), (0.05, 1.53569380)],
)
def test_mueller_brown(scale, difference):
    system = MuellerBrown(scale)
    # a grid along u = y - x, so that the dividing line y = x + 0.8 falls between points
    u, y = np.linspace(-4 + 0.8, 5 + 0.8, 1800), np.linspace(-3, 5, 1601)
    points = np.stack(np.meshgrid(u, y, indexing="ij"), axis=-1).reshape(-1, 2)
    above = points[:, 0] > 0.8
    xy = np.stack([points[:, 1] - points[:, 0], points[:, 1]], axis=1)
    weight = np.exp(-system.energy(torch.tensor(xy)).numpy())
    got = -math.log(weight[~above].sum() / weight[above].sum())
    assert got == pytest.approx(difference, abs=2e-4)
    if scale == 0.15:
        assert system.log_partition() == pytest.approx(18.61543946, abs=1e-7)
        assert math.log(weight.sum() * (u[1] - u[0]) * (y[1] - y[0])) == pytest.approx(18.61543946, abs=1e-6)


@pytest.mark.parametrize(("stiffness", "f"), [(1, -0.918939), (4, -0.225791), (16, 0.467356)])
def test_harmonic_well(stiffness, f):
    system = by_name(f"harmonic-well-{stiffness}")
    _, weight = on_grid(system, np.linspace(-9, 9, 2001))
    assert -math.log(weight.sum()) == pytest.approx(f, abs=1e-6)
    assert -system.log_partition() == pytest.approx(f, abs=1e-6)
    assert by_name(f"harmonic-well-{stiffness}-10").log_partition() == pytest.approx(-10 * f, abs=1e-5)


@pytest.mark.parametrize(
    ("depth", "log_z", "close"),
    [(1, 3.88320836, 0.27418), (2, 4.11130826, 0.40602), (5, 5.65396951, 0.86069)],
)
def test_lennard_jones_dimer(depth, log_z, close):
    system = by_name(f"lennard-jones-dimer-{depth}")
    r = np.linspace(0.05, 20, 200_001)
    weight = 4 * np.pi * r**2 * np.exp(-system.energy(along_axis(r, 3)).numpy()) * (r[1] - r[0])
    assert math.log(weight.sum()) == pytest.approx(log_z, abs=1e-7)
    assert system.log_partition() == pytest.approx(log_z, abs=1e-7)
    assert weight[r < 1.5].sum() / weight.sum() == pytest.approx(close, abs=1e-4)
    pair = np.random.default_rng(0).normal(size=(6, 2, 3))  # two particles
    pair[:, 1, 0] += 1.5
    centre = pair.mean(1, keepdims=True)
    apart = np.linalg.norm(pair[:, 0] - pair[:, 1], axis=1)
    expected = depth * (apart**-12 - 2 * apart**-6) + 0.5 * ((pair - centre) ** 2).sum((1, 2))
    np.testing.assert_allclose(system.energy(torch.tensor(pair[:, 0] - pair[:, 1])), expected, rtol=1e-12)


def test_pair_double_well():
    system = by_name("pair-double-well")
    r = np.linspace(0, 9, 200_000)
    weight = 2 * np.pi * r * np.exp(-system.energy(along_axis(r, 2)).numpy()) * (r[1] - r[0])
    assert math.log(weight.sum()) == pytest.approx(7.95354017, abs=1e-7)
    assert system.log_partition() == pytest.approx(7.95354017, abs=1e-6)
    far = r > 4
    assert -math.log(weight[far].sum() / weight[~far].sum()) == pytest.approx(-0.73265543, abs=1e-5)


def along_axis(r: np.ndarray, dimension: int) -> torch.Tensor:
    """Vectors of length `r` along the first axis."""
    x = torch.zeros(len(r), dimension, dtype=torch.float64)
    x[:, 0] = torch.tensor(r)
    return x


@pytest.mark.parametrize(
    "name",
    [
        "double-well",
        "tilted-double-well",
        "many-well-6",
        "mueller-brown-0.15",
        "harmonic-well-2-3",
        "lennard-jones-dimer-2",
        "pair-double-well",
    ],
)
def test_gradient_reference_and_bad_rows(name):
    system = by_name(name)
    assert system.energy_unit == "kT"
    start = torch.tensor(system.reference)[None]
    assert start.shape == (1, system.dimension)
    around = start + 0.05 * torch.randn(50, system.dimension, dtype=torch.float64)
    assert (system.energy(around) > system.energy(start)).all()  # the reference is a minimum
    assert torch.autograd.gradcheck(system.energy, around[:3].clone().requires_grad_())
    bad = around.clone()
    bad[4] = torch.nan
    got = system.energy(bad)
    assert torch.isnan(got[4])
    keep = torch.arange(50) != 4
    torch.testing.assert_close(got[keep], system.energy(around)[keep])
    assert system.energy(around.float()).dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("manywell", "'many-well'"),
        ("many-well-33", "even number"),
        ("many-well-0", "at least one"),
        ("many-well-x", "many-well"),
        ("double-well-3", "double-well"),
        ("mueller-brown-0", "positive"),
        ("harmonic-well-nan", "positive"),
        ("lennard-jones-dimer-0", "positive"),
        ("", "Known are"),
    ],
)
def test_a_name_that_is_not_known(name, word):
    with pytest.raises(InputError, match=word):
        by_name(name)


def test_a_wrong_number_of_coordinates():
    with pytest.raises(InputError, match=r"\(batch, 32\)"):
        by_name("many-well-32").energy(torch.zeros(4, 31))
