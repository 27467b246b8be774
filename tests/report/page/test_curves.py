"""Free energies of the page against closed forms: the binomial, replicates, a known density."""

from __future__ import annotations

import numpy as np
import pytest

from boltzgen.report.page.curves import angle_bins, curve, difference


def test_equal_weights_give_the_binomial():
    counts = np.array([7, 40, 0, 153])
    found = curve(np.repeat(np.arange(4), counts), np.ones(200), 4, inefficiency=2.5)
    p = counts / 200
    assert found.free_energy[[0, 1, 3]] == pytest.approx(-np.log(4 * p[[0, 1, 3]]))
    assert np.isnan(found.free_energy[2]) and np.isnan(found.standard_error[2])
    expected = np.sqrt(2.5 * (1 - p) / (200 * np.maximum(p, 1e-9)))
    assert found.standard_error[[0, 1, 3]] == pytest.approx(expected[[0, 1, 3]])
    assert found.n_effective[[0, 1, 3]] == pytest.approx(counts[[0, 1, 3]] / 2.5)


def test_a_density_is_found_and_errors_are_those_of_replicates():
    """Draws of a flat density, weighted to one that falls as exp(-1.3 x) over four bins of (0, 4)."""
    rng, found = np.random.default_rng(11), []
    for _ in range(400):
        x = 4 * rng.random(500)
        found.append(curve(x.astype(int), 3.7 * np.exp(-1.3 * x), 4))
    edges = np.exp(-1.3 * np.arange(5))
    exact = -np.log(4 * (edges[:-1] - edges[1:]) / (1 - edges[-1]))
    values = np.array([one.free_energy for one in found])
    assert values.mean(axis=0) == pytest.approx(exact, abs=0.02)
    told = np.array([one.standard_error for one in found]).mean(axis=0)
    assert told == pytest.approx(values.std(axis=0, ddof=1), rel=0.12)


def test_differences_are_blank_where_either_is_poor():
    rich = curve(np.repeat([0, 1, 2], [50, 30, 20]), np.ones(100), 3)
    poor = curve(np.repeat([0, 1, 2], [60, 38, 2]), np.ones(100), 3)
    value, error = difference(rich, poor, fewest=10)
    assert value[:2] == pytest.approx(np.log([60 / 50, 38 / 30]))
    assert error[0] == pytest.approx(np.hypot(rich.standard_error[0], poor.standard_error[0]))
    assert np.isnan(value[2]) and np.isnan(error[2])


def test_no_weight_is_no_curve():
    found = curve(np.array([0, 1, -1]), np.zeros(3), 2)
    assert np.isnan(found.free_energy).all() and (found.n_effective == 0).all()


def test_bins_of_a_circle():
    angles = np.array([-180.0, -179.9, -0.1, 0.0, 179.9, 180.0, 541.0, np.nan])
    assert angle_bins(angles, 4).tolist() == [0, 0, 1, 2, 3, 0, 0, -1]


def test_a_sample_in_no_bin_counts_in_the_whole():
    found = curve(np.array([0, 0, 1, -1]), np.ones(4), 2)
    assert found.free_energy == pytest.approx(-np.log([2 * 0.5, 2 * 0.25]))
