"""``conformers.json``: the wells with what each holds, entropies, a pose, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boltzgen.errors import UnreliableError
from boltzgen.files import csv_text
from boltzgen.workflows.records import Record, number

SCHEMA = "boltzgen.conformers/1"

#: Columns of ``conformers.csv``, in order.
COLUMNS = (
    "well",
    "labels",
    "degeneracy",
    "symmetry_number",
    "minimised_energy_kJ_mol",
    "over_lowest_kcal_mol",
    "population",
    "standard_error",
    "low95",
    "high95",
    "free_energy_kT",
    "free_energy_low95_kT",
    "free_energy_high95_kT",
    "mean_energy_kT",
    "entropy_k",
    "entropy_standard_error_k",
    "population_by_energies",
    "population_by_oscillators",
    "samples",
    "effective_samples",
    "verdict",
)


@dataclass(frozen=True, repr=False)
class ConformerTable(Record):
    """``DIR/conformers.json``, and the `folder` DIR that it stands in."""

    folder: Path

    @property
    def wells(self) -> tuple[Mapping[str, Any], ...]:
        """One record a well, by falling population (of structures without weights by rising energy)."""
        return tuple(self._content["wells"])

    @property
    def entropies(self) -> tuple[Mapping[str, Any], ...]:
        """Mixing and mean well entropies, and their sum: entries as in free_energy.json."""
        return tuple(self._content["entropies"])

    @property
    def observables(self) -> tuple[Mapping[str, Any], ...]:
        """Averages over all: entries as in free_energy.json; those of a well are in its record."""
        return tuple(self._content.get("observables", ()))

    @property
    def pose(self) -> Mapping[str, Any] | None:
        """What staying near the pose costs; None where none was given."""
        found: Mapping[str, Any] | None = self._content["pose"]
        return found

    @property
    def temperature(self) -> float:
        """K."""
        return float(self._content["temperature_K"])

    @property
    def share_minimised(self) -> float | None:
        """Share of all weight in the rows that were minimised; None without weights."""
        return number(self._content["minimised"]["share_of_weight"])

    @property
    def verdict(self) -> str:
        """``ok``, ``caution`` or ``unreliable``: the worst of the samples and of the wells that count."""
        return str(self._content["verdict"])

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not better, worst first."""
        return tuple(self._content["reasons"])

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know besides."""
        return tuple(self._content["notes"])

    @property
    def files(self) -> tuple[Path, ...]:
        """What was written."""
        return tuple(self.folder / name for name in self._content["files"])

    def check(self, *, strict: bool = False) -> None:
        """UnreliableError, if `strict`, where the verdict is ``unreliable``."""
        if strict and self.verdict == "unreliable":
            why = "; ".join(self.reasons)
            raise UnreliableError(f"unreliable: {why}; see {self.folder}.", result=self)

    def rows(self) -> dict[str, Any]:
        minimised = self._content["minimised"]
        return {
            "molecule": self._content["molecule"],
            "temperature (K)": self.temperature,
            "wells": len(self.wells),
            "minimised": f"{minimised['rows']} of {minimised['of']}",
            "share of weight minimised": minimised["share_of_weight"],
            "well entropies": self._content["entropy_reference"],
            "verdict": self.verdict,
        }

    def __repr__(self) -> str:
        lines = [f"{one['name']}: {one['labels']}, p = {one['population']}" for one in self.wells[:10]]
        head = f"<ConformerTable in {self.folder}: {len(self.wells)} wells, verdict {self.verdict}>"
        return "\n".join([head, *lines])


def table_csv(wells: Sequence[Mapping[str, Any]]) -> str:
    """The records of wells as CSV, one row each; an empty cell is not known."""
    rows, further = [], dict[str, None]()
    for one in wells:
        own = observed_columns(one)
        further |= dict.fromkeys(own)
        free, energy, entropy = (one[name] or {} for name in ("free_energy", "mean_energy", "entropy"))
        low, high = (free.get("interval95") or {}).get("kT") or (None, None)
        rows.append(
            {
                "well": one["name"],
                "labels": one["labels"],
                "degeneracy": one["degeneracy"],
                "symmetry_number": one["symmetry_number"],
                "minimised_energy_kJ_mol": one["minimised_energy_kJ/mol"],
                "over_lowest_kcal_mol": one["over_lowest"]["kcal/mol"],
                "population": one["population"],
                "standard_error": one["standard_error"],
                "low95": one["interval95"][0],
                "high95": one["interval95"][1],
                "free_energy_kT": (free.get("value") or {}).get("kT"),
                "free_energy_low95_kT": low,
                "free_energy_high95_kT": high,
                "mean_energy_kT": (energy.get("value") or {}).get("kT"),
                "entropy_k": (entropy.get("value") or {}).get("k"),
                "entropy_standard_error_k": (entropy.get("standard_error") or {}).get("k"),
                "population_by_energies": one["population_by_energies"],
                "population_by_oscillators": one["population_by_oscillators"],
                "samples": one["n"],
                "effective_samples": one["n_effective"],
                "verdict": one["verdict"],
                **own,
            }
        )
    return csv_text((*COLUMNS, *further), rows)


def observed_columns(well: Mapping[str, Any]) -> dict[str, Any]:
    """Two columns for each observable of a `well`: the value and its standard error."""
    found = {}
    for one in well["observables"]:
        unit = one["unit"]
        name = one["name"] if unit == "1" else f"{one['name']} ({unit})"
        found[name] = one["value"][unit]
        found[f"{name} standard error"] = one["standard_error"][unit]
    return found
