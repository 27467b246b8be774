"""Free-energy differences from the work of maps between two systems, in both directions.

A map M takes samples x of the target A to y = M(x), its inverse samples of B back. With reduced energies

    W_a(x) = u_B(M(x)) - u_A(x) - log|det dM/dx|,     W_b(y) = u_A(M^-1(y)) - u_B(y) + log|det dM/dx|,

Crooks' relation ``p(W_a) / p(-W_b) = exp(W_a - df)`` holds for ``df = f_B - f_A = -ln(Z_B / Z_A)``, whatever
the map (Jarzynski, Phys. Rev. E 65, 046122 (2002); Hahn and Then, Phys. Rev. E 79, 011113 (2009)); without
a map, ``W_a = u_B - u_A``. A sample of a normalised density q counts as one of a system with u = -log q and
f = 0, so that BAR between a flow and a simulation gives ``f = -ln Z``. Arrays: ``work_n`` over samples of A,
``work_m`` over samples of B, ``+inf`` where the map leads out of the other system's domain.

The samples may carry weights p_n (flow samples weighted to the target). BAR (Bennett, J. Comput. Phys. 22,
245 (1976)) then solves, with Kish's effective numbers N_a, N_b, ``C = df + ln(N_b / N_a)`` and
``h(x) = 1 / (1 + e^x)``,

    df = C + ln <h(W_b + C)>_B - ln <h(W_a - C)>_A,

which for equal weights is pymbar's BAR. The identity holds for every C, so that its error is that of the
two averages at fixed C: ``var df = var<h>_A / <h>_A^2 + var<h>_B / <h>_B^2``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from boltzgen import remedies
from boltzgen.ensemble.diagnostics import (
    ENOUGH_EFFECTIVE,
    K_GOOD,
    TOO_FEW_EFFECTIVE,
    no_error_bar,
    pareto_k,
    worst,
)
from boltzgen.errors import InputError
from boltzgen.free_energy.estimate import DIFFERENCE, Estimate
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.uncertainty import bootstrap_sums, chosen_error, holding, replicate_errors
from boltzgen.remedies import Findings

#: Overlap (1 minus the second eigenvalue of the two-state overlap matrix) below which the answer is not to be
#: relied on, and below which its error bar is doubtful. The usual limit for one element of the matrix is
#: 0.03 (Klimovich, Shirts, Mobley, J. Comput.-Aided Mol. Des. 29, 397 (2015)); two elements add up here.
OVERLAP_BAD, OVERLAP_LOW = 0.01, 0.06

#: Samples shared by two systems (overlap over ``1/N_a + 1/N_b``) below which there is no difference to speak
#: of, BAR's equation being solved by one accidental sample, and below which its error bar is doubtful.
FEWEST_SHARED, ENOUGH_SHARED = 1.0, 10.0


@dataclass(frozen=True)
class WorkSamples:
    """Work (N,) of one direction in kT, ``+inf`` allowed, and log-weights (N,) of its samples or None.

    Samples count as independent: frames of a simulation are decorrelated before their work is computed.
    `k_hat` is that of the weights, None for equal ones. `drawn`: by a flow, whose own density is the system.
    """

    work: np.ndarray
    log_w: np.ndarray | None = None
    k_hat: float | None = None
    drawn: bool = False

    def __post_init__(self) -> None:
        work_n = np.asarray(self.work, dtype=np.float64)
        if work_n.ndim != 1 or work_n.size < 2:
            raise InputError(f"work needs at least two samples in each direction; got {work_n.size}.")
        if np.isnan(work_n).any() or np.isneginf(work_n).any():
            raise InputError("work must be a number or +inf; a sample whose work is not known has +inf.")
        object.__setattr__(self, "work", work_n)
        if self.log_w is not None:
            log_w_n = np.asarray(self.log_w, dtype=np.float64)
            if log_w_n.shape != work_n.shape or not np.isfinite(log_w_n).any():
                raise InputError("work and log-weights differ in length, or no sample carries weight.")
            object.__setattr__(self, "log_w", log_w_n)

    @property
    def p(self) -> np.ndarray:
        """Normalised weights (N,)."""
        if self.log_w is None:
            return np.full(self.work.size, 1.0 / self.work.size)
        w_n = np.exp(self.log_w - self.log_w.max())
        return np.asarray(w_n / w_n.sum())

    @property
    def n_effective(self) -> float:
        """Kish's effective number of samples."""
        return float(1.0 / np.sum(self.p**2))

    @property
    def outside(self) -> int:
        """Samples with infinite work: the map led them out of the domain."""
        return int(np.isposinf(self.work).sum())


def bennett(
    a: WorkSamples,
    b: WorkSamples,
    statistics: Statistics,
    *,
    A: str,
    B: str,
    estimator: str,
    findings: Sequence[tuple[str, str]] = (),
    unit: str = "kT",
    quantity: str = DIFFERENCE,
) -> Estimate:
    """``f_B - f_A`` by BAR from the work of both directions, with overlap and hysteresis.

    `findings` are pairs (verdict at best, reason) that the caller knows of the samples, the coverage of
    the flow above all; of `statistics` only the bootstrap's fields are used. Poor overlap never raises: it is
    a verdict with a reason.
    """
    statistics.require_unset("BAR", "smoothed", "coverage", "inefficiency", "walkers")
    found, own = [*findings, *_few(A, a), *_few(B, b)], Findings()
    value = _solve(a, b)
    k_hat = max((k for k in (a.k_hat, b.k_hat) if k is not None), default=None)
    unknown = {} if k_hat is not None else {"k_hat": "BAR averages bounded functions of equal weights"}
    common: dict[str, Any] = {
        "name": f"{A} -> {B}",
        "A": A,
        "B": B,
        "estimator": estimator,
        "n": a.work.size + b.work.size,
        "n_effective": min(a.n_effective, b.n_effective),
        "k_hat": k_hat,
        "unit": unit,
        "quantity": quantity,
    }
    common_samples = 0.0 if value is None else overlap(a, b, value) / (1 / a.n_effective + 1 / b.n_effective)
    if value is None or common_samples < FEWEST_SHARED:
        text = f"no overlap: {A} and {B} share {common_samples:.1g} samples; {remedies.IN_BETWEEN}"
        verdict, reasons = worst([("unreliable", text), *found], several=True)
        unknown |= dict.fromkeys(("value", "standard_error", "interval95"), "the systems do not overlap")
        return Estimate(
            **common,
            value=None,
            standard_error=None,
            interval95=(None, None),
            overlap=0.0 if value is None else overlap(a, b, value),
            verdict=verdict,
            reasons=tuple(reasons),
            unknown=unknown,
            further=_further(a, b, None if value is None else one_sided(a, b)),
        )
    shift = value + np.log(b.n_effective / a.n_effective)
    h_a, h_b = expit(shift - a.work), expit(-shift - b.work)
    asymptotic: float | None = None
    bootstrap: float | None = None
    error: float | None = None
    interval: tuple[float | None, float | None] = (None, None)
    none = no_error_bar(min(a.n_effective, b.n_effective))
    if none is None:
        asymptotic = float(np.hypot(_relative_error(a.p, h_a), _relative_error(b.p, h_b)))
        bootstrap, interval = _bootstrap(a, b, h_a, h_b, shift, statistics)
        error = chosen_error(asymptotic, bootstrap, own, unit, _more(a, b))
        interval = holding(interval, value, error)
    else:
        unknown |= dict.fromkeys(("standard_error", "interval95"), none)
    shared = overlap(a, b, value)
    sides = one_sided(a, b)
    own += _judge_overlap(shared, common_samples, A, B, _more(a, b)) + _judge_hysteresis(sides)
    verdict, reasons = worst([*found, *remedies.consistent(own, beside=found)], several=True)
    return Estimate(
        **common,
        value=value,
        standard_error=error,
        interval95=interval,
        overlap=shared,
        verdict=verdict,
        reasons=tuple(reasons),
        unknown=unknown,
        standard_error_asymptotic=asymptotic,
        standard_error_bootstrap=bootstrap,
        further=_further(a, b, sides),
    )


@dataclass(frozen=True)
class OneSided:
    """Exponential averages of each direction alone (kT), their errors, and the k-hat of what is averaged.

    forward: ``-ln <exp(-W_a)>_A``. reverse: ``+ln <exp(-W_b)>_B``. Both estimate ``f_B - f_A``.
    """

    forward: float | None
    forward_error: float | None
    forward_k_hat: float | None
    reverse: float | None
    reverse_error: float | None
    reverse_k_hat: float | None

    @property
    def hysteresis(self) -> tuple[float | None, float | None]:
        """``forward - reverse`` and its standard error: zero for samples that reach each other."""
        if None in (self.forward, self.reverse, self.forward_error, self.reverse_error):
            return None, None
        assert self.forward is not None and self.reverse is not None
        assert self.forward_error is not None and self.reverse_error is not None
        return self.forward - self.reverse, float(np.hypot(self.forward_error, self.reverse_error))

    @property
    def trusted(self) -> bool:
        """Whether both error bars can be used: the tails of both averages are seen."""
        return all(k is not None and k <= K_GOOD for k in (self.forward_k_hat, self.reverse_k_hat))


def one_sided(a: WorkSamples, b: WorkSamples) -> OneSided:
    """Zwanzig's exponential averages in both directions."""
    return OneSided(*_exponential(a, -1.0), *_exponential(b, 1.0))


def overlap(a: WorkSamples, b: WorkSamples, difference: float) -> float:
    """1 minus the second eigenvalue of the overlap matrix: 0 without overlap, 1 for equal systems.

    The matrix of two states is stochastic, so that the number is the sum of its two off-diagonal
    elements, ``O_ab = (1/N_a) sum_n P(a|n) P(b|n)`` over the samples of both, each state weighing
    its effective number (Klimovich, Shirts, Mobley 2015).
    """
    n_a, n_b = a.n_effective, b.n_effective
    shift = difference + np.log(n_b / n_a)
    in_b_n, in_b_m = expit(shift - a.work), expit(b.work + shift)
    shared = n_a * float(a.p @ (in_b_n * (1 - in_b_n))) + n_b * float(b.p @ (in_b_m * (1 - in_b_m)))
    return float(min(shared * (1 / n_a + 1 / n_b), 1.0))


def _solve(a: WorkSamples, b: WorkSamples) -> float | None:
    """The root of BAR's equation in df; None when the work of a direction is never finite."""
    w_a, w_b = a.work[(a.p > 0) & np.isfinite(a.work)], b.work[(b.p > 0) & np.isfinite(b.work)]
    if not (w_a.size and w_b.size):
        return None
    ratio = np.log(b.n_effective / a.n_effective)

    def imbalance(difference: float) -> float:
        shift = difference + ratio
        return float(_log_mean_h(a, shift) - _log_mean_h(b, -shift) - ratio)

    margin = 60.0 + abs(ratio)
    low, high = min(w_a.min(), -w_b.max()) - margin, max(w_a.max(), -w_b.min()) + margin
    return float(brentq(imbalance, low, high, xtol=1e-12, rtol=1e-14))


def _log_mean_h(samples: WorkSamples, shift: float) -> float:
    """``ln <h(W - shift)>``, without underflow."""
    with np.errstate(divide="ignore"):
        log_p = np.log(samples.p)
    return float(np.logaddexp.reduce(log_p - np.logaddexp(0.0, samples.work - shift)))


def _relative_error(p_n: np.ndarray, h_n: np.ndarray) -> float:
    """Standard error of the weighted mean of `h_n`, over the mean."""
    mean = float(p_n @ h_n)
    return float(np.sqrt(np.sum((p_n * (h_n - mean)) ** 2)) / mean) if mean > 0 else float("inf")


def _bootstrap(
    a: WorkSamples,
    b: WorkSamples,
    h_a: np.ndarray,
    h_b: np.ndarray,
    shift: float,
    statistics: Statistics,
) -> tuple[float | None, tuple[float | None, float | None]]:
    """Replicates of df at fixed C from resampled averages of both directions."""
    sums_a = bootstrap_sums(np.stack([a.p * h_a, a.p]), statistics)
    sums_b = bootstrap_sums(np.stack([b.p * h_b, b.p]), statistics)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_a = np.log(sums_a[:, 0]) - np.log(sums_a[:, 1])
        log_b = np.log(sums_b[:, 0]) - np.log(sums_b[:, 1])
        return replicate_errors(shift + log_b - log_a)


def _exponential(samples: WorkSamples, sign: float) -> tuple[float | None, float | None, float | None]:
    """``sign * ln <exp(-W)>``, its error by the delta method and the k-hat of the terms."""
    with np.errstate(divide="ignore"):
        log_terms = np.log(samples.p) - samples.work
    largest = float(log_terms.max())
    if np.isneginf(largest):
        return None, None, None
    total = float(np.logaddexp.reduce(log_terms))
    terms = np.exp(log_terms - total)  # sums to 1; each is p_n exp(-W_n) / <exp(-W)>
    if no_error_bar(float(1.0 / np.sum(terms**2))) is not None:
        return sign * total, None, pareto_k(log_terms)
    error = float(np.sqrt(np.sum((terms - samples.p) ** 2)))
    return sign * total, error, pareto_k(log_terms)


def _few(name: str, samples: WorkSamples) -> list[tuple[str, str]]:
    count = samples.n_effective
    if count >= ENOUGH_EFFECTIVE:
        return []
    verdict = "unreliable" if count < TOO_FEW_EFFECTIVE else "caution"
    return [(verdict, f"only {count:.0f} effective samples of the target {name}; {_more(samples)}")]


def _more(*sides: WorkSamples) -> str:
    """The remedy that brings more of the samples: frames where no side was drawn by a flow."""
    drawn = any(side.drawn or side.log_w is not None for side in sides)
    return remedies.DRAW_MORE if drawn else remedies.LENGTHEN


def _judge_overlap(shared: float, common_samples: float, A: str, B: str, more: str) -> list[tuple[str, str]]:
    if shared >= OVERLAP_LOW and common_samples >= ENOUGH_SHARED:
        return []
    if shared >= OVERLAP_LOW:
        return [("caution", f"{A} and {B} share {common_samples:.1f} samples only; {more}")]
    if shared < OVERLAP_BAD:
        verdict, what = "unreliable", f"(almost) no overlap ({shared:.1g}) between {A} and {B}"
    else:
        verdict, what = "caution", f"little overlap ({shared:.2g}) between {A} and {B}"
    return [(verdict, f"{what}; {remedies.IN_BETWEEN}")]


def _judge_hysteresis(sides: OneSided) -> list[tuple[str, str]]:
    gap, error = sides.hysteresis
    if gap is None or error is None or not sides.trusted or abs(gap) <= 3 * error:
        return []
    return [
        (
            "unreliable",
            f"hysteresis: the two directions alone differ by {gap:.3g} kT, "
            f"{abs(gap) / max(error, 1e-300):.1f} combined sigma; part of one system is "
            f"out of reach of the other; {remedies.IN_BETWEEN}",
        )
    ]


def _further(a: WorkSamples, b: WorkSamples, sides: OneSided | None) -> Mapping[str, Any]:
    gap, error = (None, None) if sides is None else sides.hysteresis

    def mean(samples: WorkSamples) -> float | None:
        kept = np.isfinite(samples.work)
        weight = float(samples.p[kept].sum())
        return float(samples.p[kept] @ samples.work[kept]) / weight if weight > 0 else None

    return {
        "n_A": a.work.size,
        "n_B": b.work.size,
        "n_effective_A": a.n_effective,
        "n_effective_B": b.n_effective,
        "outside_A": a.outside,
        "outside_B": b.outside,
        "mean_work_A_kT": mean(a),
        "mean_work_B_kT": mean(b),
        "forward_kT": None if sides is None else sides.forward,
        "reverse_kT": None if sides is None else sides.reverse,
        "hysteresis_kT": gap,
        "hysteresis_standard_error_kT": error,
    }
