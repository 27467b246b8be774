"""Expectation values of per-sample observables: distances, angles, dipoles, anything one number a sample.

The mean is arithmetic. The mean of an angle that crosses the cut of its circle means nothing: give its
cosine and sine, or a population. What MDTraj computes on the positions of an ensemble, one row a frame, can
be given as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.errors import InputError
from boltzgen.free_energy.estimate import Estimate
from boltzgen.free_energy.importance import WeightedSample, means, weighted_values
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.uncertainty import Errors

#: Observables that share one set of bootstrap draws.
_COLUMNS_AT_ONCE = 16


def expectations(
    log_w: ArrayLike,
    values: ArrayLike,
    statistics: Statistics,
    *,
    names: Sequence[str] | None = None,
    unit: str = "1",
) -> list[Estimate]:
    """The mean of each column of `values` (N,) or (N, m) under log-weights (N,): m estimates.

    names: m of them, default ``observable 0`` ... Otherwise as
    `boltzgen.free_energy.importance.expectation`, which treats one column. InputError when the number of
    names, rows or columns does not fit.
    """
    sample = WeightedSample.of(log_w, statistics)
    a_nm = np.asarray(values, dtype=np.float64)
    if a_nm.ndim == 1:
        a_nm = a_nm[:, None]
    if a_nm.ndim != 2 or a_nm.shape[0] != sample.n or a_nm.shape[1] == 0:
        raise InputError(
            f"observables of shape {np.shape(values)} for {sample.n} weights; expected (N,) or (N, m)."
        )
    labels = [f"observable {m}" for m in range(a_nm.shape[1])] if names is None else list(names)
    if len(labels) != a_nm.shape[1]:
        raise InputError(f"{len(labels)} names for {a_nm.shape[1]} observables; give one each.")
    columns = [weighted_values(sample, a_nm[:, m], label) for m, label in enumerate(labels)]
    errors: list[Errors] = []
    for start in range(0, len(columns), _COLUMNS_AT_ONCE):
        errors += means(sample, columns[start : start + _COLUMNS_AT_ONCE])
    return [
        sample.estimate(e, name=label, quantity="expectation", unit=unit, values=a_n)
        for e, label, a_n in zip(errors, labels, columns, strict=True)
    ]
