"""The losses: each one function of a flow and a batch, in nats a row."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from boltzgen.conditioning.context import Context
from boltzgen.flows.base import Flow
from boltzgen.generator import Target


@dataclass(frozen=True)
class Loss:
    """A loss to differentiate (None when no row was sound), and what to tell people about it."""

    value: Tensor | None
    rows: int
    discarded: int
    energy_evaluations: int = 0


def negative_log_likelihood(flow: Flow, coordinates: Tensor, context: Context) -> Loss:
    """``-E_data[log q]`` of internal coordinates (B, D); rows without density are discarded and counted."""
    density = flow.log_prob(coordinates, flow.embed(context))
    return _mean(-density)


def reverse_kl(
    flow: Flow, target: Target, temperature: Tensor, *, energy_cap: float, generator: torch.Generator
) -> Loss:
    """``E_q[log q + u]`` on one draw for each of `temperature` (B,) K, with the energies of clashes tamed.

    The gradient flows through the samples (Noe et al., Science 2019, eq. 4; Wirnsberger et al. 2020).
    """
    embedding = flow.embed(Context.of(target.features, temperature))
    coordinates, density = flow.sample(embedding, generator=generator)
    positions, log_det = target.coordinates.decode(coordinates)
    with torch.no_grad():
        lowest = target.reduced_energy(target.reference, temperature)
    excess = target.reduced_energy(positions, temperature) - lowest
    return _mean(density - log_det + tame_energy(excess, energy_cap), energy_evaluations=len(temperature))


def reweighted_likelihood(
    flow: Flow, target: Target, temperature: Tensor, *, largest_share: float, generator: torch.Generator
) -> Loss:
    """``-sum w log q`` over the flow's own draws, with weights ``w = exp(-u) / q`` made to sum to one.

    The forward Kullback-Leibler divergence from the target, estimated by self-normalised importance
    sampling (as in Midgley et al., arXiv 2208.01893, and Schopmans & Friederich, arXiv 2501.19077): maximum
    likelihood on data that the energy, not a simulation, provides. No weight exceeds `largest_share` of the
    sum; that biases the loss a little and bounds its variance. Only for draws at one temperature.
    """
    context = Context.of(target.features, temperature)
    with torch.no_grad():
        coordinates, density = flow.sample(flow.embed(context), generator=generator)
        positions, log_det = target.coordinates.decode(coordinates)
        log_w = log_det - density - target.reduced_energy(positions, temperature)
        log_w = torch.where(torch.isfinite(log_w), log_w, -torch.inf)
        sound = torch.isfinite(log_w)
        weights = torch.softmax(log_w, dim=0).clamp_max(largest_share)
        weights = weights / weights.sum()
    if not bool(sound.any()):
        return Loss(None, 0, len(log_w), len(log_w))
    value = -(weights * flow.log_prob(coordinates, flow.embed(context)))[sound].sum()
    return Loss(value, int(sound.sum()), int((~sound).sum()), len(log_w))


def tame_energy(excess: Tensor, cap: float) -> Tensor:
    """`excess` up to `cap`, ``cap + log(1 + excess - cap)`` above: value and slope agree where they meet."""
    above = (excess - cap).clamp_min(0.0)
    return torch.where(excess < cap, excess, cap + torch.log1p(above))


def _mean(values: Tensor, energy_evaluations: int = 0) -> Loss:
    """The mean over the finite rows; the others get no gradient."""
    sound = torch.isfinite(values)
    kept = values[sound]
    return Loss(kept.mean() if len(kept) else None, len(kept), len(values) - len(kept), energy_evaluations)
