"""Rows of equal weight for tools that know no weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.checks import check_number
from boltzgen.ensemble.diagnostics import normalised_weights
from boltzgen.errors import InputError

#: Rows that are drawn: their numbers are held at once, and far fewer say all that the weights do.
MOST_ROWS = 10_000_000


def equal_weight_rows(log_w: ArrayLike, number: int, rng: np.random.Generator) -> np.ndarray:
    """`number` row indices, drawn so that row n is expected ``number * w_n`` times; int64, in random order.

    Systematic resampling (Kitagawa, J. Comput. Graph. Stat. 5, 1996): one uniform number places a comb
    of `number` teeth on the cumulated weights, so that a row comes floor or ceil of ``number * w_n``
    times. Expectations stay unbiased; what is drawn is never better than the weights, and repeats
    rows where one weighs more than ``1 / number``. Shuffled, since neighbours would be repeats.

    Raises InputError when no row carries weight.
    """
    check_number(number, most=MOST_ROWS)
    w_n = normalised_weights(log_w)
    carrying = np.flatnonzero(w_n)
    if carrying.size == 0:
        raise InputError("no sample carries weight, so that none can be drawn; look at the reasons.")
    cumulated = np.cumsum(w_n[carrying])
    teeth = (np.arange(number) + rng.random()) * (cumulated[-1] / number)
    chosen = np.searchsorted(cumulated, teeth, side="right")
    rows = carrying[np.minimum(chosen, carrying.size - 1)]
    rng.shuffle(rows)
    return rows
