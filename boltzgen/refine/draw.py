"""Refined samples as ensembles: the rows of the flow's draw, moved and weighed again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.refine.annealed import RESAMPLE_BELOW, Annealed, annealed_moves, one_of_each_family
from boltzgen.refine.latent import LatentState, LatentTarget
from boltzgen.refine.schedule import Schedule

#: The two methods: sequential Monte Carlo, and annealed importance sampling by Langevin moves alone.
METHODS = ("smc", "mala")

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


def refined_draws(
    target: LatentTarget, number: int, schedule: Schedule, *, method: str, generator: torch.Generator
) -> Iterator[RefinedBatch]:
    """`number` refined samples, in batches of ``target.rows`` that know nothing of each other.

    ``log_q`` of a row with weight is its effective density ``-u - ln W``: what its density would have to be
    for the weight to be ``exp(-u) / q``. As W is proper, ``exp(-u') / q`` is so for another energy u'.
    Rows without weight stand as the flow drew them, with the flow's density.
    """
    for first in range(0, number, target.rows):
        start = target.draw(min(target.rows, number - first), generator=generator)
        below = RESAMPLE_BELOW if method == "smc" else 0.0
        moved = annealed_moves(target, start, schedule, generator=generator, resample_below=below)
        if method == "smc":
            moved = one_of_each_family(moved, generator=generator)
        yield RefinedBatch(_ensemble(target, start, moved), _array(start.log_w), moved.acceptance)


def _ensemble(target: LatentTarget, start: LatentState, moved: Annealed) -> Ensemble:
    weighted = torch.nonzero(torch.isfinite(moved.log_weights))[:, 0]
    state = start.with_rows(weighted, moved.state[weighted])
    effective = start.log_q.index_copy(0, weighted, (-moved.state.u - moved.log_weights)[weighted])
    coordinates = target.target.coordinates
    reasons = np.array([*coordinates.reasons, NO_DESCENDANT])[_array(state.outside)]
    lost = np.isfinite(_array(start.log_w)) & ~np.isfinite(_array(moved.log_weights))
    reasons[lost] = NO_DESCENDANT
    with np.errstate(over="ignore"):  # atoms beyond float32 become inf, and their rows are rejected
        positions = _array(state.positions).astype(np.float32)
    return Ensemble.from_densities(
        positions,
        _array(effective),
        _array(state.u),
        reason=reasons,
        temperature=target.temperature if target.target.is_molecular else None,
        measure=coordinates.measure,
        system_fingerprint=target.target.fingerprint,
        domain=target.target.domain,
        topology_pdb=target.target.topology_pdb,
        provenance={"requested": len(start)},
    )


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.cpu().numpy()
