"""What every objective returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """A loss to differentiate (None when no row was sound), and what to tell people about it.

    `parts` are the values, in nats a row, of the terms that it is the weighted sum of.
    """

    value: Tensor | None
    rows: int
    discarded: int
    energy_evaluations: int = 0
    parts: Mapping[str, float] = field(default_factory=dict)


def mean_loss(name: str, values: Tensor, energy_evaluations: int = 0) -> Loss:
    """The mean over the finite rows of `values` (B,); the others get no gradient."""
    sound = torch.isfinite(values)
    kept = values[sound]
    if not len(kept):
        return Loss(None, 0, len(values), energy_evaluations)
    mean = kept.mean()
    parts = {name: float(mean.detach())}
    return Loss(mean, len(kept), len(values) - len(kept), energy_evaluations, parts)
