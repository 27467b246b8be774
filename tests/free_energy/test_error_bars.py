"""No error bar from one or two samples: null with the reason, wherever an estimate is made."""

from __future__ import annotations

import numpy as np
import pytest

from boltzgen.ensemble.diagnostics import diagnose, log_z, no_error_bar
from boltzgen.free_energy.combination import difference, paired_difference
from boltzgen.free_energy.efficiency import effective_fraction
from boltzgen.free_energy.importance import expectation
from boltzgen.free_energy.multistate import mbar
from boltzgen.free_energy.partition import log_partition
from boltzgen.free_energy.populations import (
    counted_free_energies,
    exchange_free_energies,
    populations,
    share_of,
    state_free_energies,
)
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.surface import free_energy_surface
from boltzgen.free_energy.thermodynamics import thermodynamics
from boltzgen.free_energy.uncertainty import holding
from boltzgen.free_energy.work import WorkSamples, bennett

#: Two samples carry (almost) all weight of five hundred.
TWO = np.r_[3.0, 3.1, np.full(498, -40.0)]
X = np.random.default_rng(4).normal(size=500)


def statistics(**given) -> Statistics:
    return Statistics(np.random.default_rng(1), n_bootstrap=80, **given)


def of_two(log_w) -> dict:
    """Every estimator on one ensemble, asked where `log_w` (500,) leaves one or two effective samples."""
    work = WorkSamples(np.abs(X), log_w)
    even = WorkSamples(np.abs(X))
    return {
        "expectation": expectation(log_w, X, statistics()),
        "log_partition": log_partition(log_w, statistics()),
        "thermodynamics": thermodynamics(log_w, X**2, statistics())[1],
        "paired": paired_difference(log_w, 0 * log_w, statistics(), A="A", B="B", estimator="x"),
        "bar": bennett(work, even, statistics(), A="A", B="B", estimator="BAR"),
        "states": state_free_energies(
            log_w, {"a": np.arange(500) == 0, "b": np.arange(500) > 0}, [("a", "b")], statistics()
        )[0],
    }


@pytest.mark.parametrize("name", list(of_two(TWO)))
def test_an_estimate_from_two_samples_has_a_value_and_no_error(name):
    estimate = of_two(TWO)[name]
    assert estimate.value is not None and estimate.n_effective <= 2.0
    assert estimate.standard_error is None and estimate.interval95 == (None, None)
    assert estimate.standard_error_asymptotic is None and estimate.standard_error_bootstrap is None
    entry = estimate.to_json(300.0)
    assert set(entry["standard_error"].values()) == {None}
    told = " ".join(entry["reasons"])
    assert "standard_error is null: it rests on" in told and "interval95 is null: it rests on" in told
    assert "one or two show no scatter" in told and entry["verdict"] == "unreliable"


@pytest.mark.parametrize("name", list(of_two(TWO)))
def test_three_even_samples_have_one(name):
    log_w = np.r_[np.zeros(499), -0.4]
    estimate = of_two(log_w)[name]
    if name != "states":  # where one of the two is a single sample
        assert estimate.standard_error is not None and estimate.n_effective > 3


def test_the_threshold_counts_effective_samples():
    assert no_error_bar(2.0) is not None and no_error_bar(2.0 + 1e-12) is not None
    assert no_error_bar(2.01) is None
    # four frames of a simulation, each half an independent one, are two
    masks = {"a": np.arange(400) < 4, "b": np.arange(400) >= 4}
    (found,) = state_free_energies(np.zeros(400), masks, [("a", "b")], statistics(inefficiency=2.0))
    assert found.value == pytest.approx(np.log(4 / 396)) and found.standard_error is None
    (found,) = state_free_energies(np.zeros(400), masks, [("a", "b")], statistics())
    assert found.standard_error == pytest.approx(np.sqrt(1 / 4 + 1 / 396), rel=0.4)


def test_states_of_simulations():
    masks = {"a": np.arange(300) < 2, "b": np.arange(300) >= 2}
    (counted,) = counted_free_energies(masks, [("b", "a")], statistics())
    w_kt = np.full((1, 300), 1 / 300)
    ladder = {name: mask[None, :] for name, mask in masks.items()}
    (exchanged,) = exchange_free_energies(w_kt, ladder, [("b", "a")], statistics())
    for found in (counted, exchanged):
        assert found.value == pytest.approx(np.log(298 / 2)) and found.standard_error is None
        assert "one or two" in found.unknown["standard_error"]


def test_populations():
    masks = {"rare": np.arange(500) < 2, "never": np.zeros(500, bool), "most": np.arange(500) >= 2}
    rare, never, most = populations(np.zeros(500), masks)
    assert [p.standard_error for p in (rare, never, most)] == [None] * 3
    assert rare.population == pytest.approx(0.004)
    assert most.to_json()["reasons"][0].startswith("standard_error is null: of the rest: it rests on 2.0")
    assert share_of(np.zeros(500), masks["rare"]) == pytest.approx(
        (0.004, np.sqrt(0.004 * 0.996 / 500)), rel=1e-9
    )
    (three,) = populations(np.zeros(500), {"three": np.arange(500) < 3})
    assert three.standard_error == pytest.approx(np.sqrt(0.006 * 0.994 / 500)) and not three.unknown


def test_a_surface_has_bars_where_bins_hold_more_than_two():
    values = np.r_[np.full(2, 0.5), np.full(3, 1.5), np.full(400, 2.5)]
    found = free_energy_surface(np.zeros(405), values, np.arange(5.0), statistics())
    assert np.isfinite(found.free_energy).tolist() == [True, True, True, False]
    for band in (found.standard_error, found.low, found.standard_error_asymptotic):
        assert np.isfinite(band).tolist() == [False, True, True, False]
    # where the lowest bin itself rests on two, nothing has a bar: every error is one to that bin
    found = free_energy_surface(TWO, np.where(X > 0, 0.5, 1.5), np.arange(3.0), statistics())
    assert np.isnan(found.standard_error).all()


def test_ln_z_and_ess():
    assert log_z(TWO)[1] is None and log_z(np.zeros(3))[1] == 0.0
    found = diagnose(TWO)
    assert found.log_z is not None and "one or two" in found.unknown["log_z_standard_error"]
    assert effective_fraction(TWO, statistics()).standard_error is None
    assert effective_fraction(TWO, statistics()).value == pytest.approx(2 / 500, rel=0.01)
    assert effective_fraction(0.5 * X, statistics()).standard_error is not None


def test_mbar_and_differences():
    u_kn = np.stack([X**2 / 2, np.r_[-30.0, -30.0, X[2:] ** 2 / 2]])
    found = mbar(u_kn, [500, 0], statistics(), inefficiency_k=[1, 1], names=["A", "B"]).difference("A", "B")
    assert found.value is not None and found.standard_error is None
    assert "one or two" in found.unknown["interval95"]
    whole = expectation(np.zeros(500), X, statistics(), unit="kT")
    both = difference(
        whole, expectation(TWO, X, statistics(), unit="kT"), name="d", A=None, B=None, estimator="x"
    )
    assert both.value is not None and both.standard_error is None
    assert both.unknown["standard_error"] == "one of the two has no error bar"


def skewed():
    """Estimates whose percentile interval ended within one standard error of the value."""
    rng = np.random.default_rng(29)
    x = rng.normal(size=2000)
    log_w = 0.1 * rng.normal(size=2000)
    log_w[np.flatnonzero(x > 0)[:3]] = 12.0
    log_u = 2.5 * np.random.default_rng(6).normal(size=400)
    yield state_free_energies(log_w, {"left": x < 0, "right": x > 0}, [("left", "right")], statistics())[0]
    yield from thermodynamics(log_u, 3 * np.exp(np.random.default_rng(7).normal(size=400)), statistics())
    yield log_partition(log_u, statistics())
    yield paired_difference(log_u, 0 * log_u, statistics(), A="A", B="B", estimator="x")
    yield bennett(
        WorkSamples(np.exp(2 * np.abs(X[:40])) - 3),
        WorkSamples(np.exp(2 * np.abs(X[40:70])) - 5),
        statistics(),
        A="A",
        B="B",
        estimator="BAR",
    )


def test_one_standard_error_stays_within_the_interval():
    widened = 0
    for estimate in skewed():
        value, error, (low, high) = estimate.value, estimate.standard_error, estimate.interval95
        assert value is not None and error is not None, estimate.name
        assert low is None or low <= value - error, estimate
        assert high is None or high >= value + error, estimate
        widened += low == value - error or high == value + error
        for unit, (lower, upper) in estimate.to_json(310.0)["interval95"].items():
            shown = estimate.to_json(310.0)["standard_error"][unit]
            centre = estimate.to_json(310.0)["value"][unit]
            assert lower is None or lower <= centre - shown * (1 - 1e-12)
            assert upper is None or upper >= centre + shown * (1 - 1e-12)
    assert widened > 0  # at least one of the cases is one


def test_the_widening_touches_nothing_else():
    assert holding((1.0, 3.0), 2.0, 0.5) == (1.0, 3.0)
    assert holding((1.8, 3.0), 2.0, 0.5) == (1.5, 3.0)
    assert holding((2.1, 2.2), 2.0, 0.5) == (1.5, 2.5)
    assert holding((None, 2.2), 2.0, 0.5) == (None, 2.5)
    assert holding((1.9, 2.1), None, 0.5) == (1.9, 2.1) == holding((1.9, 2.1), 2.0, None)


def test_the_bars_of_a_surface_and_of_an_effective_size():
    log_w = 2.0 * np.random.default_rng(6).normal(size=500)
    found = free_energy_surface(log_w, X, np.linspace(-2.5, 2.5, 13), statistics())
    known = np.isfinite(found.standard_error)
    assert known.sum() > 5
    assert (found.low <= found.free_energy - found.standard_error)[known].all()
    assert (found.high >= found.free_energy + found.standard_error)[known].all()
    ess = effective_fraction(log_w, statistics())
    low, high = ess.interval95
    assert 0 <= low <= ess.value - ess.standard_error and ess.value + ess.standard_error <= high <= 1


@pytest.mark.parametrize(("p", "n"), [(0.006, 500), (0.3, 40), (0.97, 200)])
def test_the_interval_of_a_population_is_wilsons(p, n):
    from scipy.stats import binomtest

    inside = round(p * n)
    (found,) = populations(np.zeros(n), {"a": np.arange(n) < inside})
    expected = binomtest(inside, n).proportion_ci(0.95, method="wilson")
    assert found.interval95 == pytest.approx((expected.low, expected.high), rel=1e-9)
    low, high = found.interval95
    assert 0 < low <= found.population - found.standard_error
    assert found.population + found.standard_error <= high < 1
    assert found.to_json()["interval95"] == [low, high]
