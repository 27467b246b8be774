"""Nested R-hat: do groups of walkers that never talked agree?

Margossian, Hoffman, Sountsov, Riou-Durand, Vehtari, Gelman, "Nested R-hat: assessing the convergence of
Markov chain Monte Carlo when running many short chains", Bayesian Analysis (2024). K groups of M walkers with
N rows each, of a variable x_nmk::

    B = var_k(x_..k),     W = mean_k( var_m(x_.mk) + mean_m var_n(x_nmk) ),     R = sqrt(1 + B / W)

with every variance over one less than its number, and a dot for a mean. Split R-hat of many short walkers
measures their number; here the means of a group's walkers stand for one long chain. Where all rows are
independent, ``E[B] / E[W] = 1 / (M (N + 1))``. The walkers of a group begin at one point, so that until they
have forgotten it groups stand apart, and R is large. Walkers that never moved from starts of their own give
``1 / M`` for the ratio, which is little: that walkers moved is seen by sample sizes and crossings.
"""

from __future__ import annotations

import numpy as np


def nested_r_hat(series: np.ndarray, group_of_walker: np.ndarray) -> float | None:
    """Nested R-hat of `series` (walkers, steps), for walkers of the groups (walkers,).

    Groups may differ in their number of walkers. None with one group, and where nothing varies within one.
    """
    groups = [series[group_of_walker == group] for group in np.unique(group_of_walker)]
    if len(groups) < 2 or not np.isfinite(series).all() or series.size == 0:
        return None
    means_k = np.array([part.mean() for part in groups])
    between = float(means_k.var(ddof=1))
    within = float(np.mean([_within(part) for part in groups]))
    return float(np.sqrt(1.0 + between / within)) if within > 0 else None


def _within(part: np.ndarray) -> float:
    """Variance among the walkers' means of one group, and the mean variance of a walker; 0 of one number."""
    walkers, steps = part.shape
    among = float(part.mean(axis=1).var(ddof=1)) if walkers > 1 else 0.0
    own = float(part.var(axis=1, ddof=1).mean()) if steps > 1 else 0.0
    return among + own
