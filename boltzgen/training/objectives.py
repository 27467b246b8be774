"""The losses: each one function of a flow and a batch, in nats a row."""

from __future__ import annotations

import math
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
    if coordinates.requires_grad:
        coordinates.register_hook(_without_broken_rows)
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
    sum; that biases the loss a little and bounds its variance. Only for draws at one temperature, of one
    molecule.
    """
    context = Context.of(target.features, temperature)
    with torch.no_grad():
        coordinates, density = flow.sample(flow.embed(context), generator=generator)
        positions, log_det = target.coordinates.decode(coordinates)
        log_w = log_det - density - target.reduced_energy(positions, temperature)
        sound = torch.isfinite(log_w) & target.coordinates.inside(positions)
        weights = truncated_weights(log_w[sound], largest_share)
    if not bool(sound.any()):
        return Loss(None, 0, len(log_w), len(log_w))
    value = -(weights * flow.log_prob(coordinates, flow.embed(context))[sound]).sum()
    return Loss(value, int(sound.sum()), int((~sound).sum()), len(log_w))


def truncated_weights(log_w: Tensor, largest_share: float) -> Tensor:
    """Weights (B,) that sum to one: ``exp(log_w)``, finite, cut at one ceiling.

    The ceiling is the highest for which no weight exceeds `largest_share` of the sum; where there are too
    few rows for that, all weights are equal.
    """
    if len(log_w) * largest_share <= 1:
        return torch.full_like(log_w, 1 / max(len(log_w), 1))
    ordered = log_w.sort(descending=True)[0]
    cut = torch.arange(len(log_w), dtype=log_w.dtype, device=log_w.device) * largest_share
    rest = torch.logcumsumexp(ordered.flip(0), dim=0).flip(0)
    ceiling = rest + math.log(largest_share) - torch.log1p(-cut.clamp_max(1.0))
    fits = (cut < 1) & (ordered <= ceiling)
    return torch.softmax(torch.minimum(log_w, ceiling[fits.nonzero()[0]]), dim=0)


def tame_energy(excess: Tensor, cap: float) -> Tensor:
    """`excess` up to `cap`, ``cap + log(1 + excess - cap)`` above: value and slope agree where they meet."""
    above = (excess - cap).clamp_min(0.0)
    return torch.where(excess < cap, excess, cap + torch.log1p(above))


def _without_broken_rows(gradient: Tensor) -> Tensor:
    """`gradient` (B, D) with zeros in the rows that are not finite, so that they spoil no other row's."""
    return torch.where(torch.isfinite(gradient).all(dim=1, keepdim=True), gradient, 0.0)


def _mean(values: Tensor, energy_evaluations: int = 0) -> Loss:
    """The mean over the finite rows; the others get no gradient."""
    sound = torch.isfinite(values)
    kept = values[sound]
    return Loss(kept.mean() if len(kept) else None, len(kept), len(values) - len(kept), energy_evaluations)
