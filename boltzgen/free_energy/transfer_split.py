"""What a free-energy difference between two energies of the same atoms is made of.

With U_A and U_B in kT, <.>_A and <.>_B averages over the conformations of A and of B::

    dG        = G_B - G_A                        the total, by MBAR
    solvation = <U_B - U_A>_B                    of B's conformations, each held fixed
    energy    = <U_A>_B - <U_A>_A                of the molecule itself, as its conformations shift
    entropy   = dG - solvation - energy          -T (S_B - S_A) of the conformations, at one temperature

so that the three add up to dG: ``G = <U> - T S`` in A and in B. Between vacuum and an implicit solvent U_B
- U_A is the solvent's free energy at a fixed conformation, and S holds no entropy of the solvent.
`fixed_in_a`, ``<U_B - U_A>_A``, is what dG would be if no conformation shifted and none fluctuated; it is
never below dG.

Averages and free energies come from one pool of samples by the weights of MBAR, and their errors from one
influence of each sample on all of them, so that what they share is counted once: with ``p_nl = N_l W_nl``,
``H = sum_n diag(p_n) - p_n p_n^T`` and theta the average of a in state k::

    I_n(f_k)   = -W_nk + sum_l (sum_m W_mk p_ml) I_n(f_l),     I_n(f_l) = -(H^-1 p_n)_l  where l was sampled
    I_n(theta) = W_nk (a_n - theta) - sum_l (sum_m W_mk p_ml (a_m - theta)) I_n(f_l)

(the delta method on MBAR's equations; Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008), section III).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from boltzgen.ensemble.diagnostics import worst
from boltzgen.errors import InputError
from boltzgen.free_energy.estimate import Estimate
from boltzgen.free_energy.multistate import MultistateResult
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.uncertainty import bootstrap_sums, chosen_error, holding, replicate_errors

#: The parts in the order in which they are told, and what each is.
PARTS = {
    "solvation": "transfer energy at the conformations of B, <U_B - U_A>_B",
    "energy": "change of U_A as the conformations shift, <U_A>_B - <U_A>_A",
    "entropy": "conformational entropy, -T (S_B - S_A)",
    "fixed_in_a": "transfer energy at the conformations of A, <U_B - U_A>_A",
}


@dataclass(frozen=True)
class TransferSplit:
    """dG(A->B) and its parts, kT. `solvation`, `energy` and `entropy` add up to `total`; `fixed_in_a` is
    beside.
    """

    total: Estimate
    solvation: Estimate
    energy: Estimate
    entropy: Estimate
    fixed_in_a: Estimate

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        return (self.total, *(getattr(self, name) for name in PARTS))


def transfer_split(
    result: MultistateResult, u_kn: np.ndarray, N_k: np.ndarray, a: str, b: str, statistics: Statistics
) -> TransferSplit:
    """The split of ``dG(a->b)`` between two states of `result` at one temperature.

    u_kn (K, N), N_k (K,): reduced energies and counts that `result` was solved from, columns by state, none
    thinned. InputError when they do not fit.
    """
    if u_kn.shape != (len(result.names), int(N_k.sum())) or not np.array_equal(result.used_k, N_k):
        raise InputError(f"reduced energies {u_kn.shape} are not those that MBAR was solved from.")
    total = result.difference(a, b)
    i, j = result.names.index(a), result.names.index(b)
    if total.value is None:
        parts = {name: _part(total, name, None, None, (None, None)) for name in PARTS}
        return TransferSplit(total, **parts)
    pool = _Influences(u_kn, N_k, result.f_k)
    values: dict[str, float] = {}
    rows: dict[str, np.ndarray] = {}
    u_a, w = u_kn[i], _difference(u_kn[j], u_kn[i])
    values["solvation"], rows["solvation"] = pool.average(w, j)
    values["fixed_in_a"], rows["fixed_in_a"] = pool.average(w, i)
    (in_b, row_b), (in_a, row_a) = pool.average(u_a, j), pool.average(u_a, i)
    values["energy"], rows["energy"] = in_b - in_a, row_b - row_a
    values["entropy"] = total.value - values["solvation"] - values["energy"]
    rows["entropy"] = pool.free_energy(j) - pool.free_energy(i) - rows["solvation"] - rows["energy"]
    spread = _replicates(np.stack([rows[name] for name in PARTS]), N_k, statistics)
    parts = {}
    for number, name in enumerate(PARTS):
        if total.standard_error is None:
            parts[name] = _part(total, name, values[name], None, (None, None))
            continue
        asymptotic = _error(rows[name], N_k)
        bootstrap, interval = replicate_errors(values[name] + spread[:, number])
        found: list[tuple[str, str]] = [(total.verdict, reason) for reason in total.reasons]
        error = chosen_error(asymptotic, bootstrap, found, "kT", result.more)
        part = _part(total, name, values[name], error, holding(interval, values[name], error))
        verdict, reasons = worst(found) if found else (total.verdict, list(total.reasons))
        parts[name] = replace(
            part,
            verdict=verdict,
            reasons=tuple(reasons),
            standard_error_asymptotic=asymptotic,
            standard_error_bootstrap=bootstrap,
        )
    return TransferSplit(total, **parts)


class _Influences:
    """How much each sample moves what MBAR makes of the pool."""

    def __init__(self, u_kn: np.ndarray, N_k: np.ndarray, f_k: np.ndarray) -> None:
        sampled = np.flatnonzero(N_k)
        with np.errstate(invalid="ignore"):
            terms = np.log(N_k[sampled])[:, None] + f_k[sampled, None] - u_kn[sampled]
        self.w_kn = np.exp(f_k[:, None] - u_kn - np.logaddexp.reduce(terms, axis=0))
        self.w_kn /= self.w_kn.sum(axis=1, keepdims=True)
        self.p_ln = self.w_kn[sampled] * N_k[sampled, None]
        hessian = np.diag(self.p_ln.sum(axis=1)) - self.p_ln @ self.p_ln.T
        self.f_ln = np.zeros_like(self.p_ln)  # the first sampled state is the zero
        self.f_ln[1:] = -np.linalg.pinv(hessian[1:, 1:], hermitian=True) @ self.p_ln[1:]

    def free_energy(self, k: int) -> np.ndarray:
        """(N,) of f_k."""
        w = self.w_kn[k]
        return np.asarray(-w + (self.p_ln @ w) @ self.f_ln)

    def average(self, a_n: np.ndarray, k: int) -> tuple[float, np.ndarray]:
        """<a> in state k, and (N,) of it; `a_n` may be anything where the state has no weight."""
        w = self.w_kn[k]
        a_n = np.where(w > 0, a_n, 0.0)
        theta = float(w @ a_n)
        row = np.where(w > 0, w * (a_n - theta), 0.0)
        return theta, row - (self.p_ln @ row) @ self.f_ln


def _difference(u_b: np.ndarray, u_a: np.ndarray) -> np.ndarray:
    """``u_b - u_a``; 0 where both are infinite, at a sample that no state has weight on."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(u_a) & np.isfinite(u_b), u_b - u_a, 0.0)


def _groups(N_k: np.ndarray) -> list[slice]:
    ends = np.cumsum(N_k)
    return [slice(int(end - n), int(end)) for end, n in zip(ends, N_k, strict=True) if n > 0]


def _error(row_n: np.ndarray, N_k: np.ndarray) -> float:
    """Of a sum of influences, samples of each state being independent draws of a number that was fixed."""
    square = 0.0
    for group in _groups(N_k):
        part = row_n[group] - row_n[group].mean()
        square += float(part @ part) * part.size / max(part.size - 1, 1)
    return float(np.sqrt(square))


def _replicates(rows_mn: np.ndarray, N_k: np.ndarray, statistics: Statistics) -> np.ndarray:
    """(R, M) deviations of the numbers with these influences, blocks of samples redrawn within each state."""
    total = np.zeros((statistics.n_bootstrap, len(rows_mn)))
    for group in _groups(N_k):
        part = rows_mn[:, group]
        sums = bootstrap_sums(np.vstack([np.ones(part.shape[1]), part]), statistics)
        with np.errstate(divide="ignore", invalid="ignore"):
            total += sums[:, 1:] * (part.shape[1] / sums[:, :1]) - part.sum(axis=1)
    return total


def _part(
    total: Estimate,
    name: str,
    value: float | None,
    error: float | None,
    interval: tuple[float | None, float | None],
) -> Estimate:
    unknown: Mapping[str, str] = total.unknown
    return replace(
        total,
        name=f"{total.name}: {name}",
        quantity=PARTS[name],
        value=value,
        standard_error=error,
        interval95=interval,
        unknown=unknown,
        standard_error_asymptotic=None,
        standard_error_bootstrap=None,
        further={},
    )
