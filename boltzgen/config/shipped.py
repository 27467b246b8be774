"""Configurations and models that come with the package, found by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from os import PathLike
from pathlib import Path

from boltzgen.config.settings import nearest
from boltzgen.contents import what_it_is
from boltzgen.errors import InputError
from boltzgen.files import read_json, read_text, sha256_file


def shipped_configs() -> dict[str, Path]:
    """Name -> path of every shipped configuration."""
    folder = Path(str(resources.files("boltzgen_configs")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


#: What the names of the configurations of data sets begin with.
OF_DATASET = "dataset-"


def find_config(config: str | PathLike[str], *, of_dataset: bool = False) -> Path:
    """`config` as a path: a file that exists, or the name of a shipped configuration.

    The error of an unknown name lists those of data sets, or those of training.
    """
    path = Path(config)
    if path.is_file():
        return path
    known = shipped_configs()
    name = path.name.removesuffix(".yaml")
    if name in known and len(path.parts) == 1:
        return known[name]
    if path.is_dir():
        raise InputError(f"{config}: a folder, not a configuration; name the YAML file in it.")
    names = [name for name in known if name.startswith(OF_DATASET) == of_dataset]
    raise InputError(f"{config}: neither a file nor a shipped configuration.{nearest(name, names)}")


def shipped_models() -> dict[str, Path]:
    """Name -> folder of every shipped model."""
    folder = Path(str(resources.files("boltzgen_models")))
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/model.json"))}


def made_for(forcefield: Sequence[str], implicit: str) -> list[str]:
    """Names of the shipped models whose release names this force field and this implicit solvent (``none``).

    By the words of ``force_field`` and ``solvent`` in ``metrics.json``; files are named in brackets there.
    """
    found = []
    for name, folder in shipped_models().items():
        metrics = read_json(folder / "metrics.json")
        fields, solvents = (_words(str(metrics[key])) for key in ("force_field", "solvent"))
        solvent = Path(implicit.lower()).stem
        if forcefield and {one.lower() for one in forcefield} <= fields and solvent in solvents:
            found.append(name)
    return found


def _words(text: str) -> set[str]:
    """The words of `text`, and the last parts of file names, with and without their suffix."""
    words = set(re.split(r"[\s,;()/]+", text.lower()))
    return words | {word.removesuffix(".xml") for word in words}


#: Where a model is made that takes the place of another one, by its name.
NEXT = ".{}.next"


def find_model(model: str | PathLike[str]) -> Path:
    """`model` as the folder that holds ``model.json``: its own, that of a run, or a shipped model's name.

    The checksums of a shipped model are compared. InputError when it is none of these.
    """
    path = Path(model)
    for folder in (path / "model", path / NEXT.format("model"), path):
        if (folder / "model.json").is_file():
            return folder
    known = shipped_models()
    if len(path.parts) == 1 and path.name in known:
        check_sums(known[path.name])
        return known[path.name]
    if path.is_dir():
        raise InputError(
            f"{path} holds no model: expected {path / 'model.json'}. Train one with "
            f'`train(CONFIG, run_folder="{path}")`, or finish the run with `resume="auto"`.{what_it_is(path)}'
        )
    names = f"the shipped models are {', '.join(known)}" if known else "no model is shipped"
    raise InputError(
        f"{path} holds no model: neither a folder with {path / 'model.json'} nor a shipped model; {names}. "
        f'Train one with `train(CONFIG, run_folder="{path}")`.'
    )


def check_sums(folder: Path) -> None:
    """InputError unless every file that ``folder/SHA256SUMS`` lists is as it was released."""
    lines = read_text(folder / "SHA256SUMS", missing="no such file; a release lists its checksums.")
    for line in lines.splitlines():
        digest, _, name = line.partition("  ")
        if Path(name).name != name or not (folder / name).is_file() or sha256_file(folder / name) != digest:
            raise InputError(
                f"{folder / name}: not the file that was released (its checksum differs); "
                "install boltzgen-sampler anew."
            )
