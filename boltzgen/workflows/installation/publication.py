"""How a run becomes a record for others: the same files, without a path of the machine that made them."""

from __future__ import annotations

import shutil
from os import PathLike
from pathlib import Path

from boltzgen.config.settings import dump_yaml, read_yaml
from boltzgen.config.shipped import find_model
from boltzgen.errors import InputError
from boltzgen.files import make_folder, read_json, write_atomic, write_json
from boltzgen.provenance import relative_to_run

#: What is published of a run folder, where it is there, and of the model in it.
OF_RUN = ("config.yaml", "environment.json", "metrics.csv")
OF_MODEL = ("model.json", "seen.safetensors", "weights.safetensors")


def publish_run(run: str | PathLike[str], folder: str | PathLike[str]) -> Path:
    """Copy what makes the finished run folder `run` reproducible to the new `folder`; returns that.

    Configuration, environment, metrics and model; paths in them become relative to the run. InputError when
    `run` holds no configuration or no model, or `folder` is there already.
    """
    source, target = Path(run), Path(folder)
    if not (source / "config.yaml").is_file():
        raise InputError(f"{source}: no config.yaml; name the run folder that `train()` wrote.")
    model = find_model(source)
    if target.exists():
        raise InputError(f"{target} is there already; remove it, or name another folder.")
    for part, names, place in ((source, OF_RUN, target), (model, OF_MODEL, target / "model")):
        for path in (part / name for name in names):
            if path.is_file():
                publish_file(path, make_folder(place) / path.name, source)
    return target


def publish_file(source: Path, target: Path, run: str | PathLike[str]) -> None:
    """Copy `source`, a file of the folder `run`; paths in JSON and YAML become relative to `run`.

    A file that holds none is copied byte by byte.
    """
    if source.suffix in (".json", ".yaml"):
        record = read_json(source) if source.suffix == ".json" else read_yaml(source)
        public = relative_to_run(record, run)
        if public != record:
            if source.suffix == ".json":
                write_json(target, public)
            else:
                write_atomic(target, dump_yaml(public))
            return
    shutil.copyfile(source, target)
