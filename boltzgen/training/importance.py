"""Weights for learning: importance weights of bounded variance, at the price of a bias in the loss alone.

Two ways, which may be combined. *Truncation*: no weight exceeds a share of the sum. *Trust region*: the
weights are raised to a power below one, so that the distribution that the flow learns next lies no further
than a given number of nats from the one that proposed the samples. That power is a temperature along the
geometric path from flow to target (as in annealed and constrained mass transport), found anew at every step;
it reaches one by itself once the flow is near the target.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Bisections of the logarithm of the power, between `SMALLEST` and one; its error is below 1e-6.
BISECTIONS = 25
SMALLEST = 1e-12


def training_weights(log_w: Tensor, largest_share: float, trust_region: float | None) -> Tensor:
    """Weights (B,) that sum to one, from finite `log_w`: first the trust region, then the truncation."""
    if trust_region is not None:
        log_w = trust_region_power(log_w, trust_region) * log_w
    return truncated_weights(log_w, largest_share)


def trust_region_power(log_w: Tensor, nats: float) -> float:
    """The largest power in [0, 1] for which ``KL(w^power / sum || uniform)`` is at most `nats`.

    The Kullback-Leibler divergence is that of the next target from the proposal, estimated on its samples;
    it rises with the power.
    """
    if _divergence(log_w) <= nats:
        return 1.0
    low, high = math.log(SMALLEST), 0.0
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        inside = _divergence(math.exp(middle) * log_w) <= nats
        low, high = (middle, high) if inside else (low, middle)
    return math.exp(low)


def _divergence(log_w: Tensor) -> float:
    log_shares = torch.log_softmax(log_w, dim=0)
    return float((log_shares.exp() * log_shares).sum()) + math.log(len(log_w))


def truncated_weights(log_w: Tensor, largest_share: float) -> Tensor:
    """Weights (B,) that sum to one: ``exp(log_w)``, finite, cut at one ceiling.

    The ceiling is the highest for which no weight exceeds `largest_share` of the sum; where there are too
    few rows for that, all weights are equal.
    """
    if len(log_w) * largest_share <= 1:
        return torch.full_like(log_w, 1 / max(len(log_w), 1))
    ordered = log_w.sort(descending=True)[0]
    cut = torch.arange(len(log_w), dtype=log_w.dtype, device=log_w.device) * largest_share
    rest = torch.logcumsumexp(ordered.flip(0), dim=0).flip(0)
    ceiling = rest + math.log(largest_share) - torch.log1p(-cut.clamp_max(1.0))
    fits = (cut < 1) & (ordered <= ceiling)
    return torch.softmax(torch.minimum(log_w, ceiling[fits.nonzero()[0]]), dim=0)
