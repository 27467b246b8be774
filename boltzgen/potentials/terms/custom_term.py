"""Terms without a hand-derived gradient: plain torch, batch innermost, autograd by blocks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from boltzgen.potentials.fast.fused import Kernel
from boltzgen.potentials.terms.native import Term


class BlockTerm(Term):
    """A term written for conformations innermost: x (N, 3, b) in nm -> (b,) kJ/mol.

    A subclass keeps each conformation in its own column, so that a bad one stays alone.
    """

    #: Rows of the largest tensor: what the block size is chosen by.
    rows: int = 1

    def energy(self, positions: Tensor) -> Tensor:
        return self.block_energy(positions.permute(1, 2, 0))

    @abstractmethod
    def block_energy(self, x: Tensor) -> Tensor:
        """Energy (b,) in kJ/mol of x (N, 3, b) in nm, differentiable any number of times."""


class AutogradKernel(Kernel):
    """The kernel of an energy without a hand-derived gradient: by autograd within one block.

    Parameters
    ----------
    block_energy: x (N, 3, b) in nm -> (b,) kJ/mol. rows: of its largest tensor.
    """

    def __init__(self, block_energy: Callable[[Tensor], Tensor], rows: int) -> None:
        super().__init__()
        self.block_energy, self.rows = block_energy, rows

    def evaluate(self, x: Tensor, cyclic: Tensor, energy: Tensor, gradient: Tensor | None) -> None:
        if gradient is None:
            energy += self.block_energy(x)
            return
        with torch.inference_mode(False), torch.enable_grad():
            inputs = x.clone().requires_grad_()
            value = self.block_energy(inputs)
            # a constant requires no gradient
            slope = torch.autograd.grad(value.sum(), inputs)[0] if value.requires_grad else None
        energy += value.detach()
        if slope is not None:
            gradient += slope
