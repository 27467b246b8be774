"""Metropolis moves about rotatable bonds, between stretches of dynamics: rotamers change without a barrier.

A move turns the smaller side of a bond, drawn at random, by an angle that is uniform on the circle. The axis
stays as it is and a rotation has unit Jacobian, so that the proposal is symmetric and is accepted with
probability ``min(1, exp(-(U' - U) / kT))``; velocities have their own distribution and stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from boltzgen.dynamics.batched_langevin import EnergyWithGradient, PhasePoint, metropolis
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.graph.torsions import MOVED
from boltzgen.system.molecular_system import MolecularSystem


@dataclass(frozen=True, eq=False)
class Rotors:
    """Bonds that turn: their atoms (B, 2), and which atoms turn with the second, (B, N) bool."""

    bonds: Tensor
    turning: Tensor

    @classmethod
    def of(cls, system: MolecularSystem, device: torch.device | str = "cpu") -> Rotors:
        """The rotatable bonds of `system` between heavy atoms: `MOVED` of `boltzgen.system.graph.torsions`.

        Of a near-linear row the smaller side turns about the bond that joins it to the row.
        """
        graph = MolecularGraph.from_system(system)
        bonds, turning = [], []
        for torsion in graph.torsions(MOVED):
            ends = [torsion.axis[-2:], torsion.axis[1::-1]]
            sides = [graph.branch(end, without=inner) for inner, end in ends]
            smaller = min(sides, key=len)
            bonds.append(ends[sides.index(smaller)])
            turning.append([atom in smaller for atom in range(graph.n_atoms)])
        return cls(
            torch.tensor(bonds, dtype=torch.int64, device=device).reshape(-1, 2),
            torch.tensor(turning, dtype=torch.bool, device=device).reshape(-1, graph.n_atoms),
        )

    def __len__(self) -> int:
        return len(self.bonds)


def torsion_move(
    point: PhasePoint, energy: EnergyWithGradient, rotors: Rotors, *, kt: Tensor, generator: torch.Generator
) -> tuple[PhasePoint, Tensor]:
    """One move of every row, and which rows (R,) took it; one evaluation.

    kt: (R,) thermal energies. A proposal whose energy is not finite is not taken. `rotors` must not be empty.
    """
    x = point.positions
    rows = torch.arange(len(x), device=x.device)
    chosen = torch.randint(len(rotors), (len(x),), generator=generator, device=x.device)
    angle = 2 * math.pi * torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype)
    chance = torch.rand(len(x), generator=generator, device=x.device, dtype=torch.float64)
    start, end = (x[rows, atoms] for atoms in rotors.bonds[chosen].T)
    proposed = torch.where(rotors.turning[chosen][..., None], rotated(x, start, end, angle), x)
    return metropolis(point, proposed, energy, kt=kt, chance=chance)


def rotated(x: Tensor, start: Tensor, end: Tensor, angle: Tensor) -> Tensor:
    """`x` (R, N, 3) turned by `angle` (R,) rad about the axis from `start` to `end` (R, 3); Rodrigues."""
    axis = torch.nn.functional.normalize(end - start, dim=-1)[:, None].expand_as(x)
    arm = x - end[:, None]
    cosine, sine = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    along = axis * (axis * arm).sum(dim=-1, keepdim=True)
    return end[:, None] + along + cosine * (arm - along) + sine * torch.cross(axis, arm, dim=-1)
