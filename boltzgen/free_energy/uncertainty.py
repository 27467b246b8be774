"""Errors of estimators that are smooth functions of sums over samples, by two ways that check each other.

Arrays: ``x_jn`` what is summed (one row a sum), ``S_j = sum_n x_jn``, ``theta_m(S)`` the estimators. With
theta of degree zero in S (ratios of sums; a row of ones stands for N where it is needed)::

    asymptotic:  var theta_m = g sum_n (sum_j d theta_m / d S_j x_jn)^2          (delta method)
    bootstrap:   spread of theta_m over resampled samples, or resampled blocks of consecutive samples

with statistical inefficiency g. Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters
6, 8 (blocks) and 13 (percentile interval).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from boltzgen.free_energy.statistics import Statistics
from boltzgen.remedies import DRAW_MORE, LENGTHEN

#: The ends of an interval; None where it has no bound.
Interval = tuple[float | None, float | None]

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
    g = statistics.inefficiency
    variance_m = [g * float(np.sum((gradient_j @ x_jn) ** 2)) for gradient_j in gradient_mj]
    sums_rj = bootstrap_sums(x_jn, statistics)
    with np.errstate(divide="ignore", invalid="ignore"):
        value_rm = theta(sums_rj)
    return [
        Errors(float(value), float(np.sqrt(variance)), *replicate_errors(value_rm[:, m]))
        for m, (value, variance) in enumerate(zip(value_m, variance_m, strict=True))
    ]


def bootstrap_sums(x_jn: np.ndarray, statistics: Statistics) -> np.ndarray:
    """Sums over resampled columns of `x_jn` (J, N): (replicates, J).

    Columns are grouped into consecutive blocks and each block is drawn a Poisson(1) number of
    times, which for ratios of sums equals drawing as many blocks as there are (their number cancels).
    """
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


def replicate_errors(value_r: np.ndarray) -> tuple[float | None, tuple[float | None, float | None]]:
    """Standard error and 95 % percentile interval of bootstrap replicates (R,).

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
    low, high = np.quantile(known_r, (0.025, 0.975), method="inverted_cdf")
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
    """The remedy that brings more of the samples to which the record `coverage` belongs: frames or draws."""
    return LENGTHEN if (coverage or {}).get("simulated") else DRAW_MORE


def _complex_step(theta: Callable[[np.ndarray], np.ndarray], sums_j: np.ndarray) -> np.ndarray:
    """``d theta_m / d S_j`` (m, J), exact to rounding (Squire and Trapp, SIAM Rev. 40, 110 (1998))."""
    step_j = 1e-30 * np.maximum(np.abs(sums_j), 1e-30)
    moved_jj = sums_j.astype(complex) + 1j * np.diag(step_j)
    gradient: np.ndarray = theta(moved_jj).imag.T / step_j
    return gradient
