"""Terms of OpenMM's native forces, a torch module for each: the definition of record.

These are plain torch expressions, written to be read, differentiable any number of times. The fast
path in ``potentials/fast`` gives the same values with hand-derived gradients and is tested against them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from boltzgen.potentials.fast.constants import Constants
from boltzgen.potentials.records.parameters import ForceFieldParameters

#: Coulomb constant 1/(4 pi epsilon0) in kJ nm/mol/e2, as every OpenMM force holds it (CODATA 2018).
COULOMB_CONSTANT = 138.93545764438198


class Term(nn.Module, ABC):
    """One term of the energy: positions (batch, N, 3) in nm -> (batch,) kJ/mol."""

    #: Key of this term in ``MolecularMechanics.energy_by_term``.
    name: str
    #: True for bonds, angles and torsions.
    bonded: bool = False
    #: False when the energy changes as the molecule moves or turns as a whole.
    invariant: bool = True

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


def torsion_angles(positions: Tensor, atoms: Tensor) -> Tensor:
    """(batch, T) rad of the quadruples `atoms` (T, 4); IUPAC sign, trans at pi."""
    i, j, k, m = atoms.T
    one, axis, two = (positions[:, b] - positions[:, a] for a, b in ((i, j), (j, k), (k, m)))
    normal_one, normal_two = torch.linalg.cross(one, axis), torch.linalg.cross(axis, two)
    sine = axis.norm(dim=-1) * (one * normal_two).sum(-1)
    return torch.atan2(sine, (normal_one * normal_two).sum(-1))


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
        angle = torsion_angles(positions, c["atoms"])
        return (c["barrier"] * (1 + torch.cos(c["periodicity"] * angle - c["phase"]))).sum(-1)


class Nonbonded(Term):
    """Lennard-Jones ``4 epsilon ((sigma/r)^12 - (sigma/r)^6)`` and Coulomb over all pairs.

    With a cutoff, ordinary pairs end there, Lennard-Jones after a switching function if there is one,
    Coulomb with a reaction field; see `NonbondedCutoff`. Exceptions stay as they are.
    """

    name = "nonbonded"

    def __init__(self, parameters: ForceFieldParameters) -> None:
        pairs = parameters.pairs().interacting()
        self.cutoff = parameters.cutoff
        super().__init__(
            atoms=pairs.atoms,
            sigma=pairs.sigma,
            epsilon=pairs.epsilon,
            coulomb=COULOMB_CONSTANT * pairs.charge_product,
            ordinary=pairs.ordinary,
        )

    def energy(self, positions: Tensor) -> Tensor:
        c = self.constants.like(positions)
        first, second = c["atoms"].T
        distance = (positions[:, first] - positions[:, second]).norm(dim=-1)
        power = (c["sigma"] / distance) ** 6
        attraction = 4 * c["epsilon"] * power * (power - 1)
        coulomb = c["coulomb"] / distance
        if self.cutoff is None:
            return (attraction + coulomb).sum(-1)
        quadratic, constant = self.cutoff.reaction_field
        inside = self._switch(distance, self.cutoff.switching_distance) * attraction
        inside = inside + coulomb + c["coulomb"] * (quadratic * distance**2 - constant)
        inside = torch.where(distance > self.cutoff.distance, torch.zeros_like(inside), inside)
        return torch.where(c["ordinary"], inside, attraction + coulomb).sum(-1)

    def _switch(self, distance: Tensor, start: float | None) -> Tensor | float:
        """OpenMM's switching function: 1 up to `start`, 0 with two continuous derivatives at the cutoff."""
        if start is None or self.cutoff is None:
            return 1.0
        t = ((distance - start) / (self.cutoff.distance - start)).clamp(0, 1)
        return 1 - 10 * t**3 + 15 * t**4 - 6 * t**5
