"""What every ``free-energy`` verb leaves: JSON, CSV and a figure of one name, and a verdict.

``NAME.json`` holds schema boltzgen.free_energy/1, ``NAME.csv`` the same estimates, one row for each
estimate and unit, ``NAME.png`` the figure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from boltzgen.checks import check_number, check_seed
from boltzgen.ensemble import Ensemble
from boltzgen.ensemble.diagnostics import VERDICTS
from boltzgen.errors import BoltzgenError, InputError, UnreliableError
from boltzgen.files import csv_text, write_atomic, write_json
from boltzgen.folders import alone_with_file
from boltzgen.free_energy.estimate import Estimate, estimates_table
from boltzgen.free_energy.populations import Population
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.surface import Surface
from boltzgen.provenance import VERSION

#: Replicates of a bootstrap; more than anybody needs.
MOST_REPLICATES = 10**6

#: Columns of the CSV file, in order.
COLUMNS = (
    "name",
    "A",
    "B",
    "estimator",
    "quantity",
    "unit",
    "value",
    "standard_error",
    "low95",
    "high95",
    "n",
    "n_effective",
    "k_hat",
    "overlap",
    "verdict",
    "reasons",
)


#: Bootstrap replicates; their error of an error falls with the square root, and all are held at once.
MOST_REPLICATES = 100_000


@dataclass(frozen=True, repr=False)
class FreeEnergyResult:
    """What a verb found, the `document` that it wrote to `path` as JSON, and its `figure` (None: not drawn).

    `populations` belong to states, `surface` to a surface.
    """

    estimates: tuple[Estimate, ...]
    document: dict[str, Any]
    path: Path
    figure: Path | None = None
    populations: tuple[Population, ...] = ()
    surface: Surface | None = None

    def to_json(self) -> dict[str, Any]:
        """What the JSON file holds."""
        return self.document

    def __repr__(self) -> str:
        lines = [repr(one) for one in self.estimates] or [repr(self.surface)]
        return f"<FreeEnergyResult in {self.path}; verdict {self.verdict}>\n" + "\n".join(lines)

    def _repr_html_(self) -> str:
        return estimates_table(self.estimates, caption=f"{self.path}: {self.verdict}")

    @property
    def csv(self) -> Path:
        return self.path.with_suffix(".csv")

    @property
    def verdict(self) -> str:
        """The worst verdict among the estimates; that of the surface where there are none."""
        found = [estimate.verdict for estimate in self.estimates]
        if self.surface is not None:
            found.append(self.surface.verdict)
        return max(found, key=VERDICTS.index)

    def check(self, *, strict: bool = False) -> None:
        """Raise when nothing was found (BoltzgenError) or, if `strict`, it cannot be relied on."""
        values = [estimate.value for estimate in self.estimates]
        known = self.surface is not None and self.surface.reference is not None
        if not known and all(value is None for value in values):
            reasons = self.estimates[0].reasons if self.surface is None else self.surface.reasons
            raise BoltzgenError(f"no free energy could be estimated: {reasons[0]}; see {self.path}.")
        if strict and self.verdict == "unreliable":
            names = ", ".join(e.name for e in self.estimates if e.verdict == "unreliable") or "the surface"
            raise UnreliableError(f"unreliable: {names}; the reasons are in {self.path}.")

    def check_best(self, *, strict: bool = False) -> None:
        """`check` where the estimates answer one question and the best stands first: that one decides."""
        FreeEnergyResult(self.estimates[:1], self.document, self.path).check(strict=strict)


def result_path(output: str | os.PathLike[str] | None, default: Path) -> Path:
    """Where the JSON file goes; InputError for a folder and for the names of the CSV file and the figure."""
    path = default if output is None else Path(output)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of the JSON file to write.")
    if path.suffix.lower() in (".csv", ".png"):
        raise InputError(
            f"{path}: `output` names the JSON file; the {path.suffix} of the same name is written beside it."
        )
    return path


def write_results(
    content: dict[str, Any], path: Path, draw: Callable[[Path], Path] | None, table: str | None = None
) -> Path | None:
    """Write the document `content` and its CSV (`table`, default its estimates), then the figure.

    Numbers come first: a figure that cannot be drawn costs nothing but the figure. Returns its path.
    """
    with alone_with_file(path):
        write_json(path, content)
        write_atomic(
            path.with_suffix(".csv"), estimates_csv(content["estimates"]) if table is None else table
        )
        return None if draw is None else draw(path.with_suffix(".png"))


def estimates_csv(entries: Sequence[Mapping[str, Any]]) -> str:
    """The entries of ``estimates`` as CSV, one row for each estimate and unit; empty cells are not known."""
    rows = [
        {
            **{column: entry[column] for column in COLUMNS if column in entry},
            "unit": unit,
            "value": value,
            "standard_error": entry["standard_error"][unit],
            "low95": entry["interval95"][unit][0],
            "high95": entry["interval95"][unit][1],
            "reasons": "; ".join(entry["reasons"]),
        }
        for entry in entries
        for unit, value in entry["value"].items()
    ]
    return csv_text(COLUMNS, rows)


def provenance(ensemble: Ensemble, folder: Any, **further: Any) -> dict[str, Any]:
    """Where numbers made from one ensemble come from; `further` says how they were made."""
    return {
        "samples": str(folder),
        "system_fingerprint": ensemble.system_fingerprint,
        "measure": ensemble.measure,
        "domain": ensemble.domain,
        **further,
        "version": VERSION,
        "ensemble": ensemble.provenance,
    }


def statistics_of(n_bootstrap: int, seed: int, *, smoothed: bool = False) -> Statistics:
    """What a verb tells its estimators, coverage left open; InputError for numbers that mean nothing."""
    check_number(n_bootstrap, "n_bootstrap", least=2, most=MOST_REPLICATES)
    check_seed(seed)
    return Statistics(np.random.default_rng(seed), n_bootstrap=n_bootstrap, smoothed=smoothed)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Put the name of the file at fault before the message of an InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
