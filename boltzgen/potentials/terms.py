"""One module per physical term of a molecular-mechanics energy: the definition of record.

These are plain torch expressions, written to be read, differentiable any number of times. The fast
path in `fused` gives the same values with hand-derived gradients and is tested against them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from boltzgen.potentials.parameters import ForceFieldParameters

#: Coulomb constant 1/(4 pi epsilon0) in kJ nm/mol/e2, as every OpenMM force holds it (CODATA 2018).
COULOMB_CONSTANT = 138.93545764438198

#: Onufriev, Bashford and Case, Proteins 55, 383 (2004), model II; lengths in nm.
OBC_ALPHA, OBC_BETA, OBC_GAMMA = 1.0, 0.8, 4.85
DIELECTRIC_OFFSET = 0.009
PROBE_RADIUS = 0.14


class Constants:
    """Named float64 and integer arrays, handed out as tensors of any dtype on any device.

    The master copy stays in float64, so a potential that was once used in float32 loses nothing.
    """

    def __init__(self, **arrays: np.ndarray) -> None:
        self._master = {name: torch.as_tensor(np.array(array)) for name, array in arrays.items()}
        self._copies: dict[tuple[torch.dtype, torch.device], dict[str, Tensor]] = {}

    def like(self, positions: Tensor) -> dict[str, Tensor]:
        """The arrays on the device of `positions`, floating ones in its dtype."""
        key = (positions.dtype, positions.device)
        if key not in self._copies:
            with torch.inference_mode(False):  # a first call in inference mode must not mark them for ever
                self._copies[key] = {
                    name: value.to(key[1], key[0] if value.is_floating_point() else value.dtype)
                    for name, value in self._master.items()
                }
        return self._copies[key]


class Term(nn.Module, ABC):
    """One term of the energy: positions (batch, N, 3) in nm -> (batch,) kJ/mol."""

    #: Key of this term in ``MolecularMechanics.energy_by_term``.
    name: str
    #: True for bonds, angles and torsions.
    bonded: bool = False

    def __init__(self, **arrays: np.ndarray) -> None:
        super().__init__()
        self.constants = Constants(**arrays)

    def forward(self, positions: Tensor) -> Tensor:
        return self.energy(positions)

    @abstractmethod
    def energy(self, positions: Tensor) -> Tensor:
        """Energy of this term for each row of `positions`."""


class HarmonicBond(Term):
    """``sum k/2 (r - r0)^2``."""

    name, bonded = "bond", True

    def __init__(self, parameters: ForceFieldParameters) -> None:
        super().__init__(
            atoms=parameters.bond_atoms, length=parameters.bond_length, stiffness=parameters.bond_stiffness
        )

    def energy(self, positions: Tensor) -> Tensor:
        c = self.constants.like(positions)
        first, second = c["atoms"].T
        distance = (positions[:, first] - positions[:, second]).norm(dim=-1)
        return (0.5 * c["stiffness"] * (distance - c["length"]) ** 2).sum(-1)


class HarmonicAngle(Term):
    """``sum k/2 (theta - theta0)^2``; the angle by atan2, sound also where it is 0 or pi."""

    name, bonded = "angle", True

    def __init__(self, parameters: ForceFieldParameters) -> None:
        super().__init__(
            atoms=parameters.angle_atoms,
            equilibrium=parameters.angle_equilibrium,
            stiffness=parameters.angle_stiffness,
        )

    def energy(self, positions: Tensor) -> Tensor:
        c = self.constants.like(positions)
        first, apex, last = c["atoms"].T
        one, two = positions[:, first] - positions[:, apex], positions[:, last] - positions[:, apex]
        angle = torch.atan2(torch.linalg.cross(one, two).norm(dim=-1), (one * two).sum(-1))
        return (0.5 * c["stiffness"] * (angle - c["equilibrium"]) ** 2).sum(-1)


class PeriodicTorsion(Term):
    """``sum k (1 + cos(n phi - phase))``, proper and improper; IUPAC sign, trans at pi."""

    name, bonded = "torsion", True

    def __init__(self, parameters: ForceFieldParameters) -> None:
        super().__init__(
            atoms=parameters.torsion_atoms,
            periodicity=parameters.torsion_periodicity.astype(np.float64),
            phase=parameters.torsion_phase,
            barrier=parameters.torsion_barrier,
        )

    def energy(self, positions: Tensor) -> Tensor:
        c = self.constants.like(positions)
        i, j, k, m = c["atoms"].T
        one, axis, two = (positions[:, b] - positions[:, a] for a, b in ((i, j), (j, k), (k, m)))
        normal_one, normal_two = torch.linalg.cross(one, axis), torch.linalg.cross(axis, two)
        sine = axis.norm(dim=-1) * (one * normal_two).sum(-1)
        angle = torch.atan2(sine, (normal_one * normal_two).sum(-1))
        return (c["barrier"] * (1 + torch.cos(c["periodicity"] * angle - c["phase"]))).sum(-1)


class Nonbonded(Term):
    """Lennard-Jones ``4 epsilon ((sigma/r)^12 - (sigma/r)^6)`` and Coulomb over all pairs, no cutoff."""

    name = "nonbonded"

    def __init__(self, parameters: ForceFieldParameters) -> None:
        pairs = parameters.pairs().interacting()
        super().__init__(
            atoms=pairs.atoms,
            sigma=pairs.sigma,
            epsilon=pairs.epsilon,
            coulomb=COULOMB_CONSTANT * pairs.charge_product,
        )

    def energy(self, positions: Tensor) -> Tensor:
        c = self.constants.like(positions)
        first, second = c["atoms"].T
        distance = (positions[:, first] - positions[:, second]).norm(dim=-1)
        power = (c["sigma"] / distance) ** 6
        return (4 * c["epsilon"] * power * (power - 1) + c["coulomb"] / distance).sum(-1)


class GeneralizedBorn(Term):
    """OpenMM's GBSAOBCForce without cutoff: OBC model II and the ACE surface-area term.

    Born radii follow Hawkins, Cramer and Truhlar's pairwise descreening, rescaled by OBC's tanh;
    the surface term is Schaefer and Karplus's ``sum 4 pi s (a + probe)^2 (a / B)^6``.
    """

    name = "solvent"

    def __init__(self, parameters: ForceFieldParameters) -> None:
        descreened, other = np.nonzero(~np.eye(parameters.n_atoms, dtype=bool))
        offset_radius = parameters.born_radius - DIELECTRIC_OFFSET
        tension = 4 * np.pi * parameters.surface_area_energy
        super().__init__(
            atoms=np.stack([descreened, other], axis=1),
            pairs=np.stack(np.triu_indices(parameters.n_atoms, k=1), axis=1),
            charge=parameters.solvent_charge,
            radius=parameters.born_radius,
            offset_radius=offset_radius,
            descreening_radius=(parameters.born_scale * offset_radius)[other],
            surface=tension * (parameters.born_radius + PROBE_RADIUS) ** 2,
            prefactor=np.array(solvent_prefactor(parameters)),
        )

    def born_radii(self, positions: Tensor) -> Tensor:
        """Effective Born radii (batch, N) in nm."""
        c = self.constants.like(positions)
        descreened, other = c["atoms"].T
        scaled, own = c["descreening_radius"], c["offset_radius"][descreened]
        r = (positions[:, descreened] - positions[:, other]).norm(dim=-1)
        lower = torch.maximum((r - scaled).abs(), own).reciprocal()
        upper = torch.maximum(r + scaled, own).reciprocal()
        integral = (
            (lower - upper)
            + 0.25 * (lower**2 - upper**2) * (scaled**2 / r - r)
            + 0.5 * torch.log(upper / lower) / r
            + torch.where(scaled - r > own, 2 * (1 / own - lower), torch.zeros_like(r))
        )
        total = torch.zeros_like(positions[..., 0]).index_add(1, descreened, integral)
        psi = 0.5 * c["offset_radius"] * total
        bent = torch.tanh(OBC_ALPHA * psi - OBC_BETA * psi**2 + OBC_GAMMA * psi**3)
        return (1 / c["offset_radius"] - bent / c["radius"]).reciprocal()

    def energy(self, positions: Tensor) -> Tensor:
        c = self.constants.like(positions)
        first, second = c["pairs"].T
        radii = self.born_radii(positions)
        squared = ((positions[:, first] - positions[:, second]) ** 2).sum(-1)
        product = radii[:, first] * radii[:, second]
        effective = (squared + product * torch.exp(-squared / (4 * product))).sqrt()
        charges = c["charge"]
        polar = (charges[first] * charges[second] / effective).sum(-1) + 0.5 * (charges**2 / radii).sum(-1)
        surface = (c["surface"] * (c["radius"] / radii) ** 6).sum(-1)
        return c["prefactor"] * polar + surface


def solvent_prefactor(parameters: ForceFieldParameters) -> float:
    """``-C (1/eps_in - 1/eps_out)`` in kJ nm/mol/e2."""
    return -COULOMB_CONSTANT * (1 / parameters.solute_dielectric - 1 / parameters.solvent_dielectric)
