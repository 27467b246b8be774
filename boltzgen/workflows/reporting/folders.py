"""What lies at a path: the kind of a folder or file of boltzgen, and whether it is whole.

Nothing large is read: manifests, and the sizes of the files that they vouch for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from boltzgen.contents import kind_of_folder
from boltzgen.errors import InputError
from boltzgen.files import is_there, read_json
from boltzgen.system.examples import EXAMPLE, system_folder
from boltzgen.workflows.reporting.numbers import part

#: Kind -> what messages call it.
KINDS = {
    "SYS": "a prepared molecule",
    "MD": "a simulation",
    "DATA": "a data set of many molecules",
    "RUN": "a training run",
    "MODEL": "a trained model",
    "OUT": "weighted samples",
    "BENCH": "a benchmark of a model on a data set",
    "TRANSFERS": "transfer free energies of a list of molecules",
    "DIR": "the answer to a question, with all that it took",
    "ANSWER": "free energies",
    "WELLS": "conformers of a molecule",
    "SELFTEST": "a selftest of the installation",
    "CONFIG": "a configuration of `train()`",
    "DATASET CONFIG": "a configuration of `build_dataset()`",
    "STATES": "states of a molecule, for `free_energy_states()`",
}

_OF_CONTENTS = {
    "system": "SYS",
    "simulation": "MD",
    "dataset": "DATA",
    "run": "RUN",
    "model": "MODEL",
    "ensemble": "OUT",
}

#: What the schemas of files that stand alone begin with -> kind.
_FILES = {"boltzgen.free_energy/": "ANSWER", "boltzgen.selftest/": "SELFTEST"}

#: Files that say what the folder around them is.
_RECORDS = (
    "system.json",
    "manifest.json",
    "summary.json",
    "dataset.json",
    "model.json",
    "run.json",
    "conformers.json",
    "answer.json",
    "adapt.json",
    "environment.json",
    "reweight.json",
    "transfer.json",
    "transfers.json",
)

#: Keys of a configuration that lists molecules, and of one that trains.
_LISTS, _TRAINS = {"train", "validation", "test"}, {"system", "dataset", "start"}


@dataclass(frozen=True)
class Found:
    """What lies at `path`.

    Attributes
    ----------
    path: where it lies; of a shipped name the folder or file in the package.
    kind: a key of `KINDS`.
    status: ``complete``, ``partial`` (stopped, or still at work) or ``failed``, by its own record; `reason`
        says why it is not complete ("" where it is).
    record: the content of the file that says so (``manifest.json``, ``system.json``, ...).
    """

    path: Path
    kind: str
    status: str
    reason: str
    record: Mapping[str, Any]

    @property
    def what(self) -> str:
        return KINDS[self.kind]

    @property
    def whole(self) -> bool:
        return self.status == "complete"


def recognise(path: str | PathLike[str]) -> Found:
    """What lies at `path`: a folder or file of boltzgen, or the name of a model, molecule or configuration
    that is shipped.

    Raises InputError in one sentence where nothing is there, or nothing of boltzgen.
    """
    place = _place(Path(path))
    if place.is_file():
        return _file(place)
    kind = _OF_CONTENTS.get(kind_of_folder(place), "") or _other_kind(place)
    if not kind and (place / "model" / "model.json").is_file():
        return recognise(place / "model")
    if not kind:
        raise InputError(_unknown(place))
    status, reason, record = _STATUS[kind](place)
    return Found(place, kind, status, reason, record)


def _place(path: Path) -> Path:
    """`path` as it is, or what is shipped under this name; InputError where there is neither."""
    if is_there(path):
        return path
    from boltzgen.config.shipped import find_config, shipped_configs, shipped_models

    name = str(path)
    if name.startswith(EXAMPLE):
        return system_folder(name)
    if name in shipped_models():
        return shipped_models()[name]
    if name in shipped_configs():
        return find_config(name)
    raise InputError(
        f"{path}: no such file or folder, and no shipped model, `example:NAME` or configuration is called "
        "so; check the path."
    )


def _other_kind(folder: Path) -> str:
    """The kinds that `boltzgen.contents` does not know; "" for none of them."""
    if (folder / "run.json").is_file():
        return "DIR"
    if (folder / "conformers.json").is_file():
        return "WELLS"
    if (folder / "transfers.json").is_file():
        return "TRANSFERS"
    if (folder / "transfer.json").is_file() or _has_figures(folder):
        return "BENCH"
    if (folder / "config.yaml").is_file() and (folder / "environment.json").is_file():
        return "RUN"  # killed before its first checkpoint
    return ""


def _has_figures(folder: Path) -> bool:
    first = next(iter(sorted((folder / "molecules").glob("*.json"))), None)
    return first is not None and str(_mapping(first).get("schema")).startswith("boltzgen.transfer_molecule/")


def _unknown(folder: Path) -> str:
    """One sentence for a folder that is none of ours; what it holds of ours is named."""
    inside = []
    if folder.is_dir():
        inside = sorted(one.name for one in folder.iterdir() if kind_of_folder(one))
    if inside:
        more = "" if len(inside) <= 5 else f" and {len(inside) - 5} more"
        told = f"{', '.join(inside[:5])}{more}"
        return f"{folder} itself is nothing of boltzgen; it holds {told}: name one of them."
    if folder.is_dir() and not any(folder.iterdir()):
        return f"{folder} is empty; name what a command of boltzgen wrote."
    return (
        f"{folder} holds nothing that boltzgen wrote (none of system.json, manifest.json, dataset.json, "
        "config.yaml, model.json, run.json); name SYS, MD, DATASET, RUN, a model, OUT, or a file such as "
        "OUT/free_energy.json."
    )


def _file(path: Path) -> Found:
    """A file that stands alone, or the folder whose record it is."""
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml"):
        return _yaml(path)
    if suffix == ".json":
        record = _mapping(path)
        schema = str(record.get("schema"))
        for start, kind in _FILES.items():
            if schema.startswith(start):
                return Found(path, kind, "complete", "", record)
        if path.name in _RECORDS:
            return recognise(path.parent)
        if "states" in record:
            return Found(path, "STATES", "complete", "", record)
    raise InputError(
        f"{path}: not a file that boltzgen can say something about; name a folder that it wrote, "
        "free_energy.json, a configuration or a states file (YAML)."
    )


def _yaml(path: Path) -> Found:
    from boltzgen.config.settings import read_yaml

    values = read_yaml(path)
    listed = any(isinstance(values.get(key), list) for key in _LISTS)
    kinds = {
        "STATES": "states" in values or set(values) == {"coordinates"},
        "DATASET CONFIG": listed,
        "CONFIG": bool(_TRAINS & set(values)),
    }
    kind = next((kind for kind, fits in kinds.items() if fits), None)
    if kind is None:
        raise InputError(
            f"{path}: neither a configuration of `train()` (it names no system, dataset or start), nor of "
            "`build_dataset()` (no train, validation or test), nor a file of states."
        )
    return Found(path, kind, "complete", "", values)


Status = tuple[str, str, Mapping[str, Any]]


def _system(folder: Path) -> Status:
    from boltzgen.system.system_record import read_system_record

    return "complete", "", read_system_record(folder, "copy it anew, or prepare it again.")


def _simulation(folder: Path) -> Status:
    from boltzgen.data.manifest import read_manifest

    return _by_status(read_manifest(folder))


def _dataset(folder: Path) -> Status:
    from boltzgen.data.dataset_record import read_dataset_record

    record = read_dataset_record(folder) or {}
    waiting = [one["name"] for one in record["molecules"] if one["status"] != "complete"]
    reason = "" if not waiting else f"{len(waiting)} of {len(record['molecules'])} molecules are not complete"
    return record["status"], reason, record


def _model(folder: Path) -> Status:
    return "complete", "", _mapping(folder / "model.json")


def _run(folder: Path) -> Status:
    """A run is complete when its model has the steps that were asked for, or `until` ended it."""
    from boltzgen.config.settings import read_yaml

    settings = read_yaml(folder / "config.yaml")
    place = folder / "model" / "model.json"
    if not place.is_file():
        return "partial", "it has no model yet", {"config": settings, "model": None}
    model = _mapping(place)
    record = {"config": settings, "model": model}
    steps, asked = model.get("steps"), part(settings, "optimizer").get("steps")
    if isinstance(steps, int) and isinstance(asked, int) and steps < asked and not _ended(settings, model):
        return "partial", f"stopped at step {steps} of {asked}", record
    return "complete", "", record


def _ended(settings: Mapping[str, Any], model: Mapping[str, Any]) -> bool:
    """Whether one of the limits under ``until`` was reached."""
    until, measured = part(settings, "until"), part(model, "evaluation")
    minutes = until.get("minutes")
    reached = (
        (until.get("ess"), measured.get("ess")),
        (until.get("evaluations"), model.get("energy_evaluations")),
        (None if minutes is None else 60 * minutes, measured.get("seconds")),
    )
    numbers = [(limit, value) for limit, value in reached if limit is not None and value is not None]
    # the last measurement is from before the end: what ended by time or evaluations lies shortly below
    return any(value >= 0.9 * limit for limit, value in numbers)


def _ensemble(folder: Path) -> Status:
    from boltzgen.ensemble.manifest import read_manifest

    return _by_status(read_manifest(folder))


def _benchmark(folder: Path) -> Status:
    if not (folder / "transfer.json").is_file():
        done = len(list((folder / "molecules").glob("*.json")))
        return "partial", f"{done} molecules were measured", {}
    return "complete", "", _mapping(folder / "transfer.json")


def _wells(folder: Path) -> Status:
    return "complete", "", _mapping(folder / "conformers.json")


def _transfers(folder: Path) -> Status:
    record = _mapping(folder / "transfers.json")
    left = [one for one in record.get("molecules", ()) if one.get("status") != "complete"]
    if not left:
        return "complete", "", record
    words = ", ".join(f"{one.get('name')} ({one.get('status')})" for one in left[:5])
    return "partial", f"{len(left)} molecules are not done: {words}{' ...' if len(left) > 5 else ''}", record


def _answer(folder: Path) -> Status:
    record = _mapping(folder / "run.json")
    if record.get("status") == "running":
        return "partial", "it is at work, or was killed; the same command goes on", record
    return _by_status(record)


def _by_status(record: Mapping[str, Any]) -> Status:
    status = str(record.get("status"))
    if status == "complete":
        return status, "", record
    reason = str(record.get("reason") or "it was stopped before its end")
    return status if status == "failed" else "partial", reason, record


_STATUS = {
    "SYS": _system,
    "MD": _simulation,
    "DATA": _dataset,
    "RUN": _run,
    "MODEL": _model,
    "OUT": _ensemble,
    "BENCH": _benchmark,
    "WELLS": _wells,
    "TRANSFERS": _transfers,
    "DIR": _answer,
}


def _mapping(path: Path) -> Mapping[str, Any]:
    record = read_json(path)
    if not isinstance(record, dict):
        raise InputError(f"{path}: not what boltzgen writes (expected a mapping); copy it anew.")
    return record
