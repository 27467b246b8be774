"""Simulation data in memory, for those who need it and want to know what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from boltzgen.dynamics.batched_run import (
    MINIMISATION_STEPS,
    BatchedProblem,
    initial_state,
    relaxed_start,
    run_batched_blocks,
)
from boltzgen.dynamics.exchange import ExchangeRecord
from boltzgen.dynamics.settings import BatchedSettings, check_temperatures
from boltzgen.errors import InputError
from boltzgen.potentials.base import Potential
from boltzgen.progress import Progress, silent
from boltzgen.units import GAS_CONSTANT

#: Steps that a replica should have before a second ladder is worth its start, and most ladders of a budget.
STEPS_OF_A_LADDER, MOST_LADDERS = 20_000, 256


@dataclass(frozen=True, eq=False)
class BatchedFrames:
    """Frames of a batched replica exchange, one row each: rung by rung, walk by walk, in order of time.

    Attributes:
        positions: (M, N, 3) float32 nm, or (M, D). energies: (M,) float64. temperatures: (M,) K.
        walks: (M,) int, the ladder that made the frame; ladders never meet. replicas: (M,) int, the copy.
        evaluations: energies with gradients (rows) that everything cost, minimisation included.
        exchanges: acceptance and round trips. restarts: replicas that broke down and were put back.
    """

    positions: np.ndarray
    energies: np.ndarray
    temperatures: np.ndarray
    walks: np.ndarray
    replicas: np.ndarray
    evaluations: int
    exchanges: ExchangeRecord
    restarts: int

    def __len__(self) -> int:
        return len(self.energies)


def batched_replica_exchange(
    potential: Potential,
    masses: np.ndarray,
    reference: np.ndarray,
    temperatures: Sequence[float],
    *,
    replicas: int,
    steps: int,
    save_every: int,
    exchange_every: int = 100,
    equilibration: int | None = None,
    timestep: float = 1e-3,
    friction: float = 2.0,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    boltzmann_constant: float = GAS_CONSTANT,
    progress: Progress = silent,
) -> BatchedFrames:
    """Frames of `potential` at every temperature of the ladder, from ``replicas / K`` ladders at once.

    Args:
        potential: on `device` already. masses: (N,) dalton, or (D,) for a model system.
        reference: (N, 3) nm (or (D,)), or several starts (S, N, 3); they are minimised a little.
        temperatures: (K,) K, rising. replicas: a multiple of K.
        steps: of each replica, `equilibration` (default: a tenth) included, which are thrown away.
        save_every, exchange_every: steps; one must be a multiple of the other.
        timestep, friction: ps and 1/ps. boltzmann_constant: per K, in the unit of the energy.

    Raises InputError for numbers that do not fit, BoltzgenError when the dynamics break down.
    """
    discarded = steps // 10 if equilibration is None else equilibration
    settings = _settings(
        temperatures,
        steps,
        discarded,
        save_every,
        exchange_every,
        replicas=replicas,
        timestep=timestep,
        friction=friction,
        seed=seed,
    )
    problem = BatchedProblem.of(
        potential, masses, boltzmann_constant=boltzmann_constant, device=device, dtype=dtype
    )
    starts = relaxed_start(problem, reference)
    evaluations = (MINIMISATION_STEPS + 1) * len(starts)
    state = initial_state(problem, starts, settings)
    blocks = []
    for block in run_batched_blocks(problem, state, settings):
        evaluations += replicas * (1 + settings.segment_evaluations * (block.state.segments - state.segments))
        state = block.state
        blocks.append(block)
        progress(state.segments, settings.total_segments, None)
    walks, rungs = settings.walks, len(settings.temperatures)

    def sorted_rows(values: Sequence[np.ndarray]) -> np.ndarray:
        """(K, saves * L, ...) of each block -> (K * L * saves, ...)."""
        whole = np.concatenate(values, axis=1)
        split = whole.reshape(rungs, -1, walks, *whole.shape[2:]).swapaxes(1, 2)
        return np.ascontiguousarray(split).reshape(-1, *whole.shape[2:])

    rows = sorted_rows([block.replicas for block in blocks])
    return BatchedFrames(
        positions=sorted_rows([block.positions for block in blocks]),
        energies=sorted_rows([block.energies for block in blocks]),
        temperatures=np.repeat(np.array(settings.temperatures), state.frames),
        walks=rows // rungs,
        replicas=rows,
        evaluations=evaluations,
        exchanges=state.exchanges,
        restarts=state.restarts,
    )


def replicas_within(evaluations: int, rungs: int) -> int:
    """Replicas for a budget: at least one ladder, more when each has `STEPS_OF_A_LADDER` steps a replica."""
    return rungs * max(1, min(MOST_LADDERS, evaluations // (rungs * STEPS_OF_A_LADDER)))


def _settings(
    temperatures: Sequence[float],
    steps: int,
    discarded: int,
    save_every: int,
    exchange_every: int,
    *,
    replicas: int,
    timestep: float,
    friction: float,
    seed: int,
) -> BatchedSettings:
    if min(save_every, exchange_every) < 1 or not 0 <= discarded < steps or min(timestep, friction) <= 0:
        raise InputError(
            f"A run of {steps} steps, {discarded} of them thrown away, saved each {save_every} and exchanged "
            f"each {exchange_every}, with a timestep of {timestep:g} and friction {friction:g}, makes no "
            "frames; all must be positive and steps remain."
        )
    long, short = max(save_every, exchange_every), min(save_every, exchange_every)
    # Equilibration ends at a save: it is rounded down, so that no more than `steps` are made.
    discarded = discarded // save_every * save_every
    settings = BatchedSettings(
        temperatures=tuple(float(t) for t in temperatures),
        time=(steps - discarded) * timestep,
        timestep=timestep,
        friction=friction,
        exchange_interval=exchange_every * timestep,
        save_interval=save_every * timestep,
        equilibration=discarded * timestep,
        seed=seed,
        replicas=replicas,
    )
    rungs = len(settings.temperatures)
    if not rungs or replicas < 1 or replicas % rungs or (rungs > 1 and long % short):
        raise InputError(
            f"{replicas} replicas at {rungs} temperatures, saved each {save_every} and exchanged each "
            f"{exchange_every} steps: replicas must be a multiple of the temperatures, and the longer "
            "interval of the shorter."
        )
    check_temperatures(settings.temperatures)
    if settings.n_frames < 1:
        raise InputError(f"{steps - discarded} steps hold no frame each {save_every}; save more often.")
    return settings
