"""Distances between samples and a reference against closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import norm

from boltzgen.ensemble.distances import (
    jensen_shannon,
    total_variation,
    wasserstein_on_line,
    wasserstein_on_torus,
)
from boltzgen.errors import InputError


def test_w2_on_the_line_between_gaussians():
    quantiles = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    found = wasserstein_on_line(1.0 + 2.0 * quantiles, -0.5 + 0.7 * quantiles)
    assert found == pytest.approx(np.hypot(1.5, 1.3), rel=1e-3)  # W2^2 = (difference of means)^2 + of sds^2


def test_w2_on_the_line_with_weights_is_that_of_repeated_rows():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=7), rng.normal(1.0, 2.0, size=5)
    counts_x, counts_y = rng.integers(1, 5, 7), rng.integers(1, 5, 5)
    size = np.lcm(counts_x.sum(), counts_y.sum())
    whole = [
        np.sort(np.repeat(values, counts * (size // counts.sum())))
        for values, counts in ((x, counts_x), (y, counts_y))
    ]
    expected = np.sqrt(np.mean((whole[0] - whole[1]) ** 2))
    assert wasserstein_on_line(x, y, counts_x, counts_y) == pytest.approx(expected, rel=1e-12)


def test_w2_on_the_torus_of_shifted_points_and_across_the_cut():
    rng = np.random.default_rng(4)
    x = np.stack([np.pi - 0.05 + 0.01 * rng.random(30), rng.uniform(-0.3, 0.3, 30)], axis=1)
    shifted = (x + np.array([0.2, -0.15]) + np.pi) % (2 * np.pi) - np.pi
    assert wasserstein_on_torus(x, shifted[::-1]) == pytest.approx(0.25, rel=1e-9)
    with pytest.raises(InputError, match="one shape"):
        wasserstein_on_torus(x, shifted[:-1])


def test_w2_on_the_torus_is_the_best_of_all_assignments():
    rng = np.random.default_rng(5)
    x, y = rng.uniform(-np.pi, np.pi, (2, 6, 3))
    apart = np.abs(np.angle(np.exp(1j * (x[:, None] - y[None, :]))))
    cost = (apart**2).sum(axis=-1)
    best = min(cost[range(6), list(order)].mean() for order in itertools.permutations(range(6)))
    assert wasserstein_on_torus(x, y) == pytest.approx(np.sqrt(best), rel=1e-12)


def test_distances_of_histograms():
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.5, 0.5])
    assert total_variation(p, q) == pytest.approx(0.5)
    assert jensen_shannon(p, q) == pytest.approx(0.5 * np.log(2))
    assert jensen_shannon(p[:1] * 2, p[:1] * 2) == 0.0
    vanishing = np.array([5e-324, 0.25, 0.75])  # the share of a sample whose weight is as good as none
    assert jensen_shannon(vanishing, np.array([0.0, 0.75, 0.25])) == pytest.approx(
        0.25 * np.log(0.5) + 0.75 * np.log(1.5), abs=1e-12
    )
