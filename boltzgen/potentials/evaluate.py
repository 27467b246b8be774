"""Runs kernels over a batch, block by block, and hands value and gradient to autograd."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

from boltzgen.errors import BoltzgenError
from boltzgen.potentials.fused import BLOCK_ELEMENTS_CPU, BLOCK_ELEMENTS_DEVICE, Kernel


def block_size(kernels: Sequence[Kernel], device: torch.device) -> int:
    """Conformations of one block: a multiple of 16, so that each one meets the same vector instructions."""
    rows = max((kernel.rows for kernel in kernels), default=1) or 1  # a hybrid may leave no pair to compute
    if device.type == "cpu":
        return max(32, min(1024, BLOCK_ELEMENTS_CPU // rows // 16 * 16))
    return max(64, BLOCK_ELEMENTS_DEVICE // rows)


@cache
def keep_freed_memory() -> None:
    """Once a process: make glibc keep freed blocks of up to 28 MB instead of returning them to the system.

    Its thresholds follow the largest block that was ever freed. Without this, every temporary of a
    few hundred kilobytes is mapped and cleared anew, which costs a third of the speed.
    """
    torch.empty(28 * 2**20, dtype=torch.uint8)


@contextmanager
def one_core() -> Iterator[None]:
    """Run each operation on one core, then restore the caller's number of threads.

    The operations of a block are a few microseconds long; a barrier among threads after each of
    them gains little on two idle cores and loses tenfold when another program takes one of them.
    Also, a row's energy is then the same, bit for bit, for any number of threads.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def full_precision() -> Iterator[None]:
    """Matrix products without TF32 or bfloat16, whatever the network around them has asked for."""
    asked = torch.get_float32_matmul_precision()
    if asked == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(asked)


@torch.no_grad()
def energy_and_gradient(
    kernels: Sequence[Kernel], positions: Tensor, *, want_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Energies (batch,) kJ/mol and, if wanted, gradients (batch, N, 3) kJ/mol/nm of `positions` in nm.

    The gradient of a row whose energy or gradient is not finite is zero, so that a loss that masks
    such a row does not multiply 0 by NaN.
    """
    if positions.device.type == "cpu":
        keep_freed_memory()
    energy = positions.new_zeros(len(positions))
    gradient = torch.empty_like(positions, memory_format=torch.contiguous_format) if want_gradient else None
    size = block_size(kernels, positions.device)
    with one_core(), full_precision():
        for start in range(0, len(positions), size):
            block = slice(start, start + size)
            rows = None if gradient is None else gradient[block]
            _evaluate_block(kernels, positions[block], energy[block], rows)
    return energy, gradient


def _evaluate_block(
    kernels: Sequence[Kernel], positions: Tensor, energy: Tensor, gradient: Tensor | None
) -> None:
    """Write the energies and gradients of one block into `energy` (zeros) and `gradient`."""
    x = positions.permute(1, 2, 0).contiguous()
    slopes = None if gradient is None else torch.zeros_like(x)
    cyclic = torch.cat([x, x[:, :2]], dim=1)
    with torch.autocast(positions.device.type, enabled=False):
        for kernel in kernels:
            kernel.evaluate(x, cyclic, energy, slopes)
    if gradient is not None and slopes is not None:
        largest = slopes.abs().amax(dim=(0, 1)).add_(energy.abs())
        slopes.masked_fill_(~torch.isfinite(largest), 0.0)
        gradient.copy_(slopes.permute(2, 0, 1))


class FusedEnergy(torch.autograd.Function):
    """Autograd's view of `energy_and_gradient`: the gradient is computed with the value and kept."""

    @staticmethod
    def forward(ctx: Any, positions: Tensor, kernels: Sequence[Kernel]) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        energy, gradient = energy_and_gradient(kernels, positions, want_gradient=wanted)
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
            "The fast energy of a molecule has first derivatives only; take second derivatives of "
            "MolecularMechanics.energy_plain."
        )
