"""Monotone rational-quadratic splines, on an interval and on the circle.

nflows has the interval form, but asserts on rounding and raises on inputs outside the interval, so that one
bad row ends a batch, it has no circle, and it brings tensorboard along. Here a bad row comes out as NaN, the
circle ties its two boundary slopes, parameters may be float32 while values are float64, and only the bin
that a value falls into is differentiated (1.2 to 1.4 times the speed). A test holds both forms to nflows.

Sources: Gregory & Delbourgo, IMA J. Numer. Anal. 2, 123 (1982); Durkan et al., Neural Spline Flows
(arXiv 1906.04032), eq. 4 to 8; circular form: Rezende et al. (arXiv 2002.02428).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

MIN_BIN = 1e-3
MIN_SLOPE = 1e-3

#: Unconstrained parameter whose slope is exactly one.
UNIT_SLOPE = math.log(math.expm1(1 - MIN_SLOPE))


def n_parameters(bins: int, circular: bool) -> int:
    """Parameters of one spline: widths, heights, inner slopes (and the tied outer one on a circle)."""
    return 3 * bins if circular else 3 * bins - 1


def spline(
    inputs: Tensor, parameters: Tensor, *, bound: float, circular: bool, inverse: bool
) -> tuple[Tensor, Tensor]:
    """Monotone map of [-bound, bound] to itself, elementwise; the identity outside when not circular.

    Parameters
    ----------
    inputs: (...) any shape; on a circle they must lie in [-bound, bound].
    parameters: (..., n_parameters(bins, circular)), unconstrained; zeros give the identity.
    inverse: the inverse map.

    Returns
    -------
    values and the log of the derivative, shape of `inputs`; NaN where an input or parameter is NaN.
    Differentiable once.
    """
    inside = (inputs >= -bound) & (inputs <= bound)
    safe = torch.where(inside, inputs, torch.zeros_like(inputs))
    x, width, y, height, first, second = _Bin.apply(safe.detach(), parameters, bound, circular, inverse)
    left_slope = MIN_SLOPE + functional.softplus(first)
    right_slope = MIN_SLOPE + functional.softplus(second)
    secant = height / width
    curvature = left_slope + right_slope - 2 * secant
    if inverse:
        rise = safe - y
        share = _share_of_bin(rise, height, secant, left_slope, curvature)
        values = x + share * width
    else:
        share = (safe - x) / width
        values = y + height * share * (secant * share + left_slope * (1 - share)) / (
            secant + curvature * share * (1 - share)
        )
    mixed = share * (1 - share)
    numerator = secant**2 * (right_slope * share**2 + 2 * secant * mixed + left_slope * (1 - share) ** 2)
    log_slope = torch.log(numerator) - 2 * torch.log(secant + curvature * mixed)
    log_slope = -log_slope if inverse else log_slope
    outside = ~inside & ~torch.isnan(inputs)
    return torch.where(outside, inputs, values + 0 * inputs), torch.where(
        outside, 0.0, log_slope + 0 * inputs
    )


def _share_of_bin(
    rise: Tensor, height: Tensor, secant: Tensor, left_slope: Tensor, curvature: Tensor
) -> Tensor:
    """Where in its bin a value `rise` above the bin's bottom comes from: eq. 6 to 8 of Durkan et al."""
    a = rise * curvature + height * (secant - left_slope)
    b = height * left_slope - rise * curvature
    c = -secant * rise
    return 2 * c / (-b - torch.sqrt((b**2 - 4 * a * c).clamp_min(0.0)))


class _Bin(torch.autograd.Function):
    """The bin of each input: left edge, width, bottom, height, and the two unconstrained slopes.

    Forward and backward touch every bin only to normalise widths and heights. Results have the dtype of
    the inputs; the parameters may be of lower precision.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, parameters: Tensor, bound: float, circular: bool, inverse: bool
    ) -> tuple[Tensor, ...]:
        bins = (parameters.shape[-1] + 1) // 3
        slopes = parameters[..., 2 * bins :]
        shares = torch.softmax(parameters[..., : 2 * bins].unflatten(-1, (2, bins)), dim=-1)
        lengths = 2 * bound * (MIN_BIN + (1 - MIN_BIN * bins) * shares)
        ends = lengths.cumsum(-1)
        searched = ends[..., 1, :] if inverse else ends[..., 0, :]
        place = inputs.to(parameters.dtype)[..., None] + bound
        index = torch.searchsorted(searched.contiguous(), place).clamp_max(bins - 1)
        both = index[..., None, :].expand(*index.shape[:-1], 2, 1)
        length = lengths.gather(-1, both)[..., 0]
        start = ends.gather(-1, both)[..., 0] - length - bound
        left, right = _slope_columns(index, bins, circular)
        first = _slopes_at(slopes, left)
        second = _slopes_at(slopes, right)
        ctx.save_for_backward(shares, index, left, right)
        ctx.bound, ctx.n_slopes, ctx.dtype = bound, slopes.shape[-1], parameters.dtype
        results = (start[..., 0], length[..., 0], start[..., 1], length[..., 1], first, second)
        return tuple(result.to(inputs.dtype) for result in results)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        shares, index, left, right = ctx.saved_tensors
        bins = shares.shape[-1]
        edge_x, width, edge_y, height, first, second = (gradient.to(ctx.dtype) for gradient in gradients)
        columns = torch.arange(bins, device=index.device)
        by_edge, by_length = torch.stack([edge_x, edge_y], -1), torch.stack([width, height], -1)
        before = (columns < index).unsqueeze(-2)
        here = (columns == index).unsqueeze(-2)
        to_length = torch.where(before, by_edge[..., None], torch.where(here, by_length[..., None], 0.0))
        to_length = to_length * (2 * ctx.bound * (1 - MIN_BIN * bins)) * shares
        to_share = to_length - shares * to_length.sum(-1, keepdim=True)
        to_slopes = torch.zeros(*index.shape[:-1], ctx.n_slopes + 1, dtype=ctx.dtype, device=index.device)
        to_slopes.scatter_add_(-1, left, first[..., None])
        to_slopes.scatter_add_(-1, right, second[..., None])
        return None, torch.cat([to_share.flatten(-2), to_slopes[..., :-1]], dim=-1), None, None, None


def _slope_columns(index: Tensor, bins: int, circular: bool) -> tuple[Tensor, Tensor]:
    """Columns of the slopes at the left and right edge of bin `index`; the extra column is slope one."""
    if circular:
        return index, (index + 1) % bins
    fixed = bins - 1
    return torch.where(index > 0, index - 1, fixed), torch.where(index < bins - 1, index, fixed)


def _slopes_at(slopes: Tensor, column: Tensor) -> Tensor:
    """Unconstrained slopes (...) at `column` (..., 1), moved so that zero is slope one."""
    known = column < slopes.shape[-1]
    value = slopes.gather(-1, torch.where(known, column, 0))
    return torch.where(known, value, 0.0)[..., 0] + UNIT_SLOPE
