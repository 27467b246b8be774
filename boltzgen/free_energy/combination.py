"""Estimates put together: differences of two, agreement of several on one number.

Legs of a thermodynamic cycle and partition functions of two systems are independent unless they share
samples: ``var (x - y) = var x + var y``. Where they share them the caller says so.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from boltzgen.ensemble.diagnostics import VERDICTS, no_error_bar, worst
from boltzgen.errors import InputError
from boltzgen.free_energy.estimate import DIFFERENCE, Estimate
from boltzgen.free_energy.importance import WeightedSample, shifted
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.uncertainty import (
    NOTHING,
    Errors,
    chosen_error,
    holding,
    smooth_functions,
)
from boltzgen.loaders.records import Count, OpenRecord, checked
from boltzgen.remedies import PROBE, Findings, consistent

#: Estimators of one number that differ by more combined standard errors than this are not to be relied on.
SIGMAS = 3.0


def difference(
    x: Estimate,
    y: Estimate,
    *,
    name: str,
    A: str | None,
    B: str | None,
    estimator: str,
    unit: str = "kT",
    quantity: str = DIFFERENCE,
    findings: Sequence[tuple[str, str]] = (),
) -> Estimate:
    """``x - y`` of two independent estimates, errors added in squares, the worse verdict of both.

    Reasons are kept with the name of the estimate that they belong to.
    """
    sides = [*_with_name(x), *_with_name(y)]
    found = [*consistent(list(findings), beside=sides), *sides]
    unknown = {"overlap": "nothing is compared between the two"} if None in (x.overlap, y.overlap) else {}
    if x.k_hat is None and y.k_hat is None:
        unknown["k_hat"] = "no weights of either have a tail to judge"
    value = None if x.value is None or y.value is None else x.value - y.value
    if value is None:
        unknown |= dict.fromkeys(("value", "standard_error", "interval95"), "one of the two is not known")
    elif x.standard_error is None or y.standard_error is None:
        unknown |= dict.fromkeys(("standard_error", "interval95"), "one of the two has no error bar")
    verdict, reasons = worst(found, several=True)
    return Estimate(
        name=name,
        A=A,
        B=B,
        estimator=estimator,
        value=value,
        standard_error=None if value is None else _squares(x.standard_error, y.standard_error),
        interval95=(None, None) if value is None else _interval(x, y, value),
        n=x.n + y.n,
        n_effective=_extreme(min, x.n_effective, y.n_effective),
        k_hat=_extreme(max, x.k_hat, y.k_hat),
        overlap=None if None in (x.overlap, y.overlap) else _extreme(min, x.overlap, y.overlap),
        verdict=verdict,
        reasons=tuple(reasons),
        unknown=unknown,
        standard_error_asymptotic=_squares(x.standard_error_asymptotic, y.standard_error_asymptotic),
        standard_error_bootstrap=_squares(x.standard_error_bootstrap, y.standard_error_bootstrap),
        quantity=quantity,
        unit=unit,
    )


def paired_difference(
    log_w_a: ArrayLike,
    log_w_b: ArrayLike,
    statistics: Statistics,
    *,
    A: str,
    B: str,
    estimator: str,
    unit: str = "kT",
    quantity: str = DIFFERENCE,
    coverage_a: Mapping[str, Any] | None = None,
    coverage_b: Mapping[str, Any] | None = None,
) -> Estimate:
    """``f_B - f_A = ln sum w_A - ln sum w_B`` from log-weights (N,) of as many samples of each.

    Row n of both is treated as one draw. That is right for independent samples, and for those that share
    their random numbers (one seed) or are the same (one ensemble, reweighted): what both weights share
    then cancels, in the value and in its error. k-hat and effective samples are the worse of the two.
    Each side has a coverage record of its own; of `statistics` only the bootstrap's fields are used.
    """
    statistics.require_unset("a paired difference", "smoothed", "coverage", "inefficiency", "walkers")
    sides = [
        (name, WeightedSample.of(log_w, replace(statistics, coverage=coverage)))
        for name, log_w, coverage in ((A, log_w_a, coverage_a), (B, log_w_b, coverage_b))
    ]
    a, b = sides[0][1], sides[1][1]
    if a.n != b.n:
        raise InputError(f"{a.n} samples of {A} and {b.n} of {B} make no pairs.")
    errors = NOTHING
    if a.has_weight and b.has_weight:
        rows = np.stack([a.w_n, b.w_n])
        errors = smooth_functions(rows, _log_ratio, statistics)[0]
        errors = shifted(errors, a.shift - b.shift)
    found = [
        (verdict, f"{name}: {reason}")
        for name, sample in sides
        for verdict, reason in consistent(sample.findings())
    ]
    return _paired(
        a, b, errors, found, name=f"{A} -> {B}", A=A, B=B, estimator=estimator, unit=unit, quantity=quantity
    )


def _paired(
    a: WeightedSample, b: WeightedSample, errors: Errors, found: list[tuple[str, str]], **given: Any
) -> Estimate:
    unknown = {"overlap": "each ensemble is compared with its own target alone"}
    k_hat, error, own = _extreme(max, a.k_hat, b.k_hat), None, Findings()
    if k_hat is None:
        unknown["k_hat"] = "the weights are constant, or too few samples carry any"
    none = no_error_bar(min(a.n_effective, b.n_effective))
    if errors.value is not None and none is not None:
        errors = Errors(errors.value, None, None, (None, None))
        unknown |= dict.fromkeys(("standard_error", "interval95"), none)
    elif errors.asymptotic is not None:
        error = chosen_error(errors.asymptotic, errors.bootstrap, own, given["unit"])
    else:
        unknown |= dict.fromkeys(("value", "standard_error", "interval95"), "no sample carries weight")
    verdict, reasons = worst([*found, *consistent(own, beside=found)], several=True)
    return Estimate(
        value=errors.value,
        standard_error=error,
        interval95=holding(errors.interval95, errors.value, error),
        n=a.n + b.n,
        n_effective=min(a.n_effective, b.n_effective),
        k_hat=k_hat,
        overlap=None,
        verdict=verdict,
        reasons=tuple(reasons),
        unknown=unknown,
        standard_error_asymptotic=errors.asymptotic,
        standard_error_bootstrap=errors.bootstrap,
        **given,
    )


class EstimateRecord(OpenRecord):
    """An entry of ``estimates`` in a result file; numbers are given in each unit."""

    name: str
    A: str | None
    B: str | None
    estimator: str
    quantity: str
    unit: str
    value: dict[str, float | None]
    standard_error: dict[str, float | None]
    interval95: dict[str, Annotated[list[float | None], Field(min_length=2, max_length=2)]]
    standard_error_asymptotic: dict[str, float | None]
    standard_error_bootstrap: dict[str, float | None]
    n: Count
    n_effective: float | None
    k_hat: float | None
    overlap: float | None
    verdict: Literal["ok", "caution", "unreliable"]
    reasons: list[str]

    @model_validator(mode="after")
    def _numbers_in_its_unit(self) -> EstimateRecord:
        errors = (self.standard_error, self.standard_error_asymptotic, self.standard_error_bootstrap)
        if not all(self.unit in numbers for numbers in (self.value, self.interval95, *errors)):
            raise ValueError(f"its numbers are not given in its unit {self.unit!r}")
        return self


def from_json(entry: Mapping[str, Any]) -> Estimate:
    """The estimate that an entry of ``estimates`` in a result file holds; InputError where it holds none."""
    remedy = "was it written by a free-energy verb?"
    checked(EstimateRecord, dict(entry), "an estimate", remedy)
    unit = entry["unit"]
    low, high = entry["interval95"][unit]
    plain = ("name", "A", "B", "estimator", "n", "n_effective", "k_hat", "overlap", "verdict", "quantity")
    errors = ("standard_error", "standard_error_asymptotic", "standard_error_bootstrap")
    return Estimate(
        **{key: entry[key] for key in plain},
        **{key: entry[key][unit] for key in ("value", *errors)},
        interval95=(low, high),
        reasons=tuple(reason for reason in entry["reasons"] if " is null: " not in reason),
        unit=unit,
    )


def agreement(estimates: Sequence[Estimate]) -> list[Estimate]:
    """`estimates` of one number, each with the finding that others contradict it, best first.

    Best is the best verdict, then the smallest standard error. Estimates that are ``unreliable`` by
    themselves contradict nobody. More than `SIGMAS` combined standard errors make both ``unreliable``.
    """
    usable = [e for e in estimates if e.verdict != "unreliable" and e.value is not None and e.standard_error]
    against: dict[int, list[tuple[str, str]]] = {id(e): [] for e in estimates}
    for x, y in itertools.combinations(usable, 2):
        assert x.value is not None and y.value is not None
        sigma = _squares(x.standard_error, y.standard_error) or 0.0
        if abs(x.value - y.value) > SIGMAS * sigma:
            for here, there in ((x, y), (y, x)):
                against[id(here)].append(
                    (
                        "unreliable",
                        f"the estimators disagree: {here.estimator} and {there.estimator} are "
                        f"{abs(x.value - y.value) / sigma:.1f} combined sigma apart; {PROBE}",
                    )
                )
    return sorted((_judged_again(e, against[id(e)]) for e in estimates), key=_rank)


def _judged_again(estimate: Estimate, found: list[tuple[str, str]]) -> Estimate:
    before = [(estimate.verdict, reason) for reason in estimate.reasons]
    verdict, reasons = worst([*found, *before], several=True)
    return replace(estimate, verdict=verdict, reasons=tuple(reasons)) if found else estimate


def _rank(estimate: Estimate) -> tuple[bool, int, float]:
    error = estimate.standard_error
    unknown = estimate.value is None
    return unknown, VERDICTS.index(estimate.verdict), math.inf if error is None else error


def _with_name(estimate: Estimate) -> list[tuple[str, str]]:
    if not estimate.reasons:
        return (
            [] if estimate.verdict == "ok" else [(estimate.verdict, f"{estimate.name} says no more; {PROBE}")]
        )
    return [(estimate.verdict, f"{estimate.name}: {reason}") for reason in estimate.reasons]


def _squares(x: float | None, y: float | None) -> float | None:
    return None if x is None or y is None else float(math.hypot(x, y))


def _interval(x: Estimate, y: Estimate, value: float) -> tuple[float | None, float | None]:
    """Distances of the ends from the values added in squares: a low end of x meets a high end of y."""
    assert x.value is not None and y.value is not None
    (x_low, x_high), (y_low, y_high) = x.interval95, y.interval95
    low = None if x_low is None or y_high is None else value - math.hypot(x.value - x_low, y_high - y.value)
    high = None if x_high is None or y_low is None else value + math.hypot(x_high - x.value, y.value - y_low)
    return low, high


def _extreme(choose: Any, x: float | None, y: float | None) -> float | None:
    known = [number for number in (x, y) if number is not None]
    return choose(known) if known else None


def _log_ratio(sums: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.log(sums[..., :1]) - np.log(sums[..., 1:])
    return result
