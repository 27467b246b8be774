"""What things cost here, from a short measurement: a draw, an energy with its gradient, a training step."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import torch

from boltzgen.config.build import build_flow
from boltzgen.config.model import load_model
from boltzgen.config.settings import load_settings
from boltzgen.config.shipped import find_config
from boltzgen.generator import BoltzmannGenerator, Target, read_target
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.settings import TrainingSettings

#: Rows of a measurement, and calls of it after the one that warms up.
ROWS, TIMES = 100, 2

#: What a row of a loss costs, in draws of the same flow: forward and back.
OF_A_LOSS = 3.0


def seconds_a_call(work: Callable[[], object]) -> float:
    """Wall seconds of one call, the first left out."""
    work()
    begin = time.perf_counter()
    for _ in range(TIMES):
        work()
    return (time.perf_counter() - begin) / TIMES


def seconds_a_sample(model: str | Path, system: str | Path, temperature: float) -> float:
    """Of one sample of `model`, its energy included."""
    trained = load_model(Path(model))
    _, target = read_target(str(system), isomers=trained.isomers)
    with closing(target):
        generator = BoltzmannGenerator(trained.flow.double(), target)
        return seconds_a_call(lambda: generator.sample(ROWS, temperature)) / ROWS


def seconds_an_energy(system: MolecularSystem, rows: int) -> float:
    """Of one energy with its gradient, not compiled, in a batch of so many `rows`."""
    target = Target.from_system(system)
    with closing(target):
        positions = target.reference[:1].repeat_interleave(rows, dim=0)

        def work() -> None:
            moving = positions.clone().requires_grad_()
            torch.autograd.grad(target.potential(moving).sum(), moving)

        return seconds_a_call(work) / rows


def seconds_a_step(system: MolecularSystem, config: str, temperature: float, batch: int) -> float:
    """Of one training step of `config` with so many rows a loss; from draws of a flow with fresh weights."""
    settings = load_settings(TrainingSettings, find_config(config), ["system=SYS", "data=MD"])
    target = Target.from_system(system)
    with closing(target):
        flow = build_flow(settings.flow.for_molecules([target.features]), seed=0)
        generator = BoltzmannGenerator(flow, target)
        a_row = seconds_a_call(lambda: generator.sample(ROWS, temperature)) / ROWS
    losses = sum(loss is not None for loss in (settings.likelihood, settings.reweighted))
    return a_row * batch * (1.0 + OF_A_LOSS * losses) / max(settings.workers, 1)
