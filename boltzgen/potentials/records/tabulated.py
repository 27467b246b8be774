"""OpenMM's tabulated functions, as OpenMM's Reference platform evaluates them.

Continuous functions are cubic splines on a uniform grid: natural ones (second derivative 0 at the ends),
or periodic ones, and tensor products of them in two and three dimensions; outside its range a natural
spline is 0. Discrete functions take the nearest entry of a table, beyond its ends the first or the last
one, and have the derivative 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from boltzgen.errors import InputError
from boltzgen.potentials.fast.constants import Constants


@dataclass(frozen=True, eq=False)
class TabulatedFunction:
    """A table and how to read it; calling it evaluates it on tensors that broadcast.

    Attributes
    ----------
    values: float64, one axis an argument, ``values[i, j, k]``.
    limits: (first, last) argument of each axis; empty for a discrete function, whose arguments are indices.
    periodic: whether all axes are.

    Raises
    ------
    InputError
        When an axis is too short, or a periodic function does not end where it began.
    """

    values: np.ndarray
    limits: tuple[tuple[float, float], ...] = ()
    periodic: bool = False
    _constants: Constants = field(init=False, repr=False)

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        values.flags.writeable = False
        object.__setattr__(self, "values", values)
        tables = _power_coefficients(values, self.periodic) if self.limits else values.reshape(-1)
        object.__setattr__(self, "_constants", Constants(table=tables))

    @property
    def arity(self) -> int:
        """Number of arguments."""
        return self.values.ndim

    def __call__(self, *arguments: Tensor) -> Tensor:
        table = self._constants.like(arguments[0])["table"]
        arguments = torch.broadcast_tensors(*arguments)
        return self._spline(table, arguments) if self.limits else self._nearest(table, arguments)

    def _nearest(self, table: Tensor, arguments: tuple[Tensor, ...]) -> Tensor:
        index = torch.zeros_like(arguments[0], dtype=torch.int64)
        unknown = torch.zeros_like(arguments[0], dtype=torch.bool)
        for argument, size in zip(arguments, self.values.shape, strict=True):
            nearest = torch.trunc(argument.detach() + 0.5 * torch.sign(argument.detach()))
            index = index * size + nearest.nan_to_num().clamp(0, size - 1).long()
            unknown = unknown | nearest.isnan()
        return table[index].masked_fill(unknown, torch.nan)

    def _spline(self, table: Tensor, arguments: tuple[Tensor, ...]) -> Tensor:
        cell = torch.zeros_like(arguments[0], dtype=torch.int64)
        outside = torch.zeros_like(arguments[0], dtype=torch.bool)
        places = []
        for argument, size, (low, high) in zip(arguments, self.values.shape, self.limits, strict=True):
            if self.periodic:
                turns = (argument - low) / (high - low)
                place = (turns - turns.floor()) * (size - 1)
            else:
                outside = outside | (argument < low) | (argument > high)
                place = (argument.clamp(low, high) - low) * ((size - 1) / (high - low))
            lower = place.detach().floor().nan_to_num().clamp(0, size - 2)
            cell = cell * (size - 1) + lower.long()
            places.append(place - lower)
        value = table[cell]  # (..., 4, ..., 4): powers of the last argument innermost
        for place in reversed(places):
            t = place.reshape(*place.shape, *(1,) * (value.ndim - place.ndim - 1))
            value = ((value[..., 3] * t + value[..., 2]) * t + value[..., 1]) * t + value[..., 0]
        return torch.where(outside, torch.zeros_like(value), value)


def _power_coefficients(values: np.ndarray, periodic: bool) -> np.ndarray:
    """(cells, 4, ..., 4): the polynomial of each grid cell in the place within the cell, 0 to 1, by axis."""
    shortest = 3 if periodic else 2
    if min(values.shape) < shortest:
        raise InputError(
            f"A tabulated function has the shape {values.shape}; each axis needs {shortest} values at least."
        )
    coefficients = values
    for axis, size in enumerate(values.shape):
        # the axis becomes its cells; its powers go to the end
        try:
            ends = "periodic" if periodic else "natural"
            spline = CubicSpline(np.arange(size), coefficients, axis=axis, bc_type=ends)
        except ValueError as error:
            raise InputError(f"A tabulated function cannot be interpolated: {error}") from error
        coefficients = np.moveaxis(spline.c[::-1], (0, 1), (-1, axis))
    return coefficients.reshape(math.prod(size - 1 for size in values.shape), *(4,) * values.ndim)
