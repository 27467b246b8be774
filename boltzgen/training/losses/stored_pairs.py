"""One pass of the flow over conformations with known energies: their likelihood, and log-dispersion."""

from __future__ import annotations

import torch

from boltzgen.flows.base import Flow
from boltzgen.training.losses.log_dispersion import log_dispersion
from boltzgen.training.losses.loss import Loss
from boltzgen.training.pairs import Pairs


def stored_pairs_loss(
    flow: Flow, pairs: Pairs, name: str, dispersion: float, knee: float, *, likely: int | None = None
) -> Loss:
    """Likelihood and `dispersion` times log-dispersion of `pairs`, from one pass of the flow.

    likely: rows, the first ones, that follow the target and have the likelihood; all when not given.

    The likelihood ``-E[log q]`` is the forward Kullback-Leibler divergence up to a constant: pairs at another
    temperature or potential are resampled by their importance weights before they come here. Rows without
    density, or without energy where it is needed, are discarded and counted. The likelihood goes by `name` in
    the metrics, the log-dispersion by ``name_dispersion``.
    """
    density = flow.log_prob(pairs.coordinates, flow.embed(pairs.context))
    sound = torch.isfinite(density)
    if dispersion > 0:
        sound = sound & torch.isfinite(pairs.reduced)
    first = int(sound[:likely].sum())
    if not first:
        return Loss(None, 0, len(density))
    kept = density[sound]
    value = -kept[:first].mean()
    parts = {name: float(value.detach())}
    if dispersion > 0:
        spread = log_dispersion(kept + pairs.reduced[sound], pairs.groups[sound], knee)
        parts[f"{name}_dispersion"] = float(spread.detach())
        value = value + dispersion * spread
    return Loss(value, len(kept), len(density) - len(kept), parts=parts)
