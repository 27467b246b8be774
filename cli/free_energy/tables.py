"""Tables that the free-energy commands print: estimates in their units, and what spoils a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from boltzgen_cli.terminal import console

if TYPE_CHECKING:
    from boltzgen.workflows.free_energy.results import FreeEnergyResult


def title(what: str, content: Mapping[str, Any]) -> str:
    """`what`, with the temperature of the result file where there is one."""
    temperature = content["temperature_K"]
    return what if temperature is None else f"{what} at {temperature:g} K"


def estimates(heading: str, entries: Sequence[Mapping[str, Any]], first: str = "name") -> None:
    """One row for each estimate and unit; the column `first` of an entry names it, once."""
    rows = [row for entry in entries for row in _rows(entry, first)]
    console.table(heading, ("", "unit", "value", "+-", "95 % from", "to"), rows)


def verdicts(entries: Sequence[Mapping[str, Any]], first: str = "name") -> None:
    """Why each verdict is not better, one reason a row; entries with the same reasons share their rows."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for entry in entries:
        reasons = [reason for reason in entry["reasons"] if " is null: " not in reason] or [""]
        groups.setdefault((entry["verdict"], *reasons), []).append(entry[first])
    rows = []
    for (verdict, *reasons), names in groups.items():
        for number, reason in enumerate(reasons):
            rows.append(("", "", reason) if number else ("\n".join(names), verdict, reason))
    console.table("verdict", ("", "verdict", "why not better"), rows)


def written(result: FreeEnergyResult) -> None:
    """Name the files, on standard error."""
    files = [result.path, result.csv, *([] if result.figure is None else [result.figure])]
    console.message(f"written: {', '.join(str(file) for file in files)}")
    console.message(f"what to cite: boltzgen cite {result.path}")


def _rows(entry: Mapping[str, Any], first: str) -> list[tuple[str | float | None, ...]]:
    """One row a unit; the name stands in the first. A unit that is not known is left out."""
    rows: list[tuple[str | float | None, ...]] = []
    for unit, value in entry["value"].items():
        if value is None and rows:
            continue
        name = "" if rows else entry[first]
        shown = "" if unit == "1" else unit
        rows.append((name, shown, value, entry["standard_error"][unit], *entry["interval95"][unit]))
    return rows
