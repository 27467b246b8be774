"""Rational-quadratic splines of nflows, made safe: the only file that imports nflows.

nflows asserts on its discriminant and raises on inputs outside the interval, so that one bad row ends
a batch, and it has no circular spline. Here bad rows are replaced before the call and come out as NaN,
and the circle ties the two boundary derivatives.

Source: Durkan, Bekasov, Murray, Papamakarios, Neural Spline Flows (arXiv 1906.04032); circular form:
Rezende et al., Normalizing Flows on Tori and Spheres (arXiv 2002.02428).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

MIN_BIN = 1e-3
MIN_DERIVATIVE = 1e-3

#: Unnormalised derivative that nflows turns into a slope of exactly one.
UNIT_SLOPE = math.log(math.expm1(1 - MIN_DERIVATIVE))


def n_parameters(bins: int, circular: bool) -> int:
    """Parameters of one spline: widths, heights, inner derivatives (and the tied outer one on a circle)."""
    return 3 * bins if circular else 3 * bins - 1


def spline(
    inputs: Tensor, parameters: Tensor, *, bound: float, circular: bool, inverse: bool
) -> tuple[Tensor, Tensor]:
    """Monotone map of [-bound, bound) to itself, elementwise; the identity outside when not circular.

    Parameters
    ----------
    inputs: (...,) any shape; on a circle they must lie in [-bound, bound].
    parameters: (..., n_parameters(bins, circular)), unconstrained; zeros give the identity.
    inverse: the inverse map.

    Returns
    -------
    values and the log of the derivative, shape of `inputs`; NaN where an input or parameter is not finite.
    """
    from nflows.transforms.splines.rational_quadratic import rational_quadratic_spline

    bins = (parameters.shape[-1] + 1) // 3
    sound = torch.isfinite(inputs) & torch.isfinite(parameters).all(dim=-1)
    inside = sound & (inputs > -bound) & (inputs < bound)
    safe_inputs = torch.where(inside, inputs, torch.zeros_like(inputs))
    safe = torch.where(sound[..., None], parameters, torch.zeros_like(parameters))
    widths, heights, derivatives = safe.split([bins, bins, safe.shape[-1] - 2 * bins], dim=-1)
    if circular:
        derivatives = torch.cat([derivatives, derivatives[..., :1]], dim=-1) + UNIT_SLOPE
    else:
        derivatives = functional.pad(derivatives, (1, 1)) + UNIT_SLOPE
    values, log_slopes = rational_quadratic_spline(
        safe_inputs, widths, heights, derivatives, inverse=inverse,
        left=-bound, right=bound, bottom=-bound, top=bound,
        min_bin_width=MIN_BIN, min_bin_height=MIN_BIN, min_derivative=MIN_DERIVATIVE,
    )  # fmt: skip
    values = torch.where(inside, values, inputs)
    log_slopes = torch.where(inside, log_slopes, torch.zeros_like(log_slopes))
    not_a_number = torch.full_like(values, torch.nan)
    return torch.where(sound, values, not_a_number), torch.where(sound, log_slopes, not_a_number)
