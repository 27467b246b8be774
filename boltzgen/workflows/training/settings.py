"""The settings of a training run: its configuration, and what suits the molecule where that is silent."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from boltzgen.config.settings import build_settings, load_settings
from boltzgen.config.shipped import find_config
from boltzgen.data.manifest import read_manifest
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.settings import TrainingSettings
from boltzgen.training.suited import Material, recipe
from boltzgen.workflows.training.frames import read_told

#: Parts of a configuration that say how to train; one that has any of them is taken as it stands.
LOSSES = ("likelihood", "reverse_kl", "reweighted", "losses")


def training_settings(config: str | PathLike[str], overrides: Iterable[str] = ()) -> TrainingSettings:
    """The settings of `config` (a YAML file or a shipped name) with `overrides`, every number decided.

    A configuration of one molecule and its frames that says nothing of losses is filled in by what suits them
    (`boltzgen.training.suited`); keys that it gives stay. InputError as for `load_settings`, and where the
    molecule or the frames cannot be read.
    """
    path = find_config(config)
    return suited_to_its_molecule(load_settings(TrainingSettings, path, overrides), str(path))


def suited_to_its_molecule(settings: TrainingSettings, source: str) -> TrainingSettings:
    """`settings` filled in where they leave open how to train on frames of one molecule; else as given."""
    given = settings.model_dump(mode="json", exclude_unset=True)
    material = None if any(part in given for part in LOSSES) else _material(settings)
    if material is None:
        return settings
    chosen = recipe(material, given)
    if settings.start is not None or "flow" in given:
        del chosen["flow"]  # it is that of the model, or its own keys say what it is
    return build_settings(TrainingSettings, _merged(chosen, given), source=source)


def _material(settings: TrainingSettings) -> Material | None:
    """The molecule and the frames of `settings`; None where it is not one molecule with frames."""
    system, data, made = settings.system, settings.data, settings.simulation
    data = data[0] if isinstance(data, list) and len(data) == 1 else data
    if not isinstance(system, str) or system.startswith("model:"):
        return None
    if isinstance(data, str) and made is None:
        molecule = MolecularSystem.load(system)
        return Material(molecule.n_atoms, _frames_in(data, molecule, settings))
    if made is not None and data is None:
        molecule = MolecularSystem.load(system)
        return Material(molecule.n_atoms, dict.fromkeys(made.temperatures, made.frames))
    return None


def _frames_in(data: str, molecule: MolecularSystem, settings: TrainingSettings) -> dict[float, int]:
    """Temperature (K) -> frames of the trajectory `data`, by its manifest where it has one."""
    if (Path(data) / "manifest.json").is_file():
        manifest = read_manifest(Path(data))
        if manifest.get("frames"):
            return {float(kelvin): int(count) for kelvin, count in manifest["frames"].items()}
    source = molecule if settings.data_system is None else MolecularSystem.load(str(settings.data_system))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are told when the frames are read to be learned
        trajectory = read_told(settings, data, source)
    return {float(t): len(trajectory.at(float(t))) for t in trajectory.temperature_ladder}


def _merged(chosen: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`chosen` with what is `given` in its place, key by key."""
    found = dict(chosen)
    for key, value in given.items():
        inside = found.get(key)
        if isinstance(value, Mapping) and isinstance(inside, Mapping):
            found[key] = _merged(inside, value)
        else:
            found[key] = value
    return found
