"""The contract of every potential."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from boltzgen.units import thermal_energy


class Potential(nn.Module, ABC):
    """A batched, differentiable potential energy.

    Obligations of a subclass:

    * ``energy`` maps positions ``(batch, atoms, 3)`` in nm to energies ``(batch,)`` in kJ/mol
      (model systems: ``(batch, dimension)`` to energies in kT), in the dtype and on the device
      of `positions`, and is differentiable with respect to them.
    * A row depends on that row alone: coincident atoms, NaN or huge coordinates give inf or NaN
      for their own row and never raise.
    * ``energy_unit`` is ``"kJ/mol"`` or ``"kT"``.
    * ``invariant`` tells whether translations and rotations leave the energy as it is. Internal coordinates
      know nothing else, so `train` and `sample` refuse a molecule whose potential is not.
    * ``single_precision`` tells whether energies are rounded to seven digits whatever the positions' dtype.
    """

    energy_unit: str = "kJ/mol"
    invariant: bool = True
    single_precision: bool = False

    @abstractmethod
    def energy(self, positions: Tensor) -> Tensor:
        """Potential energy of each row of `positions`."""

    def reduced_energy(self, positions: Tensor, temperature: Tensor | float) -> Tensor:
        """``U / kT`` (batch,) of `positions` at `temperature` in K, a number or (batch,)."""
        return self.energy(positions) / thermal_energy(temperature, self.energy_unit)

    @property
    def slow(self) -> bool:
        """Whether an energy takes milliseconds a row, so that batches should be small."""
        return any(part.slow for part in self.children() if isinstance(part, Potential))

    @property
    def compilable_rows(self) -> int:
        """Rows of the widest tensor that compiling would speed up: the pairs of a molecule; 0 for nothing."""
        return max(
            (part.compilable_rows for part in self.children() if isinstance(part, Potential)), default=0
        )

    def use_compiler(self, enabled: bool = True) -> None:
        """Compile the energy on its first use, for each dtype, device and batch with or without gradients.

        Values stay the same to rounding. What cannot be compiled runs as before, after one warning. Unless a
        subclass says otherwise this is handed to the potentials inside.
        """
        for part in self.children():
            if isinstance(part, Potential):
                part.use_compiler(enabled)

    def close(self) -> None:
        """Give back what the potential holds beyond memory (worker processes); a later use takes it anew."""

    def forward(self, positions: Tensor) -> Tensor:
        return self.energy(positions)
