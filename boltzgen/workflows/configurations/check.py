"""``config check``: a configuration is read as the verb would read it; what is wrong, or what it will do."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from boltzgen.config.keys import keys_of
from boltzgen.config.model import Model, load_model
from boltzgen.config.settings import load_settings, read_yaml
from boltzgen.config.shipped import find_config
from boltzgen.data.dataset import Dataset
from boltzgen.interrupts import StopRequest
from boltzgen.notebook import html_table
from boltzgen.progress import hours_and_minutes, silent
from boltzgen.settings import Settings
from boltzgen.training.schedule import schedule_value
from boltzgen.training.settings import TrainingSettings, evaluations_of
from boltzgen.workflows.configurations.listing import is_of_dataset
from boltzgen.workflows.datasets.settings import DatasetSettings
from boltzgen.workflows.timing.training import expected_of
from boltzgen.workflows.training.frames import targets_and_frames
from boltzgen.workflows.training.settings import training_settings

#: Keys of a configuration that lists molecules.
_LISTS = ("train", "validation", "test")


@dataclass(frozen=True, repr=False)
class CheckedConfiguration:
    """A configuration that can be used.

    Attributes
    ----------
    config: as it was given. verb: ``train`` or ``build_dataset``. settings: all of them, resolved.
    chosen: keys that the configuration leaves open and that were chosen for its molecule and frames.
    does: what it will do, by name. warnings: what is doubtful.
    """

    config: str
    verb: str
    settings: Settings
    chosen: Mapping[str, Any]
    does: Mapping[str, Any]
    warnings: tuple[str, ...]

    def rows(self) -> dict[str, Any]:
        return dict(self.does)

    def to_json(self) -> dict[str, Any]:
        """All of it, JSON types only."""
        return {
            "config": self.config,
            "verb": self.verb,
            "does": dict(self.does),
            "chosen": dict(self.chosen),
            "warnings": list(self.warnings),
            "settings": self.settings.model_dump(mode="json"),
        }

    def __repr__(self) -> str:
        told = ", ".join(f"{name} {value}" for name, value in list(self.does.items())[:3])
        return f"<CheckedConfiguration {self.config} of {self.verb}: {told}>"

    def _repr_html_(self) -> str:
        return html_table((), list(self.rows().items()), caption=f"{self.config}: {self.verb}")


def check_config(config: str | PathLike[str], overrides: Sequence[str] = ()) -> CheckedConfiguration:
    """Read a configuration as `train` (or `build_dataset`) would, its molecules and frames too.

    Parameters
    ----------
    config: a YAML file or the name of a shipped configuration. overrides: ``key=value``.

    Returns
    -------
    CheckedConfiguration: the resolved settings, those that were chosen for the molecule, and what it will do.

    Raises
    ------
    InputError: the first thing that is wrong, as the verb would say it.

    Example
    -------
    >>> import boltzgen as bg
    >>> found = bg.check_config("butane", ["system=SYS"])
    >>> found.does["steps"], found.does["energies to learn from"]
    (600, 307200)
    """
    path = find_config(config, of_dataset=is_of_dataset(str(config)))
    if any(key in read_yaml(path) for key in _LISTS):
        return _checked_dataset(str(config), path, overrides)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        settings = training_settings(config, overrides)
        model = None if settings.start is None else load_model(Path(settings.start))
        does = _of_training(settings, known_flow=model is not None)
        expected = expected_of(_with_flow(settings, model), "cpu", model)
    does |= {"time here": hours_and_minutes(expected.seconds), "time from": expected.measured}
    given = load_settings(TrainingSettings, path, overrides).model_dump(mode="json", exclude_unset=True)
    notes = [str(one.message) for one in told if issubclass(one.category, UserWarning)]
    return CheckedConfiguration(
        str(config), "train", settings, _chosen(settings, given), does, tuple(dict.fromkeys(notes))
    )


def _with_flow(settings: TrainingSettings, model: Model | None) -> TrainingSettings:
    """`settings` with the flow of the model that the run begins from."""
    if model is None:
        return settings
    return settings.model_copy(update={"flow": model.flow_settings})


def _of_training(settings: TrainingSettings, known_flow: bool) -> dict[str, Any]:
    """What a run with `settings` does; its molecules and frames are read."""
    losses = {
        name.replace("_", " "): loss
        for name, loss in settings.all_losses().items()
        if max(schedule_value(loss.weight, place / 100) for place in range(101)) > 0
    }
    steps, every = settings.optimizer.steps, settings.evaluation.every
    measured = -(-steps // every) * settings.evaluation.samples
    energies = evaluations_of(settings) - steps * settings.evaluation.samples / every
    flow = "that of the model it starts from" if known_flow else settings.flow.kind
    return {
        **(_of_molecule(settings) if settings.dataset is None else _of_datasets(settings)),
        "flow": flow,
        "losses": ", ".join(losses) or "none",
        "steps": steps,
        "rows of a step": ", ".join(f"{name} {loss.batch_size}" for name, loss in losses.items()),
        "measured at, K": settings.evaluation.temperature,
        "energies to learn from": round(energies),
        "energies to measure": measured,
        "ends early at": _limits(settings),
    }


def _of_molecule(settings: TrainingSettings) -> dict[str, Any]:
    made = settings.simulation
    read = settings.model_copy(update={"simulation": None})
    with ExitStack() as opened:
        targets, frames = targets_and_frames(read, "cpu", Path(), StopRequest(), silent)
        for target in targets:
            opened.callback(target.close)
        found: dict[str, Any] = {"molecules": ", ".join(target.name for target in targets)}
        found["internal coordinates"] = ", ".join(str(len(one.coordinates.table.lower)) for one in targets)
    if made is not None:
        ladder = ", ".join(f"{kelvin:g}" for kelvin in made.temperatures)
        found["frames"] = f"made by the run: {made.evaluations} energies at {ladder} K"
    elif frames.data:
        kept = [data for data in frames.data if data is not None]
        ladder = ", ".join(
            f"{kelvin:g}" for kelvin in sorted({float(t) for d in kept for t in d.temperature})
        )
        found["frames"] = f"{sum(len(data.positions) for data in kept)} at {ladder} K"
        found["frames held out"] = sum(len(data.held_out) for data in kept)
        found["frames left out"] = sum(sum(data.outside.values()) for data in kept)
    else:
        found["frames"] = "none: on energies alone"
    return found


def _of_datasets(settings: TrainingSettings) -> dict[str, Any]:
    assert settings.dataset is not None
    folders = [settings.dataset] if isinstance(settings.dataset, str) else settings.dataset
    sets = [Dataset.load(folder) for folder in folders]
    learned = [molecule for one in sets for molecule in one.of("train")]
    judged = [molecule for one in sets for molecule in one.of("validation")]
    return {
        "molecules": f"{len(learned)} learned, {len(judged[: settings.evaluation.molecules])} measured",
        "frames": sum(molecule.frames for molecule in learned),
    }


def _limits(settings: TrainingSettings) -> str:
    limits = {name: value for name, value in settings.until.model_dump().items() if value is not None}
    return ", ".join(f"{name} {value:g}" for name, value in limits.items()) or "nothing"


def _chosen(settings: TrainingSettings, given: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of `settings` that were neither `given` nor are a default."""
    usual = {key.name: key.default for key in keys_of(TrainingSettings, given)}
    now, before = _flat(settings.model_dump(mode="json", exclude_unset=True)), _flat(given)
    return {
        key: value
        for key, value in now.items()
        if key not in before and value != usual.get(key) and not isinstance(value, Mapping)
    }


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return found


def _checked_dataset(config: str, path: Path, overrides: Sequence[str]) -> CheckedConfiguration:
    settings = load_settings(DatasetSettings, path, overrides)
    does: dict[str, Any] = {}
    counts = Counter(split for split, _ in settings.molecules())
    for split, count in counts.items():
        made = settings.simulation_of(split)
        does[f"{split} molecules"] = count
        does[f"energies of each, {split}"] = made.evaluations
        does[f"frames of each, {split}"] = f"{made.frames} at {len(made.temperatures)} temperatures"
    total = sum(settings.simulation_of(split).evaluations for split, _ in settings.molecules())
    does |= {
        "energies in all": total,
        "force field": " ".join(settings.forcefield),
        "solvent": settings.implicit,
    }
    return CheckedConfiguration(config, "build_dataset", settings, {}, does, ())
