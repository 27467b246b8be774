"""Energies from worker processes as a differentiable potential."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from boltzgen.errors import InputError
from boltzgen.potentials.base import Potential
from boltzgen.potentials.evaluate import NoSecondDerivative
from boltzgen.potentials.worker_pool import WorkerPool


class ExternalPotential(Potential):
    """The potential that the workers of `pool` evaluate: one conformation at a time, in float64.

    `close` ends the workers; the next energy starts them again.
    """

    energy_unit = "kJ/mol"

    def __init__(self, pool: WorkerPool) -> None:
        super().__init__()
        self.pool = pool

    @property
    def n_atoms(self) -> int:
        return self.pool.n_atoms

    def energy(self, positions: Tensor) -> Tensor:
        """Energy (batch,) in kJ/mol of `positions` (batch, N, 3) in nm; differentiable once.

        A row that cannot be evaluated has an energy of NaN and a gradient of zero.

        Raises
        ------
        BoltzgenError: the workers cannot start or die again and again.
        """
        self._check(positions)
        return ExternalEnergy.apply(positions, self.pool)

    def energy_and_gradient(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Energy (batch,) kJ/mol and dE/dx (batch, N, 3) kJ/mol/nm, outside autograd."""
        self._check(positions)
        return external_energy_and_gradient(self.pool, positions)

    def close(self) -> None:
        self.pool.close()

    def _check(self, positions: Tensor) -> None:
        if positions.ndim != 3 or tuple(positions.shape[1:]) != (self.n_atoms, 3):
            raise InputError(
                f"Positions have the shape {tuple(positions.shape)}; this potential needs "
                f"(batch, {self.n_atoms}, 3) in nm."
            )
        if not positions.is_floating_point():
            raise InputError(f"Positions are {positions.dtype}; give float32 or float64.")


@torch.no_grad()
def external_energy_and_gradient(pool: WorkerPool, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Energies (batch,) and gradients (batch, N, 3) in the dtype and on the device of `positions`.

    The gradient of a row whose energy or gradient is not finite is zero, as in `evaluate`.
    """
    values, slopes = pool.evaluate(positions.detach().to("cpu", torch.float64).numpy())
    energy, gradient = torch.from_numpy(values).to(positions), torch.from_numpy(slopes).to(positions)
    largest = gradient.abs().amax(dim=(1, 2)) + energy.abs()
    gradient[~torch.isfinite(largest)] = 0.0
    return energy, gradient


class ExternalEnergy(torch.autograd.Function):
    """Autograd's view of a pool: the gradient comes with the value and is kept. First derivatives only."""

    @staticmethod
    def forward(ctx: Any, positions: Tensor, pool: WorkerPool) -> Tensor:
        energy, gradient = external_energy_and_gradient(pool, positions)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(gradient, positions)
        return energy

    @staticmethod
    def backward(ctx: Any, grad_energy: Tensor) -> tuple[Tensor, None]:
        gradient, positions = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph: a second derivative may follow
            gradient = NoSecondDerivative.apply(gradient, positions)
        return grad_energy[:, None, None] * gradient, None
