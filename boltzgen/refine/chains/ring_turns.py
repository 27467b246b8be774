"""Rings turn over between moves of the flow: flips in the positions, exact whatever the flow.

A flip (`boltzgen.dynamics.ring_moves`) is an involution that keeps the Cartesian volume element, so that a
state x of the density ``q^(1-b) p^b`` goes to x' with ``(q'/q)^(1-b) (p'/p)^b``: on the rung of the target,
b = 1, by energies alone. Where it goes is encoded: what the flow keeps, latents and q are those of the new
state. A state where the flow has no density is not taken, as no other move would.
"""

from __future__ import annotations

import torch
from torch import Tensor

from boltzgen.dynamics.ring_moves import RingMoves
from boltzgen.refine.chains.walkers import ChainTarget, Walkers

#: The kind of move under which acceptance is reported.
RING = "ring"


@torch.no_grad()
def turned_over(
    target: ChainTarget, walkers: Walkers, rings: RingMoves, exponent: Tensor, *, generator: torch.Generator
) -> tuple[Walkers, Tensor]:
    """`walkers` after a move of a ring of each, drawn at random, and (B,) ln of what accepts it.

    exponent: (B,) b of the rung that each is on; where it is below 1 `walkers` must be encoded. One energy
    each, and a pass.
    """
    device = walkers.positions.device
    proposed = rings.proposed(walkers.positions.double().cpu(), generator).to(device)
    coordinates, _ = target.target.coordinates.encode(proposed)
    coordinates = coordinates.to(walkers.coordinates)
    sound = torch.isfinite(coordinates).all(dim=1) & target.target.coordinates.inside(proposed)
    new = target.at(torch.where(sound[:, None], coordinates, walkers.coordinates))
    of_flow = torch.where(exponent < 1, (1 - exponent) * (new.log_q - walkers.log_q), 0.0)
    ratio = exponent * (walkers.u - new.u) + of_flow
    return new, torch.where(sound & torch.isfinite(new.log_w), ratio, -torch.inf)
