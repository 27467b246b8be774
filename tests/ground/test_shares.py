"""Wilson's interval of a share: that of a binomial, within 0 and 1, and none where there is no error."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from boltzgen.shares import wilson_interval


@pytest.mark.parametrize(("hits", "draws"), [(1, 3), (3, 40), (57, 60), (499, 1000)])
def test_it_is_the_binomials(hits, draws):
    p = hits / draws
    expected = stats.binomtest(hits, draws).proportion_ci(method="wilson")
    found = wilson_interval(p, math.sqrt(p * (1 - p) / draws))
    assert found == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert 0 < found[0] < p < found[1] < 1


@pytest.mark.parametrize("p", [0.1, 0.4])
def test_it_covers_what_it_says(p):
    shares = np.random.default_rng(5).binomial(200, p, size=4000) / 200
    errors = np.sqrt(shares * (1 - shares) / 200)
    inside = [low <= p <= high for low, high in map(wilson_interval, shares, errors)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    "known", [(None, 0.1), (0.2, None), (0.0, 0.0), (1.0, 0.0), (0.3, 0.0), (0.3, math.inf), (math.nan, 0.1)]
)
def test_none_where_there_is_no_error(known):
    assert wilson_interval(*known) == (None, None)
