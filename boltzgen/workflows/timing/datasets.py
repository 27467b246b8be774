"""How long it will take to build a data set, and to measure a model on one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from boltzgen.config.model import Model
from boltzgen.data.dataset import DatasetMolecule
from boltzgen.generator import BoltzmannGenerator, Target, read_target
from boltzgen.workflows.preparation.prepare import prepare
from boltzgen.workflows.timing.expectation import Expectation
from boltzgen.workflows.timing.sampling import USUAL_ROWS, seconds_of_a_sample, seconds_of_an_energy
from boltzgen.workflows.timing.training import expected_of
from boltzgen.workflows.training.adapt import adaptation_settings


def expected_dataset(
    asked: Mapping[str, Any], systems: int, evaluations: Sequence[int], device: str
) -> Expectation:
    """What to expect of so many `systems` to prepare and of the `evaluations` of each molecule without data.

    asked: what `prepare` is asked for one of them, which stands for all; empty where nothing is left to do.
    """
    task = f"{systems} molecules to prepare, {len(evaluations)} to simulate"
    if not asked:
        return Expectation("dataset", 0.0, task, "nothing is left to do")
    begin = time.perf_counter()
    system = prepare(None, None, check=True, **asked).system
    preparing = time.perf_counter() - begin
    seconds, measured = systems * preparing, f"preparing {system.name} {preparing:.2g} s"
    if evaluations:
        with closing(Target.from_system(system).to(device)) as target:
            each = seconds_of_an_energy(target, USUAL_ROWS)
        seconds += each * sum(evaluations)
        measured += f", {1 / each:.3g} of its energies a second"
    return Expectation("dataset", seconds, task, measured)


def expected_transfer(
    trained: Model,
    model: str,
    left: Sequence[DatasetMolecule],
    samples: int,
    temperature: float,
    budget: float | None,
    device: str,
) -> Expectation:
    """What to expect of the molecules that are `left`, by the first of them: draws, and adapting where asked.

    samples: of each molecule and stage. temperature: K. budget: energies of adapting to each; None: none.
    """
    task = f"{len(left)} molecules, {samples} samples of each"
    if not left:
        return Expectation("transfer", 0.0, task, "nothing is left to do")
    system = str(left[0].system)
    target = read_target(system, isomers=trained.isomers)[1].to(device)
    with closing(target):
        each = seconds_of_a_sample(BoltzmannGenerator(trained.flow.to(device), target), samples, temperature)
    seconds = each * samples
    if budget is not None:
        settings = adaptation_settings(trained, model, system, temperature, budget, "adapt", (), 0)
        seconds = 2 * seconds + expected_of(settings, device, trained).seconds
        task += ", adapted to each"
    return Expectation("transfer", seconds * len(left), task, f"{1 / each:.3g} samples a second")
