"""How long a training run will take here: some of its steps, made with a flow that is thrown away."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np

from boltzgen.config.build import build_flow
from boltzgen.config.model import Model, load_model
from boltzgen.data.dataset import Dataset
from boltzgen.data.record import Trajectory
from boltzgen.errors import InputError
from boltzgen.flows.base import Flow
from boltzgen.generator import BoltzmannGenerator, Target, read_target
from boltzgen.training.settings import TrainingSettings, active_share, evaluations_of
from boltzgen.training.trainer import Trainer
from boltzgen.training.training_data import TrainingData
from boltzgen.workflows.timing.expectation import MEASURING, Expectation, seconds_of
from boltzgen.workflows.timing.sampling import USUAL_ROWS, seconds_of_a_sample, seconds_of_an_energy
from boltzgen.workflows.training.settings import training_settings

#: Places of the run whose steps are measured: the weights of losses may change on the way.
_PLACES = (0.25, 0.75)

#: Frames that stand in for data.
_FRAMES = 256


def expect_training(
    config: str | PathLike[str],
    overrides: Sequence[str] = (),
    *,
    device: str = "cpu",
    seed: int | None = None,
) -> Expectation:
    """How long `train` with this configuration would take here, with the data that it makes itself.

    Other data need not be there yet, where the configuration says how to train: frames of the reference
    structure stand in for them. Raises InputError for a configuration that `train` refuses. Nothing is
    written.
    """
    words = [*overrides, *([f"seed={seed}"] if seed is not None else [])]
    settings = training_settings(config, words)
    model = None if settings.start is None else load_model(Path(settings.start))
    if model is not None:
        kind = model.flow_settings
        settings = settings.model_copy(update={"flow": kind})
    return expected_of(settings, device, model)


def expected_of(
    settings: TrainingSettings, device: str, model: Model | None, *, done: int = 0
) -> Expectation:
    """What to expect of a run with `settings`, which begins with the flow of `model`, after `done` steps."""
    target = _first_target(settings).to(device)
    with closing(target):
        if model is None:
            flow = build_flow(settings.flow.for_molecules([target.features]), seed=settings.seed)
        else:
            flow = copy.deepcopy(model.flow).train()
        found = expected(settings, flow.to(device), target, done=done)
        if settings.simulation is None or done:
            return found
        data = _seconds_of_data(settings, target)
        before = f"{settings.simulation.evaluations:.3g} energies for the data, then "
        return replace(found, seconds=found.seconds + data, task=before + found.task)


def _seconds_of_data(settings: TrainingSettings, target: Target) -> float:
    """Wall seconds of the energies that make the data of all molecules."""
    assert settings.simulation is not None
    each = seconds_of_an_energy(target, USUAL_ROWS)
    molecules = 1 if isinstance(settings.system, str) else len(settings.system or [])
    return each * settings.simulation.evaluations * molecules


def expected(settings: TrainingSettings, flow: Flow, target: Target, *, done: int = 0) -> Expectation:
    """What to expect of the steps after `done` ones, by those of a run on `target`; `flow` is used up."""
    steps = _steps(settings) - done
    step = _seconds_of_steps(settings, flow, target)
    samples, kelvin = settings.evaluation.samples, settings.evaluation.temperature
    sample = seconds_of_a_sample(BoltzmannGenerator(flow, target), samples, kelvin)
    used = [loss for loss in settings.all_losses().values() if active_share(loss) > 0]
    measurement, first = sample * samples, sample * sum(loss.evaluations_at_first for loss in used)
    measurements = -(-steps // settings.evaluation.every)
    seconds = steps * step + measurements * measurement + (0.0 if done else first)
    until = settings.until
    minutes = float("inf") if until.minutes is None else 60 * until.minutes
    most = until.ess is not None or minutes < seconds
    task = f"{'at most ' if most else ''}{steps} steps, {measurements} measurements on the way"
    measured = f"a step {_short(step)}, a measurement {_short(measurement)}"
    return Expectation("train", min(seconds, minutes), task, measured)


def _steps(settings: TrainingSettings) -> int:
    """Steps of the whole run, or as many as its energy evaluations pay for."""
    steps, limit = settings.optimizer.steps, settings.until.evaluations
    if limit is None:
        return steps
    measuring = steps * settings.evaluation.samples / settings.evaluation.every
    a_step = (evaluations_of(settings) - measuring) / steps
    return max(1, min(steps, int(limit / a_step))) if a_step > 0 else steps


def _seconds_of_steps(settings: TrainingSettings, flow: Flow, target: Target) -> float:
    """Wall seconds of a step in the mean, without what is drawn once before the first ones."""
    quick = {name: loss.without_start() for name, loss in settings.all_losses().items()}
    own = {name: loss for name, loss in quick.items() if name not in settings.losses}
    fewer = settings.model_copy(update={**own, "losses": {name: quick[name] for name in settings.losses}})
    data = [_stand_in(settings, target)] if settings.data or settings.simulation or settings.dataset else []
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(fewer, flow, [target], data, Path(folder))
        found = trainer.seconds_of_steps(
            _PLACES, lambda work: seconds_of(work, within=MEASURING / 3, most=10)
        )
    return float(np.mean(found))


def _stand_in(settings: TrainingSettings, target: Target) -> TrainingData:
    """Frames of the reference structure, as many at each temperature."""
    kelvin = settings.likelihood.temperatures or [settings.evaluation.temperature]
    frames = _FRAMES * len(kelvin)
    positions = np.repeat(target.reference[:1].cpu().numpy().astype(np.float32), frames, axis=0)
    made = Trajectory(positions, np.zeros(frames), np.repeat(kelvin, _FRAMES), np.zeros(frames, dtype=int))
    return TrainingData.from_trajectory(target, made, holdout=0.0, temperatures=list(kelvin))


def _first_target(settings: TrainingSettings) -> Target:
    """The first molecule of the run."""
    if settings.dataset is not None:
        folder = settings.dataset if isinstance(settings.dataset, str) else settings.dataset[0]
        molecules = Dataset.load(folder).molecules
        if not molecules:
            raise InputError(f"{folder} holds no molecule yet; build it first.")
        return read_target(str(molecules[0].system), isomers=settings.isomers)[1]
    assert settings.system is not None
    source = settings.system if isinstance(settings.system, str) else settings.system[0]
    return read_target(source, isomers=settings.isomers)[1]


def _short(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds >= 1 else f"{1e3 * seconds:.2g} ms"
