"""Chains of all groups, and what they sampled."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from boltzgen.checks import check_number, check_seed, check_temperature
from boltzgen.dynamics.ring_moves import RingMoves
from boltzgen.errors import BoltzgenError, InputError, StoppedError
from boltzgen.generator import BoltzmannGenerator
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress, silent
from boltzgen.refine.chains.group import STAGES, Group
from boltzgen.refine.chains.normalisation import log_partition
from boltzgen.refine.chains.settings import ChainSettings
from boltzgen.refine.chains.taken import State, arrays_of

#: Seconds between two times that the state of the groups is kept.
SAVED_EVERY = 30.0


class Store(Protocol):
    """Where the state of groups is kept, so that a run that was ended goes on."""

    def save(self, group: int, arrays: dict[str, np.ndarray], /) -> None: ...

    def load(self, group: int, /) -> dict[str, np.ndarray] | None: ...


@dataclass(frozen=True)
class ChainSamples:
    """States of all walkers at a constant stride; rows step by step, in a step group by group.

    Attributes
    ----------
    positions: (n, N, 3) float32 nm; model systems (n, d). u: (n,) reduced energies, of unrounded positions.
    walker, group, step: (n,) int, all counted from 0; a walker's number is its own among those of all groups.
    log_z, log_z_error: ln Z by MBAR of draws of the flow, rungs and chains; None where it is not known.
    acceptance: kind of move -> (accepted, tried), counted after the warm-up for rows of the target.
    energy_evaluations: those of ``pilot``, ``warm_up``, ``sampling`` and ``rungs``.
    stride: sweeps from one step to the next. sweeps: of each walker, with the warm-up.
    largest_drift: largest difference in ln w of a kept and a full pass.
    ladders: of each group, ``none``, ``tempered`` or ``temperatures``.
    """

    positions: np.ndarray
    u: np.ndarray
    walker: np.ndarray
    group: np.ndarray
    step: np.ndarray
    log_z: float | None
    log_z_error: float | None
    acceptance: dict[str, tuple[int, int]]
    energy_evaluations: dict[str, int]
    stride: int
    sweeps: int
    largest_drift: float
    ladders: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.u)


def run_chains(
    generator: BoltzmannGenerator,
    number: int,
    temperature: float,
    *,
    settings: ChainSettings,
    seed: int,
    rings: RingMoves | None = None,
    stop: StopRequest | None = None,
    progress: Progress = silent,
    store: Store | None = None,
) -> ChainSamples:
    """`number` states of chains at `temperature` (K); those before `stop`, if it comes.

    rings: of the molecule, one of which is turned over once a sweep.
    store: see `Store`; with one, a run that was ended goes on with the same command to the same bytes.

    InputError: one walker. UnsupportedError: the flow has no latent space. StoppedError: a stop before the
    first state. BoltzgenError: nothing to start from, no move was ever accepted, passes that disagree.
    """
    check_number(number)
    check_temperature(temperature)
    check_seed(seed)
    if settings.walkers < 2:
        raise InputError(
            "Chains of one walker have nothing that they can be compared with; give at least 2 walkers."
        )
    steps = settings.steps_of(number)
    groups = [
        Group(generator, temperature, settings, seed=seed, group=one, steps=steps, rings=rings)
        for one in range(settings.groups)
    ]
    kept: list[State | None] = [_begin(group, store) for group in groups]
    saved = time.monotonic()
    while not all(group.done for group in groups):
        for number_of, group in enumerate(groups):
            if group.done or group.sweeps > min(other.sweeps for other in groups):
                continue
            _sweep(group, groups, settings, number)
            if group.done or group.sweeps % settings.full_pass_every == 0:
                kept[number_of] = group.state()
        progress(min(group.sweeps for group in groups), groups[0].sweeps_in_all, None)
        if stop is not None and stop.requested:
            break
        if time.monotonic() - saved > SAVED_EVERY:
            _save(store, groups, kept)
            saved = time.monotonic()
    _save(store, groups, kept)
    samples = _samples(groups, settings, number)
    if not len(samples):
        assert stop is not None
        raise StoppedError(f"{stop.reason} in the warm-up of the chains, before their first state.")
    return samples


def _begin(group: Group, store: Store | None) -> State | None:
    """`group` where `store` left it, or at its start; and the state that it can be put back to."""
    arrays = None if store is None else store.load(group.group)
    if arrays is None:
        group.begin()
    else:
        group.restore(arrays)
    return None if arrays is None else dict(arrays)


def _sweep(group: Group, groups: list[Group], settings: ChainSettings, number: int) -> None:
    """One sweep of `group`; what failed carries what all sampled before."""
    try:
        group.sweep()
    except BoltzgenError as error:
        samples = _samples(groups, settings, number)
        error.result = samples if len(samples) else None
        raise


def _save(store: Store | None, groups: list[Group], kept: list[State | None]) -> None:
    for group, state in zip(groups, kept, strict=True):
        if store is not None and state is not None:
            store.save(group.group, arrays_of(state))


def _samples(groups: list[Group], settings: ChainSettings, number: int) -> ChainSamples:
    steps, walkers = min(len(group.taken.u) for group in groups), settings.walkers_a_group
    positions = [group.taken.positions[step] for step in range(steps) for group in groups]
    u = [group.taken.u[step] for step in range(steps) for group in groups]
    every = np.arange(steps * len(groups) * walkers)[:number]
    walker = every % (len(groups) * walkers)
    acceptance = {
        kind: np.sum([group.acceptance[kind] for group in groups], axis=0) for kind in groups[0].kinds
    }
    log_z, log_z_error = _log_z(groups, steps)
    return ChainSamples(
        positions=np.concatenate(positions)[:number] if positions else np.zeros((0, 0, 3), np.float32),
        u=np.concatenate(u)[:number] if u else np.zeros(0),
        walker=walker,
        group=walker // walkers,
        step=every // (len(groups) * walkers),
        log_z=log_z,
        log_z_error=log_z_error,
        acceptance={kind: (int(yes), int(tried)) for kind, (yes, tried) in acceptance.items()},
        energy_evaluations={stage: sum(group.energies[stage] for group in groups) for stage in STAGES},
        stride=settings.stride,
        sweeps=groups[0].sweeps,
        largest_drift=max(group.largest_drift for group in groups),
        ladders=tuple(group.ladder.kind for group in groups),
    )


def _log_z(groups: list[Group], steps: int) -> tuple[float | None, float | None]:
    """ln Z and its error from all draws and all rungs of `groups`."""
    on_rung: dict[float, list[np.ndarray]] = {}
    known = min(len(group.taken.log_w) for group in groups) if steps else 0
    for group in groups:
        for rung, exponent in enumerate(group.ladder.exponents.tolist() if known else []):
            if group.ladder.heat[rung] != 1:
                continue
            values = np.stack(group.taken.log_w[:known])[:, :, rung]
            on_rung.setdefault(exponent, []).append(values)
    drawn = np.concatenate([draws for group in groups for draws in group.taken.draws])
    return log_partition(drawn, {b: np.concatenate(parts, axis=1) for b, parts in on_rung.items()})
