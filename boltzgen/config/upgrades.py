"""Models of older versions brought to the present one; the chain is that of `boltzgen.training.upgrades`.

A model is stored as ``flow/...`` (its weights) and ``seen/...`` (its record of training molecules, if any).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from boltzgen.errors import InputError
from boltzgen.flows.tensor_names import upgrade_tensor_names
from boltzgen.training.upgrades import (
    Step,
    Stored,
    flow_settings_from_1,
    in_part,
    shaped_by_weights,
)

#: What the schema of a model is called, and its present version.
MODEL, MODEL_VERSION = "boltzgen.model", 2

#: Numbers that described a coordinate before ring membership was among them, and after.
_BEFORE_RINGS, _WITH_RINGS = 115, 135


def with_new_features(weight: Tensor, place: int, count: int) -> Tensor:
    """Input `weight` (width, features) with `count` features more at `place`, which it does not look at.

    The network gives the same numbers as before, whatever the new features are.
    """
    new = torch.zeros(len(weight), count, dtype=weight.dtype)
    return torch.cat([weight[:, :place], new, weight[:, place:]], dim=1)


def _model_from_1(stored: Stored) -> Stored:
    """Version 2: keys of its own kind alone in `flow`; what version 1 was before its numbers were settled.

    Version 1 was written while its meaning still changed (generated weights in one row; coordinates without
    rings), so that the shapes say which it is.
    """
    settings = flow_settings_from_1(stored.record["flow"])
    hidden = int(settings["hidden"])
    stored = in_part(stored, "flow", lambda tensors: shaped_by_weights(tensors, hidden))
    if stored.record["n_features"] == _BEFORE_RINGS:
        stored = _with_rings(stored)
    record = {"features_version": 1, **stored.record, "flow": settings}
    return in_part(Stored(record, stored.tensors), "flow", upgrade_tensor_names)


def _with_rings(stored: Stored) -> Stored:
    """Ring membership among the features.

    Exact for model systems alone, which have no torsions: the features of those changed in the same hour.
    The record of training molecules is left out; its rows are without rings, too.
    """
    systems: list[dict[str, Any]] = stored.record["systems"]
    if not systems or not all(str(one["fingerprint"]).startswith("model:") for one in systems):
        raise InputError(
            f"it knows {_BEFORE_RINGS} features of a coordinate of a molecule, and the meaning of some has "
            "changed; the last boltzgen that reads it is its commit 73adcd3."
        )
    name = "flow/encoder.enter.0.weight"
    kept = {key: value for key, value in stored.tensors.items() if not key.startswith("seen/")}
    kept[name] = with_new_features(kept[name], _BEFORE_RINGS, _WITH_RINGS - _BEFORE_RINGS)
    return Stored({**stored.record, "n_features": _WITH_RINGS}, kept)


#: Version -> what makes the next one of it.
MODEL_STEPS: dict[int, Step] = {1: _model_from_1}
