"""Expectation values of per-sample observables: distances, angles, dipoles, anything one number a sample.

The mean is arithmetic. The mean of an angle that crosses the cut of its circle means nothing: give its
cosine and sine, or a population. What MDTraj computes on the positions of an ensemble, one row a frame, can
be given as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.ensemble.diagnostics import K_BAD, pareto_k
from boltzgen.errors import InputError
from boltzgen.free_energy.estimate import Estimate
from boltzgen.free_energy.importance import WeightedSample, means, power_mean, weighted_values
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
    powers: Sequence[int] | None = None,
) -> list[Estimate]:
    """The mean of each column of `values` (N,) or (N, m) under log-weights (N,): m estimates.

    names: m of them, default ``observable 0`` ... powers: m of them, for ``<a^p>^(1/p)`` of a positive column
    where p is not 1. Otherwise as `boltzgen.free_energy.importance.expectation`, which treats one column.
    InputError when the number of names, rows or columns does not fit.
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
    powers_m = [1] * len(labels) if powers is None else list(powers)
    plain = [m for m, power in enumerate(powers_m) if power == 1]
    errors: dict[int, Errors] = {}
    for start in range(0, len(plain), _COLUMNS_AT_ONCE):
        chosen = plain[start : start + _COLUMNS_AT_ONCE]
        errors |= zip(chosen, means(sample, [columns[m] for m in chosen]), strict=True)
    return [
        sample.estimate(errors[m], name=label, quantity="expectation", unit=unit, values=columns[m])
        if m in errors
        else _power_mean(sample, columns[m], powers_m[m], label, unit)
        for m, label in enumerate(labels)
    ]


def _power_mean(sample: WeightedSample, a_n: np.ndarray, power: int, name: str, unit: str) -> Estimate:
    """The estimate of ``<a^power>^(1/power)``; its verdict knows the tail of weight times ``a^power``."""
    weighted = sample.w_n > 0
    if np.any(a_n[weighted] <= 0):
        raise InputError(f"{name}: a mean of the power {power} needs values above 0.")
    inside = a_n[weighted]
    scale = float(inside.min() if power < 0 else inside.max()) if inside.size else 1.0
    x_n = np.where(weighted, np.where(weighted, a_n / scale, 1.0) ** power, 0.0)
    with np.errstate(divide="ignore"):
        k_hat = pareto_k(sample.log_w_n + np.log(x_n))
    found: tuple[tuple[str, str], ...] = ()
    if k_hat is not None and k_hat > K_BAD:
        told = f"k-hat of weight times value^{power} is {k_hat:.2f}"
        found = (("caution", f"a few samples decide the mean of the power {power}: {told}"),)
    return sample.estimate(
        power_mean(sample, x_n, scale, power),
        name=name,
        quantity=f"power mean, <a^{power}>^(1/{power})",
        unit=unit,
        found=found,
        values=x_n,
    )
