"""Reverse Kullback-Leibler divergence on the flow's own draws."""

from __future__ import annotations

import copy

import torch
from pydantic import Field
from torch import Tensor

from boltzgen.conditioning.context import Context
from boltzgen.flows.base import Flow
from boltzgen.generator import Target
from boltzgen.training.losses.loss import Loss, mean_loss
from boltzgen.training.losses.objective import Given, LossSettings, MoleculeObjective, Shown
from boltzgen.training.schedule import Ladder, Schedule


class ReverseKLSettings(LossSettings):
    """Reverse Kullback-Leibler divergence to the potential, on the flow's own samples."""

    weight: Schedule = 0.0
    """Weight of this loss over the run."""
    batch_size: int = Field(default=128, ge=1, le=2**20)
    """Samples a step."""
    temperatures: Ladder = [300.0]
    """Temperatures (K), one drawn for each sample."""
    energy_cap: float = Field(default=100.0, gt=0, le=1e12)
    """Energies this many kT above the reference structure's grow only logarithmically; in the loss alone."""
    path_gradient: bool = True
    """Leave out the score term of the gradient: less noise near the target, for a second pass of the flow."""

    def objective(self, name: str, given: Given) -> ReverseKL:
        return ReverseKL(name, self, given)

    def shown(self, name: str) -> Shown:
        return Shown(name.replace("_kl", " KL").replace("_", " "), "kT", change=True)

    @property
    def evaluations_a_step(self) -> int:
        return self.batch_size

    @property
    def learned_temperatures(self) -> list[float]:
        return self.temperatures


class ReverseKL(MoleculeObjective):
    """`reverse_kl` of one molecule a step."""

    def __init__(self, name: str, settings: ReverseKLSettings, given: Given) -> None:
        super().__init__(name, settings, given)
        self.settings = settings

    def loss(self, place: int, progress: float, rows: int, generator: torch.Generator) -> Loss:
        target, settings = self.given.targets[place], self.settings
        ladder = torch.tensor(settings.temperatures, dtype=torch.float64)
        temperature = ladder[torch.randint(len(ladder), (rows,), generator=generator)]
        return reverse_kl(
            self.given.flow,
            target,
            temperature.to(target.reference.device),
            energy_cap=settings.energy_cap,
            generator=generator,
            path_gradient=settings.path_gradient,
            name=self.name,
        )


def reverse_kl(
    flow: Flow,
    target: Target,
    temperature: Tensor,
    *,
    energy_cap: float,
    generator: torch.Generator,
    path_gradient: bool = False,
    name: str = "reverse_kl",
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
    return mean_loss(name, density - log_det + tame_energy(excess, energy_cap), len(temperature))


def tame_energy(excess: Tensor, cap: float) -> Tensor:
    """`excess` up to `cap`, ``cap + log(1 + excess - cap)`` above: value and slope agree where they meet."""
    above = (excess - cap).clamp_min(0.0)
    return torch.where(excess < cap, excess, cap + torch.log1p(above))


def _without_broken_rows(gradient: Tensor) -> Tensor:
    """`gradient` (B, D) with zeros in the rows that are not finite, so that they spoil no other row's."""
    return torch.where(torch.isfinite(gradient).all(dim=1, keepdim=True), gradient, 0.0)
