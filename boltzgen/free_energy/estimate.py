"""`Estimate`: one number of any estimator, with everything needed to judge it.

Most are free-energy differences in kT. Others (a partition function, an observable, a heat capacity)
say in `quantity` what they are and in `unit` what they are counted in, and have no states A and B.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from boltzgen.errors import InputError
from boltzgen.notebook import html_table, with_interval
from boltzgen.units import GAS_CONSTANT, KJ_PER_KCAL, energy_in_units

SCHEMA = "boltzgen.free_energy/1"
CONVENTION = "dG(A->B) = G_B - G_A"

#: Units that a value is given in, by the unit that it is computed in; any other unit stands alone.
UNITS: dict[str, tuple[str, ...]] = {"kT": ("kT", "kJ/mol", "kcal/mol"), "k": ("k", "kJ/mol/K", "kcal/mol/K")}

#: What an `Estimate` is when it does not say otherwise.
DIFFERENCE = "free energy difference"


@dataclass(frozen=True, repr=False)
class Estimate:
    """One number with its error and its verdict; by default ``dG(A->B) = G_B - G_A`` in kT.

    Attributes
    ----------
    name: for people, e.g. ``left -> right``. A, B: the two states, None where there are none.
    estimator: how it was made. quantity: what it is. unit: of every number below; ``kT`` and ``k``
        (an entropy, a heat capacity) are also written in kJ/mol and kcal/mol (per K), ``1`` is a
        number without unit.
    value, standard_error: None where not known. interval95: (low, high), an end None where the
        bootstrap has no bound. The interval is the error bar that tables and figures show; the standard error
        is there to be added in squares.
    n: samples drawn. n_effective: effective samples in the poorer of the two states.
    k_hat: Pareto k-hat of the weights. overlap: between ensembles, None with one.
    verdict: ``ok``, ``caution`` or ``unreliable``; reasons: why, worst first.
    unknown: why each number that is None is not known.
    standard_error_asymptotic, standard_error_bootstrap: the two that `standard_error` was chosen from.
    further: what only some estimators know (JSON-serialisable), e.g. ``hysteresis``.
    """

    name: str
    A: str | None
    B: str | None
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
    quantity: str = DIFFERENCE
    unit: str = "kT"
    further: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        shown = with_interval(self.value, self.interval95, self.unit)
        return f"<Estimate {self.name}: {shown} by {self.estimator}, n = {self.n}; verdict {self.verdict}>"

    def _repr_html_(self) -> str:
        return estimates_table([self])

    def to_json(self, temperature: float | None) -> dict[str, Any]:
        """The entry of ``estimates`` in free_energy.json; `temperature` in K, None for model systems."""

        def units(number: float | None) -> dict[str, float | None]:
            return in_units(number, temperature, self.unit)

        unknown = dict(self.unknown)
        if temperature is None and self.unit in UNITS:
            unknown.update(dict.fromkeys(UNITS[self.unit][1:], "a model system has no temperature in K"))
        low, high = (units(end) for end in self.interval95)
        entry = {
            "name": self.name,
            "A": self.A,
            "B": self.B,
            "estimator": self.estimator,
            "quantity": self.quantity,
            "unit": self.unit,
            "value": units(self.value),
            "standard_error": units(self.standard_error),
            "interval95": {unit: [low[unit], high[unit]] for unit in low},
            "standard_error_asymptotic": units(self.standard_error_asymptotic),
            "standard_error_bootstrap": units(self.standard_error_bootstrap),
            "n": self.n,
            "n_effective": self.n_effective,
            "k_hat": self.k_hat,
            "overlap": self.overlap,
            "verdict": self.verdict,
            "reasons": [*self.reasons, *(f"{key} is null: {why}" for key, why in unknown.items())],
        }
        if set(entry) & set(self.further):
            raise InputError(
                f"{self.name}: {sorted(set(entry) & set(self.further))} are keys of every estimate."
            )
        return {**entry, **self.further}


def estimates_table(estimates: Sequence[Estimate], caption: str = "") -> str:
    """An HTML table of `estimates`, each in the unit that it was computed in."""
    columns = ("", "by", "unit", "value", "95 % from", "to", "k-hat", "verdict", "why not better")
    rows = [
        (
            one.name,
            one.estimator,
            one.unit,
            one.value,
            *one.interval95,
            one.k_hat,
            one.verdict,
            "; ".join(one.reasons),
        )
        for one in estimates
    ]
    return html_table(columns, rows, caption)


def in_units(value: float | None, temperature: float | None, unit: str = "kT") -> dict[str, float | None]:
    """`value`, given in `unit`, in every unit that results carry; None where not known or not finite.

    ``kT`` -> kT, kJ/mol, kcal/mol; ``k`` -> k, kJ/mol/K, kcal/mol/K; any other unit -> itself.
    """
    units: tuple[str, ...] = UNITS.get(unit, (unit,))
    if value is None or not math.isfinite(value):
        return dict.fromkeys(units)
    if unit not in UNITS:
        return {unit: value}
    if temperature is None:
        return {unit: value, units[1]: None, units[2]: None}
    if unit == "kT":
        return dict(energy_in_units(value, temperature))
    return {unit: value, units[1]: value * GAS_CONSTANT, units[2]: value * GAS_CONSTANT / KJ_PER_KCAL}


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
