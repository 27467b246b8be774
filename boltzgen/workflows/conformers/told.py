"""What was found of wells and a pose, as the entries of ``conformers.json`` and the properties of an SDF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from boltzgen.ensemble.diagnostics import VERDICTS
from boltzgen.potentials.base import Potential
from boltzgen.remedies import LOOK
from boltzgen.units import energy_in_units, thermal_energy
from boltzgen.wells.counting import by_energies, by_oscillators
from boltzgen.wells.gathering import Well
from boltzgen.wells.populations import Figures, WellFigures
from boltzgen.workflows.conformers.record import observed_columns
from boltzgen.workflows.conformers.source import NO_WEIGHTS, Conformations

#: Wells up to which vibrations are counted, each of which takes six gradients an atom.
MOST_COUNTED = 100
#: Share of a well from which its verdict counts for that of all, as in the answers of `run`.
COUNTS = 0.05
#: Share of the weight that may belong to no well without a caution.
_LOST = 0.01


def wells_told(
    wells: Sequence[Well],
    found: Figures | None,
    potential: Potential,
    masses: np.ndarray,
    temperature: float,
) -> tuple[list[dict[str, Any]], list[int]]:
    """The entries of the wells with weight, by falling population, and the number of each in `wells`.

    Without figures (structures have no weights) all wells, by rising energy.
    """
    energies = by_energies(wells, temperature)
    counted = None
    if len(wells) <= MOST_COUNTED:
        counted = by_oscillators(wells, potential, masses, temperature)
    if found is None:
        order = [int(k) for k in np.argsort([well.energy for well in wells], kind="stable")]
        figures: list[WellFigures | None] = [None] * len(order)
    else:
        order, figures = [one.well for one in found.wells], list(found.wells)
    lowest = min(well.energy for well in wells)
    entries = []
    for place, (row, own) in enumerate(zip(order, figures, strict=True), 1):
        well = wells[row]
        above = (well.energy - lowest) / thermal_energy(temperature)
        entries.append(
            {
                "name": f"well {place}",
                "labels": well.labels.words,
                "torsions_degrees": dict(well.labels.torsions),
                "rings": list(well.labels.rings),
                "degeneracy": well.degeneracy,
                "symmetry_number": well.symmetry_number,
                "minimised_energy_kJ/mol": well.energy,
                "over_lowest": energy_in_units(above, temperature),
                "population_by_energies": float(energies[row]),
                "population_by_oscillators": None if counted is None else float(counted[row]),
                **_held(own, temperature),
            }
        )
    return entries, order


def called(well: Mapping[str, Any]) -> str:
    """The labels of the entry of a `well`, or its name; and that its mirror image is in it."""
    return f"{well['labels'] or well['name']}{' (with its mirror image)' if well['degeneracy'] == 2 else ''}"


def _held(own: WellFigures | None, temperature: float) -> dict[str, Any]:
    """What a well holds; null, with the reason, where there are no weights."""
    if own is None:
        nothing = dict.fromkeys(("population", "standard_error"))
        unknown: dict[str, Any] = dict.fromkeys(("n", "n_effective", "free_energy", "mean_energy", "entropy"))
        why = f"population is null: {NO_WEIGHTS}"
        return {**nothing, "interval95": [None, None], **unknown, "verdict": "caution", "reasons": [why]}
    share = own.population.to_json()
    return {
        "population": min(float(share["population"]), 1.0),
        **{key: share[key] for key in ("standard_error", "interval95", "n", "n_effective")},
        "free_energy": own.free_energy.to_json(temperature),
        "mean_energy": own.energy.to_json(temperature),
        "entropy": own.entropy.to_json(temperature),
        "verdict": own.free_energy.verdict,
        "reasons": [*own.free_energy.reasons, *share["reasons"]],
    }


def judged(
    given: Conformations, found: Figures | None, lost: float, further: Sequence[str]
) -> tuple[str, list[str]]:
    """The verdict on all: the worst of the samples, of each well that counts, and of what has no well."""
    told = [(given.verdict, reason) for reason in given.reasons]
    verdicts = [given.verdict]
    for one in () if found is None else found.wells:
        if one.population.population >= COUNTS:
            verdicts.append(one.free_energy.verdict)
            told += [(one.free_energy.verdict, reason) for reason in one.free_energy.reasons]
    if lost > _LOST:
        verdicts.append("caution")
        why = f"the minima of {100 * lost:.1f} % of the weight were not found, or lie outside the domain"
        told.append(("caution", f"{why}; {LOOK}"))
    told += [("caution", reason) for reason in further]
    verdicts += ["caution"] * bool(further)
    ordered = sorted(told, key=lambda one: -VERDICTS.index(one[0]))
    return max(verdicts, key=VERDICTS.index), list(dict.fromkeys(reason for _, reason in ordered))


def properties(entry: dict[str, Any], temperature: float) -> dict[str, Any]:
    """The properties of one record of the SDF."""
    free = (entry["free_energy"] or {}).get("value") or {}
    return {
        "temperature_K": temperature,
        "labels": entry["labels"],
        "degeneracy": entry["degeneracy"],
        "symmetry_number": entry["symmetry_number"],
        "minimised_energy_kJ_mol": entry["minimised_energy_kJ/mol"],
        "over_lowest_kcal_mol": entry["over_lowest"]["kcal/mol"],
        "population": entry["population"],
        "population_low95": entry["interval95"][0],
        "population_high95": entry["interval95"][1],
        "free_energy_kcal_mol": free.get("kcal/mol"),
        "population_by_energies": entry["population_by_energies"],
        "population_by_oscillators": entry["population_by_oscillators"],
        "verdict": entry["verdict"],
        **observed_columns(entry),
    }
