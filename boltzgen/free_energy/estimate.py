"""`Estimate`: one free-energy difference with everything needed to judge it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from boltzgen.units import energy_in_units

SCHEMA = "boltzgen.free_energy/1"
CONVENTION = "dG(A->B) = G_B - G_A"

_UNITS = ("kT", "kJ/mol", "kcal/mol")


@dataclass(frozen=True)
class Estimate:
    """``dG(A->B) = G_B - G_A`` in kT.

    Attributes
    ----------
    name: for people, e.g. ``left -> right``. A, B: the two states. estimator: how it was made.
    value, standard_error: kT; None where not known. interval95: (low, high) in kT, an end None
        where the bootstrap has no bound.
    n: samples drawn. n_effective: effective samples in the poorer of the two states.
    k_hat: Pareto k-hat of the weights. overlap: between two ensembles, None with one.
    verdict: ``ok``, ``caution`` or ``unreliable``; reasons: why, worst first.
    unknown: why each number that is None is not known.
    standard_error_asymptotic, standard_error_bootstrap: the two that `standard_error` was chosen from.
    """

    name: str
    A: str
    B: str
    estimator: str
    value: float | None
    standard_error: float | None
    interval95: tuple[float | None, float | None]
    n: int
    n_effective: float | None
    k_hat: float | None
    overlap: float | None
    verdict: str
    reasons: tuple[str, ...]
    unknown: Mapping[str, str] = field(default_factory=dict)
    standard_error_asymptotic: float | None = None
    standard_error_bootstrap: float | None = None

    def to_json(self, temperature: float | None) -> dict[str, Any]:
        """The entry of ``estimates`` in free_energy.json; `temperature` in K, None for model systems."""
        unknown = dict(self.unknown)
        if temperature is None:
            unknown["kJ/mol"] = unknown["kcal/mol"] = "a model system has no temperature in K"
        low, high = (in_units(end, temperature) for end in self.interval95)
        return {
            "name": self.name,
            "A": self.A,
            "B": self.B,
            "estimator": self.estimator,
            "value": in_units(self.value, temperature),
            "standard_error": in_units(self.standard_error, temperature),
            "interval95": {unit: [low[unit], high[unit]] for unit in _UNITS},
            "n": self.n,
            "n_effective": self.n_effective,
            "k_hat": self.k_hat,
            "overlap": self.overlap,
            "verdict": self.verdict,
            "reasons": [*self.reasons, *(f"{key} is null: {why}" for key, why in unknown.items())],
        }


def in_units(value_kt: float | None, temperature: float | None) -> dict[str, float | None]:
    """`value_kt` in kT, kJ/mol and kcal/mol; None where not known or not finite."""
    if value_kt is None or not math.isfinite(value_kt):
        return dict.fromkeys(_UNITS)
    if temperature is None:
        return {"kT": value_kt, "kJ/mol": None, "kcal/mol": None}
    return dict(energy_in_units(value_kt, temperature))


def document(
    estimates: Sequence[Estimate], temperature: float | None, provenance: Mapping[str, Any], **further: Any
) -> dict[str, Any]:
    """The content of free_energy.json, schema boltzgen.free_energy/1; `further` adds top-level keys."""
    return {
        "schema": SCHEMA,
        "convention": CONVENTION,
        "temperature_K": temperature,
        "estimates": [estimate.to_json(temperature) for estimate in estimates],
        **further,
        "provenance": dict(provenance),
    }
