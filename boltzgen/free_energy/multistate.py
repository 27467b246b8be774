"""MBAR: free energies of many states from the samples of all of them (pymbar).

Arrays: ``u_kn`` (K, N) reduced energy of every sample in every state, columns ordered by the state that they
were drawn from; ``N_k`` (K,) samples drawn from each, 0 allowed; ``f_k = -ln Z_k`` up to a constant;
``W_nk`` normalised weight of sample n in state k.

    f_k = -ln sum_n exp(-u_kn) / sum_l N_l exp(f_l - u_ln)        (Shirts and Chodera, JCP 129, 124105 (2008))

`absolute_mbar` adds samples of a flow as those of one more state, whose reduced energy is ``-log q``. Its
density is normalised, so f = 0 is known for it, and ``ln Z_k = -f_k`` is absolute for every other: samples of
the flow and of simulations at several temperatures and potentials serve one answer.

Overlap: ``O_ij = sum_n N_j W_ni W_nj`` (Klimovich, Shirts, Mobley, J. Comput.-Aided Mol. Des. 29, 397
(2015)). ``N_i O_ij`` is symmetric, the number of samples that i and j share. Between two states the path of
the best links counts, and of it the weakest link: its ``O_ij + O_ji`` is the overlap reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.data.record import spaced_rows
from boltzgen.data.statistics import statistical_inefficiency
from boltzgen.ensemble.diagnostics import COVERED, findings, no_error_bar, pareto_k, worst
from boltzgen.errors import InputError
from boltzgen.free_energy.estimate import DIFFERENCE, Estimate
from boltzgen.free_energy.mbar_solver import check_samples, solve_mbar
from boltzgen.free_energy.statistics import Statistics, require_two
from boltzgen.free_energy.uncertainty import bootstrap_sums, chosen_error, holding, more_of, replicate_errors
from boltzgen.free_energy.work import ENOUGH_SHARED, FEWEST_SHARED, OVERLAP_BAD, OVERLAP_LOW
from boltzgen.remedies import IN_BETWEEN

FLOW = "flow"


@dataclass(frozen=True)
class MultistateResult:
    """What MBAR found; K states, the flow (if any) first.

    Attributes
    ----------
    names: (K,). f_k: (K,) kT, zero in the first state. covariance_kk: asymptotic, of f_k up to a
        constant. replicates_rk: (R, K) bootstrap replicates of f_k less the first.
    drawn_k, used_k: samples given, and left after thinning. inefficiency_k: what they were thinned by.
    overlap_kk: ``O_ij``; columns of states without samples are zero.
    n_effective_k, k_hat_k: of the weights W_nk in each state. absolute: whether f_k = -ln Z_k.
    more: the remedy that brings more samples.
    """

    names: tuple[str, ...]
    f_k: np.ndarray
    covariance_kk: np.ndarray
    replicates_rk: np.ndarray
    drawn_k: np.ndarray
    used_k: np.ndarray
    inefficiency_k: np.ndarray
    overlap_kk: np.ndarray
    n_effective_k: np.ndarray
    k_hat_k: tuple[float | None, ...]
    absolute: bool
    findings_k: tuple[tuple[tuple[str, str], ...], ...]
    more: str

    @property
    def overlap(self) -> float:
        """1 minus the second eigenvalue of the overlap matrix of the states that were sampled."""
        sampled = np.flatnonzero(self.used_k)
        values = np.linalg.eigvals(self.overlap_kk[np.ix_(sampled, sampled)]).real
        return float(np.clip(1.0 - np.sort(values)[-2], 0.0, 1.0)) if values.size > 1 else 1.0

    def difference(self, a: str, b: str, *, unit: str = "kT", quantity: str = DIFFERENCE) -> Estimate:
        """``dG(a->b) = f_b - f_a`` of two of `names`; `unit` is 1 where they differ in temperature."""
        return self._estimate(self._index(a), self._index(b), f"{a} -> {b}", a, b, quantity, unit, 1.0)

    def log_partition(self, a: str) -> Estimate:
        """``ln Z`` of state `a`, absolute (unit 1); see `boltzgen.free_energy.partition` for what it is."""
        if not self.absolute:
            raise InputError(
                "ln Z needs samples of a normalised density among the states; use absolute_mbar."
            )
        return self._estimate(0, self._index(a), f"ln Z {a}", None, None, "ln Z", "1", -1.0)

    def _index(self, name: str) -> int:
        if name not in self.names:
            raise InputError(f"{name!r} is not a state; known are {', '.join(self.names)}.")
        return self.names.index(name)

    def _estimate(
        self, i: int, j: int, name: str, a: str | None, b: str | None, quantity: str, unit: str, sign: float
    ) -> Estimate:
        found = [*self.findings_k[i], *self.findings_k[j]]
        shared, weakest = self._weakest_link(i, j)
        known = shared >= FEWEST_SHARED
        found += _judge_overlap(shared, weakest, self.names[i], self.names[j], self.more)
        unknown: dict[str, str] = {}
        k_hat = max((k for k in (self.k_hat_k[i], self.k_hat_k[j]) if k is not None), default=None)
        if k_hat is None:
            unknown["k_hat"] = "the weights are constant, or too few samples carry any"
        if weakest is None:
            unknown["overlap"] = "both states rest on the samples of one"
        value = asymptotic = bootstrap = error = None
        interval: tuple[float | None, float | None] = (None, None)
        if known:
            value = sign * float(self.f_k[j] - self.f_k[i])
        none = no_error_bar(float(min(self.n_effective_k[i], self.n_effective_k[j])))
        if known and none is not None:
            unknown |= dict.fromkeys(("standard_error", "interval95"), none)
        elif known:
            c = self.covariance_kk
            asymptotic = float(np.sqrt(max(c[i, i] + c[j, j] - 2 * c[i, j], 0.0)))
            replicates = sign * (self.replicates_rk[:, j] - self.replicates_rk[:, i])
            bootstrap, interval = replicate_errors(replicates)
            error = chosen_error(asymptotic, bootstrap, found, unit, self.more)
            interval = holding(interval, value, error)
        else:
            unknown |= dict.fromkeys(("value", "standard_error", "interval95"), "the states do not overlap")
        verdict, reasons = worst(found)
        return Estimate(
            name=name,
            A=a,
            B=b,
            estimator="MBAR",
            value=value,
            standard_error=error,
            interval95=interval,
            n=int(self.drawn_k.sum()),
            n_effective=float(min(self.n_effective_k[i], self.n_effective_k[j])),
            k_hat=k_hat,
            overlap=weakest,
            verdict=verdict,
            reasons=tuple(reasons),
            unknown=unknown,
            standard_error_asymptotic=asymptotic,
            standard_error_bootstrap=bootstrap,
            quantity=quantity,
            unit=unit,
            further=self._counts(),
        )

    def _counts(self) -> dict[str, Any]:
        return {
            "drawn": dict(zip(self.names, self.drawn_k.tolist())),
            "used": dict(zip(self.names, self.used_k.tolist())),
            "statistical_inefficiency": dict(zip(self.names, self.inefficiency_k.tolist())),
        }

    def _weakest_link(self, i: int, j: int) -> tuple[float, float | None]:
        """Shared samples and overlap of the weakest link on the best path from i to j.

        A state without samples is represented by the sampled state that carries most of its weight; its
        own effective samples are judged elsewhere. (inf, None) when both have the same representative.
        """
        start, end = (k if self.used_k[k] else int(self.overlap_kk[k].argmax()) for k in (i, j))
        if start == end:
            return np.inf, None
        best = {start: np.inf}  # state -> shared samples of the weakest link so far
        weakest: dict[int, float | None] = {start: None}
        settled: set[int] = set()
        while end not in settled:
            here = max(best.keys() - settled, key=lambda k: best[k])
            settled.add(here)
            for there in np.flatnonzero(self.used_k):
                shared = float(self.used_k[here] * self.overlap_kk[here, there])
                if there not in settled and min(best[here], shared) > best.get(int(there), -1.0):
                    narrow = shared < best[here]
                    both = float(self.overlap_kk[here, there] + self.overlap_kk[there, here])
                    best[int(there)] = min(best[here], shared)
                    weakest[int(there)] = both if narrow else weakest[here]
        return best[end], weakest[end]


def mbar(
    u_kn: ArrayLike,
    N_k: ArrayLike,
    statistics: Statistics,
    *,
    inefficiency_k: ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> MultistateResult:
    """MBAR on reduced energies (K, N), ``+inf`` where a sample lies outside a state's domain.

    N_k: (K,) samples of each state, in the order of the columns and, within a state, of time.
    inefficiency_k: (K,) by which the samples of each state are thinned; 1 for independent samples. None:
    measured on the reduced energy of each state's own samples (a slower torsion calls for more: give it).
    Samples from a flow need the coverage of `statistics`, simulations none. names: (K,), default
    ``state 0`` ...

    InputError for shapes that disagree, NaN, fewer than two samples; BoltzgenError when MBAR finds no
    solution. States without overlap do not raise: their estimates have no value, and say why.
    """
    statistics.require_unset("MBAR", "smoothed", "inefficiency", "walkers")
    u_kn, N_k = check_samples(u_kn, N_k)
    labels = [f"state {k}" for k in range(len(N_k))] if names is None else list(names)
    given = [None] * len(N_k) if inefficiency_k is None else list(np.asarray(inefficiency_k, dtype=float))
    if len(labels) != len(N_k) or len(set(labels)) != len(labels) or len(given) != len(N_k):
        raise InputError(f"names (all different) and inefficiencies must be {len(N_k)}, one a state.")
    require_two(int(N_k.sum()))
    g_k, rows = _thinned(u_kn, N_k, given, labels)
    used_k = np.array([len(r) for r in rows])
    chosen_kn = u_kn[:, np.concatenate(rows)]
    covered = replace(statistics, coverage=statistics.coverage or COVERED)
    return _solve(chosen_kn, used_k, N_k, g_k, labels, covered, False)


def absolute_mbar(
    log_q: ArrayLike,
    n_flow: int | Sequence[int],
    u_kn: ArrayLike,
    N_k: ArrayLike,
    statistics: Statistics,
    *,
    inefficiency_k: ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> MultistateResult:
    """MBAR with samples of a flow, so that ``ln Z`` of each of K states is absolute.

    log_q: (N,) log density of the flow at every sample, the flow's own first, then those of state 0, 1,
    ...; ``-inf`` outside its support. Several flows (or one at several temperatures): (M, N), with as
    many samples each as `n_flow` says; they enter as their mixture, which is normalised.
    u_kn: (K, N) at the same samples, ``+inf`` for rejected ones, which count in N. N_k: (K,) samples of
    each state after the flow's; all zero gives importance sampling. Otherwise as `mbar`.

    The result holds K + 1 states, the first called ``flow``; `MultistateResult.log_partition` answers.
    """
    statistics.require_unset("MBAR", "smoothed", "inefficiency", "walkers")
    u_kn, n_k = np.asarray(u_kn, dtype=np.float64), np.asarray(N_k)
    flows_m = np.atleast_1d(np.asarray(n_flow))
    log_q_mn = np.atleast_2d(np.asarray(log_q, dtype=np.float64))
    if u_kn.ndim != 2 or log_q_mn.shape != (flows_m.size, u_kn.shape[1]):
        raise InputError(
            f"log densities of shape {np.shape(log_q)} from {flows_m.size} flows and reduced energies of "
            f"shape {u_kn.shape} do not fit; expected (flows, samples) and (states, samples)."
        )
    if (flows_m < 0).any() or flows_m.sum() < 1:
        raise InputError("no samples of a flow: without them ln Z is not absolute; use mbar for differences.")
    log_q_n = mixture(log_q_mn, flows_m, u_kn)
    given = [1.0] + ([None] * len(n_k) if inefficiency_k is None else list(np.asarray(inefficiency_k, float)))
    labels = [FLOW, *([f"state {k}" for k in range(len(n_k))] if names is None else names)]
    everything, all_k = check_samples(np.vstack([-log_q_n, u_kn]), np.r_[flows_m.sum(), n_k])
    if len(labels) != len(all_k) or len(set(labels)) != len(labels) or len(given) != len(all_k):
        raise InputError(
            f"names (all different, none {FLOW!r}) and inefficiencies must be {len(n_k)}, one a state."
        )
    require_two(int(all_k.sum()))
    g_k, rows = _thinned(everything, all_k, given, labels)
    used_k = np.array([len(r) for r in rows])
    chosen_kn = everything[:, np.concatenate(rows)]
    return _solve(chosen_kn, used_k, all_k, g_k, labels, statistics, True)


def mixture(log_q_mn: np.ndarray, n_flow: ArrayLike, u_kn: np.ndarray) -> np.ndarray:
    """(N,) log density of the mixture of flows with so many draws each; 0 at a sample that was rejected."""
    flows_m = np.atleast_1d(np.asarray(n_flow))
    nowhere = np.isposinf(u_kn).all(axis=0)  # a rejected sample may have lost its density, too
    log_q_mn = np.where(nowhere & ~np.isfinite(log_q_mn), 0.0, log_q_mn)
    if np.isnan(log_q_mn).any() or np.isposinf(log_q_mn).any():
        raise InputError("log densities must be finite or -inf at every sample that was not rejected.")
    mixed: np.ndarray = np.logaddexp.reduce(log_q_mn + np.log(flows_m / flows_m.sum())[:, None], axis=0)
    return mixed


def _thinned(
    u_kn: np.ndarray, N_k: np.ndarray, given: Sequence[float | None], labels: Sequence[str]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Statistical inefficiencies (K,) and the columns that stay, one array a state."""
    starts = np.concatenate([[0], np.cumsum(N_k)])
    g_k, rows = np.ones(len(N_k)), []
    for k, (g, label) in enumerate(zip(given, labels, strict=True)):
        own = u_kn[k, starts[k] : starts[k + 1]]
        g_k[k] = g if g is not None else statistical_inefficiency(own) if own.size > 1 else 1.0
        if not g_k[k] >= 1:
            raise InputError(f"{label}: the statistical inefficiency must be at least 1, not {g_k[k]}.")
        rows.append(starts[k] + spaced_rows(int(N_k[k]), g_k[k]))
    return g_k, rows


def _solve(
    u_kn: np.ndarray,
    used_k: np.ndarray,
    drawn_k: np.ndarray,
    g_k: np.ndarray,
    labels: Sequence[str],
    statistics: Statistics,
    absolute: bool,
) -> MultistateResult:
    f_k, covariance_kk, log_W_nk = solve_mbar(u_kn, used_k)
    W_nk = np.exp(log_W_nk)
    overlap_kk = W_nk.T @ W_nk * used_k
    k_hat_k = tuple(pareto_k(log_W_nk[:, k]) for k in range(len(labels)))
    n_effective_k = 1.0 / np.sum(W_nk**2, axis=0)
    noted = [
        ()
        if absolute and k == 0
        else tuple(
            findings(
                log_W_nk[:, k],
                k_hat=k_hat_k[k],
                coverage=statistics.coverage,
                n_effective={label: float(n_effective_k[k])},
            )
        )
        for k, label in enumerate(labels)
    ]
    replicates_rk = _replicates(W_nk, f_k, used_k, overlap_kk, statistics)
    return MultistateResult(
        tuple(labels),
        f_k,
        covariance_kk,
        replicates_rk,
        drawn_k,
        used_k,
        g_k,
        overlap_kk,
        n_effective_k,
        k_hat_k,
        absolute,
        tuple(noted),
        more_of(statistics.coverage),
    )


def _replicates(
    W_nk: np.ndarray,
    f_k: np.ndarray,
    N_k: np.ndarray,
    overlap_kk: np.ndarray,
    statistics: Statistics,
) -> np.ndarray:
    """Bootstrap replicates (R, K) of ``f_k - f_0``, samples redrawn within each state.

    Each replicate is one Newton step from the solution on all samples: with ``p_nk = N_k W_nk`` and counts
    c_n, ``d f = -H^-1 (sum_n c_n p_nk - N_k)``, ``H = sum_n c_n (diag(p_n) - p_n p_n^T)``. Gradient and
    Hessian are linear in the counts, so that blocks of samples are summed once.
    """
    sampled = np.flatnonzero(N_k)
    size, p_nk = len(sampled), (W_nk * N_k)[:, sampled]
    pairs = [(i, j) for i in range(size) for j in range(i, size)]
    columns = np.concatenate(
        [np.ones((1, len(p_nk))), p_nk.T, np.stack([p_nk[:, i] * p_nk[:, j] for i, j in pairs]), W_nk.T]
    )
    n_bootstrap = statistics.n_bootstrap
    total_rj = np.zeros((n_bootstrap, len(columns)))
    starts = np.concatenate([[0], np.cumsum(N_k)])
    for k in sampled:
        sums_rj = bootstrap_sums(columns[:, starts[k] : starts[k + 1]], statistics)
        with np.errstate(divide="ignore", invalid="ignore"):
            total_rj += sums_rj * (N_k[k] / sums_rj[:, :1])
    p_rk, weight_rk = total_rj[:, 1 : 1 + size], total_rj[:, 1 + size + len(pairs) :]
    products_rkk = np.empty((n_bootstrap, size, size))
    for column, (i, j) in enumerate(pairs):
        products_rkk[:, i, j] = products_rkk[:, j, i] = total_rj[:, 1 + size + column]
    hessian_rkk = np.eye(size) * p_rk[:, None, :] - products_rkk
    step_rk = np.zeros((n_bootstrap, size))
    if size > 1:  # the first state is the zero
        with np.errstate(all="ignore"):
            inverse = np.linalg.pinv(np.nan_to_num(hessian_rkk[:, 1:, 1:]), hermitian=True)
            step_rk[:, 1:] = -np.einsum("rij,rj->ri", inverse, p_rk[:, 1:] - N_k[sampled][1:])
    result_rk = np.empty((n_bootstrap, len(N_k)))
    with np.errstate(divide="ignore", invalid="ignore"):
        result_rk[:] = f_k - np.log(weight_rk) + step_rk @ overlap_kk[:, sampled].T
    result_rk[:, sampled] = f_k[sampled] + step_rk
    return result_rk - result_rk[:, :1]


def _judge_overlap(shared: float, weakest: float | None, a: str, b: str, more: str) -> list[tuple[str, str]]:
    if shared < FEWEST_SHARED:
        text = f"no overlap between {a} and {b}: their samples lie in different places; {IN_BETWEEN}"
        return [("unreliable", text)]
    if weakest is None or (weakest >= OVERLAP_LOW and shared >= ENOUGH_SHARED):
        return []
    if weakest >= OVERLAP_LOW:
        return [("caution", f"{a} and {b} share {shared:.1f} samples only; {more}")]
    verdict = "unreliable" if weakest < OVERLAP_BAD else "caution"
    text = f"overlap {weakest:.2g} at the weakest link between {a} and {b}; {IN_BETWEEN}"
    return [(verdict, text)]
