"""Statistical inefficiency: how many frames of a time series count as one."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.errors import InputError


def statistical_inefficiency(series: ArrayLike) -> float:
    """``g = 1 + 2 sum_t (1 - t/T) C(t)`` up to the first t at which the autocorrelation C is not positive.

    Chodera et al., JCTC 3, 26 (2007); computed by fast Fourier transform. `series` is (T,), at
    least two finite numbers. A constant series gives 1: it shows no correlation to measure.
    """
    x_t = np.asarray(series, dtype=np.float64)
    if x_t.ndim != 1 or x_t.size < 2 or not np.isfinite(x_t).all():
        raise InputError("a time series needs at least two finite values, one a frame.")
    n = x_t.size
    deviation = x_t - x_t.mean()
    if np.ptp(x_t) == 0:
        return 1.0
    transform = np.fft.rfft(deviation, 2 * n)
    lag_sums = np.fft.irfft(np.abs(transform) ** 2)[:n]
    autocorrelation = lag_sums / np.arange(n, 0, -1) / (lag_sums[0] / n)
    crossings = np.flatnonzero(autocorrelation[1:] <= 0)
    end = int(crossings[0]) + 1 if crossings.size else n
    t = np.arange(1, end)
    return float(max(1.0, 1.0 + 2.0 * np.sum((1.0 - t / n) * autocorrelation[1:end])))
