"""Expectations and partition functions from weighted samples: closed forms, error bars, refusals."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from boltzgen.ensemble.diagnostics import log_z, pareto_k
from boltzgen.errors import InputError
from boltzgen.free_energy import expectation, expectations, log_partition, smoothed_log_weights
from boltzgen.free_energy.importance import WeightedSample
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.uncertainty import chosen_error, smooth_functions

GOOD = {"verdict": "ok", "reasons": []}
HARMONIC = {1: -0.918939, 2: -0.572365, 4: -0.225791, 8: 0.120782, 16: 0.467356}  # f_k, shared facts


def gaussian(rng, n, s2, stiffness=1.0):
    """Samples of a normal density of variance `s2` and their log-weights to exp(-stiffness x^2 / 2)."""
    x = math.sqrt(s2) * rng.normal(size=n)
    return x, -stiffness * x**2 / 2 + x**2 / (2 * s2) + math.log(2 * math.pi * s2) / 2


# closed forms ----------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothed", [False, True])
@pytest.mark.parametrize("stiffness", HARMONIC)
def test_harmonic_partition_functions_and_moments(stiffness, smoothed):
    rng = np.random.default_rng(41)
    x, log_w = gaussian(rng, 40_000, 0.8 / stiffness, stiffness)  # k = 0.2
    statistics = Statistics(rng, n_bootstrap=200, smoothed=smoothed, coverage=GOOD)
    z = log_partition(log_w, statistics)
    assert z.verdict == "ok" and (z.quantity, z.unit) == ("ln Z", "1")
    assert abs(-z.value - HARMONIC[stiffness]) < min(4 * z.standard_error, 0.01)
    second = expectation(log_w, x**2, statistics)
    assert abs(second.value - 1 / stiffness) < 4 * second.standard_error < 0.1 / stiffness
    assert z.standard_error_bootstrap == pytest.approx(z.standard_error_asymptotic, rel=0.2)
    assert second.standard_error_bootstrap == pytest.approx(second.standard_error_asymptotic, rel=0.2)


def test_double_well_by_importance_sampling():
    rng = np.random.default_rng(42)
    n, width, share = 100_000, 0.4, 0.35
    right = rng.random(n) < share
    x = np.where(right, 1.72, -1.71) + width * rng.normal(size=n)
    log_q = np.logaddexp(
        math.log(share) - ((x - 1.72) / width) ** 2 / 2, math.log(1 - share) - ((x + 1.71) / width) ** 2 / 2
    ) - math.log(width * math.sqrt(2 * math.pi))
    log_w = -(x**4 - 6 * x**2 - x / 2) - log_q
    z, mean = log_partition(log_w, Statistics(rng)), expectation(log_w, x, Statistics(rng))
    assert abs(z.value - math.log(11784.509265)) < min(4 * z.standard_error, 0.05)
    assert abs(mean.value - 1.187961) < min(4 * mean.standard_error, 0.05)


def test_mueller_brown_drawn_from_a_grid():
    """Points uniform in the cells of a grid, cells by their Boltzmann factor: a density known exactly."""
    import torch

    from boltzgen.free_energy import state_free_energies
    from boltzgen.potentials.model_systems import by_name

    rng = np.random.default_rng(43)
    system, width = by_name("mueller-brown"), 0.02
    x, y = (low + width * np.arange(round((high - low) / width)) for low, high in ((-2.2, 1.6), (-1.0, 2.6)))
    corners = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    log_p = -system.energy(torch.as_tensor(corners + width / 2)).numpy()
    p = np.exp(log_p - np.logaddexp.reduce(log_p))
    chosen = rng.choice(len(p), size=100_000, p=p)
    points = corners[chosen] + width * rng.random((100_000, 2))
    log_w = -system.energy(torch.as_tensor(points)).numpy() - np.log(p[chosen] / width**2)
    z = log_partition(log_w, Statistics(rng))
    assert abs(z.value - 18.61543946) < min(4 * z.standard_error, 0.05)
    in_a = points[:, 1] > points[:, 0] + 0.8
    d = state_free_energies(log_w, {"A": in_a, "B": ~in_a}, [("A", "B")], Statistics(rng, coverage=GOOD))[0]
    assert abs(d.value - 5.69354549) < 4 * d.standard_error


def test_log_partition_agrees_with_the_summary_and_with_pymbar():
    from pymbar import other_estimators

    log_w = np.random.default_rng(44).normal(2.3, 0.8, 4000)
    log_w[::7] = -np.inf  # rejected samples count in N
    z = log_partition(log_w, Statistics(np.random.default_rng(1)))
    assert (z.value, z.standard_error_asymptotic) == pytest.approx(log_z(log_w), rel=2e-4)
    assert z.value == pytest.approx(-other_estimators.exp(-log_w)["Delta_f"], abs=1e-9)
    moved = log_partition(log_w - 3000.0, Statistics(np.random.default_rng(1)))
    assert moved.value == pytest.approx(z.value - 3000.0, abs=1e-9)
    assert moved.standard_error == pytest.approx(z.standard_error, rel=1e-6)


# Pareto smoothing ------------------------------------------------------------------------------


def test_smoothed_weights_are_those_of_arviz_on_the_scale_given():
    from arviz_stats.base import array_stats

    _, log_w = gaussian(np.random.default_rng(45), 3600, 0.6)  # 3 sqrt(3600) is whole: both take 180
    log_w = log_w + 123.0
    smoothed, k = smoothed_log_weights(log_w)
    reference, reference_k = array_stats.psislw(-log_w)
    assert k == pytest.approx(float(reference_k)) and 0.2 < k < 0.6
    assert smoothed - np.logaddexp.reduce(smoothed) == pytest.approx(np.asarray(reference), abs=1e-9)
    body = np.argsort(log_w)[: -math.ceil(3 * math.sqrt(3600)) - 1]
    assert smoothed[body] == pytest.approx(log_w[body], abs=1e-9)
    assert np.abs(smoothed - log_w).max() > 1e-3


def test_states_from_smoothed_weights():
    from boltzgen.free_energy import state_free_energies

    rng = np.random.default_rng(55)
    x, log_w = gaussian(rng, 20_000, 0.7)
    masks = {"middle": np.abs(x) < 1, "outside": np.abs(x) >= 1}
    statistics = Statistics(rng, n_bootstrap=100, coverage=GOOD)
    raw, smooth = (
        state_free_energies(log_w, masks, [("middle", "outside")], replace(statistics, smoothed=smoothed))[0]
        for smoothed in (False, True)
    )
    middle = math.erf(math.sqrt(0.5))
    exact = math.log(middle / (1 - middle))
    assert raw.value != smooth.value and smooth.estimator == "Pareto-smoothed importance sampling"
    for e in (raw, smooth):
        assert abs(e.value - exact) < 4 * e.standard_error and e.k_hat == pytest.approx(0.3, abs=0.15)


def test_smoothing_keeps_rejected_rows_and_leaves_alone_what_has_no_tail():
    _, log_w = gaussian(np.random.default_rng(46), 2000, 0.6)
    with_rejected = np.r_[log_w, np.full(500, -np.inf)]
    smoothed, k = smoothed_log_weights(with_rejected)
    assert np.isneginf(smoothed[2000:]).all() and k == pytest.approx(pareto_k(log_w))
    for no_tail in (np.full(500, -8.5), log_w[:20], np.full(30, -np.inf)):
        assert smoothed_log_weights(no_tail)[1] is None
        assert (smoothed_log_weights(no_tail)[0] == no_tail).all()


def test_smoothing_tames_the_scatter_of_heavy_weights():
    """Exact k = 0.6: over 200 sets of 300 weights the smoothed ln Z scatters less."""
    rng = np.random.default_rng(47)
    sets = [gaussian(rng, 300, 0.4)[1] for _ in range(200)]
    raw = [log_z(log_w)[0] for log_w in sets]
    smooth = [log_z(smoothed_log_weights(log_w)[0])[0] for log_w in sets]
    exact = math.log(2 * math.pi) / 2
    assert np.mean((np.array(smooth) - exact) ** 2) < 0.95 * np.mean((np.array(raw) - exact) ** 2)


# error bars ------------------------------------------------------------------------------------


def test_nominal_95_percent_covers():
    """200 replicates of 500 samples, k = 0.2; acceptance holds a true 95 % in 999 of 1000 cases each."""
    rng = np.random.default_rng(48)
    exact = {"z": math.log(2 * math.pi) / 2, "x2": 1.0}
    covered = np.zeros((2, 2), dtype=int)
    for _ in range(200):
        x, log_w = gaussian(rng, 500, 0.8)
        found = {
            "z": log_partition(log_w, Statistics(rng, n_bootstrap=300)),
            "x2": expectation(log_w, x**2, Statistics(rng, n_bootstrap=300)),
        }
        for row, (key, e) in enumerate(found.items()):
            covered[row, 0] += abs(e.value - exact[key]) < 1.96 * e.standard_error_asymptotic
            covered[row, 1] += e.interval95[0] < exact[key] < e.interval95[1]
    assert (covered >= 0.895 * 200).all() and (covered <= 0.995 * 200).all()


def test_a_correlated_series_has_the_error_of_its_independent_frames():
    """An autoregressive series with correlation a: the mean's variance is (1 + a) / (1 - a) / N."""
    rng = np.random.default_rng(49)
    a, n = 0.9, 60_000
    noise, x = rng.normal(size=n) * math.sqrt(1 - a**2), np.empty(n)
    x[0] = rng.normal()
    for t in range(1, n):
        x[t] = a * x[t - 1] + noise[t]
    g = (1 + a) / (1 - a)
    e = expectation(np.zeros(n), x, Statistics(rng, inefficiency=g))
    assert e.standard_error_asymptotic == pytest.approx(math.sqrt(g / n), rel=0.05)
    assert e.standard_error_bootstrap == pytest.approx(math.sqrt(g / n), rel=0.2)
    assert e.n_effective == pytest.approx(n / g) and abs(e.value) < 4 * e.standard_error


def test_delta_method_of_a_known_function():
    rng = np.random.default_rng(50)
    a, b = rng.normal(3.0, 0.5, 2000), rng.normal(5.0, 1.0, 2000)
    found = smooth_functions(
        np.stack([a, b]),
        lambda s: np.log(s[..., :1] / s[..., 1:]),
        Statistics(rng, n_bootstrap=400, inefficiency=1),
    )[0]
    by_hand = math.sqrt(np.sum((a / a.sum() - b / b.sum()) ** 2))
    assert found.value == pytest.approx(math.log(a.sum() / b.sum()))
    assert found.asymptotic == pytest.approx(by_hand, rel=1e-9)
    assert found.bootstrap == pytest.approx(by_hand, rel=0.15)


def _log_ratio(sums):
    return np.log(sums[..., 1:]) - np.log(sums[..., :1])


def test_errors_that_disagree_are_both_in_reasons_and_file():
    rng = np.random.default_rng(51)
    log_w = rng.normal(size=2000) * 0.1
    log_w[7:10] = 12.0
    (sample, found), a_n = (WeightedSample.of(log_w, Statistics(rng)), []), rng.normal(size=2000)
    assert chosen_error(0.31, 0.47, found, "nm") == 0.47 and "0.47 nm bootstrap" in found[0][1]
    rows = np.stack([np.full(2000, 1 / 2000), sample.w_n])
    log_z = smooth_functions(rows, _log_ratio, sample.statistics)[0]
    e = sample.estimate(log_z, name="x", quantity="expectation", unit="nm")
    assert any("disagree" in reason and "nm bootstrap" in reason for reason in e.reasons)
    assert expectation(log_w, a_n, Statistics(rng), unit="nm").unit == "nm"
    assert e.standard_error == max(e.standard_error_asymptotic, e.standard_error_bootstrap)
    entry = e.to_json(300.0)
    assert entry["standard_error_bootstrap"] != entry["standard_error_asymptotic"]
    assert set(entry["value"]) == {"nm"} and entry["unit"] == "nm" and entry["A"] is None


# many observables ------------------------------------------------------------------------------


def test_columns_are_the_single_observables():
    rng = np.random.default_rng(52)
    x, log_w = gaussian(rng, 3000, 0.8)
    values = np.stack([x ** (m + 1) for m in range(20)], axis=1)
    many = expectations(
        log_w, values, Statistics(rng, n_bootstrap=50), names=[f"x^{m + 1}" for m in range(20)]
    )
    for m in (0, 1, 19):
        one = expectation(log_w, values[:, m], Statistics(rng, n_bootstrap=50))
        assert many[m].value == pytest.approx(one.value, rel=1e-9, abs=1e-12)
        assert many[m].standard_error_asymptotic == pytest.approx(one.standard_error_asymptotic, rel=1e-9)
    assert [e.name for e in many][:2] == ["x^1", "x^2"]
    assert len(expectations(log_w, x, Statistics(rng, n_bootstrap=5))) == 1


def test_a_constant_observable_has_no_error():
    e = expectation(np.zeros(300), np.full(300, 7.25), Statistics(np.random.default_rng(1), coverage=GOOD))
    assert e.value == pytest.approx(7.25) and (e.standard_error, e.verdict) == (0.0, "ok")


# bad input -------------------------------------------------------------------------------------


def test_all_weights_zero():
    rng = np.random.default_rng(1)
    for e in (
        log_partition(np.full(30, -np.inf), Statistics(rng)),
        expectation(np.full(30, -np.inf), np.ones(30), Statistics(rng)),
        expectations(np.full(30, -np.inf), np.ones((30, 2)), Statistics(rng))[1],
    ):
        assert e.value is None and e.standard_error is None and e.interval95 == (None, None)
        assert e.verdict == "unreliable" and "every one was rejected" in e.reasons[0]
        assert "value is null: no sample carries weight" in json.dumps(e.to_json(300.0), allow_nan=False)


def test_rejected_rows_may_hold_nan_and_count():
    rng = np.random.default_rng(53)
    x, log_w = gaussian(rng, 2000, 0.8)
    dirty, dirty_w = np.r_[x, np.full(2000, np.nan)], np.r_[log_w, np.full(2000, -np.inf)]
    clean = expectation(log_w, x, Statistics(rng, n_bootstrap=10))
    e = expectation(dirty_w, dirty, Statistics(rng, n_bootstrap=10))
    assert e.value == pytest.approx(clean.value) and e.n == 4000
    halved = log_partition(dirty_w, Statistics(rng, n_bootstrap=10)).value
    assert halved == pytest.approx(log_partition(log_w, Statistics(rng, n_bootstrap=10)).value - math.log(2))


def test_what_is_refused():
    rng = np.random.default_rng(54)
    with pytest.raises(InputError, match="one sample"):
        log_partition([0.3], Statistics(rng))
    with pytest.raises(InputError, match="one sample"):
        expectation([0.3], [1.0], Statistics(rng))
    with pytest.raises(InputError, match="sample 1 is nan"):
        log_partition([0.3, np.nan], Statistics(rng))
    with pytest.raises(InputError, match="value of sample 2 is nan"):
        expectation([0.3, -np.inf, 0.1], [1.0, np.nan, np.nan], Statistics(rng))
    with pytest.raises(InputError, match="one value a sample"):
        expectation([0.3, 0.1], [1.0, 2.0, 3.0], Statistics(rng))
    with pytest.raises(InputError, match="3 names for 2"):
        expectations([0.3, 0.1], [[1.0, 2.0], [3.0, 4.0]], Statistics(rng), names=["a", "b", "c"])
    for wrong in (np.ones((3, 2)), np.ones((2, 2, 2)), np.ones((2, 0))):
        with pytest.raises(InputError, match="expected"):
            expectations([0.3, 0.1], wrong, Statistics(rng))
    with pytest.raises(InputError, match="at least 1, not"):
        log_partition([0.3, 0.1], Statistics(rng, inefficiency=0.5))
