"""The domain of the shape measure, told from positions alone: hands, isomers, closed rings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from boltzgen.coordinates.geometry import cross, dot
from boltzgen.coordinates.table import OPEN_RING, ring_centres
from boltzgen.system.graph.molecular_graph import Hand, IsomerBond, MolecularGraph

#: What `Domain` can report; index 0 is inside.
REASONS = ("", "handedness", "other isomer", "open ring", "not finite")


class Domain:
    """Callable: positions (batch, atoms, 3) in nm -> index into `REASONS`, (batch,) long.

    ``label`` tells domains apart: ensembles with different labels must not be mixed.

    Parameters
    ----------
    graph: the molecule. isomers: ``"reference"`` closes other isomers out, ``"free"`` lets them in.

    A hand is the sign of the signed volume of three neighbours about a centre that cannot invert;
    an isomer the side of its bond's torsion that is nearer to the reference's planar value.
    """

    def __init__(self, graph: MolecularGraph, isomers: str) -> None:
        bonds = graph.isomer_bonds if isomers == "reference" else ()
        self.label = f"isomers: {isomers}, {_digest(_sides(graph, bonds))}"
        self._hands = _index([(hand.centre, *hand.neighbours) for hand in graph.hands], 4)
        self._signs = torch.tensor([hand.sign for hand in graph.hands], dtype=torch.float64)
        self._isomers = _index([(bond.a, bond.c, bond.p, bond.g) for bond in bonds], 4)
        self._cosines = torch.tensor([np.cos(bond.planar) for bond in bonds], dtype=torch.float64)
        rings = ring_centres(graph)
        self._rings = _index(list(rings), 2)
        self._lengths = torch.tensor(list(rings.values()), dtype=torch.float64)

    def __call__(self, positions: Tensor) -> Tensor:
        x = positions.detach().permute(2, 1, 0)
        reason = torch.zeros(positions.shape[0], dtype=torch.long, device=positions.device)
        reason[self._other_isomer(x)] = REASONS.index("other isomer")
        reason[self._other_hand(x)] = REASONS.index("handedness")
        reason[self._open_ring(x)] = REASONS.index("open ring")
        reason[~torch.isfinite(x).all(0).all(0)] = REASONS.index("not finite")
        return reason

    def _other_hand(self, x: Tensor) -> Tensor:
        centre, n1, n2, n3 = _gather(x, self._hands)
        volume = dot(n1 - centre, cross(n2 - centre, n3 - centre))
        return ~(volume * self._signs.to(volume)[:, None] > 0).all(0)

    def _other_isomer(self, x: Tensor) -> Tensor:
        a, c, p, g = _gather(x, self._isomers)
        axis = p - c
        cosine = dot(cross(c - a, axis), cross(axis, g - p))
        return ~(cosine * self._cosines.to(cosine)[:, None] > 0).all(0)

    def _open_ring(self, x: Tensor) -> Tensor:
        i, j = _gather(x, self._rings)
        length = dot(i - j, i - j).sqrt()
        return ~((length - self._lengths.to(length)[:, None]).abs() <= OPEN_RING).all(0)


def _sides(graph: MolecularGraph, bonds: Iterable[IsomerBond]) -> list[tuple[int, ...]]:
    """Every hand and isomer, told by atom indices alone, whatever siblings the graph has chosen."""
    return sorted(_hand_side(graph, hand) for hand in graph.hands) + sorted(
        _isomer_side(graph, bond) for bond in bonds
    )


def _hand_side(graph: MolecularGraph, hand: Hand) -> tuple[int, ...]:
    """Centre, its lowest three neighbours, and the sign of their signed volume."""
    a, b, c = hand.neighbours
    sign = round(hand.sign) * (-1) ** ((a > b) + (a > c) + (b > c))
    around = sorted(graph.neighbours[hand.centre])
    if len(around) == 4:  # the fourth arm of a tetrahedron points against the sum of the others
        left_out = next(k for k, atom in enumerate(around) if atom not in hand.neighbours)
        sign *= (-1) ** (3 - left_out)
    return (hand.centre, *around[:3], sign)


def _isomer_side(graph: MolecularGraph, bond: IsomerBond) -> tuple[int, ...]:
    """The bond's two atoms, the lowest sibling of each, and +1 where those two lie on one side."""
    ends = ((bond.a, bond.c, bond.p), (bond.g, bond.p, bond.c))
    lowest = [min(n for n in graph.neighbours[here] if n != other) for _, here, other in ends]
    swapped = sum(atom != low for (atom, _, _), low in zip(ends, lowest, strict=True))
    side = (1 if np.cos(bond.planar) > 0 else -1) * (-1) ** swapped  # a planar atom has two siblings
    first, second = sorted([(bond.c, lowest[0]), (bond.p, lowest[1])])
    return (*first, *second, side)


def _digest(sides: list[tuple[int, ...]]) -> str:
    return hashlib.sha256(repr(sides).encode()).hexdigest()[:12]


def _index(rows: list[tuple[int, ...]], width: int) -> Tensor:
    return torch.tensor(rows, dtype=torch.long).reshape(-1, width)


def _gather(x: Tensor, index: Tensor) -> list[Tensor]:
    return [x.index_select(1, column) for column in index.to(x.device).T.contiguous()]
