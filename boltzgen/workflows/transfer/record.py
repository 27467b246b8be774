"""What `benchmark_transfer` returns: the content of ``transfer.json``."""

from __future__ import annotations

from typing import Any

from boltzgen.notebook import html_table
from boltzgen.workflows.records import Record
from boltzgen.workflows.transfer.table import NARROW, table_rows


class TransferBenchmark(Record):
    """``transfer.json``: figures of a model on molecules that it never saw."""

    @property
    def molecules(self) -> tuple[str, ...]:
        """Names of the molecules that were measured."""
        return tuple(self._content["molecules"])

    @property
    def figures(self) -> tuple[dict[str, Any], ...]:
        """One flat row a molecule and stage, as in ``transfer.csv``."""
        return tuple(dict(row) for row in self._content["rows"])

    @property
    def definitions(self) -> tuple[str, ...]:
        """What the figures mean, one sentence each."""
        return tuple(self._content["definitions"])

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """(stage, headers, rows of text) for printing."""
        summary = self._content["summary"]
        return [(stage, *table_rows(self._content["rows"], summary, stage, NARROW)) for stage in summary]

    def rows(self) -> dict[str, Any]:
        return {"model": self._content["model"], "data set": self._content["dataset"], **self._ess()}

    def __repr__(self) -> str:
        ess = ", ".join(f"{name} {value}" for name, value in self._ess().items())
        return f"<TransferBenchmark of {self._content['model']} on {len(self.molecules)} molecules: {ess}>"

    def _repr_html_(self) -> str:
        return "".join(html_table(headers, rows, caption=stage) for stage, headers, rows in self.tables())

    def _ess(self) -> dict[str, str]:
        """Mean effective sample size of each stage, in percent."""
        found = {}
        for stage in dict.fromkeys(row["stage"] for row in self.figures):
            values = [row["ess"] for row in self.figures if row["stage"] == stage and row["ess"] is not None]
            found[f"mean ESS {stage}"] = f"{100 * sum(values) / len(values):.3g} %" if values else "not known"
        return found
