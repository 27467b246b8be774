"""Rotations of methyl-like groups: relabelled frames that the target holds with the same probability.

Three equal terminal atoms on one tetrahedral centre may be permuted cyclically: the energy and the hand stay
as they are. A short simulation then teaches as much about every labelling as about the ones it saw.
"""

from __future__ import annotations

import torch
from torch import Tensor

from boltzgen.coordinates.internal import InternalCoordinates
from boltzgen.generator import Target

#: Largest change of the energy (kT at 300 K) of a distorted reference that still counts as none.
SAME_ENERGY = 1e-6


def rotor_groups(target: Target) -> Tensor:
    """(G, 3) atoms of each of the graph's `rotors` whose cyclic permutation leaves the energy unchanged."""
    coordinates = target.coordinates
    if not isinstance(coordinates, InternalCoordinates):
        return torch.zeros((0, 3), dtype=torch.long)
    groups = [list(group) for group in coordinates.graph.rotors if _same_energy(target, list(group))]
    return torch.tensor(groups, dtype=torch.long).reshape(-1, 3)


def _same_energy(target: Target, atoms: list[int]) -> bool:
    generator = torch.Generator().manual_seed(7)
    noise = torch.randn(target.reference.shape, generator=generator, dtype=torch.float64)
    distorted = target.reference.cpu().to(torch.float64) + 0.005 * noise
    turned = distorted.clone()
    turned[:, atoms] = distorted[:, atoms[1:] + atoms[:1]]
    both = target.reduced_energy(torch.cat([distorted, turned]).to(target.reference.device), 300.0)
    return bool((both[0] - both[1]).abs() < SAME_ENERGY)


def turn_rotors(positions: Tensor, groups: Tensor, generator: torch.Generator) -> Tensor:
    """`positions` (B, N, 3) with each group turned by 0, 1 or 2 places, drawn for each row."""
    if not len(groups):
        return positions
    order = torch.arange(positions.shape[1]).repeat(len(positions), 1)
    shift = torch.randint(3, (len(positions), len(groups)), generator=generator)
    place = (torch.arange(3) + shift[:, :, None]) % 3
    source = torch.gather(groups.expand(len(positions), -1, -1), 2, place)
    order[:, groups.reshape(-1)] = source.reshape(len(positions), -1)
    return torch.gather(positions, 1, order[:, :, None].expand(-1, -1, 3))
