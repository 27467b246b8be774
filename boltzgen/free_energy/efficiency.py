"""The effective sample size with its error: how well a flow does, and how well that is known.

Kish's fraction of N weights is a ratio of sums, ``ESS = (sum w)^2 / (N sum w^2)``, and so has the two errors
of `boltzgen.free_energy.uncertainty`: the delta method's (to first order the jackknife's) and the bootstrap's
over samples. Importance weights are heavy-tailed: where the Pareto shape k-hat is above 0.25 the fourth
moment of w, on which the error rests, is infinite, and the error is too small; k-hat must be read beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.ensemble.diagnostics import diagnose, normalised_weights
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.uncertainty import NOTHING, Errors, smooth_functions


def effective_fraction(log_w: ArrayLike, statistics: Statistics) -> Errors:
    """Kish's effective sample size as a fraction of the N log-weights, with both errors.

    Rejected samples (``-inf``) count in N. Nothing is known (None) when no sample carries weight.
    """
    statistics.require_unset("the effective sample size", "smoothed")
    w_n = normalised_weights(log_w)
    if not w_n.any() or w_n.size < 2:
        return NOTHING
    x_jn = np.stack([np.full(w_n.size, 1.0 / w_n.size), w_n, w_n**2 / np.sum(w_n**2)])

    def fraction(sums: np.ndarray) -> np.ndarray:
        return sums[..., 1:2] ** 2 / (w_n.size * np.sum(w_n**2) * sums[..., 0:1] * sums[..., 2:3])

    return smooth_functions(x_jn, fraction, statistics)[0]


def weight_figures(log_w: ArrayLike, statistics: Statistics) -> dict[str, Any]:
    """What the log-weights (N,) say, JSON-serialisable; fractions, ln Z natural.

    The error of the
    effective sample size is the larger of the delta method's and the bootstrap's.
    """
    found = diagnose(log_w, statistics.coverage)
    errors = effective_fraction(log_w, statistics)
    known = [error for error in (errors.asymptotic, errors.bootstrap) if error is not None]
    return {
        "ess": found.ess,
        "ess_standard_error": max(known, default=None),
        "ess_interval95": list(errors.interval95),
        "ess_clipped_1e-4": found.ess_clipped,
        "ess_deleted_0.2%": found.ess_dropped,
        "k_hat": found.k_hat,
        "largest_weight_share": found.largest_weight_share,
        "log_z": found.log_z,
        "log_z_standard_error": found.log_z_standard_error,
        "verdict": found.verdict,
        "reasons": list(found.reasons),
    }
