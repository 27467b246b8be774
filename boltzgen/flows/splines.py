"""Monotone rational-quadratic splines, on an interval and on the circle.

nflows has the interval form, but asserts on rounding and raises on inputs outside the interval, so that one
bad row ends a batch, it has no circle, and it brings tensorboard along. Here a bad row comes out as NaN, the
circle ties its two boundary slopes, and parameters may be float32 while values are float64. Parameters come
first and splines last, so that every operation runs along contiguous memory; the gradients are closed forms
that touch the bins that a value does not fall into only to normalise widths and heights (speed beside nflows:
tests/benchmarks/flow_speed.py). A test holds both forms and their gradients to nflows.

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
    first = parameters.movedim(-1, 0)
    return spline_by_parameter(inputs, first, bound=bound, circular=circular, inverse=inverse)


def spline_by_parameter(
    inputs: Tensor, parameters: Tensor, *, bound: float, circular: bool, inverse: bool
) -> tuple[Tensor, Tensor]:
    """`spline` with the parameters in the first dimension, (n_parameters, ...): the fast layout."""
    result: tuple[Tensor, Tensor] = _Spline.apply(inputs, parameters, bound, circular, inverse)
    return result


class _Spline(torch.autograd.Function):
    """Value and log slope have the dtype of the inputs, gradients that of what they belong to.

    A spline is ``x = start + share * width`` and ``y = bottom + height * ratio(share, ...)``, where the share
    and one of x and y are unknown. In backward, `by_x` and `by_y` are the gradients with respect to `start`
    and `bottom`; those with respect to everything else in the two equations follow from them.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, parameters: Tensor, bound: float, circular: bool, inverse: bool
    ) -> tuple[Tensor, Tensor]:
        inside = (inputs >= -bound) & (inputs <= bound)
        safe = torch.where(inside, inputs, 0.0)
        edges, slopes, place = _find_bin(safe, parameters, bound, circular, inverse)
        start, width, bottom, height = (edge.to(inputs.dtype) for edge in edges)
        left, right = (MIN_SLOPE + functional.softplus(slope).to(inputs.dtype) for slope in slopes)
        secant = height / width
        if inverse:
            share = _share_of_bin(safe - bottom, height, secant, left, right)
        else:
            share = (safe - start) / width
        ratio, slope = _rational(share, secant, left, right)
        values = torch.addcmul(start, share, width) if inverse else torch.addcmul(bottom, ratio, height)
        log_slope = torch.log(slope)
        ctx.save_for_backward(inside, width, height, share, left, right, *slopes, *place)
        ctx.bound, ctx.inverse, ctx.n_parameters = bound, inverse, len(parameters)
        log_slope = torch.where(inside, -log_slope if inverse else log_slope, 0 * inputs)
        return torch.where(inside, values, inputs), log_slope

    @staticmethod
    def backward(ctx: Any, to_values: Tensor, to_log_slope: Tensor) -> tuple[Tensor | None, ...]:
        inside, width, height, share, left, right, first, second, *place = ctx.saved_tensors
        by_value, by_log = (torch.where(inside, g, 0.0) for g in (to_values, to_log_slope))
        by_log = -by_log if ctx.inverse else by_log
        secant = height / width
        ratio, slope = _rational(share, secant, left, right)
        of_ratio, of_log_slope = _rational_gradients(share, secant, left, right, ratio)
        along = by_log * of_log_slope[0] / width
        if ctx.inverse:
            by_x, by_y = by_value, -(by_value + along) / slope
            to_inputs = -by_y
        else:
            by_x, by_y = -(by_value * slope + along), by_value
            to_inputs = -by_x
        by_ratio = by_y * height
        by_secant, by_left, by_right = (
            torch.addcmul(by_log * log_part, by_ratio, part)
            for part, log_part in zip(of_ratio, of_log_slope[1:], strict=True)
        )
        by_width = by_x * share - by_secant * secant / width
        by_height = by_y * ratio + by_secant / width
        dtype = first.dtype
        to_parameters = _to_parameters(
            torch.stack([by_x, by_y]).to(dtype),
            torch.stack([by_width, by_height]).to(dtype),
            (by_left.to(dtype) * torch.sigmoid(first), by_right.to(dtype) * torch.sigmoid(second)),
            place,
            ctx.bound,
            ctx.n_parameters,
        )
        return torch.where(inside, to_inputs, to_values), to_parameters, None, None, None


def _find_bin(
    inputs: Tensor, parameters: Tensor, bound: float, circular: bool, inverse: bool
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The bin of each input, in the precision of the parameters.

    Returns its left edge, width, bottom and height; its two unconstrained slopes; and what `_to_parameters`
    needs to know of it.
    """
    bins = (len(parameters) + 1) // 3
    shares = torch.softmax(parameters[: 2 * bins].unflatten(0, (2, bins)), dim=1)
    lengths = 2 * bound * (MIN_BIN + (1 - MIN_BIN * bins) * shares)
    ends = lengths.cumsum(1)
    place = inputs.to(parameters.dtype) + bound
    index = (place > ends[int(inverse), :-1]).sum(dim=0, keepdim=True)
    both = index.expand(2, *index.shape)
    length = lengths.gather(1, both)
    start = ends.gather(1, both) - length - bound
    slopes = parameters[2 * bins :]
    if circular:
        columns = index, (index + 1) % bins
    else:
        columns = torch.where(index > 0, index - 1, bins - 1), index
    edges = (start[0, 0], length[0, 0], start[1, 0], length[1, 0])
    return edges, tuple(_slopes_at(slopes, column) for column in columns), (shares, index, *columns)


def _slopes_at(slopes: Tensor, column: Tensor) -> Tensor:
    """Unconstrained slopes at `column` (1, ...), moved so that zero is slope one; beyond the last, zero."""
    known = column < len(slopes)
    return torch.where(known, slopes.gather(0, torch.where(known, column, 0)), 0.0)[0] + UNIT_SLOPE


def _to_parameters(
    by_start: Tensor,
    by_length: Tensor,
    by_slopes: tuple[Tensor, Tensor],
    place: list[Tensor],
    bound: float,
    n_parameters: int,
) -> Tensor:
    """Gradient of the parameters from those of a bin's two starts (2, ...), lengths (2, ...) and slopes."""
    shares, index, left, right = place
    bins = shares.shape[1]
    result = shares.new_empty(3 * bins, *shares.shape[2:])
    result[2 * bins :].zero_()
    columns = torch.arange(bins, device=index.device).view(-1, *(1,) * (index.dim() - 1))
    to_shares = torch.where(columns < index, by_start[:, None], 0.0)
    to_shares = torch.where(columns == index, by_length[:, None], to_shares)
    to_shares *= shares
    to_shares.addcmul_(shares, to_shares.sum(dim=1, keepdim=True), value=-1)
    torch.mul(to_shares.flatten(0, 1), 2 * bound * (1 - MIN_BIN * bins), out=result[: 2 * bins])
    result[2 * bins :].scatter_add_(0, left, by_slopes[0][None])
    result[2 * bins :].scatter_add_(0, right, by_slopes[1][None])
    return result[:n_parameters]


def _rational(share: Tensor, secant: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Rise over height where `share` of the bin's width is passed, and the slope there (eq. 4 and 5)."""
    mixed, rest = share * (1 - share), 1 - share
    over = 1 / (secant + (left + right - 2 * secant) * mixed)
    ratio = (secant * share**2 + left * mixed) * over
    slope = (secant * over) ** 2 * (right * share**2 + 2 * secant * mixed + left * rest**2)
    return ratio, slope


def _rational_gradients(
    share: Tensor, secant: Tensor, left: Tensor, right: Tensor, ratio: Tensor
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Of `_rational`: the ratio's derivatives by secant, left, right; the log slope's by share and those."""
    rest, twist = 1 - share, 1 - 2 * share
    mixed, square, rest_square = share * rest, share**2, rest**2
    curvature = left + right - 2 * secant
    over = 1 / (secant + curvature * mixed)
    weight = 1 / (right * square + 2 * secant * mixed + left * rest_square)
    pull, doubled = mixed * over, 2 * over * mixed
    of_ratio = (square * over - ratio * over * (1 - 2 * mixed), pull * (1 - ratio), -pull * ratio)
    of_log_slope = (
        2 * (right * share + secant * twist - left * rest) * weight - 2 * curvature * twist * over,
        2 / secant + 2 * mixed * weight - 2 * over * (1 - 2 * mixed),
        rest_square * weight - doubled,
        square * weight - doubled,
    )
    return of_ratio, of_log_slope


def _share_of_bin(rise: Tensor, height: Tensor, secant: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Where in its bin a value `rise` above the bin's bottom comes from: eq. 6 to 8 of Durkan et al."""
    bend = rise * (left + right - 2 * secant)
    a = bend + height * (secant - left)
    b = height * left - bend
    c = -secant * rise
    return 2 * c / (-b - torch.sqrt((b**2 - 4 * a * c).clamp_min(0.0)))
