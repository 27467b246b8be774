"""What the weights alone say about an ensemble, and the verdict on it.

Throughout, ``log_w`` is the natural logarithm of unnormalised importance weights,
``log_w = -u - log_q``, one entry for *every* sample drawn. A rejected sample has ``-inf``: it
carries no weight and still counts in N. NaN and ``+inf`` are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from boltzgen import remedies
from boltzgen.ensemble.chains.figures import ChainFigures
from boltzgen.ensemble.pareto import smoothed_tail
from boltzgen.errors import InputError

#: The verdicts, from the best to the worst.
VERDICTS = ("ok", "caution", "unreliable")

#: Pareto k-hat up to which error bars are trusted, and above which nothing is (Vehtari et al., JMLR 2024;
#: 0.4 from the coverage measured in shared facts: nominal 95 % covers 92 % and more below it).
K_GOOD, K_BAD = 0.4, 0.7

#: Effective samples that make a state or an ensemble well known, and below which it is not known.
ENOUGH_EFFECTIVE, TOO_FEW_EFFECTIVE = 100.0, 10.0

#: Effective samples that a number must exceed to have an error bar: one or two show no scatter.
FEWEST_FOR_ERROR = 2.0

#: One weight above this share of the total decides the answer alone.
SHARE_BAD = 0.5

#: Independent target samples below which no effective sample size is quoted from them: with fewer, one frame
#: more or less moves it by a fifth even where every weight is near the mean, and one rare frame decides it.
FEWEST_QUOTED = 30.0

#: log-weights with a variance below this are constant: the tail fit would see only rounding noise.
CONSTANT_VARIANCE = 1e-8

#: Largest weight over the mean weight below which the tail is not judged: no sample counts for two, and
#: k-hat, which knows no scale, is noise (a flow with an effective sample size of 99.96 % shows up to 0.7).
EVEN = 2.0

NO_COVERAGE = (
    "coverage not checked: only samples that the flow did not draw can show that it misses nothing; "
    f"{remedies.PROBE}"
)


def check_log_weights(log_w: ArrayLike) -> np.ndarray:
    """`log_w` as a float64 vector of shape (N,), or InputError: empty, NaN or ``+inf``."""
    log_w_n = np.asarray(log_w, dtype=np.float64)
    if log_w_n.ndim != 1 or log_w_n.size == 0:
        raise InputError(f"log-weights must be a vector, one entry a sample; got shape {log_w_n.shape}.")
    bad = np.flatnonzero(np.isnan(log_w_n) | np.isposinf(log_w_n))
    if bad.size:
        raise InputError(
            f"log-weight of sample {bad[0]} is {log_w_n[bad[0]]} ({bad.size} such); "
            "a rejected sample must carry -inf."
        )
    return log_w_n


def normalised_weights(log_w: ArrayLike) -> np.ndarray:
    """Weights (N,) that sum to one; all zero when every sample was rejected."""
    log_w_n = check_log_weights(log_w)
    largest = log_w_n.max()
    if np.isneginf(largest):
        return np.zeros_like(log_w_n)
    w_n = np.exp(log_w_n - largest)
    return w_n / w_n.sum()


def kish_ess(log_w: ArrayLike) -> float:
    """Kish's effective sample size as a fraction, ``(sum w)^2 / (N sum w^2)``; rejected rows count in N."""
    w_n = normalised_weights(log_w)
    total = float(np.sum(w_n**2))
    return 1.0 / (w_n.size * total) if total > 0 else 0.0


def kish_ess_clipped(log_w: ArrayLike, fraction: float = 1e-4) -> float:
    """`kish_ess` with the largest ``floor(fraction N)`` weights lowered to the next largest.

    The convention of temperature-annealed Boltzmann generators (arXiv:2501.19077). Biased upwards:
    for comparison with publications only, never for a free energy.
    """
    log_w_n = np.sort(check_log_weights(log_w))
    top = int(np.floor(fraction * log_w_n.size + 1e-9))
    if 0 < top < log_w_n.size:
        log_w_n[-top:] = log_w_n[-top - 1]
    return kish_ess(log_w_n)


def kish_ess_dropped(log_w: ArrayLike, fraction: float = 2e-3) -> float:
    """`kish_ess` of what is left after the largest ``floor(fraction N)`` weights are deleted.

    The convention of sequential Boltzmann generators and Prose (there named clipping). Biased
    upwards: for comparison with publications only, never for a free energy.
    """
    log_w_n = np.sort(check_log_weights(log_w))
    top = int(np.floor(fraction * log_w_n.size + 1e-9))
    return kish_ess(log_w_n[: log_w_n.size - top])


def forward_ess(target_log_w: ArrayLike) -> float:
    """Effective sample size as a fraction, seen from samples of the target.

    With normalised weights ``w = p / q``, ``ESS = 1 / E_q[w^2] = 1 / E_p[w]``, and with unnormalised
    ones ``1/Z = E_p[1/w]``, so that for M target samples

        ESS = 1 / (mean(w) mean(1/w)).

    Nicoli et al., Phys. Rev. D 108, 114501 (2023). Unlike the reverse estimate it sees a mode that
    the flow lost: there w is huge. `target_log_w` (M,) is ``-u - log_q`` at the target samples;
    ``+inf`` (density zero) is allowed and gives 0. NaN and ``-inf`` raise InputError.
    """
    log_w_m = np.asarray(target_log_w, dtype=np.float64)
    if log_w_m.ndim != 1 or log_w_m.size == 0 or np.isnan(log_w_m).any() or np.isneginf(log_w_m).any():
        raise InputError("log-weights at target samples must be a vector without NaN and -inf.")
    if np.isposinf(log_w_m).any():
        return 0.0
    log_size = np.log(log_w_m.size)
    return float(np.exp(2 * log_size - np.logaddexp.reduce(log_w_m) - np.logaddexp.reduce(-log_w_m)))


def not_quoted(independent: float) -> str:
    """Why no effective sample size is quoted from so few `independent` frames of the target."""
    return f"it would rest on {independent:.0f} independent frames, and {FEWEST_QUOTED:.0f} are needed"


def no_error_bar(n_effective: float) -> str | None:
    """Why a number that rests on so few effective samples has no error bar; None where it has one."""
    if n_effective > FEWEST_FOR_ERROR * (1 + 1e-9):
        return None
    return f"it rests on {max(n_effective, 0.0):.1f} effective samples, and one or two show no scatter"


def weights_are_constant(log_w: ArrayLike) -> bool:
    """True when the weights of the samples that carry any differ by rounding alone."""
    finite = _finite(check_log_weights(log_w))
    return finite.size > 0 and float(np.var(finite)) < CONSTANT_VARIANCE


def pareto_k(log_w: ArrayLike) -> float | None:
    """Shape k-hat of the generalised Pareto fit to the upper tail of the weights (`pareto.py`).

    Variance of the weights is finite for k < 1/2, error bars are usable up to about 0.7
    (Vehtari et al., JMLR 2024). None where it cannot be known: constant weights (the fit would see
    noise), or fewer than 26 samples with weight, or too few distinct weights in the tail.
    """
    log_w_n = check_log_weights(log_w)
    if weights_are_constant(log_w_n):
        return None
    return smoothed_tail(_finite(log_w_n))[1]


def largest_weight_share(log_w: ArrayLike) -> float:
    """Largest weight over the sum of all; 0 when no sample carries weight."""
    return float(normalised_weights(log_w).max())


def log_z(log_w: ArrayLike) -> tuple[float | None, float | None]:
    """``ln Z = ln mean(w)`` over all N samples, and its standard error by the delta method.

    ``se = sqrt((1/ESS - 1) / (N - 1))`` with the Kish fraction ESS. (None, None) when no sample
    carries weight, (value, None) where that makes two effective samples or fewer.
    """
    log_w_n = check_log_weights(log_w)
    if np.isneginf(log_w_n.max()):
        return None, None
    value = float(np.logaddexp.reduce(log_w_n) - np.log(log_w_n.size))
    ess = kish_ess(log_w_n)
    if no_error_bar(ess * log_w_n.size) is not None:
        return value, None
    relative_variance = max(1.0 / ess - 1.0, 0.0)
    return value, float(np.sqrt(relative_variance / (log_w_n.size - 1)))


@dataclass(frozen=True)
class Diagnostics:
    """The diagnostics of one ensemble; fractions are of the N samples drawn, energies in kT.

    `forward_ess` rests on `forward_ess_frames` independent frames of the target, at least `FEWEST_QUOTED`.
    Kish's fractions are None where rows are not independent; `chains` has what counts there.
    """

    n: int
    n_valid: int
    ess: float | None
    ess_clipped: float | None
    ess_dropped: float | None
    forward_ess: float | None
    forward_ess_frames: float | None
    k_hat: float | None
    largest_weight_share: float | None
    log_z: float | None
    log_z_standard_error: float | None
    verdict: str
    reasons: tuple[str, ...]
    unknown: Mapping[str, str] = field(default_factory=dict)
    chains: ChainFigures | None = None

    @property
    def n_effective(self) -> float:
        """Samples that count: Kish's effective number, of walkers their bulk samples (0 where unknown)."""
        if self.chains is not None:
            return self.chains.ess_bulk or 0.0
        return 0.0 if self.ess is None else self.ess * self.n


def diagnose(log_w: ArrayLike, coverage: Mapping[str, Any] | None = None) -> Diagnostics:
    """All diagnostics of the log-weights (N,), with the verdict of `judge`.

    `coverage` is the record of `boltzgen.ensemble.coverage`, when target samples that took no part
    in training were at hand.
    """
    log_w_n = check_log_weights(log_w)
    k_hat, ess, share = pareto_k(log_w_n), kish_ess(log_w_n), largest_weight_share(log_w_n)
    value, error = log_z(log_w_n)
    forward, frames = (coverage or {}).get("forward_ess"), (coverage or {}).get("n_independent")
    too_few = frames is not None and frames < FEWEST_QUOTED
    forward = None if too_few else forward
    verdict, reasons = judge(log_w_n, k_hat=k_hat, coverage=coverage)
    return Diagnostics(
        n=log_w_n.size,
        n_valid=int(_finite(log_w_n).size),
        ess=ess,
        ess_clipped=kish_ess_clipped(log_w_n),
        ess_dropped=kish_ess_dropped(log_w_n),
        forward_ess=forward,
        forward_ess_frames=frames,
        k_hat=k_hat,
        largest_weight_share=share,
        log_z=value,
        log_z_standard_error=error,
        verdict=verdict,
        reasons=tuple(reasons),
        unknown=_unknown(log_w_n, k_hat, (forward, frames), value, error),
    )


def judge(
    log_w: ArrayLike,
    *,
    k_hat: float | None,
    coverage: Mapping[str, Any] | None,
    n_effective: Mapping[str, float] | None = None,
) -> tuple[str, list[str]]:
    """The verdict of the design's rule and its reasons, worst first; arguments as for `findings`."""
    return worst(findings(log_w, k_hat=k_hat, coverage=coverage, n_effective=n_effective))


#: The record of coverage for frames of a simulation: no flow drew them, so that there is nothing to doubt,
#: and more of them come from the simulation.
COVERED = {"verdict": "ok", "reasons": [], "simulated": True}


def findings(
    log_w: ArrayLike,
    *,
    k_hat: float | None,
    coverage: Mapping[str, Any] | None,
    n_effective: Mapping[str, float] | None = None,
) -> list[tuple[str, str]]:
    """What speaks against the verdict ``ok``: pairs of (verdict at best, reason).

    `n_effective` maps each state to its effective number of samples; without it the whole ensemble
    is one state. ``ok`` needs k-hat up to `K_GOOD`, `ENOUGH_EFFECTIVE` samples in every state and a
    coverage check that passed.
    """
    w_n = normalised_weights(log_w)
    if not w_n.any():
        why = "no sample carries weight: every one was rejected (summary.json says why)"
        return [("unreliable", f"{why}; {remedies.LOOK}")]
    simulated = bool((coverage or {}).get("simulated"))
    found = _judge_tail(w_n, k_hat, weights_are_constant(log_w), simulated)
    counts = n_effective or {"": kish_ess(log_w) * w_n.size}
    for name, count in counts.items():
        found += _judge_count(name, count, w_n.size, coverage)
    if coverage is None:
        return [*found, ("caution", NO_COVERAGE)]
    return [(coverage["verdict"], reason) for reason in coverage["reasons"]] + found


def worst(found: Sequence[tuple[str, str]], *, several: bool = False) -> tuple[str, list[str]]:
    """The worst verdict among (verdict, reason) pairs, and the reasons ordered from worst to best.

    The pairs are of one ensemble, and none of them asks for draws that another says do not help
    (`boltzgen.remedies`). `several`: they are of several ensembles, each in order by itself.
    """
    told = list(found) if several else remedies.consistent(list(found))
    ordered = sorted(told, key=lambda finding: -VERDICTS.index(finding[0]))
    return (ordered[0][0] if ordered else "ok"), list(dict.fromkeys(reason for _, reason in ordered))


def _judge_tail(
    w_n: np.ndarray, k_hat: float | None, constant: bool, simulated: bool
) -> list[tuple[str, str]]:
    found = []
    heavy, mild = (remedies.LENGTHEN,) * 2 if simulated else (remedies.ADAPT, remedies.HOTTER)
    if w_n.max() * w_n.size < EVEN:
        k_hat, constant = None, True
    if k_hat is None and not constant:
        more = remedies.LENGTHEN if simulated else remedies.draw_in_all(max(1000, 10 * w_n.size))
        found.append(("caution", f"k-hat not known: too few samples carry weight to see its tail; {more}"))
    elif k_hat is not None and k_hat > K_BAD:
        found.append(
            (
                "unreliable",
                f"k-hat {k_hat:.2f} is above {K_BAD}: a few rare samples would change the answer; {heavy}",
            )
        )
    elif k_hat is not None and k_hat > K_GOOD:
        found.append(
            (
                "caution",
                f"error bars too small: k-hat {k_hat:.2f} is above {K_GOOD}; {mild}",
            )
        )
    share = float(w_n.max())
    if share > SHARE_BAD:
        found.append(("unreliable", f"one sample holds {100 * share:.0f} % of all weight; {heavy}"))
    return found


def _judge_count(
    name: str, count: float, n_samples: int, coverage: Mapping[str, Any] | None
) -> list[tuple[str, str]]:
    """Findings on the effective samples of state `name` ("" for the whole ensemble)."""
    record = coverage or {}
    simulated, covered = bool(record.get("simulated")), record.get("verdict") == "ok"
    if count >= ENOUGH_EFFECTIVE:
        return []
    subject = f"the state {name}" if name else "the ensemble"
    if count <= 0:
        # a flow that is known to cover everything needs draws; of any other it is to be seen whether it does
        more = remedies.LONGER_CHAINS if record.get("chained") else remedies.DRAW_MORE
        seen = more if covered else remedies.PROBE
        why = f"{subject} was not visited with any weight in {n_samples} samples"
        return [("unreliable", f"{why}; {remedies.LADDER if simulated else seen}")]
    needed = rounded_up(n_samples * ENOUGH_EFFECTIVE / count)
    advice = remedies.LENGTHEN if simulated else remedies.draw_in_all(needed)
    advice = remedies.longer_chains(needed) if record.get("chained") else advice
    verdict = "unreliable" if count < TOO_FEW_EFFECTIVE else "caution"
    return [(verdict, f"{subject} rests on {count:.0f} effective samples; {advice}")]


def rounded_up(number: float) -> int:
    """`number` rounded up to two digits: 41200 -> 42000."""
    step = 10 ** max(int(np.floor(np.log10(max(number, 1.0)))) - 1, 0)
    return int(np.ceil(number / step) * step)


def _finite(log_w_n: np.ndarray) -> np.ndarray:
    return log_w_n[np.isfinite(log_w_n)]


def _unknown(
    log_w_n: np.ndarray,
    k_hat: float | None,
    forward: tuple[float | None, float | None],
    value: float | None,
    error: float | None,
) -> dict[str, str]:
    """Why each number that is None is not known."""
    unknown = {}
    seen, frames = forward
    nothing = "no samples of the target that took no part in training"
    if seen is None:
        unknown["forward_ess"] = nothing if frames is None else not_quoted(frames)
    if frames is None:
        unknown["forward_ess_frames"] = nothing if seen is None else "not recorded when they were compared"
    if k_hat is None:
        constant = weights_are_constant(log_w_n)
        unknown["k_hat"] = "constant weights have no tail" if constant else "too few samples with weight"
    if value is None:
        unknown["log_z"] = unknown["log_z_standard_error"] = "no sample carries weight"
    elif error is None:
        unknown["log_z_standard_error"] = no_error_bar(kish_ess(log_w_n) * log_w_n.size) or "not known"
    return unknown
