"""Langevin steps of chains: `boltzgen.refine.moves`, for walkers on several rungs."""

from __future__ import annotations

import torch
from torch import Tensor

from boltzgen.refine.latent import LatentState, LatentTarget
from boltzgen.refine.moves import langevin_move

#: Steps of one move; an evaluation each, and one for the gradient at the start.
STEPS = 3

#: An evaluation with its gradient costs about so many passes.
GRADIENT = 3.0


def langevin_steps(
    target: LatentTarget, latents: Tensor, exponent: Tensor, step: float, *, generator: torch.Generator
) -> tuple[Tensor, float]:
    """`latents` (B, D) after `STEPS` steps that leave ``n(z) w(z)^b`` invariant, b = `exponent` (B,).

    The second value is the mean acceptance of a step on the highest rung.
    """
    found, rate = latents.clone(), 0.0
    for b in exponent.unique(sorted=True).tolist():
        rows = torch.nonzero(exponent == b)[:, 0].to(latents.device)
        state: LatentState = target.evaluate(latents[rows])
        rates = []
        for _ in range(STEPS):
            state, acceptance = langevin_move(target, state, b, step, generator=generator)
            rates.append(acceptance)
        found[rows], rate = state.latents, sum(rates) / STEPS
    return found, rate
