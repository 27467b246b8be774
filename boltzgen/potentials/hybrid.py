"""A hybrid energy: a force field, with another potential for what is inside a region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from boltzgen.errors import BoltzgenError
from boltzgen.potentials.base import Potential
from boltzgen.potentials.fast.constants import Constants
from boltzgen.potentials.fast.evaluate import full_precision
from boltzgen.potentials.fast.memory import MemoryBlocks
from boltzgen.potentials.fast.value_with_gradient import (
    ValueWithGradient,
    check_positions,
    silence_unsound_rows,
)
from boltzgen.system.energy_model import LinkAtom

#: Largest number of rows treated at once; fewer where the memory that they are seen to take asks for it.
LARGEST_ROWS = 4096

#: nm; a conformation wider than this is not shown to the region's potential, which may fail on it.
LARGEST_EXTENT = 1e3


class HybridPotential(Potential):
    """``U = U_rest(all atoms) + U_region(region and link hydrogens)`` in kJ/mol.

    The rest is the force field without its energy inside the region. A link hydrogen stands at ``r_in + g
    (r_out - r_in)``; by the chain rule its force is shared out as (1 - g) and g to the ends of the bond.

    Attributes
    ----------
    rest: potential of all N atoms. region: potential of the region's atoms followed by the links.
    """

    energy_unit = "kJ/mol"

    def __init__(
        self,
        rest: Potential,
        region: Potential,
        atoms: Sequence[int],
        links: Sequence[LinkAtom],
        reference: np.ndarray,
    ) -> None:
        """`atoms`: indices of the region; `reference`: (N, 3) nm, shown in place of rows without sense."""
        super().__init__()
        self.rest, self.region = rest, region
        self.invariant = rest.invariant and region.invariant
        self.n_atoms = len(reference)
        self._memory = MemoryBlocks(LARGEST_ROWS)
        self._constants = Constants(
            atoms=np.array(atoms, dtype=np.int64),
            inside=np.array([link.inside for link in links], dtype=np.int64),
            outside=np.array([link.outside for link in links], dtype=np.int64),
            scale=np.array([link.scale for link in links], dtype=np.float64)[:, None],
            reference=np.array(reference, dtype=np.float64),
        )

    def energy(self, positions: Tensor) -> Tensor:
        """Energy (batch,) in kJ/mol of `positions` (batch, N, 3) in nm; differentiable once.

        A row that either potential cannot evaluate has an energy of inf or NaN and a gradient of zero.
        """
        check_positions(positions, self.n_atoms)
        return ValueWithGradient.apply(positions, self.energy_and_gradient)

    def region_positions(self, positions: Tensor) -> Tensor:
        """(batch, n + links, 3): what the region's potential sees of `positions` (batch, N, 3), nm."""
        c = self._constants.like(positions)
        inside, outside = positions[:, c["inside"]], positions[:, c["outside"]]
        return torch.cat([positions[:, c["atoms"]], inside + c["scale"] * (outside - inside)], dim=1)

    def energy_and_gradient(
        self, positions: Tensor, *, want_gradient: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Energies (batch,) kJ/mol and, if wanted, gradients (batch, N, 3) kJ/mol/nm, outside autograd."""
        energy = positions.new_empty(len(positions))
        gradient = torch.empty_like(positions) if want_gradient else None

        def work(block: slice) -> None:
            energy[block], slope = self._block(positions[block].detach(), want_gradient)
            if gradient is not None and slope is not None:
                gradient[block] = slope

        key = (positions.device, positions.dtype, want_gradient)
        self._memory.run(work, len(positions), positions.device, key)
        return energy, gradient

    def close(self) -> None:
        self.rest.close()
        self.region.close()

    def _block(self, positions: Tensor, want_gradient: bool) -> tuple[Tensor, Tensor | None]:
        x, sound = self._sound(positions)
        device = positions.device.type
        with torch.inference_mode(False), torch.set_grad_enabled(want_gradient), full_precision():
            with torch.autocast(device, enabled=False):
                x = x.clone().requires_grad_(want_gradient)
                several = x if len(x) > 1 else x.repeat(2, 1, 1)  # one row alone is rounded otherwise
                rest = self.rest.energy(several)[: len(x)]
                total = rest + self.region.energy(self.region_positions(x)).to(x.dtype)
                slope = torch.autograd.grad(total.sum(), x)[0] if want_gradient else None
        energy = torch.where(sound, total.detach(), torch.full_like(total, torch.nan))
        if slope is not None:
            slope = silence_unsound_rows(energy, slope)
        return energy, slope

    def _sound(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """`positions` with the reference in rows that are not finite or far too wide, and which are neither.

        A network of others may build lists of neighbours, where one such row would spoil the batch.
        """
        extent = (positions - positions[:, :1]).abs().amax(dim=(1, 2))
        sound = extent < LARGEST_EXTENT  # False for NaN
        reference = self._constants.like(positions)["reference"]
        return torch.where(sound[:, None, None], positions, reference), sound


#: nm; step of the central differences, and standard deviations of the perturbed conformations.
DIFFERENCE_STEP, PERTURBATIONS = 1e-4, (0.0, 0.002, 0.005, 0.01)

#: Directions tried in each conformation, and how well forces must agree with differences (relative).
DIRECTIONS, FORCE_TOLERANCE = 3, 1e-3


#: kJ/mol, and relative to the energy; what a second evaluation of a conformation may differ by.
ROWS_TOLERANCE, ROWS_RELATIVE = 0.01, 1e-6


def _check_rows(potential: HybridPotential, x: Tensor, energy: Tensor) -> None:
    """BoltzgenError where a conformation of `x` (C, N, 3) has not one `energy` (C,) kJ/mol of its own."""
    relative = 128 * torch.finfo(torch.float32).eps if potential.region.single_precision else ROWS_RELATIVE
    allowed = ROWS_TOLERANCE + relative * energy.abs()
    with torch.no_grad():
        again = potential.energy(x)
        alone = torch.cat([potential.energy(row[None]) for row in x])
    for found, which, cause in (
        (again, "when it is asked again", "dropout in training mode, for one"),
        (alone, "when it is evaluated alone", "batch normalisation in training mode, for one"),
    ):
        worst = float((found - energy).abs().max())
        if not bool(((found - energy).abs() <= allowed).all()):
            raise BoltzgenError(
                f"The machine-learned potential gives a conformation another energy {which}, by {worst:.2g} "
                f"kJ/mol ({cause}); every row needs one energy of its own. Write the model from its "
                "evaluation mode."
            )


def check_forces(potential: HybridPotential, reference: np.ndarray, *, seed: int = 1) -> dict[str, Any]:
    """Compare the forces of `potential` with central differences of its energies, in float64.

    On the `reference` (N, 3) nm and perturbed conformations, along random directions. A difference counts in
    relation to ``max(1 kJ/mol/nm, |gradient|)``. The result is JSON-able.

    Raises
    ------
    BoltzgenError: no finite energy at the reference, or forces that are not the slope of the energy.
    """
    generator = np.random.default_rng(seed)
    scale = np.array(PERTURBATIONS)[:, None, None]
    x = torch.tensor(reference + scale * generator.normal(size=(len(PERTURBATIONS), *reference.shape)))
    x.requires_grad_()
    energy = potential.energy(x)
    if not bool(torch.isfinite(energy).all()):
        where = "the reference structure" if not bool(torch.isfinite(energy[0])) else "a structure near it"
        raise BoltzgenError(
            f"The hybrid's energy of {where} is not finite; its machine-learned or quantum potential cannot "
            "evaluate this molecule. Check charge and structure."
        )
    _check_rows(potential, x.detach(), energy.detach())
    (gradient,) = torch.autograd.grad(energy.sum(), x)
    directions = torch.tensor(generator.normal(size=(DIRECTIONS, *reference.shape)))
    directions = directions / directions.flatten(1).norm(dim=1)[:, None, None]
    with torch.no_grad():
        step = DIFFERENCE_STEP * directions[None]
        shifted = torch.stack([x[:, None] + step, x[:, None] - step]).flatten(0, 2)
        high, low = potential.energy(shifted).reshape(2, len(x), DIRECTIONS)
    slope = (high - low) / (2 * DIFFERENCE_STEP)
    expected = torch.einsum("cai,dai->cd", gradient, directions)
    size = gradient.flatten(1).norm(dim=1).clamp_min(1.0)[:, None]
    worst = float(((slope - expected).abs() / size).max())
    tolerance = FORCE_TOLERANCE
    if potential.region.single_precision:
        rounding = torch.finfo(torch.float32).eps * energy.detach().abs().max()
        tolerance += float(4 * rounding / DIFFERENCE_STEP / size.min())
    if not worst <= tolerance:
        raise BoltzgenError(
            f"The forces of the hybrid differ from the slope of its energy by {worst:.1e} (relative; allowed "
            f"{tolerance:.0e}), so the machine-learned potential cannot be used."
        )
    return {
        "conformations": len(x),
        "directions": DIRECTIONS,
        "max_relative_force_difference": worst,
        "tolerance": tolerance,
        "reference_energy_kj_mol": float(energy[0].detach()),
    }
