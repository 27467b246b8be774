"""Metrics of a run, appended to CSV and JSON lines; a resumed run goes on in the same files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from boltzgen.errors import InputError
from boltzgen.files import csv_text, parse_json, read_text, write_atomic, writing

#: Bytes of the rows of a run; a row has some five hundred.
LARGEST_METRICS = 2**29

#: Columns before the statistics of the losses, and after them.
FIRST = ("step", "progress", "learning_rate")
LAST = (
    "gradient_norm",
    "discarded_rows",
    "skipped_steps",
    "energy_evaluations",
    "evaluations_per_second",
    "held_out_likelihood",
    "forward_ess",
    "forward_ess_frames",
    "ess",
    "k_hat",
    "log_z",
    "evaluation_energies",
    "seconds",
)


class MetricsFiles:
    """``metrics.csv`` and ``metrics.jsonl`` of a run folder. Unknown numbers are empty, or null."""

    def __init__(self, folder: Path, statistics: Sequence[str], *, keep_until: int) -> None:
        """Open for a run that goes on after step `keep_until`; later rows of an older run are dropped.

        statistics: what the losses say of themselves, a column each.
        """
        self.columns = tuple(dict.fromkeys([*FIRST, *statistics, *LAST]))
        self.csv, self.lines = folder / "metrics.csv", folder / "metrics.jsonl"
        rows = [row for row in read_metrics(self.lines) if (row.get("step") or 0) <= keep_until]
        write_atomic(self.lines, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))
        cells = [{name: row.get(name) for name in self.columns} for row in rows]
        write_atomic(self.csv, csv_text(self.columns, cells))

    def append(self, row: dict[str, float | int | None]) -> None:
        """Add one row; its keys are among the columns."""
        whole = {name: row.get(name) for name in self.columns}
        with writing(self.lines), open(self.lines, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(whole, allow_nan=False) + "\n")
        with writing(self.csv), open(self.csv, "a", encoding="utf-8") as handle:
            handle.write(csv_text(self.columns, [whole], header=False))


def append_molecules(
    folder: Path, step: int, names: Sequence[str], found: Sequence[Mapping[str, float | int | None]]
) -> None:
    """Add to ``molecules.jsonl`` what was measured on each molecule; rows of a later step are dropped."""
    path = folder / "molecules.jsonl"
    rows = [row for row in read_metrics(path) if (row.get("step") or 0) < step]
    rows += [{"step": step, "molecule": name, **one} for name, one in zip(names, found, strict=True)]
    write_atomic(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``metrics.jsonl``; none when there is no file. A last line cut short is left out."""
    if not path.is_file():
        return []
    rows = []
    text = read_text(path, missing="no such file; start anew.", largest=LARGEST_METRICS)
    lines = text.splitlines()
    for number, line in enumerate(lines):
        try:
            row = parse_json(line, f"{path}, line {number + 1}", "remove the file or start anew.")
            if not isinstance(row, dict) or not isinstance(row.get("step"), int | None):
                raise InputError(f"{path}: line {number + 1} is no row of metrics; remove it or start anew.")
            rows.append(row)
        except InputError:
            if number < len(lines) - 1 or text.endswith("\n"):
                raise
    return rows
