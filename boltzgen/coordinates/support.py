"""Maps between the exact support of a coordinate and the real line."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def link(values: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Map (lower, upper) to the real line, elementwise; returns the value and the log of the slope.

    Both bounds infinite: identity. Only `lower` finite: ``log(x - lower)``. Both finite:
    ``log((x - lower) / (upper - x))``. Values outside the support give NaN or inf.
    """
    above, below = torch.log(values - lower), torch.log(upper - values)
    closed = torch.isfinite(upper)
    bounded = torch.isfinite(lower)
    linked = torch.where(closed, above - below, torch.where(bounded, above, values))
    width = torch.log(torch.where(closed, upper - lower, torch.ones_like(upper)))
    slope = torch.where(closed, width - above - below, torch.where(bounded, -above, torch.zeros_like(values)))
    return linked, slope


def unlink(linked: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse of `link`; returns the value and the log of the slope d(value)/d(linked)."""
    closed, bounded = torch.isfinite(upper), torch.isfinite(lower)
    width = torch.where(closed, upper - lower, torch.ones_like(upper))
    start = torch.where(bounded, lower, torch.zeros_like(lower))
    interval = start + width * torch.sigmoid(linked)
    half_line = start + torch.exp(torch.where(closed, torch.zeros_like(linked), linked.clamp(max=300.0)))
    values = torch.where(closed, interval, torch.where(bounded, half_line, linked))
    interval_slope = torch.log(width) + functional.logsigmoid(linked) + functional.logsigmoid(-linked)
    slope = torch.where(closed, interval_slope, torch.where(bounded, linked, torch.zeros_like(linked)))
    return values, slope
