"""Stored pairs: conformations whose energies are known, from a simulation or from the flow itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from boltzgen.conditioning.context import Context


@dataclass(frozen=True, eq=False)
class Pairs:
    """A padded batch of conformations and their reduced energies, one row each.

    Attributes
    ----------
    coordinates: (B, D) float64. context: molecule and temperature of each row.
    reduced: (B,) float64, ``u`` less the log-determinant of the coordinates: up to one constant for each
        molecule and temperature it is ``-log`` of the target's density in the coordinates. NaN where no
        energy is known.
    """

    coordinates: Tensor
    context: Context
    reduced: Tensor

    @property
    def groups(self) -> Tensor:
        """(B,) long: rows of one molecule at one temperature share a number."""
        return torch.unique(
            torch.stack([self.context.molecule.to(torch.float64), self.context.temperature], dim=1),
            dim=0,
            return_inverse=True,
        )[1]
