"""Populations of states from weighted or unweighted samples, and free-energy differences between them.

Arrays: ``w_n`` weights, ``h_sn`` indicators (one row a state), ``p_s`` populations.

    p_s = sum_n w_n h_sn / sum_n w_n,      dG(A->B) = G_B - G_A = -ln(p_B / p_A)

Two errors, always both. Asymptotic (delta method of the self-normalised ratio, with statistical
inefficiency g; of walkers the scatter among their sums)::

    var dG = g sum_n w_n^2 (h_Bn / W_B - h_An / W_A)^2,     W_s = sum_n w_n h_sn

and the bootstrap over samples, over blocks of consecutive samples for long or correlated series, or over
walkers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.data.statistics import statistical_inefficiency
from boltzgen.ensemble.chains.diagnostics import judge_crossings
from boltzgen.ensemble.chains.walkers import Walkers
from boltzgen.ensemble.diagnostics import (
    COVERED,
    check_log_weights,
    findings,
    no_error_bar,
    normalised_weights,
    worst,
)
from boltzgen.errors import InputError
from boltzgen.free_energy.estimate import Estimate
from boltzgen.free_energy.importance import WeightedSample
from boltzgen.free_energy.mbar_solver import mbar_log_weights
from boltzgen.free_energy.statistics import Statistics, require_two
from boltzgen.free_energy.uncertainty import (
    bootstrap_sums,
    chosen_error,
    holding,
    more_of,
    replicate_errors,
    scatter_among,
    variance,
)
from boltzgen.remedies import LENGTHEN
from boltzgen.shares import wilson_interval
from boltzgen.units import same_temperature


@dataclass(frozen=True)
class Population:
    """One state: its share of all weight, the share's standard error, and its counts of samples.

    standard_error, interval95: None where `unknown` says why: one or two effective samples lie inside, or
    outside. The interval is Wilson's for as many independent draws as have this standard error.
    """

    name: str
    population: float
    standard_error: float | None
    n: int
    n_effective: float
    unknown: Mapping[str, str] = field(default_factory=dict)
    interval95: tuple[float | None, float | None] = (None, None)

    def to_json(self) -> dict[str, Any]:
        """The entry of ``states`` in free_energy.json; `reasons` say why a number is null."""
        return {
            "name": self.name,
            "population": self.population,
            "standard_error": self.standard_error,
            "interval95": list(self.interval95),
            "n": self.n,
            "n_effective": self.n_effective,
            "reasons": [f"{key} is null: {why}" for key, why in self.unknown.items()],
        }


def share_of(
    log_w: ArrayLike, mask: ArrayLike, *, inefficiency: float = 1.0, walkers: Walkers | None = None
) -> tuple[float, float]:
    """The share of all weight in `mask` (N,) and the delta method's standard error, 0 without any weight.

    For comparisons, which need a number even where it means little; `populations` shows none there. With
    walkers the error is that of the scatter among them.
    """
    w_n, h_sn = _weights_and_indicators(log_w, {"": mask})
    p = float(w_n @ h_sn[0])
    influence_n = w_n * (h_sn[0] - p)
    if walkers is None:
        return p, float(np.sqrt(inefficiency * np.sum(influence_n**2)))
    return p, float(np.sqrt(scatter_among(walkers, influence_n)))


def populations(
    log_w: ArrayLike,
    masks: Mapping[str, ArrayLike],
    *,
    inefficiency: float = 1.0,
    walkers: Walkers | None = None,
) -> list[Population]:
    """The population of each state of `masks` (name -> (N,) bool) under log-weights (N,).

    All populations are 0 when no sample carries weight. No error bar rests on one or two effective samples,
    of the state or of the rest, on one walker, or on a state that walkers never both entered and left.
    """
    w_n, h_sn = _weights_and_indicators(log_w, masks)
    found = []
    for name, h_n in zip(masks, h_sn, strict=True):
        p, error = share_of(log_w, h_n, inefficiency=inefficiency, walkers=walkers)
        g = inefficiency if walkers is None else walkers.inefficiency(h_n)
        inside, rest = (_n_effective(w_n * part, g) for part in (h_n, ~h_n))
        why = no_error_bar(min(inside, rest))
        if walkers is not None and 0 < p < 1 and (walkers.number < 2 or not min(walkers.crossings(h_n))):
            why = "no walker entered and left it" if walkers.number > 1 else "it rests on one walker"
        why = why if why is None or inside <= rest else f"of the rest: {why}"
        unknown = {} if why is None else dict.fromkeys(("standard_error", "interval95"), why)
        known, interval = (None, (None, None)) if why is not None else (error, wilson_interval(p, error))
        found.append(Population(name, p, known, int(h_n.sum()), inside, unknown, interval))
    return found


def state_free_energies(
    log_w: ArrayLike,
    masks: Mapping[str, ArrayLike],
    differences: Sequence[tuple[str, str]],
    statistics: Statistics,
    *,
    estimator: str | None = None,
) -> list[Estimate]:
    """``dG(A->B)`` for each pair of `differences`, with both errors, interval and verdict.

    log_w: (N,) log-weights, ``-inf`` for rejected samples; zeros for frames of a simulation, with
    their inefficiency and in the order of time. masks: state name -> (N,) bool. estimator: its name for
    people, where the default does not fit.

    Nothing here raises for poor samples: a state that nobody visited gives an estimate without
    value, verdict ``unreliable``, and the reason. Raises InputError for fewer than two samples,
    for shapes that disagree and for NaN log-weights.
    """
    sample = WeightedSample.of(log_w, statistics)
    w_n, h_sn = _weights_and_indicators(sample.log_w_n, masks)
    names, k_hat, walkers = list(masks), sample.k_hat, statistics.walkers
    replicates_rs = bootstrap_sums(w_n * h_sn, statistics)
    effective = {
        name: _n_effective(
            w_n * h_n, statistics.inefficiency if walkers is None else walkers.inefficiency(h_n)
        )
        for name, h_n in zip(names, h_sn, strict=True)
    }
    estimates = []
    for a, b in differences:
        i, j = names.index(a), names.index(b)
        pair = _Pair(w_n, h_sn[i], h_sn[j], replicates_rs[:, i], replicates_rs[:, j], statistics)
        counts = {a: effective[a], b: effective[b]}
        found = findings(sample.log_w_n, k_hat=k_hat, coverage=statistics.coverage, n_effective=counts)
        if walkers is not None:
            for name, number in ((a, i), (b, j)):
                found += judge_crossings(f"the state {name}", *walkers.crossings(h_sn[number]))
        estimates.append(
            _estimate(
                a,
                b,
                pair,
                min(counts.values()),
                k_hat,
                found,
                estimator or sample.estimator,
                more_of(statistics.coverage),
            )
        )
    return estimates


def counted_free_energies(
    masks: Mapping[str, ArrayLike],
    differences: Sequence[tuple[str, str]],
    statistics: Statistics,
) -> list[Estimate]:
    """`state_free_energies` from the frames of a simulation at one temperature, in the order of time.

    The statistical inefficiency is the largest among the indicators of the states.
    """
    statistics.require_unset("the counting of frames", "smoothed", "inefficiency", "walkers")
    indicators = [np.asarray(mask, dtype=np.float64) for mask in masks.values()]
    return state_free_energies(
        np.zeros(len(indicators[0]) if indicators else 0),
        masks,
        differences,
        replace(
            statistics,
            inefficiency=max((statistical_inefficiency(h_n) for h_n in indicators), default=1.0),
        ),
        estimator="frames counted",
    )


def exchange_weights(
    u_kt: ArrayLike, temperatures: ArrayLike, temperature: float, *, inside: ArrayLike | None = None
) -> np.ndarray:
    """MBAR's weights (K, T) at one `temperature` (K) of all frames of a replica exchange; they sum to one.

    u_kt: (K, T) reduced energy of each frame **at its own temperature**. temperatures: (K,) K. inside:
    (K, T) bool, False for frames outside the domain, which weigh nothing.

    Raises InputError where `temperature` is none of `temperatures`.
    """
    u_kt, kelvin_k = np.asarray(u_kt, dtype=np.float64), np.asarray(temperatures, dtype=np.float64)
    rows = np.flatnonzero(same_temperature(kelvin_k, temperature))
    if u_kt.ndim != 2 or kelvin_k.shape != u_kt.shape[:1] or not rows.size:
        raise InputError(
            f"reduced energies of shape {u_kt.shape} at {kelvin_k.size} temperatures ({kelvin_k} K) do not "
            f"answer at {temperature:g} K."
        )
    inside_kt = np.ones(u_kt.shape, dtype=bool) if inside is None else np.asarray(inside, dtype=bool)
    w_kt = np.zeros(u_kt.shape)
    energy_n = (u_kt * kelvin_k[:, None])[inside_kt]
    log_W_nk = mbar_log_weights(energy_n / kelvin_k[:, None], inside_kt.sum(axis=1))
    w_kt[inside_kt] = np.exp(log_W_nk[:, rows[0]])
    return w_kt


def exchange_free_energies(
    w_kt: np.ndarray,
    masks: Mapping[str, ArrayLike],
    differences: Sequence[tuple[str, str]],
    statistics: Statistics,
) -> list[Estimate]:
    """`state_free_energies` at one temperature of a replica exchange, from the frames of all of them.

    Frames of one time depend on one another, since replicas wander, so their weights are summed; the two
    errors are those of the series of sums, with its statistical inefficiency. (The errors of MBAR's own f_k
    are left out: the ladder of an exchange overlaps.)

    w_kt: (K, T) of `exchange_weights`; a column holds the frames of one time, and columns stand in the order
    of time (walk after walk, where several ladders ran). masks: state name -> (K, T) bool.

    Raises as `state_free_energies`.
    """
    statistics.require_unset("a replica exchange", "smoothed", "coverage", "inefficiency", "walkers")
    require_two(w_kt.shape[1])
    sums_st = np.array(
        [(w_kt * _indicator(name, mask, w_kt.shape)).sum(axis=0) for name, mask in masks.items()]
    )
    names, estimates = list(masks), []
    for a, b in differences:
        pair_st = sums_st[[names.index(a), names.index(b)]]
        estimates.append(_exchanged(a, b, pair_st, statistics))
    return estimates


def _exchanged(a: str, b: str, sums_st: np.ndarray, statistics: Statistics) -> Estimate:
    """The difference of two states whose weights at each time are `sums_st` (2, T)."""
    totals_s = sums_st.sum(axis=1)
    influence_t = sums_st[1] / max(totals_s[1], 1e-300) - sums_st[0] / max(totals_s[0], 1e-300)
    g = statistical_inefficiency(influence_t)
    replicates_rs = bootstrap_sums(sums_st, replace(statistics, inefficiency=g))
    ones_t = np.ones(sums_st.shape[1])
    blocks = replace(statistics, inefficiency=g)
    pair = _Pair(ones_t, sums_st[0], sums_st[1], replicates_rs[:, 0], replicates_rs[:, 1], blocks)
    counts = {name: _n_effective(row_t, g) for name, row_t in zip((a, b), sums_st, strict=True)}
    found = findings(np.zeros(ones_t.size), k_hat=None, coverage=COVERED, n_effective=counts)
    return _estimate(a, b, pair, min(counts.values()), None, found, "MBAR over the temperatures", LENGTHEN)


def _indicator(name: str, mask: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    found = np.asarray(mask, dtype=bool)
    if found.shape != shape:
        raise InputError(f"the state {name} marks {found.shape} frames, but the weights are {shape}.")
    return found


@dataclass(frozen=True)
class _Pair:
    """What one difference rests on: weights, two indicators, two columns of bootstrap sums."""

    w_n: np.ndarray
    h_an: np.ndarray
    h_bn: np.ndarray
    sums_a: np.ndarray
    sums_b: np.ndarray
    statistics: Statistics

    @property
    def visited(self) -> bool:
        return bool(self.w_n @ self.h_an > 0 and self.w_n @ self.h_bn > 0)

    def value(self) -> float:
        return float(np.log(self.w_n @ self.h_an) - np.log(self.w_n @ self.h_bn))

    def asymptotic_error(self) -> float:
        influence_n = self.h_bn / (self.w_n @ self.h_bn) - self.h_an / (self.w_n @ self.h_an)
        return float(np.sqrt(variance(self.w_n * influence_n, self.statistics)))

    def bootstrap(self) -> tuple[float | None, tuple[float | None, float | None]]:
        """Standard error and 95 % percentile interval; None where a bound is infinite."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return replicate_errors(np.log(self.sums_a) - np.log(self.sums_b), self.statistics)


def _estimate(
    a: str,
    b: str,
    pair: _Pair,
    n_effective: float,
    k_hat: float | None,
    found: list[tuple[str, str]],
    estimator: str,
    more: str,
) -> Estimate:
    unknown = {"overlap": "one ensemble overlaps with nothing but itself"}
    if k_hat is None:
        unknown["k_hat"] = "the weights are constant, or too few samples carry any"
    value = asymptotic = bootstrap = error = None
    interval: tuple[float | None, float | None] = (None, None)
    if pair.visited:
        value = pair.value()
    none = no_error_bar(n_effective)
    if pair.statistics.walkers is not None and pair.statistics.walkers.number < 2:
        none = "it rests on one walker"
    if pair.visited and none is not None:
        unknown["standard_error"] = unknown["interval95"] = none
    elif pair.visited:
        asymptotic = pair.asymptotic_error()
        bootstrap, interval = pair.bootstrap()
        error = chosen_error(asymptotic, bootstrap, found, more=more)
        interval = holding(interval, value, error)
        if bootstrap is None:
            found.append(
                (
                    "unreliable",
                    f"{a} or {b} is missing from many bootstrap replicates: too few samples; {more}",
                )
            )
        if None in interval:
            unknown["interval95"] = "a state is missing from more than 2.5 % of the bootstrap replicates"
    else:
        unknown["value"] = unknown["standard_error"] = unknown["interval95"] = "a state carries no weight"
    verdict, reasons = worst(found)
    return Estimate(
        name=f"{a} -> {b}",
        A=a,
        B=b,
        estimator=estimator,
        value=value,
        standard_error=error,
        interval95=interval,
        n=pair.w_n.size,
        n_effective=n_effective,
        k_hat=k_hat,
        overlap=None,
        verdict=verdict,
        reasons=tuple(reasons),
        unknown=unknown,
        standard_error_asymptotic=asymptotic,
        standard_error_bootstrap=bootstrap,
    )


def _weights_and_indicators(
    log_w: ArrayLike, masks: Mapping[str, ArrayLike]
) -> tuple[np.ndarray, np.ndarray]:
    w_n = normalised_weights(check_log_weights(log_w))
    if not masks:
        raise InputError("no states were given.")
    for name, mask in masks.items():
        if np.shape(mask) != w_n.shape:
            raise InputError(
                f"the state {name} marks {np.shape(mask)} samples, but there are {w_n.shape} weights."
            )
    return w_n, np.array([np.asarray(mask, dtype=bool) for mask in masks.values()])


def _n_effective(w_n: np.ndarray, g: float) -> float:
    """Kish's effective number of samples of the weights `w_n`, over the statistical inefficiency."""
    largest = float(np.max(w_n, initial=0.0))
    if not largest > 0:
        return 0.0
    scaled = np.ldexp(w_n, -np.frexp(largest)[1])  # exact; the squares of weights below 1e-162 would be 0
    return float(np.sum(scaled)) ** 2 / float(np.sum(scaled**2)) / g
