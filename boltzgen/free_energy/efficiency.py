"""The effective sample size with its error: how well a flow does, and how well that is known.

Kish's fraction of N weights is a ratio of sums, ``ESS = (sum w)^2 / (N sum w^2)``, and so has the two errors
of `boltzgen.free_energy.uncertainty`: the delta method's (to first order the jackknife's) and the bootstrap's
over samples. The larger of them is its standard error: with log-normal weights of spread 0.4 to 1.6 and 1000
or 5000 samples neither exceeds the scatter over 400 replicates. Where tails are light both are right and the
larger costs 2 %; where they are heavy both are too small, the delta method's most (at spread 1.6 and 1000
samples 0.56 and 0.77 of the scatter). Where the Pareto shape k-hat is above 0.25 the fourth moment of w, on
which both rest, is infinite; k-hat must be read beside the error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.ensemble.diagnostics import diagnose, kish_ess, no_error_bar, normalised_weights
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.uncertainty import holding, smooth_functions

#: Replicates of the bootstrap that verbs take for an effective sample size.
REPLICATES = 500


@dataclass(frozen=True)
class EffectiveFraction:
    """Kish's effective sample size as a fraction of N, 0 without weight; what is not known is None, as errors
    are where it makes one or two samples.

    asymptotic, bootstrap: the two errors, the larger of which is `standard_error`. interval95: of the
    bootstrap, holding one standard error on each side, between 0 and 1.
    """

    value: float
    asymptotic: float | None
    bootstrap: float | None
    interval95: tuple[float | None, float | None]

    @property
    def standard_error(self) -> float | None:
        return max((e for e in (self.asymptotic, self.bootstrap) if e is not None), default=None)


def effective_fraction(log_w: ArrayLike, statistics: Statistics) -> EffectiveFraction:
    """Kish's effective sample size as a fraction of the N log-weights, with its error.

    Rejected samples (``-inf``) count in N. InputError for NaN and ``+inf``.
    """
    statistics.require_unset("the effective sample size", "smoothed", "walkers")
    w_n = normalised_weights(log_w)
    if not w_n.any():
        return EffectiveFraction(0.0, None, None, (None, None))
    if no_error_bar(1.0 / float(np.sum(w_n**2))) is not None:
        return EffectiveFraction(kish_ess(log_w), None, None, (None, None))
    x_jn = np.stack([np.full(w_n.size, 1.0 / w_n.size), w_n, w_n**2 / np.sum(w_n**2)])

    def fraction(sums: np.ndarray) -> np.ndarray:
        return sums[..., 1:2] ** 2 / (w_n.size * np.sum(w_n**2) * sums[..., 0:1] * sums[..., 2:3])

    found = smooth_functions(x_jn, fraction, statistics)[0]
    assert found.value is not None
    whole = EffectiveFraction(found.value, found.asymptotic, found.bootstrap, found.interval95)
    low, high = holding(found.interval95, found.value, whole.standard_error)
    ends = (None if low is None else max(low, 0.0), None if high is None else min(high, 1.0))
    return replace(whole, interval95=ends)


def weight_figures(log_w: ArrayLike, statistics: Statistics) -> dict[str, Any]:
    """What the log-weights (N,) say, JSON-serialisable; fractions, ln Z natural."""
    found = diagnose(log_w, statistics.coverage)
    effective = effective_fraction(log_w, statistics)
    return {
        "ess": found.ess,
        "ess_standard_error": effective.standard_error,
        "ess_interval95": list(effective.interval95),
        "ess_clipped_1e-4": found.ess_clipped,
        "ess_deleted_0.2%": found.ess_dropped,
        "k_hat": found.k_hat,
        "largest_weight_share": found.largest_weight_share,
        "log_z": found.log_z,
        "log_z_standard_error": found.log_z_standard_error,
        "verdict": found.verdict,
        "reasons": list(found.reasons),
    }
