"""Langevin dynamics of many copies at once, on any batched energy and any device.

Words: R replicas (rows), each with its own thermal energy kT; a *phase point* holds all of them. Positions
are (R, N, 3) or (R, D). Units need only fit together: nm, ps, dalton and kJ/mol do, and so do pure numbers.

The splitting is BAOAB (Leimkuhler, Matthews, Appl. Math. Res. Express 2013, 34): half a kick, half a drift,
friction and noise, half a drift, half a kick. One gradient a step. Positions of harmonic oscillators are
distributed exactly at every stable step (their velocities are not); in general the error of an average over
positions is of second order in the step, and of fourth order at high friction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from boltzgen.potentials.base import Potential

#: Positions (R, ...) -> energies (R,) and their gradients (R, ...). One call is one evaluation of each row.
EnergyWithGradient = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class PhasePoint:
    """R replicas: positions and velocities (R, ...), and the energy (R,) and gradient (R, ...) there."""

    positions: Tensor
    velocities: Tensor
    energy: Tensor
    gradient: Tensor


def energy_with_gradient(potential: Potential) -> EnergyWithGradient:
    """`potential` as the function that the steppers here want, in the potential's unit of energy."""

    def function(positions: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = positions.detach().requires_grad_()
            energy = potential.energy(x)
            (gradient,) = torch.autograd.grad(energy.sum(), x)
        return energy.detach(), gradient

    return function


def phase_point(
    positions: Tensor, energy: EnergyWithGradient, *, kt: Tensor, masses: Tensor, generator: torch.Generator
) -> PhasePoint:
    """`positions` (R, ...) with thermal velocities; one evaluation. `kt` (R,), `masses` (N,) or (D,)."""
    value, gradient = energy(positions)
    velocities = thermal_velocities(positions, kt=kt, masses=masses, generator=generator)
    return PhasePoint(positions, velocities, value, gradient)


def thermal_velocities(
    positions: Tensor, *, kt: Tensor, masses: Tensor, generator: torch.Generator
) -> Tensor:
    """Maxwell-Boltzmann velocities (R, ...) for `positions`; particles without mass have none."""
    width = of_rows(kt, positions).sqrt().to(positions.dtype) * inverse_masses(masses, positions).sqrt()
    return _noise(positions, generator) * width


def langevin(
    point: PhasePoint,
    energy: EnergyWithGradient,
    *,
    steps: int,
    timestep: float,
    friction: float,
    kt: Tensor,
    masses: Tensor,
    generator: torch.Generator,
) -> tuple[PhasePoint, Tensor]:
    """`steps` steps of BAOAB; the new phase point, and which rows (R,) bool stayed sound.

    A row is unsound once its energy was not finite; it never touches another row, and is left as it is.

    Args:
        kt: (R,) thermal energy of each row. masses: (N,) for positions (R, N, 3), (D,) for (R, D).
        timestep, friction: in units that fit (ps and 1/ps for kJ/mol, nm and dalton).
    """
    x, v, value, gradient = point.positions.clone(), point.velocities.clone(), point.energy, point.gradient
    inverse = inverse_masses(masses, x)
    kick = -0.5 * timestep * inverse
    decay = math.exp(-friction * timestep)
    width = (of_rows(kt, x) * -math.expm1(-2.0 * friction * timestep)).sqrt().to(x.dtype) * inverse.sqrt()
    sound = torch.isfinite(value)
    for _ in range(steps):
        v.addcmul_(kick, gradient)
        x.add_(v, alpha=0.5 * timestep)
        v.mul_(decay).addcmul_(width, _noise(x, generator))
        x.add_(v, alpha=0.5 * timestep)
        value, gradient = energy(x)
        v.addcmul_(kick, gradient)
        sound = sound & torch.isfinite(value)
    return PhasePoint(x, v, value, gradient), sound


def put_back(point: PhasePoint, former: PhasePoint, sound: Tensor, velocities: Tensor) -> PhasePoint:
    """`point`; rows that are not `sound` (R,) return to `former`, with the given `velocities` (R, ...)."""

    def choose(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(of_rows(sound, new), new, old)

    return PhasePoint(
        choose(point.positions, former.positions),
        choose(point.velocities, velocities),
        torch.where(sound, point.energy, former.energy),
        choose(point.gradient, former.gradient),
    )


def metropolis(
    point: PhasePoint, proposed: Tensor, energy: EnergyWithGradient, *, kt: Tensor, chance: Tensor
) -> tuple[PhasePoint, Tensor]:
    """`point` at the positions `proposed` (R, ...) where Metropolis' rule takes them, and in which rows (R,).

    One evaluation. kt: (R,) thermal energies; chance: (R,) uniform in [0, 1). The proposal must be symmetric.
    Velocities stay. What has no finite energy is not taken.
    """
    value, gradient = energy(proposed)
    log_ratio = (point.energy - value).double() / kt.double()
    taken = torch.isfinite(value) & (chance.log() < log_ratio)
    new = PhasePoint(proposed, point.velocities, value, gradient)
    return put_back(new, point, taken, point.velocities), taken


def recentred(point: PhasePoint) -> PhasePoint:
    """The same point with the mean of each row's positions (R, N, 3) at the origin.

    For energies that do not change with translations: a molecule that drifts away loses digits.
    """
    return replace(point, positions=point.positions - point.positions.mean(dim=1, keepdim=True))


@torch.no_grad()
def minimised(positions: Tensor, energy: EnergyWithGradient, *, steps: int = 200) -> tuple[Tensor, Tensor]:
    """`positions` (S, ...) after at most `steps` steps downhill, and their energies (S,).

    Steepest descent with a step that grows by a fifth after each success and is halved after each failure,
    each row by itself; enough to take out clashes. Energies never rise, and `steps + 1` evaluations of each
    row are made.
    """
    x = positions.clone()
    value, gradient = energy(x)
    length = torch.full_like(value, 1e-3)
    for _ in range(steps):
        largest = gradient.abs().flatten(1).amax(dim=1).clamp_min(1e-12)
        trial = x - of_rows(length / largest, x) * gradient
        new_value, new_gradient = energy(trial)
        better = (new_value < value) | (torch.isfinite(new_value) & ~torch.isfinite(value))
        x = torch.where(of_rows(better, x), trial, x)
        value = torch.where(better, new_value, value)
        gradient = torch.where(of_rows(better, x), new_gradient, gradient)
        length = torch.where(better, 1.2 * length, 0.5 * length)
    return x, value


def inverse_masses(masses: Tensor, positions: Tensor) -> Tensor:
    """``1 / m`` shaped to multiply `positions`; 0, which holds a particle still, where the mass is 0."""
    inverse = torch.where(masses > 0, 1.0 / masses.clamp_min(1e-30), torch.zeros_like(masses))
    inverse = inverse.to(positions.device, positions.dtype)
    return inverse[None, :, None] if positions.ndim == 3 else inverse[None]


def of_rows(values: Tensor, like: Tensor) -> Tensor:
    """`values` (R,) shaped to multiply `like` (R, ...)."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)
