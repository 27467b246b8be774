"""How long it will take to draw samples here: a few of them, drawn and thrown away."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from os import PathLike
from pathlib import Path

import torch

from boltzgen.checks import MOST_SAMPLES, check_number
from boltzgen.config.model import load_model
from boltzgen.dynamics.ring_moves import RingMoves
from boltzgen.flows.temperature_mixture import asked_at
from boltzgen.generator import BoltzmannGenerator, Target, read_target
from boltzgen.refine.chains.adaptation import Followed
from boltzgen.refine.chains.group import Group
from boltzgen.refine.chains.settings import ChainSettings
from boltzgen.refine.refinement import EXPECTED_MOVES
from boltzgen.workflows.timing.expectation import MEASURING, Expectation, seconds_of

#: Samples of one measurement with costly energies, and rows of a batch of energies.
_ROWS, USUAL_ROWS = 200, 128


def expect_sampling(
    model: str | PathLike[str],
    system: str | PathLike[str],
    number: int,
    *,
    temperature: float | None = None,
    proposal_temperatures: Sequence[float] = (),
    dtype: str = "float64",
    device: str = "cpu",
    moves: int = 0,
) -> Expectation:
    """How long `sample` would take here for `number` samples of `system`, each with so many `moves`.

    Raises InputError for a model or a system that `sample` refuses. Nothing is written.
    """
    check_number(number)
    trained = load_model(Path(model))
    _, target = read_target(str(system), isomers=trained.isomers)
    with closing(target):
        flow = asked_at(
            trained.flow.to(device=device, dtype=getattr(torch, dtype)), tuple(proposal_temperatures)
        )
        generator = BoltzmannGenerator(flow, target.to(device))
        kelvin = trained.temperature if temperature is None else temperature
        return expected(generator, number, kelvin, moves=moves)


def expected(
    generator: BoltzmannGenerator, number: int, temperature: float, *, moves: int = 0
) -> Expectation:
    """What to expect of `number` draws of `generator` at `temperature` (K), `moves` energies each beside."""
    sample = seconds_of_a_sample(generator, number, temperature)
    move, refined = 0.0, ""
    if moves:
        move = seconds_of_an_energy(generator.target, min(number, _ROWS)) * moves
        refined = f", {moves} moves each"
    seconds = number * (sample + move)
    task = f"{number} samples{refined}"
    return Expectation("sample", seconds, task, f"{1 / max(sample + move, 1e-9):.3g} samples a second")


def seconds_of_a_sample(generator: BoltzmannGenerator, number: int, temperature: float) -> float:
    """Wall seconds of one of `number` draws at `temperature` (K), of which the last block is whole.

    Costly energies are looked at `_ROWS` at a time, others with their block.
    """
    target = generator.target
    rows = min(number, _ROWS) if target.potential.slow else target.block_rows()
    draws = generator.draw(MOST_SAMPLES, temperature, seed=0, rows=rows)
    each = seconds_of(lambda: next(draws), within=MEASURING / 2)
    return each / rows if target.potential.slow else -(-number // rows) * each / number


def cost_of_chains(
    model: str | PathLike[str], system: str | PathLike[str], settings: ChainSettings, *, temperature: float
) -> tuple[float, float]:
    """Seconds here for the pilots of chains of `model` on `system`, and for a sweep of all their walkers."""
    trained = load_model(Path(model))
    _, target = read_target(str(system), isomers=trained.isomers)
    with closing(target):
        generator = BoltzmannGenerator(trained.flow.to(dtype=torch.float64), target)
        pilot, sweep = _pilot_and_sweep(_a_group(generator, settings.walkers, temperature, settings))
    return settings.groups * pilot, settings.groups * sweep


def _pilot_and_sweep(group: Group) -> tuple[float, float]:
    """Seconds for the pilot of `group`, and for one of its sweeps."""
    began = time.perf_counter()
    group.begin()
    pilot = time.perf_counter() - began
    return pilot, seconds_of(group.sweep, within=MEASURING / 2, most=5)


def expected_chains(
    generator: BoltzmannGenerator,
    number: int,
    temperature: float,
    settings: ChainSettings,
    rings: RingMoves | None = None,
) -> Expectation:
    """What to expect of `number` rows of chains: one sweep of one group, timed and thrown away."""
    group = _a_group(generator, number, temperature, settings, rings)
    pilot, sweep = _pilot_and_sweep(group)
    climbed = 0
    if settings.ladder in ("tempered", "temperatures"):  # from half of the warm-up on, every rung is moved
        climbed = (group.ladder_of(settings.ladder).rungs - 1) * (group.sweeps_in_all - settings.warm_up // 2)
    seconds = settings.groups * (pilot + (group.sweeps_in_all + climbed) * sweep)
    sweeps = f"{group.sweeps_in_all} sweeps of {group.moves_a_sweep} moves each"
    task = f"{number} samples of {settings.walkers} walkers, {sweeps}"
    return Expectation("sample", seconds, task, f"{sweep:.2g} s a sweep of {settings.walkers_a_group}")


def energies_a_row(target: Target, number: int, settings: ChainSettings) -> int:
    """Energies that each of `number` rows of chains takes, the warm-up's among them."""
    sweeps = settings.sweeps_of(settings.steps_of(number))
    return -(-sweeps * Followed(target).moves_a_sweep * settings.walkers // number)


def _a_group(
    generator: BoltzmannGenerator,
    number: int,
    temperature: float,
    settings: ChainSettings,
    rings: RingMoves | None = None,
) -> Group:
    """One group of the chains that make `number` rows, not begun."""
    return Group(
        generator, temperature, settings, seed=0, group=0, steps=settings.steps_of(number), rings=rings
    )


def moves_of(refine: str | None, budget: int | None) -> int:
    """Energies of each sample beside its first: those of its refinement."""
    return 0 if refine is None else budget or EXPECTED_MOVES


def seconds_of_an_energy(target: Target, rows: int) -> float:
    """Wall seconds of one energy of `target` with its gradient, in a batch of `rows`."""
    positions = target.reference[:1].repeat_interleave(rows, dim=0)

    def work() -> None:
        moving = positions.clone().requires_grad_()
        torch.autograd.grad(target.potential(moving).sum(), moving)

    return seconds_of(work, within=MEASURING / 4) / rows
