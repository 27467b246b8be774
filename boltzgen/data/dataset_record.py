"""What ``dataset.json`` and the ``molecule.json`` of each molecule hold; they are checked when read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from boltzgen.files import read_json
from boltzgen.loaders.records import Count, OpenRecord, PathBelow, Record, below, checked, read_record

SCHEMA = "boltzgen.dataset/1"

#: What to do about a record that cannot be used.
BUILD_AGAIN = "copy the data set anew, or run `build_dataset()` again."


class _Simulation(OpenRecord):
    """The settings of the data of a molecule; its keys are those of `SimulationSource`."""

    seed: Count


class _Convergence(OpenRecord):
    """`boltzgen.data.convergence.convergence`; empty without data."""

    verdict: str = ""
    reasons: list[str] = []


class MoleculeRecord(Record):
    """``molecule.json``, and an entry of ``dataset.json``; paths begin at the folder of the data set."""

    name: Annotated[str, Field(min_length=1)]
    split: Literal["train", "validation", "test"]
    source: dict[str, str]
    system: PathBelow | None
    data: PathBelow | None
    status: Literal["complete", "partial", "failed", "waiting"]
    fingerprint: str | None
    graph: str | None
    atoms: Count | None
    frames: Count
    evaluations: Count
    preparation: dict[str, Any] | None = None
    simulation: _Simulation | None = None
    sha256: dict[PathBelow, str] = {}
    convergence: _Convergence = _Convergence()


class _Prepared(MoleculeRecord):
    """An entry whose molecule was prepared."""

    system: PathBelow
    fingerprint: str
    graph: str
    atoms: Count


class DatasetRecord(Record):
    """``dataset.json``."""

    status: Literal["complete", "partial"]
    config: dict[str, Any] = {}
    molecules: list[MoleculeRecord]


def waiting_record(name: str, split: str, source: Mapping[str, str]) -> dict[str, Any]:
    """What there is to say of a molecule that was not prepared yet."""
    return {
        "name": name,
        "split": split,
        "source": dict(source),
        "system": None,
        "data": None,
        "status": "waiting",
        "fingerprint": None,
        "graph": None,
        "atoms": None,
        "frames": 0,
        "evaluations": 0,
        "preparation": None,
        "simulation": None,
        "sha256": {},
        "convergence": {},
    }


def read_dataset_record(folder: Path) -> dict[str, Any] | None:
    """What ``dataset.json`` of `folder` holds; None when there is none."""
    path = folder / "dataset.json"
    if not path.is_file():
        return None
    record = read_record(
        DatasetRecord, path, schema=SCHEMA, missing="no such file.", remedy=BUILD_AGAIN, of="a data set"
    )
    for one in record["molecules"]:
        _check_prepared(one, folder, path)
    return record


def read_molecule_record(folder: Path, path: Path) -> dict[str, Any]:
    """What ``molecule.json`` at `path` of the data set in `folder` holds, with defaults for newer keys."""
    found = checked(MoleculeRecord, read_json(path), str(path), BUILD_AGAIN)
    _check_prepared(found, folder, path)
    return {"preparation": None, "simulation": None, "sha256": {}, "convergence": {}, **found}


def _check_prepared(one: dict[str, Any], folder: Path, source: Path) -> None:
    """InputError where a molecule with a system lacks what every one has, or names folders elsewhere."""
    if one["fingerprint"] is not None:
        checked(_Prepared, one, str(source), BUILD_AGAIN)
    for name in (one["system"], one["data"], *one.get("sha256", {})):
        if name is not None:
            below(folder, name, source)
