"""Checkpoints and models on disk: safetensors and JSON, written atomically, never unpickled."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor

from boltzgen.digests import CONTENT, file_digests, require_signed, require_unchanged, signed
from boltzgen.errors import InputError
from boltzgen.files import atomic_path, make_folder, read_json, write_json, writing
from boltzgen.loaders.records import Count, Record, checked
from boltzgen.loaders.tensors import read_tensors
from boltzgen.training.packing import packed, unpacked
from boltzgen.training.upgrades import (
    CHECKPOINT,
    CHECKPOINT_STEPS,
    CHECKPOINT_VERSION,
    Stored,
    schema_version,
    upgraded,
    written_record,
)

#: The file of the tensors, beside ``state.json``.
STATE = "state.safetensors"

#: Checkpoints kept in a run; older ones are removed after the next is safely on disk.
KEPT = 2


class _Counters(Record):
    """`boltzgen.training.trainer.Counters`."""

    step: Count = 0
    skipped_steps: Count = 0
    discarded_rows: Count = 0
    energy_evaluations: Count = 0
    evaluation_energies: Count = 0
    seconds: Annotated[float, Field(ge=0)] = 0.0
    failures_in_a_row: Count = 0


class _State(Record):
    """``state.json`` without the hashes of its files."""

    boltzgen_version: str | None = None
    step: Count
    counters: _Counters = _Counters()
    last_evaluation: dict[str, float | None] = {}
    systems: list[str] | None = None
    packed: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a run needs to go on: named tensors and a JSON record (step, counters)."""

    tensors: dict[str, Tensor]
    record: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with ``prefix/``, without it."""
        start = prefix + "/"
        return {name[len(start) :]: value for name, value in self.tensors.items() if name.startswith(start)}


def save_checkpoint(folder: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write ``folder/step-NNNNNNNN``; the JSON record, written last, makes it complete.

    It and the last ones before it stay. Later ones are of a run that was given up for this one, and
    incomplete ones of a process that was killed.
    """
    place = make_folder(folder / f"step-{step:08d}")
    _write(place, checkpoint.tensors, {"step": step, **checkpoint.record})
    remove_others(place)
    return place


def pack_checkpoint(place: Path, folder: Path, data_evaluations: int = 0) -> Path:
    """Write the checkpoint in `place` to `folder` without what can be made anew.

    `load_checkpoint` reads it; a run goes on from it with its step, rate and counters, on any molecules. See
    `boltzgen.training.packing`. The `data_evaluations` that made the data of the run are taken off its
    counter: the run that goes on may have other data, and adds what those cost.
    """
    whole = load_checkpoint(place)
    record = {key: value for key, value in whole.record.items() if key not in ("schema", "systems")}
    counters = record["counters"]
    counted = counters["energy_evaluations"] - data_evaluations
    record["counters"] = {**counters, "energy_evaluations": counted}
    _write(make_folder(folder), packed(whole.tensors), {**record, "packed": True})
    return folder


def _write(place: Path, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    """The files of a checkpoint, the JSON record last."""
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_path(place / STATE) as temporary:
        save_file(whole, str(temporary))
    content = written_record(CHECKPOINT, CHECKPOINT_VERSION, record)
    write_json(place / "state.json", signed({**content, "files": file_digests(place, [STATE])}))


def remove_others(place: Path) -> None:
    """Of the checkpoints beside `place` keep it and the last before it."""
    kept = [one for one in complete_checkpoints(place.parent) if one <= place][-KEPT:]
    for other in sorted(place.parent.glob("step-*")):
        if other not in kept:
            with writing(other):
                (other / "state.json").unlink(missing_ok=True)  # what is half removed is not complete
                shutil.rmtree(other)


def complete_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints below `folder`, oldest first."""
    return sorted(place for place in folder.glob("step-*") if (place / "state.json").is_file())


def load_checkpoint(place: Path) -> Checkpoint:
    """Read one checkpoint of this version or an older one.

    InputError in a sentence when it is missing, truncated, foreign, or of a newer version.
    """
    checkpoint_version(place)
    record = read_json(place / "state.json")
    tensors = read_tensors(place / STATE)
    remedy = "copy it anew, or go on from an older checkpoint."
    require_unchanged(place, record.get("files"), remedy)
    require_signed(place / "state.json", record, remedy)
    stored = Stored({k: v for k, v in record.items() if k not in ("files", CONTENT)}, tensors)
    found = upgraded(stored, CHECKPOINT, CHECKPOINT_STEPS, place / "state.json")
    checked(_State, found.record, str(place / "state.json"), remedy)
    is_packed = found.record.get("packed", False)
    return Checkpoint(unpacked(found.tensors) if is_packed else found.tensors, found.record)


def checkpoint_version(place: Path) -> int:
    """The version that the checkpoint in `place` was written with; the errors are those of its loading."""
    if not place.is_dir():
        raise InputError(f"{place}: no such checkpoint; name a folder such as RUN/checkpoints/step-00000500.")
    path = place / "state.json"
    return schema_version(read_json(path), CHECKPOINT, CHECKPOINT_VERSION, path)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors."""
    tensors = {}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            tensors[f"{index}/{key}"] = torch.as_tensor(value)
    return tensors


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Inverse of `optimizer_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
