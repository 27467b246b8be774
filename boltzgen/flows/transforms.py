"""The maps of one coordinate that all flows share: a spline with a shift, a scale or a rotation before it.

Parameters come in the first dimension and rows in the last, the layout in which splines are fast.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from boltzgen.coordinates.base import wrap_angle
from boltzgen.flows.splines import spline_by_parameter

#: Splines of whitened coordinates act on [-BOUND, BOUND] standard deviations; the identity outside.
BOUND = 7.0

#: Largest absolute log of a scale.
WIDEST = 3.0

#: Temperature (K) at which `temperature_input` is zero.
REFERENCE_TEMPERATURE = 300.0

#: Multiples of an angle whose cosine and sine networks see; three for the rotation of a methyl group.
HARMONICS = (1, 2, 3)


def temperature_input(temperature: Tensor) -> Tensor:
    """(b, 2) what networks see of temperatures (b,) K: their logarithm and its square."""
    logarithm = torch.log(temperature / REFERENCE_TEMPERATURE)
    return torch.stack([logarithm, logarithm**2], dim=1)


def affine_spline(values: Tensor, parameters: Tensor, *, inverse: bool) -> tuple[Tensor, Tensor]:
    """Shift, scale and spline of whitened coordinates `values` (...); the map's value and log slope.

    parameters: (shift, log scale, spline...) in the first dimension, (n, ...).
    """
    affine, bins = parameters.split([2, len(parameters) - 2])
    shift, log_scale = affine.to(values.dtype).unbind()
    log_scale = torch.tanh(log_scale / WIDEST) * WIDEST
    if inverse:
        values, log_slope = spline_by_parameter(values, bins, bound=BOUND, circular=False, inverse=True)
        return values * torch.exp(log_scale) + shift, log_slope + log_scale
    values = (values - shift) * torch.exp(-log_scale)
    values, log_slope = spline_by_parameter(values, bins, bound=BOUND, circular=False, inverse=False)
    return values, log_slope - log_scale


def circular_spline(values: Tensor, parameters: Tensor, *, inverse: bool) -> tuple[Tensor, Tensor]:
    """Rotation and circular spline of angles in [-pi, pi); parameters are (rotation, spline...)."""
    rotation, bins = parameters[0].to(values.dtype), parameters[1:]
    if inverse:
        values, log_slope = spline_by_parameter(values, bins, bound=math.pi, circular=True, inverse=True)
        return wrap_angle(values - rotation), log_slope
    turned = wrap_angle(values + rotation)
    return spline_by_parameter(turned, bins, bound=math.pi, circular=True, inverse=False)


class WeightGenerator(nn.Module):
    """A linear map from token embeddings to weights, scaled so that an Adam step moves a weight by its rate.

    Embeddings have unit variance in each of their dimensions, so the sum is divided by their number
    (the scaling of Yang et al., arXiv 2203.03466); `std` is the spread of the weights at the start. The
    parameters keep the `shape` of the weights of one token, whose dimensions the optimizer tells apart.
    """

    def __init__(self, embedding: int, shape: tuple[int, ...], *, std: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(*shape, embedding) * std * math.sqrt(embedding))
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, embeddings: Tensor) -> Tensor:
        """(..., *shape) from embeddings (..., embedding)."""
        weight, bias = self.weight.flatten(0, -2), self.bias.flatten()
        flat = functional.linear(embeddings / embeddings.shape[-1], weight, bias)
        return flat.unflatten(-1, self.bias.shape)

    def matrix(self) -> Tensor:
        """(*shape, embedding + 1): times an embedding and a one it gives the weights, as `forward` does."""
        return torch.cat([self.weight / self.weight.shape[-1], self.bias[..., None]], dim=-1)
