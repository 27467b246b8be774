"""``adapt``: a trained model becomes the model of one new molecule, on energies alone, within a budget."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from boltzgen.checks import MOST_EVALUATIONS
from boltzgen.config.devices import check_device
from boltzgen.config.model import Model, load_model, save_model
from boltzgen.config.settings import dump_yaml, load_settings
from boltzgen.config.shipped import find_config
from boltzgen.contents import check_output
from boltzgen.ensemble.diagnostics import diagnose
from boltzgen.errors import InputError
from boltzgen.files import write_atomic, write_json
from boltzgen.folders import alone_in
from boltzgen.free_energy.efficiency import REPLICATES, effective_fraction
from boltzgen.free_energy.statistics import Statistics
from boltzgen.generator import BoltzmannGenerator, Target, read_target
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress, silent
from boltzgen.training.losses.chains import ChainsSettings
from boltzgen.training.settings import TrainingSettings, active_share
from boltzgen.workflows.options import takes
from boltzgen.workflows.records import Record, number
from boltzgen.workflows.timing.expectation import Expect, Expectation
from boltzgen.workflows.timing.sampling import expected as expected_draws
from boltzgen.workflows.timing.training import expected_of
from boltzgen.workflows.training.options import AdaptKeywords, AdaptOptions
from boltzgen.workflows.training.resuming import changed_settings, checkpoint_to_resume, steps_of
from boltzgen.workflows.training.train import train

SCHEMA = "boltzgen.adapt/1"

#: Samples that judge the model before and after, no part of the budget: a tenth of it, but within these.
FEWEST_SAMPLES, MOST_SAMPLES = 1_000, 10_000

#: What is learned from, and the configuration of each.
SOURCES = {"weights": "adapt", "chains": "adapt-chains"}

#: Share of the budget, and samples at most, that are drawn before the first step.
FIRST_SHARE, MOST_FIRST = 0.05, 8_192


@dataclass(frozen=True)
class Effective:
    """Effective sample size (a fraction) of fresh draws, its standard error, and k-hat.

    The error is None where the size makes one or two effective samples.
    """

    ess: float
    standard_error: float | None
    k_hat: float | None


@dataclass(frozen=True, repr=False)
class Adaptation(Record):
    """``RUN/adapt.json``, and the `folder` RUN that it stands in."""

    folder: Path

    @property
    def before(self) -> Effective:
        """What the model was worth for the molecule."""
        return Effective(**self._content["before"])

    @property
    def after(self) -> Effective:
        """What the adapted one is worth."""
        return Effective(**self._content["after"])

    @property
    def gain(self) -> float | None:
        """How many times as many effective samples; None where there were none."""
        return number(self._content["gain"])

    @property
    def kept(self) -> str:
        """``adapted`` or ``start``: the better model, in ``RUN/model``."""
        return str(self._content["kept"])

    @property
    def improved(self) -> bool:
        return self.kept == "adapted"

    @property
    def evaluations(self) -> int:
        """Energy evaluations of the training."""
        return int(self._content["evaluations"])

    @property
    def evaluations_to_measure(self) -> int:
        """Those of the draws that measured."""
        return int(self._content["evaluations_to_measure"])

    @property
    def steps(self) -> int:
        return int(self._content["steps"])

    @property
    def seconds(self) -> float:
        return float(self._content["seconds"])

    def rows(self) -> dict[str, Any]:
        return {
            "effective sample size before": _percent(self.before),
            "effective sample size after": _percent(self.after),
            "gain": self.gain,
            "energy evaluations": self.evaluations,
            "energy evaluations (to measure)": self.evaluations_to_measure,
            "seconds": round(self.seconds, 1),
            "model kept": "the adapted one" if self.improved else "the one it began from",
        }

    def __repr__(self) -> str:
        return (
            f"<Adaptation: ESS {_percent(self.before)} before, {_percent(self.after)} after "
            f"{self.evaluations} energies; {self.kept} model kept in {self.folder}>"
        )


def _percent(found: Effective) -> str:
    if found.standard_error is None:
        return f"{100 * found.ess:.3g} % (of one or two effective samples: no error bar)"
    return f"{100 * found.ess:.3g} % +- {100 * found.standard_error:.2g} %"


@takes(AdaptOptions)
def adapt(
    model: str | PathLike[str],
    system: str | PathLike[str],
    run_folder: str | PathLike[str] = "RUN",
    overrides: Sequence[str] = (),
    *,
    resume: str = "never",
    stop: StopRequest | None = None,
    progress: Progress = silent,
    expect: Expect | None = None,
    **options: Unpack[AdaptKeywords],
) -> Adaptation:
    """Adapt `model` to `system` on energies alone, and leave the better of the two in ``run_folder/model``.

    Parameters
    ----------
    model: a run, a model folder or the name of a shipped model.
    system: SYS, ``example:NAME`` or ``model:NAME``.
    overrides: ``key=value`` departures from `config`, a training configuration without a number of steps.
    resume: ``"never"``, ``"auto"`` or a checkpoint folder, as for `train`.
    expect: told how long it will take before it begins.
    options: the fields of `AdaptOptions`: budget, temperature, learn_from, config, samples, device, seed,
        compile_energies.

    Returns
    -------
    Adaptation: the content of ``RUN/adapt.json``: effective sample sizes before and after, cost, model kept.

    Raises
    ------
    InputError: something given cannot be used. StoppedError: `stop` asked to end; a checkpoint is kept, and
    ``run_folder/model`` holds the model so far, which was not compared with `model`.

    Example
    -------
    >>> import boltzgen as bg
    >>> found = bg.adapt("RUN", "SYS", "ADAPTED", ["reweighted.fresh=64", "reweighted.first=64"],
    ...                  budget=300, samples=100, temperature=350.0)
    >>> found.kept in ("adapted", "start"), found.evaluations <= 300
    (True, True)
    """
    asked = AdaptOptions(**options)
    budget, samples, device = asked.budget, asked.samples, asked.device
    check_device(device)
    check_output(run_folder, "run")
    if asked.learn_from not in SOURCES:
        raise InputError(f"`learn_from={asked.learn_from!r}` is unknown; use {' or '.join(SOURCES)}.")
    config = SOURCES[asked.learn_from] if asked.config is None else asked.config
    before = load_model(Path(model))
    kelvin = before.temperature if asked.temperature is None else asked.temperature
    settings = adaptation_settings(
        before, str(model), str(system), kelvin, budget, config, overrides, asked.seed
    )
    kelvin = settings.evaluation.temperature
    if samples is None:
        samples = min(max(FEWEST_SAMPLES, int(budget / 10)), MOST_SAMPLES)
    with alone_in(run_folder) as folder:
        start = checkpoint_to_resume(folder, resume)  # a run in the way is refused before anything is written
        if resume != "never":
            _refuse_other_settings(folder, settings)
        if expect is not None:
            expect(_expected(before, settings, device, samples, steps_of(start)))
        kept = {**_without_schema(before.record), "temperature_K": kelvin}
        if not (folder / "model" / "model.json").exists():  # until there is a better one, however this ends
            save_model(folder / "model", before.flow, kept, before.seen)
        written = folder / "adapt.yaml"
        write_atomic(written, dump_yaml(settings))
        result = train(
            written,
            run_folder=folder,
            resume=resume,
            device=device,
            compile_energies=asked.compile_energies,
            stop=stop,
            progress=progress,
        )
        after = load_model(folder)
        target = read_target(str(system), isomers=before.isomers)[1].to(device)
        with closing(target):
            found = {
                when: _measured(of, target, kelvin, samples, settings.seed, device)
                for when, of in (("before", before), ("after", after))
            }
        better = found["after"]["ess"] >= found["before"]["ess"]
        if not better:
            save_model(folder / "model", before.flow.to("cpu"), kept, before.seen)
        familiar = target.familiarity(before.seen, [kelvin])
        on_the_way = int(result.evaluation.get("evaluation_energies") or 0)
        record = {
            "schema": SCHEMA,
            "model": str(model),
            "system": str(system),
            "fingerprint": target.fingerprint,
            "temperature_K": kelvin,
            "budget": budget,
            "evaluations": result.energy_evaluations,
            "evaluations_to_measure": 2 * samples + on_the_way,
            "steps": result.steps,
            "seconds": result.seconds,
            "samples": samples,
            **found,
            "gain": _gain(found),
            "kept": "adapted" if better else "start",
            "unfamiliarity": None if familiar is None else familiar.score,
        }
        write_json(folder / "adapt.json", record)
    return Adaptation(record, folder)


def _expected(model: Model, settings: TrainingSettings, device: str, samples: int, done: int) -> Expectation:
    """What to expect: the training, and the two measurements around it."""
    found = expected_of(settings, device, model, done=done)
    target = read_target(str(settings.system), isomers=model.isomers)[1].to(device)
    with closing(target):
        generator = BoltzmannGenerator(model.flow.to(device), target)
        drawn = expected_draws(generator, 2 * samples, settings.evaluation.temperature)
    task = f"{found.task}, then {samples} samples of each model to compare them"
    return replace(found, verb="adapt", seconds=found.seconds + drawn.seconds, task=task)


def adaptation_settings(
    model: Model,
    start: str,
    system: str,
    temperature: float,
    budget: float,
    config: str | PathLike[str],
    overrides: Sequence[str],
    seed: int,
) -> TrainingSettings:
    """The training run: `config` with the model, the molecule, and as many steps as `budget` pays for."""
    if not 1 <= budget <= MOST_EVALUATIONS:
        raise InputError(f"`budget={budget:g}`: give the number of energy evaluations, such as 1e5.")
    own = {
        "start": start,
        "system": system,
        "isomers": model.isomers,
        "seed": seed,
        "reweighted.temperatures": [temperature],
        "reverse_kl.temperatures": [temperature],
        "evaluation.temperature": temperature,
        "until.evaluations": int(budget),
        "reweighted.first": min(int(FIRST_SHARE * budget), MOST_FIRST),
    }
    words = [*(f"{key}={json.dumps(value)}" for key, value in own.items()), *overrides]
    settings = load_settings(TrainingSettings, find_config(config), words)
    chains = [name for name, loss in settings.losses.items() if isinstance(loss, ChainsSettings)]
    if chains:
        for name in chains:
            own[f"losses.{name}.temperatures"] = [temperature]
            own[f"losses.{name}.first"] = own["reweighted.first"]
        words = [*(f"{key}={json.dumps(value)}" for key, value in own.items()), *overrides]
        settings = load_settings(TrainingSettings, find_config(config), words)
    if "steps" in settings.optimizer.model_fields_set:
        return settings
    steps = _steps_within(settings, int(budget))
    if steps < 2:
        first = f"losses.{chains[0]}.walkers" if chains else "reweighted.fresh"
        raise InputError(
            f"`budget={budget:g}` pays for {steps} steps, and the first only draws; "
            f"raise it, or lower {first}."
        )
    return load_settings(TrainingSettings, find_config(config), [*words, f"optimizer.steps={steps}"])


def _refuse_other_settings(folder: Path, settings: TrainingSettings) -> None:
    """InputError when the run in `folder` was begun with other settings: it may have spent another budget."""
    written = folder / "config.yaml"
    if not written.is_file():
        return
    free = ("start", "system", "flow")  # where the files lie may change; the flow is the model's
    changed = changed_settings(written, settings, free)
    if changed:
        names = dict.fromkeys(key.split(".")[0] for key in changed)
        raise InputError(
            f"{folder} was begun with another {', '.join(names)}; go on with the same budget, temperature, "
            "seed and departures, or name another folder."
        )


def _steps_within(settings: TrainingSettings, budget: int) -> int:
    """The most steps whose energy evaluations, after those of data and first draws, are within `budget`."""
    used = [loss for loss in settings.all_losses().values() if active_share(loss) > 0]
    at_first: float = 0 if settings.simulation is None else settings.simulation.evaluations
    at_first += sum(loss.evaluations_at_first for loss in used)
    a_step = sum(active_share(loss) * loss.evaluations_a_step for loss in used)
    return int(max(budget - at_first, 0) // max(a_step, 1))


def _measured(
    model: Model, target: Target, temperature: float, samples: int, seed: int, device: str
) -> dict[str, Any]:
    """Raw effective sample size (a fraction) of fresh draws, its standard error, and k-hat."""
    flow = model.flow.to(device)
    log_w = BoltzmannGenerator(flow, target).sample(samples, temperature, seed=seed + 2).log_w
    found = effective_fraction(log_w, Statistics(np.random.default_rng(seed), n_bootstrap=REPLICATES))
    return {"ess": found.value, "standard_error": found.standard_error, "k_hat": diagnose(log_w).k_hat}


def _gain(found: dict[str, dict[str, Any]]) -> float | None:
    """How many times as many effective samples; None where there were none."""
    before, after = found["before"]["ess"], found["after"]["ess"]
    return after / before if before > 0 else None


def _without_schema(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "schema"}
