"""The effective sample size and its error: closed forms, and the rule for the error against its scatter."""

from __future__ import annotations

import numpy as np
import pytest

from boltzgen.errors import InputError
from boltzgen.free_energy import Statistics
from boltzgen.free_energy.efficiency import effective_fraction, weight_figures


@pytest.mark.parametrize(("spread", "samples"), [(0.4, 4000), (0.8, 2000), (1.0, 1000)])
def test_the_larger_error_is_the_one_nearest_to_the_scatter(spread, samples):
    """Log-normal weights have ESS exp(-s^2). Both errors are too small once tails matter, never too large,
    so that the larger is right or nearer; 200 replicates know the scatter to 5 %."""
    rng = np.random.default_rng(61)
    found = [
        effective_fraction(spread * rng.normal(size=samples), Statistics(rng, n_bootstrap=100))
        for _ in range(200)
    ]
    value = np.array([one.value for one in found])
    scatter = value.std(ddof=1)
    assert abs(value.mean() - np.exp(-(spread**2))) < 4 * scatter / np.sqrt(200) + 12 / samples
    asymptotic, bootstrap, chosen = (
        np.sqrt(np.mean(np.square([getattr(one, name) for one in found]))) / scatter
        for name in ("asymptotic", "bootstrap", "standard_error")
    )
    assert max(asymptotic, bootstrap) <= chosen < 1.15
    assert chosen > {0.4: 0.88, 0.8: 0.8, 1.0: 0.7}[spread]


@pytest.mark.parametrize(("spread", "samples"), [(0.4, 2000), (0.8, 4000)])
def test_the_error_is_the_scatter(spread, samples):
    rng = np.random.default_rng(6)
    found = [
        effective_fraction(spread * rng.standard_normal(samples), Statistics(rng, n_bootstrap=100))
        for _ in range(200)
    ]
    value = np.array([one.value for one in found])
    scatter = np.std(value, ddof=1)
    assert np.mean(value) == pytest.approx(np.exp(-(spread**2)), abs=4 * scatter / np.sqrt(200) + 1e-3)
    assert value.mean() == pytest.approx(np.exp(-(spread**2)), rel=0.01)
    for name in ("asymptotic", "standard_error"):
        errors = np.array([getattr(one, name) for one in found])
        assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(scatter, rel=0.2)  # scatter itself: 5 %


def test_rejected_samples_lower_the_fraction_and_count_in_its_error():
    """A share a of equal weights and the rest rejected: ESS a, with the binomial error."""
    log_w = np.where(np.arange(4000) % 10 < 3, 1.7, -np.inf)
    found = effective_fraction(log_w, Statistics(np.random.default_rng(1)))
    assert found.value == pytest.approx(0.3)
    assert found.asymptotic == pytest.approx(np.sqrt(0.3 * 0.7 / 4000), rel=1e-6)
    assert found.bootstrap == pytest.approx(found.asymptotic, rel=0.15)
    figures = weight_figures(log_w, Statistics(np.random.default_rng(1)))
    assert figures["ess"] == pytest.approx(found.value, rel=1e-12)
    assert figures["ess_standard_error"] == found.standard_error == max(found.asymptotic, found.bootstrap)


def test_without_weight_nothing_is_known_of_the_error():
    found = effective_fraction(np.full(9, -np.inf), Statistics(np.random.default_rng(1)))
    assert (found.value, found.standard_error, found.interval95) == (0.0, None, (None, None))
    figures = weight_figures(np.full(9, -np.inf), Statistics(np.random.default_rng(1)))
    assert (figures["ess"], figures["ess_standard_error"]) == (0.0, None)
    with pytest.raises(InputError, match="sample 2 is nan"):
        effective_fraction([0.1, 0.2, np.nan], Statistics(np.random.default_rng(1)))
