"""Draws of the flow carried part of the way to the target before they enter the buffer.

Flow annealed importance sampling bootstrap (Midgley et al., arXiv 2208.01893): annealed importance sampling
from q to ``p^2 / q``, the proposal of least variance for the gradient of the alpha = 2 divergence, finds
what the flow gives too little weight. It costs an energy a move and a pass of the flow both ways; with a flow
that reaches everything already, more plain draws teach more (docs/refining.md).
"""

from __future__ import annotations

import torch

from boltzgen.flows.base import Flow
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.refine.annealed import annealed_moves
from boltzgen.refine.latent import LatentTarget
from boltzgen.refine.schedule import Schedule
from boltzgen.training.losses.replay_buffer import Samples

#: Exponent of the weights at the end of the way: 2 is ``p^2 / q``.
EXPONENT = 2.0

#: Step size of the moves in the latent space.
STEP = 0.3


def draw_annealed(
    flow: Flow, target: Target, temperature: float, rows: int, moves: int, generator: torch.Generator
) -> Samples:
    """`rows` draws of `flow` at `temperature` (K), each moved `moves` times on the way to ``p^2 / q``.

    ``log_q`` of the result is the density that gives each row its weight to p: with W the weight to
    ``exp(-2u) / q``, that to ``exp(-u)`` is ``W q exp(u)``, and the density is ``exp(-u)`` over it.
    """
    latent = LatentTarget(BoltzmannGenerator(flow, target), temperature, rows=rows)
    start = latent.draw(rows, generator=generator)
    moved = annealed_moves(latent, start, Schedule.even(EXPONENT, moves, STEP), generator=generator)
    state = moved.state
    with torch.no_grad():
        log_det = target.coordinates.decode(state.coordinates)[1]
        log_w = moved.log_weights + state.log_q + state.u
    sound = torch.isfinite(log_w) & torch.isfinite(state.log_w)
    energy = torch.where(sound, state.u * temperature, torch.inf)
    log_q = log_det - state.u - log_w
    return Samples(state.coordinates, log_det, log_q, energy, evaluations=latent.energy_evaluations)
