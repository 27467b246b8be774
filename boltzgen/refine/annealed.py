"""Samples of the flow carried to the target, with weights that account for the way.

Along a ladder of densities ``f_k = n(z) w(z)^beta_k`` (see `boltzgen.refine.latent`) each row is weighted by
``f_k / f_(k-1)`` where it stands and then moved by a kernel that leaves ``f_k`` invariant. The weights W are
proper: for any function a of the conformation

    E[W a] = integral of exp(-u) a    (final exponent 1),

whatever the moves achieve; without resampling this is annealed importance sampling (Neal, Stat. Comput. 11,
125 (2001)), with it sequential Monte Carlo (Del Moral, Doucet, Jasra, J. R. Stat. Soc. B 68, 411 (2006)).
The final exponent 2 gives samples of ``p^2/q``, the proposal of least variance for training on importance
weights (Midgley et al., arXiv 2208.01893, eq. 6).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from boltzgen.errors import StoppedError
from boltzgen.interrupts import StopRequest
from boltzgen.refine.latent import LatentState, LatentTarget
from boltzgen.refine.moves import langevin_move
from boltzgen.refine.schedule import Schedule, effective_fraction, systematic_rows

#: Effective fraction of the rows below which sequential Monte Carlo resamples.
RESAMPLE_BELOW = 0.5


@dataclass(frozen=True)
class Annealed:
    """Rows after their moves.

    Attributes
    ----------
    state: where they are; ``state.positions``, ``state.u``, ``state.log_q`` (the flow's density there).
    log_weights: (B,) natural log of W; -inf for rows without weight.
    ancestor: (B,) long, the row that each began as. Rows with one ancestor are not independent.
    acceptance: mean acceptance of the moves of each level. energy_evaluations: spent here.
    """

    state: LatentState
    log_weights: Tensor
    ancestor: Tensor
    acceptance: tuple[float, ...]
    energy_evaluations: int


def annealed_moves(
    target: LatentTarget,
    start: LatentState,
    schedule: Schedule,
    *,
    generator: torch.Generator,
    resample_below: float = 0.0,
    stop: StopRequest | None = None,
) -> Annealed:
    """`start`, independent draws of the flow, weighted and moved along `schedule`.

    start: from ``target.draw`` or ``target.evaluate`` of latents of the base distribution. Its weights W are
    for ``exp(-u)`` with the final exponent 1, for ``exp(-2u) / q`` with 2.
    resample_below: effective fraction of the rows below which they are resampled (each row then carries the
    mean weight, so that E[W a] stays as it is); 0 never. Not before the last move: nothing would be gained.

    StoppedError when `stop` asks before the last move.
    """
    state, before = start, target.energy_evaluations
    log_weights = torch.zeros_like(start.log_w)
    ancestor = torch.arange(len(start), device=start.log_w.device)
    acceptance = []
    for level, step in enumerate(schedule.steps, start=1):
        if stop is not None and stop.requested:
            raise StoppedError(f"{stop.reason} after {level - 1} of {schedule.moves} moves.")
        exponent = schedule.exponents[level]
        log_weights = log_weights + (exponent - schedule.exponents[level - 1]) * state.log_w
        poor = 0 < effective_fraction(log_weights) < resample_below
        if poor and level < schedule.moves:
            rows = systematic_rows(log_weights, generator=generator)
            state, ancestor = state[rows], ancestor[rows]
            mean = torch.logsumexp(log_weights, dim=0) - torch.log(log_weights.new_tensor(len(rows)))
            log_weights = mean.expand(len(rows)).clone()
        state, rate = langevin_move(target, state, exponent, step, generator=generator)
        acceptance.append(rate)
    spent = target.energy_evaluations - before
    return Annealed(state, log_weights, ancestor, tuple(acceptance), spent)


def one_of_each_family(annealed: Annealed, *, generator: torch.Generator) -> Annealed:
    """One row for each row of the start, in their order: a descendant, with the weight of all of its family.

    The descendant is drawn by its share in the family's weight, which leaves E[W a] as it is. Rows that
    resampling left without descendants have weight zero, and the state of some other row.

    Resampled rows resemble those with the same ancestor, and an error that counts rows is too small. The
    weights of families do not: their Kish sum is the consistent estimate of the relative variance of the
    normalising constant of Chan and Lai (Ann. Stat. 41, 2877 (2013)) and of Lee and Whiteley (Biometrika
    105, 609 (2018), eq. 3), so that whatever counts these rows as independent is right.
    """
    log_weights, family = annealed.log_weights, annealed.ancestor
    number = len(log_weights)
    largest = _largest(log_weights, family)
    shift = torch.where(torch.isfinite(largest), largest, torch.zeros_like(largest))
    total = torch.zeros_like(log_weights).index_add(0, family, torch.exp(log_weights - shift[family]))
    uniform = torch.rand(number, generator=generator, dtype=torch.float64, device=generator.device)
    score = log_weights - torch.log(-torch.log(uniform.to(log_weights)))  # the largest is drawn by weight
    best = score == _largest(score, family)[family]
    chosen = torch.zeros_like(family)
    chosen[family[best]] = torch.nonzero(best)[:, 0]
    return replace(
        annealed,
        state=annealed.state[chosen],
        log_weights=torch.log(total) + shift,
        ancestor=torch.arange(number, device=family.device),
    )


def _largest(values: Tensor, family: Tensor) -> Tensor:
    """The largest of `values` (B,) in each of B families; -inf in an empty one."""
    return torch.full_like(values, -torch.inf).scatter_reduce(0, family, values, "amax")
