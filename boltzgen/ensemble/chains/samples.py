"""How many independent samples the rows of several walkers are: ArviZ, by arviz-stats.

This and `boltzgen.ensemble.pareto` are the files that know that package. Bulk and tail sample sizes are
those of Vehtari, Gelman, Simpson, Carpenter and Buerkner, Bayesian Analysis 16, 667 (2021): values are turned
into normal scores by their ranks, walkers are split in halves, and autocorrelations, taken within walkers and
against the variance of all, are added up to where Geyer's pairs turn negative. The tail's is the smaller of
those of the 5 % and the 95 % quantile.

Three things it does not do. Of values that never change it says their number: it is not asked about them
(`moved`). Of walkers shorter than some ten correlation times it sees too few lags (of 128 walkers with 8 rows
each and a correlation of 0.9 from row to row it calls all 1 024 independent, and 150 are): there the scatter
of the walkers' means decides, ``var(x) / (var(means) / walkers)``, where it is the smaller. Walkers that
began in different places and stayed there count as one sample each: crossings tell that
(`boltzgen.ensemble.chains.walkers`).
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

#: Rows of a walker below which nothing is known of how they depend on one another.
FEWEST_STEPS = 4

#: Independent rows in each walker below which ArviZ may have seen too few lags.
LONG = 10.0

#: The quantiles whose sample sizes are those of the tails.
TAILS = (0.05, 0.95)


def moved(series: np.ndarray, least: float = 0.0) -> bool:
    """Whether any walker of `series` (walkers, steps) ever changed by more than `least`."""
    return bool(series.size and np.ptp(series, axis=1).max() > least)


def bulk_samples(series: np.ndarray) -> float | None:
    """Bulk sample size of `series` (walkers, steps), at most their number; None as in `_known`."""
    return _smaller(series, "bulk", [normal_scores(series)]) if _known(series) else None


def tail_samples(series: np.ndarray) -> float | None:
    """Tail sample size of `series` (walkers, steps), at most their number; None as in `_known`."""
    if not _known(series):
        return None
    ends = np.quantile(series, TAILS)
    marks = [(series <= end).astype(np.float64) for end in ends]
    return _smaller(series, "tail", marks)


def normal_scores(series: np.ndarray) -> np.ndarray:
    """`series` by the ranks of its values, as quantiles of a standard normal (Blom's offset 3/8)."""
    ranks = rankdata(series, method="average").reshape(series.shape)
    scores: np.ndarray = ndtri((ranks - 0.375) / (series.size + 0.25))
    return scores


def _known(series: np.ndarray) -> bool:
    """Not where no walker moved, walkers have too few rows, or a number is not finite."""
    enough = series.ndim == 2 and series.shape[1] >= FEWEST_STEPS
    return bool(enough and np.isfinite(series).all() and moved(series))


def _smaller(series: np.ndarray, method: str, summed: list[np.ndarray]) -> float | None:
    """ArviZ's number; of short walkers the smallest of it and of those by the means of `summed`."""
    from arviz_stats.base import array_stats

    prob = {"prob": TAILS} if method == "tail" else {}
    with np.errstate(all="ignore"):
        found = float(array_stats.ess(series, method=method, **prob))
    if not np.isfinite(found):
        return None
    found = min(found, float(series.size))  # pairs that repel each other count as more
    if found < LONG * len(series) and len(series) > 1:
        found = min([found, *filter(None, map(_by_means, summed))])
    return found


def _by_means(x_wn: np.ndarray) -> float | None:
    """Independent rows of `x_wn` (walkers, steps) by the scatter of the walkers' means; None without any."""
    scatter = float(x_wn.mean(axis=1).var(ddof=1)) / len(x_wn)
    return float(x_wn.var()) / scatter if scatter > 0 else None
