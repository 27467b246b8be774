"""Weights for learning: importance weights of bounded variance, at the price of a bias in the loss alone.

Three ways, which may be combined. *Truncation*: no weight exceeds a share of the sum. *Trust region*: the
weights are raised to a power below one, so that the distribution that the flow learns next lies no further
than a given number of nats from the one that proposed the samples. That power is a temperature along the
geometric path from flow to target, found anew at every step; it reaches one by itself once the flow is near
the target. *Entropy*: it falls by no more than a given number of nats a step, so that the flow does not
narrow onto the modes that it happened to find first.

Under both bounds the flow learns what comes nearest to the target p, in KL(. || p), and keeps to them:
``q^(a/s) p^(1/s)`` with s = 1 + a + b, where a and b >= 0 are their Lagrange multipliers; constrained mass
transport (von Klitzing et al., arXiv 2510.18460), after Abdolmaleki et al., NeurIPS 2015.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy.optimize import brentq
from torch import Tensor

#: Bisections of the logarithm of the power, between `SMALLEST` and one; its error is below 1e-6.
BISECTIONS = 25
SMALLEST = 1e-12

#: Largest multiplier of the entropy, and its relative error.
LARGEST, PRECISION = 1e9, 1e-3


def training_weights(
    log_w: Tensor,
    log_q: Tensor,
    largest_share: float,
    *,
    trust_region: float | None = None,
    entropy_drop: float | None = None,
) -> Tensor:
    """Weights (B,) that sum to one, from finite `log_w`: first the bounds in nats, then the truncation.

    log_q: (B,) log density of what proposed the rows; read for the entropy alone.
    """

    def bounded(broaden: float) -> Tensor:
        """Log weights with `broaden` as multiplier of the entropy, and in the trust region."""
        log = (log_w - broaden * log_q) / (1 + broaden)
        return log if trust_region is None else trust_region_power(log, trust_region) * log

    broaden = 0.0
    if entropy_drop is not None:
        # in the trust region, the entropy rises with its multiplier
        broaden = _multiplier(lambda tried: entropy_drop - _entropy_drop(bounded(tried), log_q))
    return truncated_weights(bounded(broaden), largest_share)


def _multiplier(slack: Callable[[float], float]) -> float:
    """The smallest multiplier >= 0 for which `slack`, rising with it, is not negative; `LARGEST` at most."""
    if slack(0.0) >= 0:
        return 0.0
    if slack(LARGEST) < 0:
        return LARGEST
    root = brentq(lambda log: slack(math.exp(log)), math.log(SMALLEST), math.log(LARGEST), xtol=PRECISION)
    return math.exp(root)


def _entropy_drop(log_w: Tensor, log_q: Tensor) -> float:
    """Entropy of what proposed the rows less that of what they are weighed to by `log_w`."""
    shares = torch.softmax(log_w, dim=0)
    return float((shares * log_q).sum() - log_q.mean()) + _divergence(log_w)


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
