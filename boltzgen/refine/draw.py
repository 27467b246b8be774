"""Refined samples as ensembles: the rows of the flow's draw, moved and weighed again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from boltzgen.ensemble.drawn_rows import DrawnRows
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.interrupts import StopRequest
from boltzgen.refine.annealed import RESAMPLE_BELOW, Annealed, annealed_moves, one_of_each_family
from boltzgen.refine.latent import LatentState, LatentTarget
from boltzgen.refine.schedule import Schedule
from boltzgen.streams import REFINED, stream

#: The two methods: sequential Monte Carlo, and annealed importance sampling by Langevin moves alone.
METHODS = ("smc", "mala")

#: Most rows of a group: what the pilot population costs as well, so that few samples are not dear.
LARGEST_GROUP = 512

#: Why a row carries no weight although its conformation could.
NO_DESCENDANT = "resampled away"


@dataclass(frozen=True)
class RefinedBatch:
    """`ensemble` of B rows, the weights of the draws it began with, and what the moves did.

    drawn_log_w: (B,) ``-u - log_q`` of the flow's draws. acceptance: of the moves of each level.
    """

    ensemble: Ensemble
    drawn_log_w: np.ndarray
    acceptance: tuple[float, ...]


def group_rows(target: LatentTarget) -> int:
    """Rows of a group: those of a block of draws (`Target.block_rows`), `LARGEST_GROUP` at most."""
    return min(target.target.block_rows(), LARGEST_GROUP)


def refined_draws(
    target: LatentTarget,
    number: int,
    schedule: Schedule,
    *,
    method: str,
    seed: int,
    stop: StopRequest | None = None,
) -> Iterator[RefinedBatch]:
    """`number` refined samples, in groups of `group_rows` rows that know nothing of each other.

    Each group has its own random stream, and is moved whole: of the last the first rows are handed out, and
    the others have cost their energies all the same. Rows of a group are alike, so that the weight of each is
    proper, whichever are looked at.

    ``log_q`` of a row with weight is its effective density ``-u - ln W``: what its density would have to be
    for the weight to be ``exp(-u) / q``. As W is proper, ``exp(-u') / q`` is so for another energy u'.
    Rows without weight stand as the flow drew them, with the flow's density.

    StoppedError when `stop` asks in the middle of a group that is not the first.
    """
    rows = group_rows(target)
    below = RESAMPLE_BELOW if method == "smc" else 0.0
    for group in range(-(-number // rows)):
        generator = stream(seed, REFINED, group)
        start = target.draw(rows, generator=generator)
        moved = annealed_moves(
            target,
            start,
            schedule,
            generator=generator,
            resample_below=below,
            stop=stop if group else None,
        )
        if method == "smc":
            moved = one_of_each_family(moved, generator=generator)
        wanted = number - group * rows
        yield RefinedBatch(
            _ensemble(target, start, moved, wanted), _array(start.log_w)[:wanted], moved.acceptance
        )


def _ensemble(target: LatentTarget, start: LatentState, moved: Annealed, wanted: int) -> Ensemble:
    weighted = torch.nonzero(torch.isfinite(moved.log_weights))[:, 0]
    state = start.with_rows(weighted, moved.state[weighted])
    effective = start.log_q.index_copy(0, weighted, (-moved.state.u - moved.log_weights)[weighted])
    reasons = np.array([*target.target.coordinates.reasons, NO_DESCENDANT])[_array(state.outside)]
    lost = np.isfinite(_array(start.log_w)) & ~np.isfinite(_array(moved.log_weights))
    reasons[lost] = NO_DESCENDANT
    rows = DrawnRows(state.positions, effective, state.outside, state.u)[:wanted]
    return target.target.ensemble(rows, target.temperature, reason=reasons[:wanted])


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.cpu().numpy()
