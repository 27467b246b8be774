"""Draws of a flow carried to the target by moves, with their weights: `refine` of `sample`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from boltzgen.checks import check_number
from boltzgen.ensemble.diagnostics import kish_ess, pareto_k
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.join import concatenate
from boltzgen.errors import InputError, StoppedError
from boltzgen.generator import BoltzmannGenerator
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress
from boltzgen.refine.draw import METHODS, RefinedBatch, refined_draws
from boltzgen.refine.latent import LatentTarget
from boltzgen.refine.schedule import Schedule, pilot_schedule
from boltzgen.streams import PILOT, stream

#: Moves of a sample, an energy each: the schedule is an array.
MOST_MOVES = 1_000_000

#: Moves of a sample that are expected where nobody says how many, to decide about compilation.
EXPECTED_MOVES = 20

#: Fresh draws of the flow that tell its weights where an ensemble holds refined ones.
FRESH_DRAWS = 10_000


@dataclass(frozen=True)
class Refinement:
    """What `refine` asks for: one of `METHODS`, and the moves of each sample (None: as the pilot says).

    InputError for anything else.
    """

    method: str
    moves: int | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"`refine={self.method!r}` is not known; use {' or '.join(METHODS)}.")
        if self.moves is not None and self.moves < 1:
            raise InputError(f"`refine_budget={self.moves}`: a sample needs at least one move.")
        if self.moves is not None:
            check_number(self.moves, "refine_budget", most=MOST_MOVES)

    @classmethod
    def of(cls, method: str | None, moves: int | None) -> Refinement | None:
        """What the arguments of `sample` mean; None for none."""
        if method is None and moves is not None:
            raise InputError(
                '`refine_budget` counts the moves of `refine`; add `refine="smc"` or `refine="mala"`.'
            )
        return None if method is None else cls(method, moves)


def draw_refined(
    generator: BoltzmannGenerator,
    refinement: Refinement,
    number: int,
    temperature: float,
    *,
    seed: int,
    stop: StopRequest | None,
    progress: Progress,
) -> tuple[Ensemble, np.ndarray]:
    """`number` refined samples, or those before `stop`, and ``-u - log_q`` (n,) of the flow's draws.

    They come in groups (`refined_draws`), of which the first is moved to its end in any case. The record of
    the refinement is in the provenance under ``refined``. UnsupportedError without a latent space.
    """
    target = LatentTarget(generator, temperature)
    schedule = pilot_schedule(target, moves=refinement.moves, generator=stream(seed, PILOT))
    pilot = target.energy_evaluations
    parts: list[RefinedBatch] = []
    began = time.monotonic()
    with suppress(StoppedError):  # in the middle of a group: those before it are whole
        for part in refined_draws(target, number, schedule, method=refinement.method, seed=seed, stop=stop):
            parts.append(part)
            progress(sum(len(done.ensemble) for done in parts), number, None)
            if stop is not None and not stop.leaves((time.monotonic() - began) / len(parts) / 2):
                break
    ensemble = concatenate([part.ensemble for part in parts])
    drawn = np.concatenate([part.drawn_log_w for part in parts])
    spent = target.energy_evaluations
    record = _record(refinement.method, schedule, parts, ensemble, drawn, pilot=pilot, spent=spent)
    provenance = {**ensemble.provenance, "energy_evaluations": spent, "refined": [record]}
    return replace(ensemble, provenance=provenance), drawn


def _record(
    method: str,
    schedule: Schedule,
    parts: Sequence[RefinedBatch],
    ensemble: Ensemble,
    drawn: np.ndarray,
    *,
    pilot: int,
    spent: int,
) -> dict[str, Any]:
    """What was done and what came of it; JSON-serialisable. The acceptance is that of the mean batch."""
    before, after = kish_ess(drawn), kish_ess(ensemble.log_w)
    rates = np.array([part.acceptance for part in parts])
    known = np.isfinite(rates)
    shares = np.where(known, rates, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return {
        "method": method,
        "moves": schedule.moves,
        "ess_before": before,
        "k_hat_before": pareto_k(drawn),
        "ess_after": after,
        "energy_evaluations": spent,
        "pilot_evaluations": pilot,
        "gain_per_evaluation": (after / before) * len(ensemble) / spent if before > 0 else None,
        "exponents": list(schedule.exponents),
        "step_sizes": list(schedule.steps),
        "acceptance": shares.tolist(),
    }


def is_refined(ensemble: Ensemble) -> bool:
    """Whether rows of `ensemble` are not the flow's own draws with their weights: refined, or of walkers."""
    return "refined" in ensemble.provenance or ensemble.walkers is not None


def flow_log_weights(
    generator: BoltzmannGenerator, ensemble: Ensemble, temperature: float, *, seed: int
) -> np.ndarray | None:
    """Log-weights of draws of the flow: those of `ensemble`, or of fresh draws where it was refined.

    None for walkers, which may go where the flow draws almost nothing: its weights do not judge them.
    """
    if ensemble.walkers is not None:
        return None
    if not is_refined(ensemble):
        return ensemble.log_w
    return generator.sample(min(len(ensemble), FRESH_DRAWS), temperature, seed=seed).log_w
