"""Another energy on the samples that matter: which rows first, and what their density then is.

N samples x_n ~ q (normalised) carry cheap weights ``w_n = exp(-u_n) / q_n``. An expensive energy u' is to
be evaluated on M of them only, chosen by those weights, without losing ``Z' = int exp(-u')``. Drawing M rows
with replacement would repeat rows, forget the spread of the first stage and leave no density to divide by.
So rows are *thinned* (priority sampling: Duffield, Lund and Thorup, J. ACM 54, 32, 2007). Each row gets a
uniform number U_n and the rank ``r_n = U_n / w_n``; the M rows with the smallest ranks are evaluated. With
tau the rank of the first row left out, row n was evaluated with probability

    pi_n = min(1, tau w_n),

given the random numbers of all other rows. The kept rows have the density q pi, whose missing mass is that of
the rows not evaluated; these stay in the ensemble with weight zero. Hence

    w'_n = exp(-u'_n) / (q_n pi_n) for evaluated rows, 0 for the others,
    E[(1/N) sum_n w'_n | x] = (1/N) sum_n exp(-u'_n) / q_n     (exactly, for each M),

so that ln Z' and every average are estimated as if N rows had been evaluated. Where ``tau w_n < 1`` the
weight is ``exp(-(u'_n - u_n)) / tau``: the second stage alone. Terms of different rows are uncorrelated given
x, so that the usual errors, with N rows, hold and contain both stages. The relative error of Z' stays near
``1 / sqrt(M)`` at least until most of the rows that carry weight are evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.ensemble.diagnostics import check_log_weights

#: Reason of a row whose new energy was not computed.
NOT_EVALUATED = "not evaluated"


@dataclass(frozen=True, eq=False)
class PriorityOrder:
    """In which order rows are evaluated; any first part of it is an unbiased thinning.

    Attributes
    ----------
    rows: (c,) int, the candidates, first to last.
    log_w: (N,) float64, cheap log-weights. log_rank: (N,) float64, ``ln U_n - ln w_n``.
    """

    rows: np.ndarray
    log_w: np.ndarray
    log_rank: np.ndarray

    @classmethod
    def draw(cls, log_w: ArrayLike, candidates: ArrayLike, rng: np.random.Generator) -> PriorityOrder:
        """An order of the rows in the mask `candidates` (N,); those without cheap weight come last."""
        log_w_n = check_log_weights(log_w)
        log_rank = np.log(1.0 - rng.random(log_w_n.size)) - log_w_n
        rows = np.flatnonzero(np.asarray(candidates, dtype=bool))
        return cls(rows[np.argsort(log_rank[rows], kind="stable")], log_w_n, log_rank)

    def log_inclusion(self, evaluated: int) -> np.ndarray:
        """``ln pi`` (evaluated,) of the first `evaluated` rows of the order, in that order.

        All zero when only rows without cheap weight are left out: they could not have been chosen.
        """
        chosen = self.rows[:evaluated]
        if evaluated >= len(self.rows):
            return np.zeros(len(chosen))
        threshold = self.log_rank[self.rows[evaluated]]
        if np.isposinf(threshold):
            return np.zeros(len(chosen))
        return np.minimum(0.0, threshold + self.log_w[chosen])
