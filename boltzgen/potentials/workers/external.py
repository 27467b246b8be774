"""Energies from worker processes as a differentiable potential."""

from __future__ import annotations

import torch
from torch import Tensor

from boltzgen.potentials.base import Potential
from boltzgen.potentials.fast.value_with_gradient import (
    ValueWithGradient,
    check_positions,
    silence_unsound_rows,
)
from boltzgen.potentials.workers.pool import WorkerPool


class ExternalPotential(Potential):
    """The potential that the workers of `pool` evaluate: one conformation at a time, in float64.

    `close` ends the workers; the next energy starts them again.
    """

    energy_unit = "kJ/mol"

    def __init__(self, pool: WorkerPool) -> None:
        super().__init__()
        self.pool = pool

    @property
    def slow(self) -> bool:
        return True

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
        check_positions(positions, self.n_atoms)
        return ValueWithGradient.apply(positions, self.energy_and_gradient)

    @torch.no_grad()
    def energy_and_gradient(self, positions: Tensor, *, want_gradient: bool = True) -> tuple[Tensor, Tensor]:
        """Energy (batch,) kJ/mol and dE/dx (batch, N, 3) kJ/mol/nm, outside autograd; workers give both."""
        check_positions(positions, self.n_atoms)
        values, slopes = self.pool.evaluate(positions.detach().to("cpu", torch.float64).numpy())
        energy, gradient = torch.from_numpy(values).to(positions), torch.from_numpy(slopes).to(positions)
        return energy, silence_unsound_rows(energy, gradient)

    def close(self) -> None:
        self.pool.close()
