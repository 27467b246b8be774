"""A Metropolis-adjusted Langevin move in the latent space of a flow, exact for its base distribution.

One step of Hamiltonian Monte Carlo for the density ``n(z) w(z)^beta``, with the Gaussian part of the motion
solved exactly instead of by leapfrog:

    p <- p + (h/2) beta grad ln w;   linear: (z, p) rotated by the angle h, circular: z <- z + h p;
    p <- p + (h/2) beta grad ln w.

It preserves volume and reverses, so accepting with ``min(1, exp(-change of H))`` leaves the density
invariant, on circles too, where a Langevin proposal's density would be a sum over windings. With constant
w every step is accepted, however large, in any dimension.

Source: Beskos, Pinski, Sanz-Serna, Stuart, Stoch. Proc. Appl. 121, 2201 (2011), section 4, with one step.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from boltzgen.refine.latent import LatentState, LatentTarget

#: A quarter turn forgets the old point; larger angles go back.
LARGEST_STEP, SMALLEST_STEP = math.pi / 2, 1e-4


def langevin_move(
    target: LatentTarget, state: LatentState, exponent: float, step: float, *, generator: torch.Generator
) -> tuple[LatentState, float]:
    """`state` after one move that leaves ``n(z) w(z)^exponent`` invariant, and the mean acceptance.

    Rows with ``log_w = -inf`` stay where they are and cost nothing; points outside the domain, or without a
    finite energy, are never accepted. One energy for each other row. The acceptance is NaN without any.
    """
    momentum = torch.randn(
        state.latents.shape, generator=generator, dtype=torch.float64, device=generator.device
    ).to(state.latents)
    uniform = torch.rand(len(state), generator=generator, dtype=torch.float64, device=generator.device)
    uniform = uniform.to(state.latents)
    rows = torch.nonzero(torch.isfinite(state.log_w))[:, 0]
    if not len(rows):
        return state, math.nan
    old, momentum = state[rows], momentum[rows]
    kicked = momentum + 0.5 * step * exponent * old.gradient
    latents, turned = _drift(old.latents, kicked, step, target.circular)
    new = target.evaluate(latents)
    last = turned + 0.5 * step * exponent * new.gradient
    change = _log_density(new, exponent) - _log_density(old, exponent)
    change = change - 0.5 * ((last**2).sum(dim=1) - (momentum**2).sum(dim=1))
    # NaN, where overflow met overflow, is no comparison that holds
    probability = torch.where(torch.isfinite(new.log_w), change, torch.full_like(change, -torch.inf))
    probability = torch.nan_to_num(probability.clamp(max=0.0).exp(), nan=0.0)
    accepted = uniform[rows] < probability
    return state.with_rows(rows[accepted], new[accepted]), float(probability.mean())


def _log_density(state: LatentState, exponent: float) -> Tensor:
    return state.log_base + exponent * state.log_w


def _drift(latents: Tensor, momentum: Tensor, step: float, circular: Tensor) -> tuple[Tensor, Tensor]:
    """Points and momenta after free motion for the time `step`: rotation of (z, p), or along the circle."""
    cosine, sine = math.cos(step), math.sin(step)
    around = torch.remainder(latents + step * momentum + math.pi, 2 * math.pi) - math.pi
    return (
        torch.where(circular, around, cosine * latents + sine * momentum),
        torch.where(circular, momentum, cosine * momentum - sine * latents),
    )
