"""Does the flow reach everything that the target holds? Only target samples can tell.

A flow that covers one of two equal modes shows a reverse effective sample size of 100 %. At samples
of the target that took no part in training the loss is plain: their density under the flow is far
too low, their weight far above any weight that the flow's own samples show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from boltzgen import remedies
from boltzgen.ensemble.diagnostics import (
    FEWEST_QUOTED,
    check_log_weights,
    forward_ess,
    kish_ess,
    largest_weight_share,
    not_quoted,
    worst,
)
from boltzgen.errors import InputError

#: The source of a coverage record that `boltzgen.trust.judgement` made from short replica exchanges.
PROBE = "probe"

#: Target samples, counted as independent, that a check needs before it can certify anything.
ENOUGH_TARGET = 100.0

#: A target sample is missed when its weight exceeds every weight of the flow's samples by this factor.
MISSED_FACTOR = 10.0

#: Missed samples that are no accident: so many independent ones at least.
ENOUGH_MISSED = 3.0

#: Effective draws, seen from the target, below which nothing holds: of draws that reach it, even if one of
#: them carries all weight, one counts. Fewer says that all together miss what the target shows.
FEWEST_FORWARD = 1.0

#: Why some numbers of a coverage record are not there for samples of walkers.
OF_WALKERS = "it compares weights, and those of walkers are all equal"

#: Forward and reverse effective sample sizes that differ by this factor do not describe one density.
ESS_RATIO = 0.5


def check_coverage(
    log_w: ArrayLike | None,
    target_log_w: ArrayLike,
    *,
    source: str,
    statistical_inefficiency: float = 1.0,
    states: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """The coverage record that an `Ensemble` stores in ``coverage`` (JSON-serialisable).

    `log_w` (N,) belongs to the flow's samples, `target_log_w` (M,) is ``-u - log_q`` at samples of
    the target that took no part in training (``+inf`` where the flow has density zero); M divided
    by `statistical_inefficiency` counts as independent. `source` says where they come from. The forward
    effective sample size is None, with a reason in ``unknown``, from fewer than `FEWEST_QUOTED` of those.
    `log_w` None stands for samples of walkers, whose weights tell nothing: what they reach is then told by
    the states alone, and by target samples where the flow has no density, which no move of it reaches.
    `states` may hold comparisons ``{"name", "target", "target_error", "reweighted",
    "reweighted_error"}`` of populations; ``reweighted_unknown``: why that error is used and not shown.

    Rule: every region of the target must be reachable. ``missed`` is the share of target samples
    whose weight exceeds all of the flow's weights `MISSED_FACTOR` times. A flow without gaps, with
    Pareto tails of shape k, misses about ``share / (1 - k) * MISSED_FACTOR^(1 - 1/k)``, which is
    below the largest weight share for k < 0.6 or so. ``unreliable`` when more are missed than that
    share and counting noise allow, or when a population is off by more than 3 combined sigma;
    ``unreliable``, too, when the draws count as less than `FEWEST_FORWARD` seen from the target;
    ``caution`` when those missed are fewer than `ENOUGH_MISSED` independent ones, when forward and reverse
    effective sample sizes part, or too few target samples were given.
    """
    log_w_m = np.asarray(target_log_w, dtype=np.float64)
    forward = forward_ess(log_w_m)
    if not statistical_inefficiency >= 1:
        raise InputError(f"the statistical inefficiency must be at least 1, not {statistical_inefficiency}.")
    independent = log_w_m.size / statistical_inefficiency
    if log_w is None:
        found = [*_out_of_reach(log_w_m), *_few_frames(independent, source), *_judge_states(states, source)]
        verdict, reasons = worst(found)
        return {
            "source": source,
            "n_target": int(log_w_m.size),
            "n_independent": float(independent),
            "forward_ess": None,
            "missed": None,
            "states": [_told(state) for state in states],
            "verdict": verdict,
            "reasons": reasons,
            "unknown": dict.fromkeys(("forward_ess", "missed"), OF_WALKERS),
        }
    log_w_n = check_log_weights(log_w)
    missed = float(np.mean(log_w_m > log_w_n.max() + np.log(MISSED_FACTOR)))
    reverse = kish_ess(log_w_n)
    quoted = independent >= FEWEST_QUOTED
    rests = f"{independent:.0f} independent frames of the target"
    findings = _judge_missed(missed, independent, largest_weight_share(log_w_n))
    if forward * log_w_n.size < FEWEST_FORWARD:
        findings.append(
            (
                "unreliable",
                f"seen from {rests} the {log_w_n.size} draws count as "
                + (
                    f"{forward * log_w_n.size:.2g} effective ones"
                    if quoted
                    else "less than one effective one"
                )
                + f": the flow hardly reaches part of the target; {remedies.TRAIN_ON_LADDER}",
            )
        )
    elif quoted and forward < ESS_RATIO * reverse:
        findings.append(
            (
                "caution",
                f"the effective sample size seen from {rests} ({100 * forward:.1f} %) is below "
                f"half of what the flow's own samples show ({100 * reverse:.1f} %): it is thin in places; "
                f"{remedies.HOTTER}",
            )
        )
    findings += [*_few_frames(independent, source), *_judge_states(states, source)]
    verdict, reasons = worst(findings)
    return {
        "source": source,
        "n_target": int(log_w_m.size),
        "n_independent": float(independent),
        "forward_ess": forward if quoted else None,
        "missed": missed,
        "states": [_told(state) for state in states],
        "verdict": verdict,
        "reasons": reasons,
        **({} if quoted else {"unknown": {"forward_ess": not_quoted(independent)}}),
    }


def _few_frames(independent: float, source: str) -> list[tuple[str, str]]:
    if independent >= ENOUGH_TARGET:
        return []
    more = remedies.LARGER_PROBE if source == PROBE else remedies.MORE_FRAMES
    return [
        (
            "caution",
            f"coverage judged on {independent:.0f} independent target samples, and "
            f"{ENOUGH_TARGET:.0f} are needed; {more}",
        )
    ]


def _out_of_reach(log_w_m: np.ndarray) -> list[tuple[str, str]]:
    """The finding on target samples where the flow has no density: walkers that it moves never get there."""
    lost = float(np.mean(np.isposinf(log_w_m)))
    if lost == 0:
        return []
    why = f"the flow has no density at {100 * lost:.2g} % of the target, where its moves never lead"
    return [("unreliable", f"{why}; {remedies.TRAIN_ON_LADDER}")]


def _judge_states(states: Sequence[dict[str, Any]], source: str) -> list[tuple[str, str]]:
    return [finding for state in states for finding in _judge_state(state, source)]


def _told(state: dict[str, Any]) -> dict[str, Any]:
    """`state` for the record: an error that rests on one or two samples is None, with the reason."""
    told = {key: value for key, value in state.items() if key != "reweighted_unknown"}
    why = state.get("reweighted_unknown")
    return told if why is None else {**told, "reweighted_error": None, "reason": why}


def _judge_missed(missed: float, independent: float, share: float) -> list[tuple[str, str]]:
    allowed = share + 3 * np.sqrt(share * (1 - share) / independent)
    if missed > allowed:
        return [
            (
                "unreliable" if missed * independent >= ENOUGH_MISSED else "caution",
                f"{100 * missed:.1f} % of the target lies where the flow draws (almost) nothing: part of it "
                f"is lost; {remedies.TRAIN_ON_LADDER}",
            )
        ]
    return []


def _judge_state(state: dict[str, Any], source: str) -> list[tuple[str, str]]:
    difference = state["reweighted"] - state["target"]
    sigma = float(np.hypot(state["target_error"], state["reweighted_error"]))
    if abs(difference) <= 3 * sigma:
        return []
    return [
        (
            "unreliable",
            f"the population of {state['name']} is {state['reweighted']:.3g} here and {state['target']:.3g} "
            f"in the target samples, {abs(difference) / max(sigma, 1e-300):.1f} combined sigma apart; "
            f"{remedies.ADAPT if source == PROBE else remedies.PROBE}",
        )
    ]
