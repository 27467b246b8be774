"""What `show` returns: a folder in words, numbers and tables, and what can be done with it next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boltzgen.notebook import html_table


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def to_json(self) -> dict[str, Any]:
        return {"title": self.title, "columns": list(self.columns), "rows": [list(row) for row in self.rows]}


@dataclass(frozen=True)
class Step:
    """Something to do next: why, and the call of a verb that does it, in Python."""

    why: str
    call: str


@dataclass(frozen=True)
class Said:
    """What a folder tells of itself: numbers by name, tables, reasons and steps."""

    numbers: Mapping[str, Any] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    reasons: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, repr=False)
class Shown:
    """What lies at a path.

    Attributes
    ----------
    path: where it lies. kind: SYS, MD, ...: a key of `boltzgen.workflows.reporting.folders.KINDS`.
    what: the same in words. status: ``complete``, ``partial``, ``failed`` or ``damaged``.
    reason: why it is not complete. faults: files that are missing or not as they were written.
    compared: how the files were compared. made: how and when it was made, by name.
    numbers: what it says, by name; tables: the same where there is more.
    reasons: of a verdict, and warnings. steps: what can be done next.
    picture: the drawing that was written, if one was asked for.
    """

    path: Path
    kind: str
    what: str
    status: str
    reason: str
    faults: tuple[str, ...]
    compared: str
    made: Mapping[str, Any]
    numbers: Mapping[str, Any]
    tables: tuple[Table, ...]
    reasons: tuple[str, ...]
    steps: tuple[Step, ...]
    picture: Path | None = None

    @property
    def whole(self) -> bool:
        """Whether it is complete and its files are those that were written."""
        return self.status == "complete"

    def rows(self) -> dict[str, Any]:
        """Name and value of what people look at first."""
        whole = "yes" if self.whole else f"{self.status}: {self.reason}" if self.reason else self.status
        files = {"files": self.compared} if self.compared else {}
        return {"whole": whole, **files, **self.made, **self.numbers}

    def to_json(self) -> dict[str, Any]:
        """All of it, JSON types only."""
        return {
            "schema": "boltzgen.show/1",
            "path": str(self.path),
            "kind": self.kind,
            "what": self.what,
            "status": self.status,
            "reason": self.reason,
            "faults": list(self.faults),
            "compared": self.compared,
            "made": dict(self.made),
            "numbers": dict(self.numbers),
            "tables": [table.to_json() for table in self.tables],
            "reasons": list(self.reasons),
            "next": [{"why": step.why, "call": step.call} for step in self.steps],
            "picture": None if self.picture is None else str(self.picture),
        }

    def __repr__(self) -> str:
        return f"<Shown: {self.path} is {self.what}, {self.status}; {len(self.steps)} things to do next>"

    def _repr_html_(self) -> str:
        parts = [html_table((), list(self.rows().items()), caption=f"{self.path}: {self.what}")]
        parts += [html_table(table.columns, table.rows, caption=table.title) for table in self.tables]
        parts.append(html_table((), [(step.why, step.call) for step in self.steps], caption="next"))
        return "".join(parts)
