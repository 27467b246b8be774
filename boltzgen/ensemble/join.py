"""Ensembles put together: what may be joined, what may not, and what the whole then knows of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from boltzgen.ensemble.chains.record import joined_records
from boltzgen.ensemble.chains.walkers import CHAIN_FIELDS, renumbered
from boltzgen.ensemble.diagnostics import VERDICTS, weights_are_constant
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.repeats import CHANCE_SHARE, may_coincide, repeated_rows
from boltzgen.errors import InputError

#: What may not differ between ensembles that are joined.
IDENTITY = ("measure", "system_fingerprint", "temperature", "domain", "topology_pdb")

#: Counts of a draw, which add up.
_COUNTS = ("requested", "energy_evaluations")

#: Columns of an ensemble other than positions.
_COLUMNS = ("log_q", "u", "log_w", "valid", "reason")


def concatenate(
    parts: Sequence[Ensemble], *, names: Sequence[str] = (), positions: np.ndarray | None = None
) -> Ensemble:
    """All rows of `parts` in order, each with what belongs to it.

    `names` are those of the parts in messages (their numbers by default). `positions` are those of all
    parts, when the caller already has them in one array.

    Weights are all on one scale, that of ``exp(-u) / q`` with a normalised q, so that parts drawn from
    different flows may be joined, too. A coverage record survives when all parts share it; of several
    records about one flow and one set of target samples the worst does. ``requested`` and
    ``energy_evaluations`` add up, seeds, notes and different models are listed, other keys of the
    provenance survive where they are equal. Walkers and groups are numbered anew, part after part, but for
    shards of one draw, whose walkers are the same.

    Raises InputError when measures, domains, systems, topologies or temperatures differ, when only some
    parts are of walkers, and when a sample occurs in two parts: it would count twice.
    """
    if not parts:
        raise InputError("nothing to join: the list of ensembles is empty.")
    first, labels = parts[0], list(names) or [f"ensemble {number}" for number in range(len(parts))]
    for label, other in zip(labels[1:], parts[1:], strict=True):
        for name in IDENTITY:
            if getattr(first, name) != getattr(other, name):
                raise InputError(_mixing_message(name, labels[0], label, first, other))
    if first.positions.shape[1:] != parts[-1].positions.shape[1:]:
        raise InputError(f"{labels[0]} and {labels[-1]} differ in the number of coordinates.")
    if len(parts) == 1:
        return first
    _refuse_mixture(parts, labels)
    _refuse_repeats(parts, labels)
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS
    }
    provenance = _joined([part.provenance for part in parts])
    if walkers := [part.walkers for part in parts if part.walkers is not None]:
        if _of_one_draw(parts):
            arrays |= {name: np.concatenate([getattr(one, name) for one in walkers]) for name in CHAIN_FIELDS}
        else:
            arrays |= renumbered(walkers)
            provenance["chains"] = joined_records([part.provenance.get("chains") or {} for part in parts])
        if all(weights_are_constant(part.log_w) for part in parts):  # one target, one ln Z
            log_z = (provenance.get("chains") or {}).get("log_z")
            arrays["log_w"] = np.full(len(arrays["u"]), log_z or 0.0)
            arrays["log_q"] = -arrays["u"] - arrays["log_w"]
    if positions is None:
        positions = np.concatenate([part.positions for part in parts])
    return replace(
        first, positions=positions, **arrays, coverage=_joined_coverage(parts), provenance=provenance
    )


def same_draw(first: Ensemble, second: Ensemble) -> bool:
    """True when model and seed are recorded and the same: batches may differ, random numbers do not.

    Shards of one draw, which say which rows they hold, are as independent as its rows.
    """
    one, other = first.provenance, second.provenance
    if _model(one) is None or _model(one) != _model(other):
        return False
    if not set(_seeds(one)) & set(_seeds(other)):
        return False
    if "rows" in one and "rows" in other:
        return bool(one["rows"][0] < other["rows"][1] and other["rows"][0] < one["rows"][1])
    return True


def _of_one_draw(parts: Sequence[Ensemble]) -> bool:
    """Whether `parts` are shards of one draw: other rows of the same model and seed."""
    first = parts[0].provenance
    return all(
        "rows" in part.provenance
        and all(part.provenance.get(key) == first.get(key) for key in ("seed", "model"))
        for part in parts
    )


def _refuse_mixture(parts: Sequence[Ensemble], labels: Sequence[str]) -> None:
    """InputError for walkers beside independent samples: their weights are not on one scale."""
    chained = [part.walkers is not None for part in parts]
    if any(chained) and not all(chained):
        one, other = labels[chained.index(True)], labels[chained.index(False)]
        raise InputError(
            f"{one} holds samples of walkers and {other} independent ones, which have no weights on one "
            "scale; join folders of one kind."
        )


def _refuse_repeats(parts: Sequence[Ensemble], labels: Sequence[str]) -> None:
    """InputError when rows of one part are found in another; repeats inside one part are its own affair."""
    pairs = repeated_rows(parts, one_draw=_of_one_draw(parts))
    owner = np.searchsorted(np.cumsum([len(part) for part in parts]), pairs, side="right")
    across = owner[:, 0] != owner[:, 1]
    if not across.any():
        return
    one, other = owner[across][0]
    number = int(np.sum(np.all(owner[across] == (one, other), axis=1)))
    if may_coincide(parts[0]) and number <= CHANCE_SHARE * min(len(parts[one]), len(parts[other])):
        return
    raise InputError(
        f"{labels[one]} and {labels[other]} share {number} samples (row {pairs[across][0, 0]} of all, for "
        "one), which would count twice; draw one of them again with another `seed`."
    )


def _mixing_message(name: str, first_label: str, label: str, first: Ensemble, other: Ensemble) -> str:
    what = {"system_fingerprint": "system", "topology_pdb": "topology"}.get(name, name)
    values = "" if what == "topology" else f" ({getattr(first, name)} and {getattr(other, name)})"
    return (
        f"{first_label} and {label} differ in {what}{values}; "
        "join only samples of one system, measure, domain and temperature."
    )


def _joined_coverage(parts: Sequence[Ensemble]) -> dict[str, Any] | None:
    """The record that all share; of records about one model and source, the worst; None otherwise."""
    records = [part.coverage for part in parts]
    first = records[0]
    if all(record == first for record in records):
        return first
    about = {(str(part.provenance.get("model")), str((part.coverage or {}).get("source"))) for part in parts}
    if None in records or len(about) > 1 or "None" in next(iter(about)):
        return None
    return max((r for r in records if r is not None), key=lambda r: VERDICTS.index(r["verdict"]))


def _joined(provenances: list[dict[str, Any]]) -> dict[str, Any]:
    first = provenances[0]
    joined = {k: v for k, v in first.items() if all(p.get(k) == v for p in provenances)}
    for key in _COUNTS:
        joined.pop(key, None)
        if all(isinstance(p.get(key), int) for p in provenances):
            joined[key] = sum(p[key] for p in provenances)
    if refined := list({repr(r): r for p in provenances for r in p.get("refined", ())}.values()):
        joined["refined"] = refined  # one refined part is enough for weights that are not the flow's
    if notes := list(dict.fromkeys(note for p in provenances for note in p.get("notes", ()))):
        joined["notes"] = notes
    if len(models := list(dict.fromkeys(str(p.get("model")) for p in provenances))) > 1:
        joined["models"] = models
    if len(provenances) > 1 and all("seed" in p for p in provenances):
        seeds = list(dict.fromkeys(seed for p in provenances for seed in _seeds(p)))
        joined["seed"] = seeds[0] if len(seeds) == 1 else seeds
    return joined


def _model(provenance: dict[str, Any]) -> Any:
    """The model that drew the samples; of reweighted ones it is named in ``drawn_by``."""
    return provenance.get("model") or (provenance.get("drawn_by") or {}).get("model")


def _seeds(provenance: dict[str, Any]) -> list[Any]:
    seeds = provenance.get("seed")
    if seeds is None:
        return []
    return list(seeds) if isinstance(seeds, list) else [seeds]
