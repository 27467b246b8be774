"""``run.json``: what `run` was asked, which road it took, each step with its command, and how far it came.

Every step's folder is its own record of being whole; this file keeps what was decided on the way, so that the
same command goes on as it began, whatever the machine's speed is then. It is written before and after each
step.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from boltzgen.errors import InputError
from boltzgen.files import read_json, write_json, writing
from boltzgen.provenance import versions
from boltzgen.workflows.roads.question import Question

SCHEMA = "boltzgen.run/1"

NAME = "run.json"

#: Where a run stands: still at work (or killed), out of time or stopped, done.
RUNNING, PARTIAL, COMPLETE = "running", "partial", "complete"


class Plan:
    """The content of ``run.json`` in `folder`; every change is written at once."""

    def __init__(self, folder: Path, content: dict[str, Any]) -> None:
        self.folder, self._content = folder, content

    @classmethod
    def begin(cls, folder: Path, question: Question) -> Plan:
        """The plan in `folder`, or a new one. InputError when it is of another question."""
        path, asked = folder / NAME, question.to_json()
        content: dict[str, Any] = {
            "schema": SCHEMA,
            "status": RUNNING,
            "question": asked,
            "road": None,
            "decided": {},
            "steps": [],
            "seconds": 0.0,
            "versions": versions("boltzgen", "python", "torch", "openmm"),
        }
        if path.exists():
            former = read_json(path)
            if not isinstance(former, dict) or former.get("schema") != SCHEMA:
                raise InputError(f"{path} is not of a run; name another folder.")
            _same_question(path, former["question"], asked)
            content = {**content, **former, "status": RUNNING}
        plan = cls(folder, content)
        plan.write()
        return plan

    def forget_if_empty(self) -> None:
        """Remove the file where no step came to its end: what was asked for was refused."""
        if all(step["status"] != COMPLETE for step in self._content["steps"]):
            path = self.folder / NAME
            with writing(path):
                path.unlink(missing_ok=True)

    @property
    def content(self) -> dict[str, Any]:
        return copy.deepcopy(self._content)

    def write(self) -> None:
        write_json(self.folder / NAME, self._content)

    def end(self, status: str, seconds: float, **found: Any) -> None:
        """Record how this call ended; `seconds` are those of this call, and add up."""
        self._content.update(found, status=status, seconds=self._content["seconds"] + seconds)
        self.write()

    def take(self, road: Mapping[str, Any]) -> None:
        """The road, with its reason and what was expected of it."""
        self._content["road"] = dict(road)
        self.write()

    @property
    def road(self) -> dict[str, Any] | None:
        found = self._content["road"]
        return None if found is None else dict(found)

    def decided(self, name: str) -> Any:
        """What was decided under `name`; None when nothing was."""
        return copy.deepcopy(self._content["decided"].get(name))

    def decide(self, name: str, value: Any) -> Any:
        """Keep `value` (JSON types), unless something was decided before; what holds."""
        if self._content["decided"].get(name) is None:
            self.redecide(name, value)
        return self.decided(name)

    def require_same(self, files: Mapping[str, str]) -> None:
        """InputError where a file that was given (argument -> digest) is another than in the first call."""
        former = self.decided("files") or {}
        for name, digest in files.items():
            if former.get(name, digest) != digest:
                raise InputError(
                    f"`{name}` holds something else than when the run in {self.folder} began; put the first "
                    "one back, or name another folder as `output`."
                )
        self.redecide("files", {**former, **files})

    def redecide(self, name: str, value: Any) -> None:
        """Keep `value` whatever was decided before."""
        if self._content["decided"].get(name) != value:
            self._content["decided"][name] = copy.deepcopy(value)
            self.write()

    def step(self, name: str) -> dict[str, Any] | None:
        """The record of a step; None when it was not begun."""
        return next((step for step in self._content["steps"] if step["name"] == name), None)

    def record(self, name: str, command: str, status: str, seconds: float) -> None:
        """Begin, go on with, or end a step; its `seconds` add up over all calls."""
        found = self.step(name)
        if found is None:
            found = {"name": name, "command": command, "status": status, "seconds": 0.0}
            self._content["steps"].append(found)
        found.update(command=command, status=status, seconds=found["seconds"] + seconds)
        self.write()

    def forget(self, *names: str) -> None:
        """Drop the records of steps that are to be done anew."""
        kept = [step for step in self._content["steps"] if step["name"] not in names]
        if len(kept) != len(self._content["steps"]):
            self._content["steps"] = kept
            self.write()

    def commands(self) -> list[str]:
        """The commands that do the same by hand, in their order."""
        return [step["command"] for step in self._content["steps"]]


def _same_question(path: Path, former: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    changed = [name for name, value in asked.items() if former.get(name) != value]
    if changed:
        name = changed[0]
        raise InputError(
            f"{path.parent} holds a run that was asked something else ({name} {_short(former.get(name))}, "
            f"now {_short(asked[name])}); go on with the first words (only `time` may differ), or name "
            "another folder."
        )


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
