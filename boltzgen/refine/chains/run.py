"""Chains of all groups, and what they sampled."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from boltzgen.checks import check_number, check_seed, check_temperature
from boltzgen.errors import InputError, StoppedError
from boltzgen.generator import BoltzmannGenerator
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress, silent
from boltzgen.refine.chains.group import STAGES, Group
from boltzgen.refine.chains.settings import ChainSettings


class Store(Protocol):
    """Where the state of groups is kept, so that a run that was ended goes on."""

    def save(self, group: int, arrays: dict[str, np.ndarray], /) -> None: ...

    def load(self, group: int, /) -> dict[str, np.ndarray] | None: ...


@dataclass(frozen=True)
class ChainSamples:
    """States of all walkers at a constant stride; rows step by step, in a step group by group.

    Attributes
    ----------
    positions: (n, N, 3) float32 nm; model systems (n, d). u: (n,) reduced energies of the unrounded positions.
    walker, group, step: (n,) int, all counted from 0; a walker's number is its own among those of all groups.
    log_z, log_z_error: ln Z by BAR or MBAR of draws of the flow, rungs and chains; None where it is not known.
    acceptance: kind of move -> (accepted, tried), counted after the warm-up for rows of the target.
    energy_evaluations: those of ``pilot``, ``warm_up``, ``sampling`` and ``rungs``.
    stride: sweeps from one step to the next. sweeps: of each walker, with the warm-up.
    largest_drift: largest difference in ln w of a kept and a full pass.
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

    def __len__(self) -> int:
        return len(self.u)


def run_chains(
    generator: BoltzmannGenerator,
    number: int,
    temperature: float,
    *,
    settings: ChainSettings,
    seed: int,
    stop: StopRequest | None = None,
    progress: Progress = silent,
    store: Store | None = None,
) -> ChainSamples:
    """`number` states of chains at `temperature` (K); those before `stop`, if it comes.

    store: see `Store`; with one, a run that was ended goes on with the same command to the same bytes.

    InputError: one walker. UnsupportedError: the flow has no latent space. StoppedError: a stop before the
    first state. BoltzgenError: nothing to start from, no move was ever accepted, passes that disagree.
    """
    check_number(number)
    check_temperature(temperature)
    check_seed(seed)
    if settings.walkers_a_group * settings.groups < 2:
        raise InputError(
            f"`walkers_a_group={settings.walkers_a_group}` in {settings.groups} group is one walker, which nothing "
            "can be compared with; give at least 2."
        )
    at_once = settings.walkers_a_group * settings.groups
    steps = -(-number // at_once)
    groups = [
        Group(generator, temperature, settings, seed=seed, group=one, steps=steps)
        for one in range(settings.groups)
    ]
    for group in groups:
        group.begin()
    in_all = groups[0].sweeps_in_all
    while not groups[-1].done:
        for group in groups:
            group.sweep()
        progress(groups[-1].sweeps, in_all, None)
        if stop is not None and stop.requested:
            break
    samples = _samples(groups, settings, number)
    if not len(samples):
        assert stop is not None
        raise StoppedError(f"{stop.reason} in the warm-up of the chains, before their first state.")
    return samples


def _samples(groups: list[Group], settings: ChainSettings, number: int) -> ChainSamples:
    steps, walkers = min(len(group.taken.u) for group in groups), settings.walkers_a_group
    positions = [group.taken.positions[step] for step in range(steps) for group in groups]
    u = [group.taken.u[step] for step in range(steps) for group in groups]
    every = np.arange(steps * len(groups) * walkers)[:number]
    walker = every % (len(groups) * walkers)
    energies: Counter[str] = Counter(dict.fromkeys(STAGES, 0))
    acceptance: dict[str, np.ndarray] = {}
    for group in groups:
        energies.update(group.energies)
        for kind, counts in group.acceptance.items():
            acceptance[kind] = acceptance.get(kind, np.zeros(2, dtype=np.int64)) + counts
    return ChainSamples(
        positions=np.concatenate(positions)[:number] if positions else np.zeros((0, 0, 3), np.float32),
        u=np.concatenate(u)[:number] if u else np.zeros(0),
        walker=walker,
        group=walker // walkers,
        step=every // (len(groups) * walkers),
        log_z=None,
        log_z_error=None,
        acceptance={kind: (int(yes), int(tried)) for kind, (yes, tried) in acceptance.items()},
        energy_evaluations=dict(energies),
        stride=settings.stride,
        sweeps=groups[0].sweeps,
        largest_drift=max(group.largest_drift for group in groups),
    )
