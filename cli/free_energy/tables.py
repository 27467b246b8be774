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


def estimates(
    heading: str, entries: Sequence[Mapping[str, Any]], first: str = "name", unit: str | None = None
) -> None:
    """One row for each estimate and unit with its 95 % interval; the column `first` of an entry names it.

    unit: the only one to show, in which all entries must be given.
    """
    rows = [row for entry in entries for row in _rows(entry, first) if unit in (None, row[1])]
    console.table(heading, ("", "unit", "value", "95 % from", "to"), rows)


def verdicts(entries: Sequence[Mapping[str, Any]], first: str = "name") -> None:
    """Why each verdict is not better, one reason a row; entries with the same reasons share their rows.

    Names and verdict stand in each row.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for entry in entries:
        reasons = [reason for reason in entry["reasons"] if " is null: " not in reason] or [""]
        groups.setdefault((entry["verdict"], *reasons), []).append(entry[first])
    rows = []
    for (verdict, *reasons), names in groups.items():
        for reason in reasons:
            rows.append(("\n".join(names), verdict, reason))
    console.table("verdict", ("", "verdict", "why not better"), rows)


def populations(states: Sequence[Mapping[str, Any]], heading: str = "populations") -> None:
    """Populations in percent with their 95 % intervals, and the samples that they rest on."""
    rows = []
    for state in states:
        shares = (state["population"], *state["interval95"])
        percent = [None if share is None else 100 * share for share in shares]
        rows.append([state["name"], *percent, state["n"], state["n_effective"]])
    console.table(heading, ("state", "percent", "95 % from", "to", "samples", "effective samples"), rows)


def written(result: FreeEnergyResult) -> None:
    """Name the files, on standard error."""
    files = [result.path, result.csv, *([] if result.figure is None else [result.figure])]
    console.message(f"written: {', '.join(str(file) for file in files)}")
    console.message(f"what to cite: boltzgen cite {result.path}")


def _rows(entry: Mapping[str, Any], first: str) -> list[tuple[str | float | None, ...]]:
    """One row a unit. A unit that is not known is left out."""
    rows: list[tuple[str | float | None, ...]] = []
    for unit, value in entry["value"].items():
        if value is None and rows:
            continue
        shown = "no unit" if unit == "1" else unit
        rows.append((entry[first], shown, value, *entry["interval95"][unit]))
    return rows
