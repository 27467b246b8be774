"""``config list``, ``show`` and ``keys``: what is shipped, and what can be written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

from boltzgen.config.keys import Key, keys_of
from boltzgen.config.settings import read_yaml
from boltzgen.config.shipped import OF_DATASET, find_config, shipped_configs
from boltzgen.errors import InputError
from boltzgen.files import read_text


@dataclass(frozen=True)
class ShippedConfiguration:
    """A configuration that comes with the package: its name, the verb that takes it, what it is for."""

    name: str
    verb: str
    purpose: str


def configurations(prefix: str = "") -> list[ShippedConfiguration]:
    """Those that are shipped and whose names begin with `prefix`, those of `train` first.

    Their purpose is the first sentence of the file.
    """
    found = []
    for name, path in shipped_configs().items():
        lines = read_text(path, missing="install boltzgen-sampler anew.").splitlines()
        comment = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
        verb = "build_dataset" if name.startswith(OF_DATASET) else "train"
        found.append(ShippedConfiguration(name, verb, comment.partition(". ")[0].rstrip(".")))
    found = [one for one in found if one.name.startswith(prefix)]
    return sorted(found, key=lambda one: (one.verb != "train", one.name))


def configuration_text(name: str | PathLike[str]) -> str:
    """The text of a configuration, shipped or a file, with its comments."""
    return read_text(find_config(name, of_dataset=is_of_dataset(str(name))), missing="no such file.")


def is_of_dataset(name: str) -> bool:
    """Whether a name is that of a shipped configuration of a data set."""
    return name.startswith(OF_DATASET)


def configuration_keys(prefix: str = "", *, dataset: bool = False, of: str | None = None) -> list[Key]:
    """Keys whose names begin with `prefix`, in the order of a configuration.

    dataset: those of `build_dataset()`; else those of `train()`. of: a configuration whose choices (of the
    kind of flow) decide which keys there are. InputError where no key begins so.
    """
    values: Mapping[str, Any] | None = None if of is None else read_yaml(find_config(of))
    known = list(keys_of(_class(dataset), values))
    found = [key for key in known if f"{key.name}.".startswith(f"{prefix}.".lstrip(".")) or not prefix]
    found = found or [key for key in known if key.name.startswith(prefix) or key.last.startswith(prefix)]
    if not found:
        tops = ", ".join(dict.fromkeys(key.name.partition(".")[0] for key in known))
        raise InputError(f"`prefix={prefix!r}`: no key begins so; the parts are {tops}.")
    return found


def _class(of_dataset: bool) -> Any:
    from boltzgen.training.settings import TrainingSettings
    from boltzgen.workflows.datasets.settings import DatasetSettings

    return DatasetSettings if of_dataset else TrainingSettings
