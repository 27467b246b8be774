"""What a folder holds, by its own files: for messages about folders that were mistaken for one another."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from boltzgen.errors import InputError
from boltzgen.files import PathLike


@dataclass(frozen=True)
class Kind:
    """One kind of folder: what messages call it, who takes it, and how it is known."""

    what: str
    taken_by: str
    known_by: Callable[[Path], bool]


def _with_schema(beginning: str) -> Callable[[Path], bool]:
    def found(folder: Path) -> bool:
        with suppress(OSError, ValueError, RecursionError):
            record = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            return isinstance(record, dict) and str(record.get("schema")).startswith(beginning)
        return False

    return found


def _is_run(folder: Path) -> bool:
    return (folder / "config.yaml").is_file() and (
        (folder / "model").is_dir() or (folder / "checkpoints").is_dir()
    )


KINDS = {
    "dataset": Kind("a data set", "`train()`", lambda folder: (folder / "dataset.json").is_file()),
    "model": Kind("a model", "`sample()`", lambda folder: (folder / "model.json").is_file()),
    "run": Kind("a training run", "`sample()`", _is_run),
    "system": Kind(
        "a prepared system",
        "`simulate()`, `train()` and `sample()`",
        lambda folder: (folder / "system.json").is_file(),
    ),
    "ensemble": Kind(
        "samples", "`check()`, `reweight()` and the free energies", _with_schema("boltzgen.manifest/")
    ),
    "simulation": Kind("a simulation", "`train()`", _with_schema("boltzgen.trajectory/")),
}


def kind_of_folder(folder: PathLike) -> str:
    """A key of `KINDS`; "" for a folder of another kind, a file, and what is not there."""
    path = Path(folder)
    with suppress(OSError, ValueError):
        if path.is_dir():
            return next((name for name, kind in KINDS.items() if kind.known_by(path)), "")
    return ""


def what_it_is(folder: PathLike) -> str:
    """A sentence for the end of a message, with a space in front: what `folder` is; "" if unknown."""
    name = kind_of_folder(folder)
    return f" It is {KINDS[name].what}, for {KINDS[name].taken_by}." if name else ""


def check_output(output: PathLike, kind: str) -> None:
    """InputError when `output` holds a result that is not of `kind`, or lies inside one.

    The one rule of all verbs: a folder of results holds nothing else. Data sets hold systems and simulations.
    """
    path = Path(output)
    for place in (path, *path.resolve().parents):
        found = kind_of_folder(place)
        if found in ("", "dataset") or (place == path and found == kind):
            continue
        holds = f"{path} holds" if place == path else f"{path} lies inside {place}, which holds"
        raise InputError(f"{holds} {KINDS[found].what}; name another folder.")
