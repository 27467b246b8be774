"""Importance sampling: expectations over a target from weighted samples of another density.

Arrays: ``log_w`` (N,) natural logs of unnormalised weights, ``-inf`` for rejected samples, which count
in N; ``values_n`` (N,). Self-normalised:

    <a> = sum_n w_n a_n / sum_n w_n

Pareto-smoothed: the largest weights are first replaced by the quantiles of the generalised Pareto
distribution fitted to them (Vehtari, Simpson, Gelman, Yao, Gabry, JMLR 25, 72 (2024); `ensemble/pareto.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.ensemble.diagnostics import (
    check_log_weights,
    findings,
    kish_ess,
    no_error_bar,
    pareto_k,
    weights_are_constant,
    worst,
)
from boltzgen.ensemble.pareto import smoothed_tail
from boltzgen.errors import InputError
from boltzgen.free_energy.estimate import Estimate
from boltzgen.free_energy.statistics import Statistics, require_two
from boltzgen.free_energy.uncertainty import NOTHING, Errors, chosen_error, holding, more_of, smooth_functions

SELF_NORMALISED = "self-normalised importance sampling"
WALKERS = "mean over walkers"
SMOOTHED = "Pareto-smoothed importance sampling"


#: Why there is no number; why one made from one walker, or with a part of unknown error, has no error bar.
NO_WEIGHT = "no sample carries weight"
NO_SCATTER = "it rests on one walker, or on an ln Z of chains without an error"


def expectation(
    log_w: ArrayLike,
    values_n: ArrayLike,
    statistics: Statistics,
    *,
    name: str = "observable",
    unit: str = "1",
) -> Estimate:
    """The mean of `values_n` (N,) over the target, with both errors, interval and verdict.

    log_w: (N,), zeros for frames of a simulation, then with their inefficiency and in the order of
    time. unit: of the values, see `Estimate`.

    A sample with weight must have a finite value; a rejected one may have any. InputError otherwise, and
    for fewer than two samples, NaN log-weights and shapes that disagree. Poor samples never raise: the
    verdict says so, and without any weight the value is None.
    """
    sample = WeightedSample.of(log_w, statistics)
    a_n = weighted_values(sample, values_n, name)
    errors = means(sample, [a_n])[0]
    return sample.estimate(errors, name=name, quantity="expectation", unit=unit, values=a_n)


def means(sample: WeightedSample, columns: Sequence[np.ndarray]) -> list[Errors]:
    """The weighted mean of each of `columns` (N,), with errors from one set of bootstrap draws."""
    if not sample.has_weight:
        return [NOTHING] * len(columns)
    centres = [float(sample.w_n @ a_n) for a_n in columns]
    rows = [sample.w_n * _deviation(a_n, centre) for a_n, centre in zip(columns, centres, strict=True)]
    found = smooth_functions(np.stack([sample.w_n, *rows]), _ratios, sample.statistics)
    return [shifted(errors, centre) for errors, centre in zip(found, centres, strict=True)]


def power_mean(sample: WeightedSample, x_n: np.ndarray, scale: float, power: int) -> Errors:
    """``<a^power>^(1/power)`` with errors, from ``x_n = (a_n / scale)^power`` (N,), 0 without weight."""
    mean = float(sample.w_n @ x_n)
    if not sample.has_weight or mean == 0.0:
        return NOTHING
    value = scale * mean ** (1 / power)
    rows = np.stack([sample.w_n, sample.w_n * _deviation(x_n, mean) / mean])

    def change(sums: np.ndarray) -> np.ndarray:
        return np.asarray(value * ((1 + _ratios(sums)) ** (1 / power) - 1))

    return shifted(smooth_functions(rows, change, sample.statistics)[0], value)


def smoothed_log_weights(log_w: ArrayLike, *, inefficiency: float = 1.0) -> tuple[np.ndarray, float | None]:
    """Pareto-smoothed log-weights (N,), on the scale of `log_w`, and the shape k-hat of their tail.

    The body of the weights is unchanged, so that ln Z of the result is meaningful. Unchanged
    altogether, with k-hat None, where no tail can be fitted: constant weights, fewer than 26 samples
    with weight, or too few distinct ones in the tail.
    """
    log_w_n = check_log_weights(log_w)
    result = log_w_n.copy()
    if weights_are_constant(log_w_n):
        return result, None
    finite = np.isfinite(log_w_n)
    result[finite], k_hat = smoothed_tail(log_w_n[finite], 1.0 / inefficiency)
    return result, k_hat


@dataclass(frozen=True)
class WeightedSample:
    """Samples as every estimator on one ensemble sees them.

    log_w_n: (N,) as used (smoothed or not). w_n: ``exp(log_w_n - shift)``, summing to one; all zero when
    none has weight. k_hat: of the weights before smoothing. statistics: how they are treated.
    """

    log_w_n: np.ndarray
    w_n: np.ndarray
    shift: float
    k_hat: float | None
    statistics: Statistics

    @classmethod
    def of(cls, log_w: ArrayLike, statistics: Statistics) -> WeightedSample:
        """The samples with log-weights (N,); InputError for fewer than two, and for NaN."""
        log_w_n = check_log_weights(log_w)
        require_two(log_w_n.size)
        walkers = statistics.walkers
        if walkers is not None and len(walkers) != log_w_n.size:
            raise InputError(f"{len(walkers)} rows of walkers for {log_w_n.size} weights; one each.")
        if statistics.smoothed:
            log_w_n, k_hat = smoothed_log_weights(log_w_n, inefficiency=statistics.inefficiency)
        else:
            k_hat = pareto_k(log_w_n)
        shift = float(np.logaddexp.reduce(log_w_n))
        w_n = np.zeros_like(log_w_n) if np.isneginf(shift) else np.exp(log_w_n - shift)
        return cls(log_w_n, w_n, shift, k_hat, statistics)

    @property
    def estimator(self) -> str:
        if self.statistics.walkers is not None and weights_are_constant(self.log_w_n):
            return WALKERS
        return SMOOTHED if self.statistics.smoothed else SELF_NORMALISED

    @property
    def n(self) -> int:
        return int(self.w_n.size)

    @property
    def has_weight(self) -> bool:
        return bool(np.isfinite(self.shift))

    @property
    def n_effective(self) -> float:
        """Kish's effective number of samples over the statistical inefficiency."""
        return self.counted(None)

    def counted(self, values: np.ndarray | None) -> float:
        """`n_effective` for the mean of `values` (N,), which walkers may change more or less slowly.

        Without values they count as the bulk samples of the slowest variable (`Statistics.about`), where
        nobody told these as the number of walkers.
        """
        walkers, share = self.statistics.walkers, kish_ess(self.log_w_n)
        if walkers is None:
            return share * self.n / self.statistics.inefficiency
        if values is not None:
            return share * walkers.independent(values)
        return float((self.statistics.coverage or {}).get("bulk_samples", walkers.number))

    def findings(self, values: np.ndarray | None = None) -> list[tuple[str, str]]:
        """What speaks against the verdict ``ok``, of the mean of `values` (N,)."""
        return findings(
            self.log_w_n,
            k_hat=self.k_hat,
            coverage=self.statistics.coverage,
            n_effective={"": self.counted(values)},
        )

    def estimate(
        self,
        errors: Errors,
        *,
        name: str,
        quantity: str,
        unit: str,
        found: tuple[tuple[str, str], ...] = (),
        further: Mapping[str, Any] | None = None,
        values: np.ndarray | None = None,
        why: str = NO_WEIGHT,
    ) -> Estimate:
        """The record of one number made from this sample; `found` adds findings of the estimator's own.

        values: (N,) what was averaged, by which samples of walkers count. why: there is no value, if so.
        """
        n_effective = self.counted(values)
        unknown = {"overlap": "one ensemble overlaps with nothing but itself"}
        if self.k_hat is None:
            unknown["k_hat"] = "the weights are constant, or too few samples carry any"
        if errors.value is None:
            unknown["value"] = unknown["standard_error"] = unknown["interval95"] = why
        elif errors.asymptotic is None:
            unknown["standard_error"] = unknown["interval95"] = NO_SCATTER
        elif (none := no_error_bar(n_effective)) is not None:
            errors = Errors(errors.value, None, None, (None, None))
            unknown["standard_error"] = unknown["interval95"] = none
        elif None in errors.interval95:
            unknown["interval95"] = "too many bootstrap replicates have no finite value"
        noted = [*self.findings(values), *found]
        error = None
        if errors.asymptotic is not None:
            more = more_of(self.statistics.coverage)
            error = chosen_error(errors.asymptotic, errors.bootstrap, noted, unit, more)
        verdict, reasons = worst(noted)
        return Estimate(
            name=name,
            A=None,
            B=None,
            estimator=self.estimator,
            value=errors.value,
            standard_error=error,
            interval95=holding(errors.interval95, errors.value, error),
            n=self.n,
            n_effective=n_effective,
            k_hat=self.k_hat,
            overlap=None,
            verdict=verdict,
            reasons=tuple(reasons),
            unknown=unknown,
            standard_error_asymptotic=errors.asymptotic,
            standard_error_bootstrap=errors.bootstrap,
            quantity=quantity,
            unit=unit,
            further=dict(further or {}),
        )


def weighted_values(sample: WeightedSample, values: ArrayLike, name: str) -> np.ndarray:
    """`values` (N,) as float64, 0 where the sample has no weight; InputError naming the first bad row."""
    a_n = np.asarray(values, dtype=np.float64)
    if a_n.shape != sample.w_n.shape:
        raise InputError(f"{name}: values of shape {a_n.shape} for {sample.n} weights; one value a sample.")
    weighted = np.isfinite(sample.log_w_n)
    bad = np.flatnonzero(weighted & ~np.isfinite(a_n))
    if bad.size:
        raise InputError(
            f"{name}: the value of sample {bad[0]} is {a_n[bad[0]]}, and the sample carries weight "
            f"({bad.size} such); reject those samples (log-weight -inf) or mend the observable."
        )
    return np.where(weighted, a_n, 0.0)


def shifted(errors: Errors, by: float) -> Errors:
    """`errors` of a number to which the constant `by` is added."""
    low, high = (None if end is None else end + by for end in errors.interval95)
    value = None if errors.value is None else errors.value + by
    return Errors(value, errors.asymptotic, errors.bootstrap, (low, high))


def _deviation(a_n: np.ndarray, centre: float) -> np.ndarray:
    """``a_n - centre``; exactly zero for a constant, of which only rounding noise would be left."""
    deviation_n = a_n - centre
    return np.zeros_like(a_n) if np.abs(deviation_n).max() <= 1e-12 * abs(centre) else deviation_n


def _ratios(sums: np.ndarray) -> np.ndarray:
    """Every sum over the first: (..., J) -> (..., J - 1)."""
    result: np.ndarray = sums[..., 1:] / sums[..., :1]
    return result
