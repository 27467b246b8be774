"""Autograd's view of an energy that comes with its own gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from boltzgen.errors import BoltzgenError, InputError
from boltzgen.potentials.fast.evaluate import one_core

#: (positions, want_gradient=bool) -> energies (batch,) and, if wanted, gradients (batch, N, 3).
EnergyFunction = Callable[..., tuple[Tensor, Tensor | None]]


def check_positions(positions: Tensor, n_atoms: int) -> None:
    """InputError unless `positions` are (batch, n_atoms, 3) in float32 or float64."""
    if positions.ndim != 3 or tuple(positions.shape[1:]) != (n_atoms, 3):
        raise InputError(
            f"Positions have the shape {tuple(positions.shape)}; this potential needs "
            f"(batch, {n_atoms}, 3) in nm."
        )
    if positions.dtype not in (torch.float32, torch.float64):
        raise InputError(f"Positions are {positions.dtype}; give float32 or float64.")


def silence_unsound_rows(energy: Tensor, gradient: Tensor) -> Tensor:
    """`gradient` (batch, N, 3) with zeros in rows where it or `energy` (batch,) is not finite.

    So a loss that masks such a row does not multiply 0 by NaN.
    """
    finite = torch.isfinite(gradient.abs().amax(dim=(1, 2)) + energy.abs())
    return torch.where(finite[:, None, None], gradient, torch.zeros_like(gradient))


class ValueWithGradient(torch.autograd.Function):
    """The energies (batch,) of an `EnergyFunction`: the gradient is computed with the value and kept.

    First derivatives only.
    """

    @staticmethod
    def forward(ctx: Any, positions: Tensor, function: EnergyFunction) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        energy, gradient = function(positions, want_gradient=wanted)
        if wanted:
            ctx.save_for_backward(gradient, positions)
        return energy

    @staticmethod
    def backward(ctx: Any, grad_energy: Tensor) -> tuple[Tensor, None]:
        gradient, positions = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph: a second derivative may follow
            gradient = NoSecondDerivative.apply(gradient, positions)
        with one_core():
            return grad_energy[:, None, None] * gradient, None


class NoSecondDerivative(torch.autograd.Function):
    """Passes a gradient through, and refuses to be differentiated: a constant would be silently wrong."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, positions: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        raise BoltzgenError(
            "This energy has first derivatives only; take second ones of `energy_plain`, where the potential "
            "has it."
        )
