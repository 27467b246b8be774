"""A thermodynamic cycle: one leg less another, whose result file is read."""

from __future__ import annotations

from typing import Any

from boltzgen.errors import InputError
from boltzgen.free_energy.combination import difference, from_json
from boltzgen.free_energy.estimate import Estimate
from boltzgen.remedies import OTHER_SEED


def require_one_cycle(leg: dict[str, Any], unit: str, temperature: float | None) -> None:
    """InputError unless the result file `leg` is in this `unit` and at this `temperature` (K)."""
    other, at = leg["estimates"][0].get("unit"), leg["temperature_K"]
    if other != unit:
        raise InputError("one leg is at one temperature, the other between two; a cycle needs equal legs.")
    if at != temperature:
        words = [f"{t:g} K" if t is not None else "a model system's" for t in (temperature, at)]
        raise InputError(f"the legs differ in temperature ({words[0]} and {words[1]}); a cycle needs one.")


def relative_to_leg(own: Estimate, leg: dict[str, Any], origin: dict[str, Any]) -> Estimate:
    """This leg minus the other one, errors added in squares."""
    other = from_json(leg["estimates"][0])
    found = []
    if _hashes(origin) & _hashes(leg.get("provenance", {})):
        reason = "both legs use the same samples: their errors are not independent, as their sum here takes"
        found.append(("caution", f"{reason}; {OTHER_SEED}"))
    return difference(
        own,
        other,
        name=f"({own.name}) - ({other.name})",
        A=other.name,
        B=own.name,
        estimator=f"cycle: {own.estimator}, minus {other.estimator}",
        unit=own.unit,
        quantity=own.quantity,
        findings=found,
    )


def _hashes(origin: dict[str, Any]) -> set[str]:
    return {
        str(end["samples_sha256"])
        for end in (origin.get("A"), origin.get("B"))
        if isinstance(end, dict) and "samples_sha256" in end
    }
