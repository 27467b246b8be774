"""Errors of estimators that are smooth functions of sums over samples, by two ways that check each other.

Arrays: ``x_jn`` what is summed (one row a sum), ``S_j = sum_n x_jn``, ``theta_m(S)`` the estimators. With
theta of degree zero in S (ratios of sums; a row of ones stands for N where it is needed)::

    asymptotic:  var theta_m = g sum_n (sum_j d theta_m / d S_j x_jn)^2          (delta method)
    bootstrap:   spread of theta_m over resampled samples, or resampled blocks of consecutive samples

with statistical inefficiency g. Of walkers both are those of the sums over each walker. Efron and
Tibshirani, An Introduction to the Bootstrap (1993), chapters
6, 8 (blocks) and 13 (percentile interval).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from boltzgen.ensemble.chains.walkers import Walkers
from boltzgen.free_energy.statistics import Statistics
from boltzgen.remedies import DRAW_MORE, LENGTHEN, LONGER_CHAINS

#: The ends of an interval; None where it has no bound.
Interval = tuple[float | None, float | None]

#: Half of a normal's 95 % interval, in standard deviations.
Z95 = 1.959963984540054

#: Blocks that a bootstrap draws from; up to this many samples each is its own block.
MAX_BLOCKS = 20_000

#: A block of a correlated series spans at least this many statistical inefficiencies.
BLOCK_INEFFICIENCIES = 5.0

#: The two errors disagree when the larger exceeds the smaller by this factor.
ERRORS_DISAGREE = 1.25

#: Share of bootstrap replicates without a finite value above which there is no bootstrap error.
MAX_LOST_REPLICATES = 0.01

_REPLICATES_AT_ONCE = 50


@dataclass(frozen=True)
class Errors:
    """One number with its two errors and its 95 % interval; None where not known."""

    value: float | None
    asymptotic: float | None
    bootstrap: float | None
    interval95: tuple[float | None, float | None]


#: What is left of an estimator to which nothing contributes.
NOTHING = Errors(None, None, None, (None, None))


def smooth_functions(
    x_jn: np.ndarray, theta: Callable[[np.ndarray], np.ndarray], statistics: Statistics
) -> list[Errors]:
    """Each ``theta_m`` of the sums of `x_jn` (J, N), with both errors.

    theta maps sums (..., J) to values (..., m); it is differentiated by a complex step, so it may use
    arithmetic and logarithms only, and must be of degree zero.
    """
    sums_j = x_jn.sum(axis=1)
    value_m = theta(sums_j)
    gradient_mj = _complex_step(theta, sums_j)
    if statistics.walkers is not None and statistics.walkers.number < 2:  # nothing to see a scatter of
        return [Errors(float(value), None, None, (None, None)) for value in value_m]
    variance_m = [variance(gradient_j @ x_jn, statistics) for gradient_j in gradient_mj]
    sums_rj = bootstrap_sums(x_jn, statistics)
    with np.errstate(divide="ignore", invalid="ignore"):
        value_rm = theta(sums_rj)
    return [
        Errors(float(value), float(np.sqrt(square)), *replicate_errors(value_rm[:, m], statistics))
        for m, (value, square) in enumerate(zip(value_m, variance_m, strict=True))
    ]


def variance(influence_n: np.ndarray, statistics: Statistics) -> float:
    """Variance of an estimator of which sample n moves the value by ``influence_n``: they sum to zero.

    With walkers it is that of their sums, ``K / (K - 1) sum_k (sum_{n of k} influence_n)^2``.
    """
    if statistics.walkers is None:
        return statistics.inefficiency * float(np.sum(influence_n**2))
    return scatter_among(statistics.walkers, influence_n)


def scatter_among(walkers: Walkers, influence_n: np.ndarray) -> float:
    """`variance` by the sums of the walkers; 0 of one walker, which shows none."""
    sums_k = walkers.sums(influence_n[None])[0]
    return float(np.sum(sums_k**2)) * sums_k.size / (sums_k.size - 1) if sums_k.size > 1 else 0.0


def binned_by(walkers: Walkers, w_n: np.ndarray, bin_n: np.ndarray, size: int) -> np.ndarray:
    """(walkers, bins) the weight `w_n` (n,) of each walker in each of `size` bins; -1 is none of them."""
    inside = bin_n >= 0
    w_kb = np.zeros((walkers.number, size))
    np.add.at(w_kb, (walkers.index[inside], bin_n[inside]), w_n[inside])
    return w_kb


def binned_samples(
    w_kb: np.ndarray | None, w_b: np.ndarray, square_b: np.ndarray, statistics: Statistics
) -> np.ndarray:
    """Effective samples (bins,) of each bin; `w_b`, `square_b`: sums of its weights and of their squares.

    Kish's, over the inefficiency; of walkers, whose weights are `w_kb`, by their scatter: a bin of the share
    p that rests on n independent samples has a share that scatters by ``p^2 (1 - p) / n``.
    """
    kish_b = np.where(square_b > 0, w_b**2 / square_b, 0.0)
    if w_kb is None or statistics.walkers is None:
        return np.asarray(kish_b / statistics.inefficiency)
    scatter_b = _scatter(w_kb - w_b / len(w_kb))
    found_b = np.where(scatter_b > 0, w_b**2 * (1 - w_b) / scatter_b, 0.0)
    return np.asarray(np.minimum(found_b, kish_b))


def binned_variance(
    w_kb: np.ndarray | None, w_b: np.ndarray, square_b: np.ndarray, reference: int, statistics: Statistics
) -> np.ndarray:
    """Variance (bins,) of ``-ln p`` of each bin less that of bin `reference`; NaN where a bin is empty."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if w_kb is None:
            relative_b = np.where(w_b > 0, statistics.inefficiency * square_b / w_b**2, np.nan)
            return np.asarray(relative_b + relative_b[reference])
        share_kb = w_kb / w_b
        return np.asarray(np.where(w_b > 0, _scatter(share_kb - share_kb[:, [reference]]), np.nan))


def _scatter(apart_kb: np.ndarray) -> np.ndarray:
    """(bins,) the variance of sums over walkers of `apart_kb` (walkers, bins), whose mean is zero."""
    few = len(apart_kb) / max(len(apart_kb) - 1, 1)
    return np.asarray((apart_kb**2).sum(axis=0) * few)


def bootstrap_sums(x_jn: np.ndarray, statistics: Statistics) -> np.ndarray:
    """Sums over resampled columns of `x_jn` (J, N): (replicates, J).

    Columns are grouped into consecutive blocks and each block is drawn a Poisson(1) number of
    times, which for ratios of sums equals drawing as many blocks as there are (their number cancels).
    The rows of a walker, where there are any, are a block.
    """
    if statistics.walkers is not None:
        return poisson_sums(statistics.walkers.sums(x_jn).T, statistics)
    return poisson_sums(block_sums(x_jn, statistics.inefficiency).T, statistics)


def block_length(n: int, g: float) -> int:
    """Consecutive samples in a block of the bootstrap, for `n` samples of statistical inefficiency `g`."""
    length = max(-(-n // MAX_BLOCKS), 1)
    return max(length, int(np.ceil(BLOCK_INEFFICIENCIES * g))) if g > 1 else length


def block_sums(x_jn: np.ndarray, g: float) -> np.ndarray:
    """Sums of `x_jn` (J, N) over blocks of consecutive columns: (J, blocks)."""
    n = x_jn.shape[1]
    sums: np.ndarray = np.add.reduceat(x_jn, np.arange(0, n, block_length(n, g)), axis=1)
    return sums


def poisson_sums(blocks_bj: Any, statistics: Statistics) -> np.ndarray:
    """Sums over blocks `blocks_bj` (blocks, J), dense or SciPy sparse, each drawn Poisson(1) times."""
    number, rng = statistics.n_bootstrap, statistics.rng
    sums = [
        rng.poisson(1.0, (min(_REPLICATES_AT_ONCE, number - start), blocks_bj.shape[0])) @ blocks_bj
        for start in range(0, number, _REPLICATES_AT_ONCE)
    ]
    return np.concatenate(sums)


def few_walkers(statistics: Statistics) -> tuple[float, float]:
    """By what a standard error, and a distance of an interval's end, of few walkers are too small.

    A bootstrap over K walkers scatters by ``(K - 1) / K`` of the variance, and its quantiles are those of a
    normal where Student's t has longer tails. (1, 1) without walkers.
    """
    number = 0 if statistics.walkers is None else statistics.walkers.number
    if number < 2:
        return 1.0, 1.0
    scale = float(np.sqrt(number / (number - 1)))
    return scale, scale * float(stdtrit(number - 1, 0.975)) / Z95


def replicate_errors(
    value_r: np.ndarray, statistics: Statistics | None = None
) -> tuple[float | None, tuple[float | None, float | None]]:
    """Standard error and 95 % percentile interval of bootstrap replicates (R,), over walkers where there are.

    A replicate may be infinite (it holds only one of two states) or NaN (it holds neither, and says
    nothing). The error is None where more than `MAX_LOST_REPLICATES` are not finite, an end of the
    interval where it is infinite.
    """
    known_r = value_r[~np.isnan(value_r)]
    finite_r = known_r[np.isfinite(known_r)]
    lost = 1 - finite_r.size / value_r.size
    error = float(finite_r.std(ddof=1)) if finite_r.size > 1 and lost <= MAX_LOST_REPLICATES else None
    if known_r.size == 0:
        return error, (None, None)
    low, middle, high = np.quantile(known_r, (0.025, 0.5, 0.975), method="inverted_cdf")
    if statistics is not None and statistics.walkers is not None and np.isfinite(middle):
        scale, longer = few_walkers(statistics)
        error = None if error is None else scale * error
        low, high = middle + longer * (low - middle), middle + longer * (high - middle)
    return error, (float(low) if np.isfinite(low) else None, float(high) if np.isfinite(high) else None)


def chosen_error(
    asymptotic: float,
    bootstrap: float | None,
    found: list[tuple[str, str]],
    unit: str = "kT",
    more: str = DRAW_MORE,
) -> float:
    """The asymptotic error where both agree; otherwise the larger, and a finding that names both.

    more: the remedy, where the samples are not draws of a flow.
    """
    if bootstrap is None:
        return asymptotic
    low, high = sorted((asymptotic, bootstrap))
    if high <= ERRORS_DISAGREE * low or high == 0:
        return asymptotic
    suffix = "" if unit == "1" else f" {unit}"
    found.append(
        (
            "caution",
            f"the two error estimates disagree: {asymptotic:.3g}{suffix} asymptotic, "
            f"{bootstrap:.3g}{suffix} bootstrap; {more}",
        )
    )
    return high


def holding(interval: Interval, value: float | None, error: float | None) -> Interval:
    """`interval`, widened to hold one standard `error` on each side of `value`; an end may have no bound.

    The percentile interval and the error come from different estimators. Of a skewed distribution of few
    samples the first may end before the second, or even before the value.
    """
    if value is None or error is None:
        return interval
    low, high = interval
    return (
        None if low is None else min(low, value - error),
        None if high is None else max(high, value + error),
    )


def more_of(coverage: Mapping[str, Any] | None) -> str:
    """The remedy that brings more of the samples to which the record `coverage` belongs."""
    record = coverage or {}
    if record.get("chained"):
        return LONGER_CHAINS
    return LENGTHEN if record.get("simulated") else DRAW_MORE


def _complex_step(theta: Callable[[np.ndarray], np.ndarray], sums_j: np.ndarray) -> np.ndarray:
    """``d theta_m / d S_j`` (m, J), exact to rounding (Squire and Trapp, SIAM Rev. 40, 110 (1998))."""
    step_j = 1e-30 * np.maximum(np.abs(sums_j), 1e-30)
    moved_jj = sums_j.astype(complex) + 1j * np.diag(step_j)
    gradient: np.ndarray = theta(moved_jj).imag.T / step_j
    return gradient
