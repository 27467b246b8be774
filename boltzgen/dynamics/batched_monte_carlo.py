"""Hamiltonian Monte Carlo and MALA for many rows at once, on any log density in flat coordinates.

Words: B rows x (B, D), each a Markov chain of its own; ``pi`` the density, known up to a factor. Every step
is exact: leapfrog steps propose, and the proposal is accepted with the Metropolis probability, so that ``pi``
is stationary whatever the step size. MALA is Hamiltonian Monte Carlo with a single leapfrog step.

Sources: Duane, Kennedy, Pendleton, Roweth, Phys. Lett. B 195, 216 (1987); Neal, Handbook of MCMC, ch. 5
(2011); Roberts, Tweedie, Bernoulli 2, 341 (1996) for MALA; step sizes: Robbins-Monro towards an acceptance,
as Andrieu, Thoms, Stat. Comput. 18, 343 (2008), eq. 19.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from boltzgen.dynamics.batched_langevin import EnergyWithGradient
from boltzgen.errors import InputError

#: x (B, D) -> ln pi (B,) and its gradient (B, D). One call is one evaluation of each row.
LogDensityWithGradient = Callable[[Tensor], tuple[Tensor, Tensor]]

#: Acceptance to aim at: the optimum of MALA in high dimension, and a cautious value for longer trajectories.
MALA_ACCEPTANCE, HMC_ACCEPTANCE = 0.574, 0.8

#: Decay of the adaptation of step sizes with its iterations, and its first gain.
ADAPTATION_DECAY, ADAPTATION_GAIN = 0.6, 3.0


@dataclass(frozen=True, eq=False)
class ChainState:
    """Where B chains are: x (B, D), ``ln pi`` (B,) and its gradient (B, D) there.

    Rows where pi is not finite have log density -inf and gradient 0: the first sound proposal is accepted.
    """

    x: Tensor
    log_density: Tensor
    gradient: Tensor


@dataclass(frozen=True, eq=False)
class StepInfo:
    """What one step did: rows accepted (B,) bool, their probabilities (B,), and rows with unsound proposals.

    A proposal whose position or density is not finite is `unsound` (B,) bool and always rejected.
    """

    accepted: Tensor
    probability: Tensor
    unsound: Tensor


@dataclass(frozen=True, eq=False)
class ChainRun:
    """The outcome of `run_chains`.

    Attributes:
        state: the last one. samples: (kept, B, D) after the warm-up; log_densities: (kept, B).
        step_size: (G,) of each group, fixed after the warm-up.
        acceptance: (G,) mean acceptance probability of each group after the warm-up; NaN without steps.
        unsound: proposals, of all rows and steps, that were not finite. evaluations: of rows, all in all.
    """

    state: ChainState
    samples: Tensor
    log_densities: Tensor
    step_size: Tensor
    acceptance: Tensor
    unsound: int
    evaluations: int


def chain_state(x: Tensor, function: LogDensityWithGradient) -> ChainState:
    """The chains at `x` (B, D); one evaluation."""
    log_density, gradient = function(x)
    sound = torch.isfinite(log_density) & torch.isfinite(gradient).all(dim=1) & torch.isfinite(x).all(dim=1)
    return ChainState(
        x,
        torch.where(sound, log_density, torch.full_like(log_density, -torch.inf)),
        torch.where(sound[:, None], gradient, torch.zeros_like(gradient)),
    )


def boltzmann_density(
    energy: EnergyWithGradient, kt: Tensor | float, shape: tuple[int, ...]
) -> LogDensityWithGradient:
    """``-U(x) / kT`` of flat rows x (B, prod(shape)); `kt` a number or (B,), in the unit of the energy."""

    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = energy(x.reshape(len(x), *shape))
        beta = 1.0 / torch.as_tensor(kt, dtype=x.dtype, device=x.device)
        return -beta * value, -(beta * gradient.flatten(1).T).T

    return function


def hamiltonian_step(
    state: ChainState,
    function: LogDensityWithGradient,
    *,
    step_size: Tensor | float,
    leapfrogs: int,
    generator: torch.Generator,
    scale: Tensor | None = None,
) -> tuple[ChainState, StepInfo]:
    """One trajectory of `leapfrogs` steps from fresh momenta, accepted or not; `leapfrogs` evaluations.

    Args:
        step_size: a number or (B,), in units of `scale`; must not depend on the state.
        scale: (D,) or (B, D), the lengths by which coordinates are measured (the inverse square root of a
            diagonal mass); None for one.
    """
    x, log_density, gradient = state.x, state.log_density, state.gradient
    size = torch.as_tensor(step_size, dtype=x.dtype, device=x.device).reshape(-1, 1)
    length = size if scale is None else size * scale
    momenta = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    p = momenta
    for _ in range(leapfrogs):
        p = p + 0.5 * length * gradient
        x = x + length * p
        log_density, gradient = function(x)
        p = p + 0.5 * length * gradient
    kinetic = 0.5 * (momenta.double().square() - p.double().square()).sum(dim=1)
    log_ratio = log_density.double() - state.log_density.double() + kinetic
    unsound = ~(torch.isfinite(log_density) & torch.isfinite(x).all(dim=1) & torch.isfinite(p).all(dim=1))
    probability = torch.where(unsound, torch.zeros_like(log_ratio), log_ratio.clamp_max(0.0).exp())
    chance = torch.rand(len(x), generator=generator, dtype=torch.float64, device=x.device)
    accepted = (chance < probability) & ~unsound
    rows = accepted[:, None]
    new = ChainState(
        torch.where(rows, x, state.x),
        torch.where(accepted, log_density, state.log_density),
        torch.where(rows, gradient, state.gradient),
    )
    return new, StepInfo(accepted, probability, unsound)


def mala_step(
    state: ChainState,
    function: LogDensityWithGradient,
    *,
    step_size: Tensor | float,
    generator: torch.Generator,
    scale: Tensor | None = None,
) -> tuple[ChainState, StepInfo]:
    """``x' = x + h^2/2 grad ln pi + h noise`` (h the step size), accepted or not; one evaluation."""
    return hamiltonian_step(
        state, function, step_size=step_size, leapfrogs=1, generator=generator, scale=scale
    )


def adapted_step_size(
    step_size: Tensor, probability: Tensor, groups: Tensor, *, iteration: int, target: float
) -> Tensor:
    """Step sizes (G,) after one more look at the acceptance `probability` (B,) of rows in `groups` (B,) int.

    For the warm-up only: chains whose step follows their past are not exact. Groups without rows stay.
    """
    found = probability.to(step_size.dtype)
    count = torch.zeros_like(step_size).index_add(0, groups, torch.ones_like(found))
    total = torch.zeros_like(step_size).index_add(0, groups, found)
    change = torch.where(count > 0, total / count.clamp_min(1.0) - target, torch.zeros_like(total))
    return step_size * (ADAPTATION_GAIN * (iteration + 1) ** -ADAPTATION_DECAY * change).exp()


def run_chains(
    x: Tensor,
    function: LogDensityWithGradient,
    *,
    steps: int,
    leapfrogs: int = 1,
    step_size: float | Tensor = 0.1,
    warm_up: int = 0,
    keep_every: int = 0,
    target: float | None = None,
    groups: Tensor | None = None,
    jitter: float = 0.0,
    scale: Tensor | None = None,
    generator: torch.Generator,
) -> ChainRun:
    """`warm_up` steps that adapt the step size of each group, then `steps` exact ones with it fixed.

    Args:
        x: (B, D). step_size: where to begin, a number or (G,). groups: (B,) int in 0..G-1 (one temperature,
            say, each); None for one group. leapfrogs: 1 is MALA. target: acceptance; None for the usual one.
        keep_every: keep each so many-th sample after the warm-up; 0 keeps none.
        jitter: relative width, below 1, of a uniform variation of each row's step, against resonances.

    Raises InputError for numbers that make no chain.
    """
    if min(steps, warm_up, keep_every) < 0 or leapfrogs < 1 or not 0.0 <= jitter < 1.0:
        raise InputError(
            "Chains need steps, warm-up and spacing of at least 0, a leapfrog step and a jitter below 1; got "
            f"{steps}, {warm_up}, {keep_every}, {leapfrogs} and {jitter:g}."
        )
    goal = target if target is not None else MALA_ACCEPTANCE if leapfrogs == 1 else HMC_ACCEPTANCE
    groups = torch.zeros(len(x), dtype=torch.int64, device=x.device) if groups is None else groups
    size = torch.as_tensor(step_size, dtype=x.dtype, device=x.device).reshape(-1)
    if not bool((torch.isfinite(size) & (size > 0)).all()):
        raise InputError("The step sizes of a chain must be positive and finite.")
    if len(size) == 1:
        size = size.repeat(int(groups.max()) + 1 if len(groups) else 1)
    state = chain_state(x, function)
    kept, densities = [], []
    total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    unsound = torch.zeros((), dtype=torch.int64, device=x.device)
    for step in range(-warm_up, steps):
        rows = size[groups]
        if jitter:
            chance = torch.rand(len(x), generator=generator, dtype=x.dtype, device=x.device)
            rows = rows * (1.0 + jitter * (2.0 * chance - 1.0))
        state, info = hamiltonian_step(
            state, function, step_size=rows, leapfrogs=leapfrogs, generator=generator, scale=scale
        )
        unsound = unsound + info.unsound.sum()
        if step < 0:
            size = adapted_step_size(size, info.probability, groups, iteration=step + warm_up, target=goal)
            continue
        total = total + info.probability
        if keep_every and (step + 1) % keep_every == 0:
            kept.append(state.x)
            densities.append(state.log_density)
    rows_of = torch.zeros(len(size), dtype=torch.float64, device=x.device)
    rows_of = rows_of.index_add(0, groups, torch.ones_like(total))
    mean = torch.zeros_like(rows_of).index_add(0, groups, total) / (rows_of * steps if steps else math.nan)
    return ChainRun(
        state,
        torch.stack(kept) if kept else x.new_empty(0, *x.shape),
        torch.stack(densities) if densities else x.new_empty(0, len(x)),
        size,
        mean,
        int(unsound),
        len(x) * (1 + leapfrogs * (steps + warm_up)),
    )
