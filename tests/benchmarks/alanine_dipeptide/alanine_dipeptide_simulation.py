"""Simulations for `alanine_dipeptide_solvation.py`: Langevin walkers that also jump in phi and psi.

Many walkers run side by side on our own potential. Between stretches of dynamics a walker turns about one of
its two backbone bonds by any angle, taken by the Metropolis rule (a rotation has unit Jacobian), so that
phi < 0 and phi > 0 exchange at 300 K itself, without a ladder of temperatures. Hydrogens weigh 4 u: masses
leave the distribution of positions as it is, and allow a time step of 2 fs.

Source of the integrator: Leimkuhler, Matthews, Appl. Math. Res. Express 2013, 34 (BAOAB).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from boltzgen.data.record import Trajectory
from boltzgen.dynamics.torsion_moves import rotated
from boltzgen.generator import Target
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import GAS_CONSTANT

#: Axis of the bond (two atoms) and the atoms that turn about it.
PHI = ((8, 6), (0, 1, 2, 3, 4, 5, 7))
PSI = ((8, 14), (15, 16, 17, 18, 19, 20, 21))

HYDROGEN_MASS = 4.0  # u
TIMESTEP = 2.0e-3  # ps
FRICTION = 2.0  # 1/ps
STEPS_PER_TURN, TURNS_PER_FRAME = 10, 5
EQUILIBRATION = 40  # frames that are thrown away


@dataclass
class Walkers:
    """Positions (B, N, 3) nm, velocities nm/ps, RT (B,) kJ/mol; energies (B,) and their gradients."""

    target: Target
    x: Tensor
    v: Tensor
    rt: Tensor
    inverse_mass: Tensor
    generator: torch.Generator

    def __post_init__(self) -> None:
        self.u, self.gradient = self.target.potential.energy_and_gradient(self.x)

    def noise(self) -> Tensor:
        return torch.randn(self.x.shape, generator=self.generator)

    def thermal(self) -> Tensor:
        return torch.sqrt(self.rt[:, None, None] * self.inverse_mass) * self.noise()

    def langevin(self, steps: int) -> None:
        """`steps` of BAOAB."""
        keep = math.exp(-FRICTION * TIMESTEP)
        for _ in range(steps):
            self.v = self.v - 0.5 * TIMESTEP * self.gradient * self.inverse_mass
            self.x = self.x + 0.5 * TIMESTEP * self.v
            self.v = keep * self.v + math.sqrt(1 - keep**2) * self.thermal()
            self.x = self.x + 0.5 * TIMESTEP * self.v
            self.u, self.gradient = self.target.potential.energy_and_gradient(self.x)
            self.v = self.v - 0.5 * TIMESTEP * self.gradient * self.inverse_mass
        self.x = self.x - self.x.mean(dim=1, keepdim=True)

    def turn(self, bond: tuple[tuple[int, int], tuple[int, ...]]) -> float:
        """One Metropolis move about `bond` by a uniform angle; the accepted fraction."""
        (start, end), moved = bond
        angle = 2 * math.pi * torch.rand(len(self.x), generator=self.generator)
        proposed = self.x.clone()
        proposed[:, list(moved)] = rotated(self.x[:, list(moved)], self.x[:, start], self.x[:, end], angle)
        u, gradient = self.target.potential.energy_and_gradient(proposed)
        uniform = torch.rand(len(self.x), generator=self.generator)
        taken = torch.log(uniform) < (self.u - u) / self.rt
        self.x = torch.where(taken[:, None, None], proposed, self.x)
        self.gradient = torch.where(taken[:, None, None], gradient, self.gradient)
        self.u = torch.where(taken, u, self.u)
        return float(taken.float().mean())


def simulate(
    molecule: MolecularSystem, target: Target, walkers: dict[float, int], frames: int, seed: int
) -> tuple[Trajectory, dict[str, float]]:
    """`frames` frames of each of ``walkers[kelvin]`` walkers, 0.1 ps apart, in the order of the walkers.

    Also the accepted fraction of the turns about phi and psi.
    """
    generator = torch.Generator().manual_seed(seed)
    kelvin = np.repeat(list(walkers), list(walkers.values())).astype(float)
    masses = np.where(molecule.atomic_numbers == 1, HYDROGEN_MASS, 2.0 * np.asarray(molecule.atomic_numbers))
    rt = torch.as_tensor(GAS_CONSTANT * kelvin, dtype=torch.float32)
    start = target.reference.to(torch.float32).expand(len(kelvin), -1, -1).clone()
    group = Walkers(
        target,
        start,
        torch.zeros_like(start),
        rt,
        torch.as_tensor(1 / masses, dtype=torch.float32)[:, None],
        generator,
    )
    group.v = group.thermal()
    kept, accepted = [], {"phi": 0.0, "psi": 0.0}
    for frame in range(EQUILIBRATION + frames):
        for _ in range(TURNS_PER_FRAME):
            group.langevin(STEPS_PER_TURN)
            for name, bond in (("phi", PHI), ("psi", PSI)):
                accepted[name] += group.turn(bond) / (TURNS_PER_FRAME * (EQUILIBRATION + frames))
        if frame >= EQUILIBRATION:
            kept.append(group.x.clone())
    positions = torch.stack(kept, dim=1).reshape(-1, *start.shape[1:])
    energies = torch.cat([target.potential.energy(part.double()) for part in positions.split(2048)])
    replicas = np.repeat(np.arange(len(kelvin)), frames)
    record = Trajectory(
        positions.numpy(), energies.numpy(), np.repeat(kelvin, frames), replicas, molecule.fingerprint
    )
    return record, accepted
