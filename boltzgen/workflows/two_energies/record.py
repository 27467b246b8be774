"""What `transfer` returns: the content of ``transfers.json``, as a table and as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from boltzgen.ensemble.diagnostics import VERDICTS
from boltzgen.errors import BoltzgenError, PartialError, UnreliableError
from boltzgen.files import csv_text
from boltzgen.free_energy.transfer_split import PARTS
from boltzgen.notebook import html_table
from boltzgen.workflows.records import Record

SCHEMA = "boltzgen.transfers/1"

#: The numbers of a molecule, and what each is.
QUANTITIES = {"transfer": "dG(A->B) = G_B - G_A", **PARTS}

#: The unit of table and CSV.
UNIT = "kcal/mol"

_ENDS = ("", "_standard_error", "_low95", "_high95")
COLUMNS = (
    *("number", "name", "smiles", "status", "atoms"),
    *(f"{name}{end}" for name in QUANTITIES for end in _ENDS),
    *("overlap", "n_effective", "verdict", "reasons"),
)


class Transfers(Record):
    """``transfers.json``: the transfer of each molecule of a list, and what it is made of."""

    @property
    def folder(self) -> Path:
        return Path(str(self._content["folder"]))

    @property
    def title(self) -> str:
        """What was computed, and what it is not."""
        return str(self._content["title"])

    @property
    def molecules(self) -> tuple[dict[str, Any], ...]:
        """One record a molecule, in the order of the list."""
        return tuple(dict(one) for one in self._content["molecules"])

    @property
    def failed(self) -> dict[str, str]:
        """Name of each molecule that could not be done, and why."""
        return {one["name"]: one["reason"] for one in self.molecules if one["status"] == "failed"}

    @property
    def complete(self) -> tuple[dict[str, Any], ...]:
        return tuple(one for one in self.molecules if one["status"] == "complete")

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Headers and rows for printing, in kcal/mol with half of the 95 % interval."""
        headers = ["molecule", "transfer", "95 % +-", "solvation", "energy", "entropy", "overlap", "verdict"]
        rows = []
        for one in self.molecules:
            if one["status"] != "complete":
                rows.append([one["name"], *[None] * 6, one["status"]])
                continue
            values = [one["estimates"][name]["value"][UNIT] for name in QUANTITIES]
            low, high = one["estimates"]["transfer"]["interval95"][UNIT]
            half = None if low is None or high is None else (high - low) / 2
            overlap = one["estimates"]["transfer"]["overlap"]
            rows.append([one["name"], values[0], half, *values[1:4], overlap, one["verdict"]])
        return headers, rows

    def rows(self) -> dict[str, Any]:
        done = len(self.complete)
        return {
            "what": self.title,
            "molecules": len(self.molecules),
            "complete": done,
            "failed": len(self.failed),
        }

    def check(self, *, strict: bool = False) -> None:
        """Raise where molecules failed, or with `strict` where one cannot be relied on."""
        failed, place = self.failed, self.folder / "transfers.json"
        if failed:
            name, why = next(iter(failed.items()))
            kind = PartialError if self.complete else BoltzgenError
            raise kind(
                f"{len(failed)} of {len(self.molecules)} molecules failed; {name}: {why} (all in {place})",
                result=self,
            )
        bad = [one["name"] for one in self.complete if one["verdict"] == VERDICTS[-1]]
        if strict and bad:
            raise UnreliableError(f"unreliable: {', '.join(bad)}; the reasons are in {place}.", result=self)

    def __repr__(self) -> str:
        return (
            f"<Transfers in {self.folder}: {len(self.complete)} of {len(self.molecules)} molecules; "
            f"{self.title}>"
        )

    def _repr_html_(self) -> str:
        headers, rows = self.table()
        return html_table(headers, rows, caption=f"{self.title}, {UNIT}")


def transfers_csv(molecules: Sequence[dict[str, Any]]) -> str:
    """One row a molecule, kcal/mol; empty where not known."""
    rows = []
    for one in molecules:
        row: dict[str, Any] = {
            key: one[key] for key in ("number", "name", "smiles", "status", "atoms", "verdict")
        }
        row["reasons"] = one["reason"] or "; ".join(one["reasons"])
        for name, found in one["estimates"].items():
            low, high = found["interval95"][UNIT]
            values = (found["value"][UNIT], found["standard_error"][UNIT], low, high)
            row |= {f"{name}{end}": value for end, value in zip(_ENDS, values, strict=True)}
            if name == "transfer":
                row |= {"overlap": found["overlap"], "n_effective": found["n_effective"]}
        rows.append(row)
    return csv_text(COLUMNS, rows)
