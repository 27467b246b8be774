"""A thermodynamic cycle: one leg less another, whose result file is read."""

from __future__ import annotations

from typing import Any

from boltzgen.free_energy.combination import difference, from_json
from boltzgen.free_energy.estimate import Estimate
from boltzgen.remedies import OTHER_SEED


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
