"""Reverse Kullback-Leibler divergence on the flow's own draws."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from boltzgen.conditioning.context import Context
from boltzgen.flows.base import Flow
from boltzgen.generator import Target
from boltzgen.training.losses.loss import Loss, mean_loss


def reverse_kl(
    flow: Flow,
    target: Target,
    temperature: Tensor,
    *,
    energy_cap: float,
    generator: torch.Generator,
    path_gradient: bool = False,
) -> Loss:
    """``E_q[log q + u]`` on one draw for each of `temperature` (B,) K, with the energies of clashes tamed.

    The gradient flows through the samples (Noe et al., Science 2019, eq. 4; Wirnsberger et al. 2020). With
    `path_gradient` the density is that of a frozen copy of the flow: the value is the same, the score term,
    whose mean is zero, is left out, and the gradient has no variance where the flow is the target (Roeder
    et al., arXiv 1703.09194; Vaitl et al., arXiv 2206.09016). It costs a second pass.
    """
    context = Context.of(target.features, temperature)
    coordinates, density = flow.sample(flow.embed(context), generator=generator)
    if coordinates.requires_grad:
        coordinates.register_hook(_without_broken_rows)
    if path_gradient:
        frozen = copy.deepcopy(flow).requires_grad_(False)
        density = frozen.log_prob(coordinates, frozen.embed(context))
    positions, log_det = target.coordinates.decode(coordinates)
    excess = target.reduced_energy(positions, temperature) - target.reference_energy / temperature
    return mean_loss("reverse_kl", density - log_det + tame_energy(excess, energy_cap), len(temperature))


def tame_energy(excess: Tensor, cap: float) -> Tensor:
    """`excess` up to `cap`, ``cap + log(1 + excess - cap)`` above: value and slope agree where they meet."""
    above = (excess - cap).clamp_min(0.0)
    return torch.where(excess < cap, excess, cap + torch.log1p(above))


def _without_broken_rows(gradient: Tensor) -> Tensor:
    """`gradient` (B, D) with zeros in the rows that are not finite, so that they spoil no other row's."""
    return torch.where(torch.isfinite(gradient).all(dim=1, keepdim=True), gradient, 0.0)
