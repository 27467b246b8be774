"""The record of chains in the provenance of an ensemble, under ``chains``: made, checked, joined.

``log_z``, ``log_z_standard_error`` (null where not known), ``stride`` and ``sweeps``, ``acceptance`` by kind
of move (``accepted``, ``tried``), ``energy_evaluations`` by part, ``largest_drift`` (between cached and full
passes), ``ladders`` (of each group: none, tempered, temperatures), ``settings``, and ``torsions``: those
whose samples and states count, each with ``name``, ``atoms`` (four, from 0) and ``states`` (whether its
thirds are states).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from boltzgen.loaders.records import Count, OpenRecord


class Tried(OpenRecord):
    """Moves of one kind."""

    accepted: Count
    tried: Count


class TorsionRecord(OpenRecord):
    """A torsion that counts."""

    name: str
    atoms: Annotated[list[Count], Field(min_length=4, max_length=4)]
    states: bool = True


class ChainsRecord(OpenRecord):
    """``provenance.chains`` of a manifest."""

    log_z: float | None = None
    log_z_standard_error: float | None = None
    stride: float | None = None
    sweeps: Count | None = None
    acceptance: dict[str, Tried] = {}
    energy_evaluations: dict[str, Count] = {}
    largest_drift: float | None = None
    ladders: list[str] = []
    torsions: list[TorsionRecord] = []


def joined_records(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One record of several chains: counts add up, ln Z is their mean by inverse squares of the errors.

    ln Z is not known where it is not in one of them; its error not where one has none. Of torsions those that
    all name survive, of other keys those that are equal.
    """
    first = records[0]
    joined = {key: value for key, value in first.items() if all(one.get(key) == value for one in records)}
    joined["acceptance"] = _added([one.get("acceptance") or {} for one in records])
    joined["energy_evaluations"] = _sums([one.get("energy_evaluations") or {} for one in records])
    joined["ladders"] = [ladder for one in records for ladder in one.get("ladders", ())]
    drifts = [drift for one in records if (drift := one.get("largest_drift")) is not None]
    joined["largest_drift"] = max(drifts) if len(drifts) == len(records) else None
    joined["torsions"] = [
        torsion
        for torsion in first.get("torsions") or []
        if all(torsion in one.get("torsions", ()) for one in records)
    ]
    joined["log_z"], joined["log_z_standard_error"] = _mean(
        [one.get("log_z") for one in records], [one.get("log_z_standard_error") for one in records]
    )
    return joined


def _mean(
    values: Sequence[float | None], errors: Sequence[float | None]
) -> tuple[float | None, float | None]:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None, None
    sure = [error for error in errors if error is not None and error > 0]
    if len(sure) < len(errors):
        return sum(known) / len(known), None
    weights = [error**-2 for error in sure]
    mean = sum(w * value for w, value in zip(weights, known, strict=True)) / sum(weights)
    return mean, sum(weights) ** -0.5


def _sums(parts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0) for part in parts) for name in names}


def _added(parts: Sequence[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: _sums([part.get(name, {}) for part in parts]) for name in names}
