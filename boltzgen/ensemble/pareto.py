"""The generalised Pareto fit to the tail of weights, by arviz-stats: the one file that knows that package.

Its ``psislw`` takes *minus* the log-weights, raises on tails of fewer than five or of equal weights, counts
weights that equal the cutoff to the tail, rounds its length down, and has from 1.0 on no answer for a tail
whose lowest quarter is equal. So the tail is chosen here, by the rule of Vehtari, Simpson, Gelman, Yao,
Gabry, JMLR 25, 72 (2024), as ArviZ below 1.0 read it: the ``ceil(min(N / 5, 3 sqrt(N / r_eff)))`` largest
of N, without those that equal the largest weight below them. It is handed over alone, with that weight four
times as often below it: of few samples ``psislw`` takes a fifth for the tail.
"""

from __future__ import annotations

import numpy as np

#: ``psislw`` takes a fifth for the tail up to this many samples times r_eff.
_FEW = 225


def smoothed_tail(log_w: np.ndarray, r_eff: float = 1.0) -> tuple[np.ndarray, float | None]:
    """Pareto-smoothed log-weights (N,), on the scale of `log_w`, and the shape k-hat of their tail.

    log_w: (N,) float64, natural logs of unnormalised weights, all finite; left as it is. r_eff: effective
    over all samples of a chain.

    What is below the tail is unchanged. Unchanged altogether, with k-hat None, where no tail can be
    fitted: its lowest quarter is equal, as in every tail of fewer than six (up to 25 samples). Weights of
    the tail that equal each other get its quantiles in any order.
    """
    smoothed_n = np.array(log_w, dtype=np.float64)
    if smoothed_n.size == 0:
        return smoothed_n, None
    largest = smoothed_n.max()
    relative_n = smoothed_n - largest
    tail, cutoff = _tail(relative_n, r_eff)
    if not _has_shape(relative_n[tail], cutoff):
        return smoothed_n, None
    fitted, k = _fit(relative_n[tail], cutoff)
    if not np.isfinite(k):
        return smoothed_n, None
    smoothed_n[tail] = fitted + largest
    return smoothed_n, k


def _tail(relative_n: np.ndarray, r_eff: float) -> tuple[np.ndarray, float]:
    """Indices of the tail of `relative_n` (N,), whose largest is 0, and the largest value below it."""
    n = relative_n.size
    length = int(np.ceil(min(n / 5.0, 3.0 * (n / r_eff) ** 0.5)))
    below = max(n - length - 1, 0)
    cutoff = float(np.partition(relative_n, below)[below])
    cutoff = max(cutoff, float(np.log(np.finfo(float).tiny)))  # exp() of less is 0
    return np.flatnonzero(relative_n > cutoff), cutoff


def _has_shape(tail_m: np.ndarray, cutoff: float) -> bool:
    """Whether the first quarter of `tail_m` (M,) goes beyond its smallest: it sets the scale of the fit."""
    quarter = int(tail_m.size / 4 + 0.5) - 1
    if quarter < 1:
        return False
    excess_m = np.sort(np.exp(tail_m) - np.exp(cutoff))
    return bool(excess_m[quarter] > excess_m[0])


def _fit(tail_m: np.ndarray, cutoff: float) -> tuple[np.ndarray, float]:
    """Smoothed values of `tail_m` (M,), all above `cutoff`, and k-hat; nan where the fit fails."""
    from arviz_stats.base import array_stats

    handed = np.concatenate([np.full(4 * tail_m.size, cutoff), tail_m])
    with np.errstate(all="ignore"):  # inside the fit infinity and nan are what is meant
        log_w, k = array_stats.psislw(-handed, r_eff=min(1.0, 0.9 * _FEW / handed.size))
    to_given = cutoff - log_w[0]  # it normalises; the cutoff is never smoothed
    return log_w[4 * tail_m.size :] + to_given, float(k)
