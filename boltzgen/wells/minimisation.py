"""Many conformations taken to their minima at once, each by itself, on a batched energy.

L-BFGS (Nocedal, Wright, Numerical Optimization (2006), algorithm 7.4), one history a row. A step that
does not lower a row's energy enough is halved for that row alone; rows that are done leave the batch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from boltzgen.dynamics.batched_langevin import energy_with_gradient
from boltzgen.interrupts import StopRequest
from boltzgen.potentials.base import Potential

#: Largest component of the gradient (kJ/mol/nm) at which a row is done: 1e-4 kJ/mol from a minimum, or less.
DONE = 0.2
#: Steps at most, pairs that are remembered, and the longest step of an atom along one axis (nm).
MOST_STEPS, _MEMORY, _LONGEST = 1500, 8, 0.02
#: Share of the expected fall in energy that a step must reach (Armijo).
_ENOUGH = 1e-4
#: Halvings of a step after which the history is forgotten, and after which a row is left where it is.
_FORGET, _GIVE_UP = 6, 24


def minima(
    potential: Potential,
    positions: Tensor,
    *,
    rows: int = 512,
    stop: StopRequest | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Positions (B, N, 3) nm at the minima below `positions`, energies (B,) kJ/mol, and which rows are done.

    `rows` at a time. What is not done in `MOST_STEPS` steps, or has no finite energy, is not done (B,) bool.
    Once `stop` is requested nothing goes on: rows are where they were, and not done.
    progress: told how many rows are behind.
    """
    x = positions.detach().to(torch.float64).clone()
    energy = torch.full((len(x),), torch.nan, dtype=torch.float64)
    done = torch.zeros(len(x), dtype=torch.bool)
    for begin in range(0, len(x), rows):
        if stop is not None and stop.requested:
            break
        part = slice(begin, begin + rows)
        x[part], energy[part], done[part] = _minimised(potential, x[part], stop)
        progress(min(begin + rows, len(x)))
    return x, energy, done


def value_and_gradient(potential: Potential, x: Tensor) -> tuple[Tensor, Tensor]:
    """Energies (B,) kJ/mol of `x` (B, N, 3) nm and their gradients, kJ/mol/nm, in float64."""
    energy, gradient = energy_with_gradient(potential)(x)
    return energy.to(torch.float64), gradient.to(torch.float64)


@torch.no_grad()
def _minimised(
    potential: Potential, start: Tensor, stop: StopRequest | None
) -> tuple[Tensor, Tensor, Tensor]:
    shape, size = start.shape, start[0].numel()
    x = start.reshape(len(start), size).clone()
    value, gradient = (part.reshape(len(x), -1) for part in value_and_gradient(potential, start))
    value = value[:, 0]
    steps_ = torch.zeros(len(x), _MEMORY, size, dtype=x.dtype)
    changes = torch.zeros_like(steps_)
    inverse = torch.zeros(len(x), _MEMORY, dtype=x.dtype)  # 1 / (s y); 0 where there is no pair
    halved = torch.zeros(len(x), dtype=torch.long)
    active = torch.arange(len(x))
    active = active[torch.isfinite(value) & torch.isfinite(gradient).all(dim=1)]
    active = active[gradient[active].abs().amax(dim=1) > DONE]
    for _ in range(MOST_STEPS):
        if not len(active) or (stop is not None and stop.requested):
            break
        downhill = _direction(gradient[active], steps_[active], changes[active], inverse[active])
        slope = (downhill * gradient[active]).sum(dim=1)
        uphill = slope >= 0
        downhill = torch.where(uphill[:, None], -gradient[active], downhill)
        downhill = downhill * (_LONGEST / downhill.abs().amax(dim=1).clamp_min(_LONGEST))[:, None]
        scale = 0.5 ** halved[active].to(x.dtype)
        step = downhill * scale[:, None]
        slope = (step * gradient[active]).sum(dim=1)
        new = x[active] + step
        found, slopes = value_and_gradient(potential, new.reshape(-1, *shape[1:]))
        slopes = slopes.reshape(len(active), size)
        better = torch.isfinite(found) & torch.isfinite(slopes).all(dim=1)
        rounding = 1e-12 * value[active].abs()
        better &= found <= value[active] + _ENOUGH * slope + rounding
        rows = active[better]
        change = slopes[better] - gradient[rows]
        _remember(steps_, changes, inverse, rows, step[better], change)
        x[rows], value[rows], gradient[rows] = new[better], found[better], slopes[better]
        halved[rows] = 0
        worse = active[~better]
        halved[worse] += 1
        inverse[worse[halved[worse] == _FORGET]] = 0.0
        left = (gradient[active].abs().amax(dim=1) > DONE) & (halved[active] < _GIVE_UP)
        active = active[left]
    done = torch.isfinite(value) & (gradient.abs().amax(dim=1) <= DONE)
    return x.reshape(shape), value, done


def _direction(gradient: Tensor, steps: Tensor, changes: Tensor, inverse: Tensor) -> Tensor:
    """Where to go (B, D): the two loops of L-BFGS; the newest pair stands last."""
    q = gradient.clone()
    weights = []
    for k in reversed(range(_MEMORY)):
        weight = inverse[:, k] * (steps[:, k] * q).sum(dim=1)
        q -= weight[:, None] * changes[:, k]
        weights.append(weight)
    square = (changes[:, -1] ** 2).sum(dim=1)
    known = (inverse[:, -1] > 0) & (square > 0)
    curvature = torch.where(known, 1.0 / (inverse[:, -1] * square).clamp_min(1e-300), torch.ones_like(square))
    first = 1e-3 / gradient.abs().amax(dim=1).clamp_min(1e-12)
    q *= torch.where(known, curvature, first)[:, None]
    for k, weight in zip(range(_MEMORY), reversed(weights), strict=True):
        back = inverse[:, k] * (changes[:, k] * q).sum(dim=1)
        q += steps[:, k] * (weight - back)[:, None]
    return -q


def _remember(
    steps: Tensor, changes: Tensor, inverse: Tensor, rows: Tensor, step: Tensor, change: Tensor
) -> None:
    """Put a pair into the history of `rows`, in place, where the energy bends upwards along it."""
    product = (step * change).sum(dim=1)
    sound = product > 1e-10 * (step.norm(dim=1) * change.norm(dim=1)).clamp_min(1e-30)
    rows = rows[sound]
    for history, new in ((steps, step[sound]), (changes, change[sound])):
        history[rows] = torch.cat([history[rows][:, 1:], new[:, None]], dim=1)
    inverse[rows] = torch.cat([inverse[rows][:, 1:], 1.0 / product[sound][:, None]], dim=1)
