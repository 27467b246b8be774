"""OUT/chains/: where chains that were ended go on, until their samples are written.

chains.json     schema boltzgen.chains/2: ``task``, what the chains belong to, whether they are ``done``, and
                ``compilation``: whether energies (``used``) and passes (``draws``) are compiled, which rounds
                otherwise, so that chains that go on do as they did
group-0.npz     the state of a group as its kernel gives it: arrays by name, no pickle
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np

from boltzgen.errors import InputError
from boltzgen.files import atomic_path, read_json, write_json
from boltzgen.loaders.arrays import read_npz
from boltzgen.loaders.records import Record, read_record

SCHEMA = "boltzgen.chains/2"

FOLDER, RECORD = "chains", "chains.json"

_REMEDY = "remove the folder to begin anew."


class ChainTask(Record):
    """``chains.json``."""

    status: Literal["partial", "done"]
    task: dict[str, Any]
    compilation: dict[str, bool]


class ChainFiles:
    """The store of chains below an OUT folder; samples that it holds are replaced with `overwrite` alone."""

    def __init__(self, out: Path, *, overwrite: bool) -> None:
        self.folder, self.overwrite, self.task = out / FOLDER, overwrite, dict[str, Any]()
        self.compiled = dict[str, bool]()

    def compilation(self, task: Mapping[str, Any]) -> dict[str, bool] | None:
        """What chains of `task` that go on here compile; None where they begin."""
        known = self._known() if task else None
        going_on = known is not None and known["status"] == "partial" and known["task"] == dict(task)
        return dict(known["compilation"]) if known is not None and going_on else None

    def begin(self, task: Mapping[str, Any], compilation: Mapping[str, bool]) -> None:
        """Go on with chains of `task`, or begin them; InputError where the folder holds something else."""
        self.compiled = dict(compilation)
        self.task, overwrite, known = dict(task), self.overwrite, self._known()
        if known is not None and known["status"] == "partial" and known["task"] == self.task:
            return
        samples = (self.folder.parent / "manifest.json").exists()
        if not overwrite and samples and (known is None or known["status"] == "done"):
            self.remove()  # what a kill left of chains whose samples are written
            raise InputError(
                f"{self.folder.parent} already holds samples; name another folder, or add `overwrite=True`."
            )
        if not overwrite and known is not None and known["status"] == "partial":
            raise InputError(
                f"{self.folder.parent} holds chains that were begun with another "
                f"{self._difference(known['task'])}; go on with the first command, or add `overwrite=True`."
            )
        self.remove()
        self._write("partial")

    def finish(self) -> None:
        """The samples are written: remove what was needed to go on."""
        if self.folder.exists():
            self._write("done")
            self.remove()

    def remove(self) -> None:
        """Remove the folder, the record last: what is left of it without one is nobody's."""
        with suppress(FileNotFoundError):
            for path in sorted(self.folder.glob("group-*.npz")):
                path.unlink()
            (self.folder / RECORD).unlink(missing_ok=True)
            shutil.rmtree(self.folder)

    def save(self, group: int, arrays: Mapping[str, np.ndarray], /) -> None:
        """Keep the state of a group, atomically."""
        with atomic_path(self._place(group)) as temporary, open(temporary, "wb") as handle:
            np.savez(handle, allow_pickle=False, **{name: np.asarray(one) for name, one in arrays.items()})

    def load(self, group: int, /) -> dict[str, np.ndarray] | None:
        """The state of a group that was kept; None where there is none."""
        path = self._place(group)
        return read_npz(path, None, missing="no such file.", remedy=_REMEDY) if path.exists() else None

    def _place(self, group: int) -> Path:
        return self.folder / f"group-{group}.npz"

    def _known(self) -> dict[str, Any] | None:
        path = self.folder / RECORD
        if not path.exists():
            return None
        return read_record(
            ChainTask, path, schema=SCHEMA, missing="no such file.", remedy=_REMEDY, of="the record of chains"
        )

    def _write(self, status: str) -> None:
        self.folder.mkdir(exist_ok=True)
        write_json(
            self.folder / RECORD,
            {"schema": SCHEMA, "status": status, "task": self.task, "compilation": self.compiled},
        )

    def _difference(self, task: Mapping[str, Any]) -> str:
        differing = [name for name in self.task if task.get(name) != self.task[name]]
        return " and ".join(name.replace("_", " ") for name in differing) or "command"


def begun(out: Path) -> bool:
    """Whether the OUT folder holds chains whose samples are not written."""
    path = out / FOLDER / RECORD
    found = read_json(path) if path.exists() else None
    return isinstance(found, dict) and found.get("status") == "partial"
