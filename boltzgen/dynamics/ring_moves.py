"""Metropolis moves that turn rings over, between stretches of dynamics: chairs change without a barrier.

A flip (`boltzgen.system.graph.ring_flips`) mirrors a ring at its mean plane and re-attaches every branch
rigidly in the right-handed frame of its ring atom and that atom's ring neighbours. Bond lengths stay, the
angles of a single ring too, ring torsions change their signs; hands and the labels of equal atoms stay.

Why it is exact. In the frame of its own mean plane a ring goes from (a, b, h) to (a, b, -h), which leaves
the frame where it was: an involution that keeps the volume element. A fused ring, in the frame of the bond
that it shares and of the ring that is placed already, is mirrored at the plane of that bond and the bisector
of its own two neighbours: the same argument. Branches move rigidly with what is placed: unit Jacobian, and
back by the same rule. So Metropolis' rule with the energies alone is exact.

What is axial leans outwards and what is equatorial does not: each branch is turned about its ring atom by a
fixed rotation on one side, and by the inverse on the other (`RingMoves.of` takes it from a minimised pair).
Sides are told by a number that a flip negates, so that the move stays an involution with unit Jacobian; any
rotation is exact, good ones are accepted more often. In half of the moves one branch also turns about its
bond to the ring by an angle that is uniform on the circle, which commutes with the rest.

An inversion of a nitrogen mirrors its third neighbour at the plane of the nitrogen and its ring neighbours
and carries the rest of that branch rigidly with the bond.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from boltzgen.dynamics.batched_langevin import EnergyWithGradient, PhasePoint, metropolis
from boltzgen.dynamics.torsion_moves import rotated
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.graph.ring_flips import (
    Branch,
    Junction,
    NitrogenFlip,
    RingFlip,
    UnmovedRings,
    nitrogen_flips,
    ring_flips,
)
from boltzgen.system.graph.ring_states import torsions_around
from boltzgen.system.minimise import energy_and_minimum
from boltzgen.system.molecular_system import MolecularSystem

#: Share of the flips in which one branch also turns about its bond to the ring.
TURNED = 0.5
#: Steps of L-BFGS of the pair whose branches are compared, and atoms beyond which none is minimised.
_STEPS, MOST_ATOMS = 1000, 120
#: Why rings that are fused by bonds have no flip, where it is their hands that forbid it.
JOINED = "its rings are joined so that none can turn over alone"


@dataclass(frozen=True, eq=False)
class Flip:
    """One flip. leans: (branches, 3, 3), the rotation of each branch where `side` is positive; or None.

    reference: (n,) sines of the torsions of the first ring in the reference.
    """

    flip: RingFlip
    reference: Tensor
    leans: Tensor | None = None

    def side(self, x: Tensor) -> Tensor:
        """(B,) a number that a flip of `x` (B, N, 3) negates: are ring torsions those of the reference?"""
        return (_sines(x, self.flip.rings[0]) * self.reference.to(x)).sum(dim=1)

    def __call__(self, x: Tensor) -> Tensor:
        """`x` (B, N, 3) turned over."""
        new = x.clone()
        ring = list(self.flip.rings[0])
        new[:, ring] = _mirrored(x[:, ring])
        for junction in self.flip.mirrored:
            new[:, list(junction.atoms)] = _re_placed(x, new, junction, mirror=True)
        for junction in self.flip.carried:
            new[:, list(junction.atoms)] = _re_placed(x, new, junction, mirror=False)
        leans = self._leans_of(x)
        for number, branch in enumerate(self.flip.branches):
            atoms = list(branch.atoms)
            turn = _frame(new, branch) @ leans[:, number] @ _frame(x, branch).mT
            arms = x[:, atoms] - x[:, branch.root, None]
            new[:, atoms] = new[:, branch.root, None] + arms @ turn.mT
        return new

    def _leans_of(self, x: Tensor) -> Tensor:
        """(B, branches, 3, 3) the rotation of each branch of each row."""
        if self.leans is None:
            return torch.eye(3).to(x).expand(len(x), len(self.flip.branches), 3, 3)
        leans = self.leans.to(x)
        return torch.where(self.side(x)[:, None, None, None] > 0, leans, leans.mT)

    def turned(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """`x` (B, N, 3) with one branch of some rows, drawn at random, turned about its bond to the ring."""
        turning = [branch for branch in self.flip.branches if branch.turns is not None]
        if not turning:
            return x
        which = torch.randint(len(turning), (len(x),), generator=generator, device=x.device)
        angle = 2 * math.pi * torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype)
        some = torch.rand(len(x), generator=generator, device=x.device) < TURNED
        for number, branch in enumerate(turning):
            moving = torch.zeros(x.shape[1], dtype=torch.bool, device=x.device)
            moving[list(branch.atoms)] = True
            here = (some & (which == number))[:, None, None] & moving[:, None]
            x = torch.where(here, rotated(x, x[:, branch.root], x[:, int(branch.turns or 0)], angle), x)
        return x


@dataclass(frozen=True, eq=False)
class Inversion:
    """The inversion of one nitrogen."""

    flip: NitrogenFlip

    def __call__(self, x: Tensor) -> Tensor:
        """`x` (B, N, 3) with the third neighbour of the nitrogen on the other side."""
        new = x.clone()
        nitrogen, before, after = (x[:, atom] for atom in (self.flip.nitrogen, *self.flip.beside))
        head, *rest = self.flip.atoms
        normal = _unit(torch.cross(before - nitrogen, after - nitrogen, dim=-1))
        arm = x[:, head] - nitrogen
        new[:, head] = x[:, head] - 2 * (arm * normal).sum(dim=-1, keepdim=True) * normal
        if rest:
            old, now = (_axes(nitrogen - y[:, head], before - y[:, head]) for y in (x, new))
            new[:, rest] = new[:, head, None] + (x[:, rest] - x[:, head, None]) @ (now @ old.mT).mT
        return new

    def turned(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """`x` as it is: moves about bonds turn the branch."""
        return x


@dataclass(frozen=True, eq=False)
class RingMoves:
    """All moves of the rings of a molecule, and the rings that are not flat and have none."""

    moves: tuple[Flip | Inversion, ...]
    unmoved: tuple[UnmovedRings, ...]

    @classmethod
    def of(cls, system: MolecularSystem, *, leaning: bool = True) -> RingMoves:
        """The moves of `system`. leaning: whether branches lean, for which two conformers are minimised."""
        if len(system.bonds) < system.n_atoms:
            return cls((), ())
        graph = MolecularGraph.from_system(system)
        flips, unmoved = ring_flips(graph)
        reference = torch.tensor(graph.reference_positions)[None]
        named = [Flip(one, _sines(reference, one.rings[0])[0]) for one in flips]
        kept = [flip for flip in named if _hands_stay(graph, flip)]
        joined = [UnmovedRings(flip.flip.rings, JOINED) for flip in named if flip not in kept]
        if leaning and kept and system.n_atoms <= MOST_ATOMS:
            _, _, lowest = energy_and_minimum(
                system.openmm_system(), np.array(graph.reference_positions), iterations=_STEPS
            )
            kept = [replace(flip, leans=_leans(system, flip, lowest)) for flip in kept]
        return cls((*kept, *map(Inversion, nitrogen_flips(graph))), (*unmoved, *joined))

    def __len__(self) -> int:
        return len(self.moves)

    @property
    def flips(self) -> int:
        """How many of the moves turn rings over; the others invert nitrogens."""
        return sum(isinstance(move, Flip) for move in self.moves)

    def proposed(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """`x` (B, N, 3) after a move of each row that is drawn at random; there must be one."""
        chosen = torch.randint(len(self), (len(x),), generator=generator, device=x.device)
        for number, move in enumerate(self.moves):
            new = move.turned(move(x), generator)
            x = torch.where((chosen == number)[:, None, None], new, x)
        return x


def ring_move(
    point: PhasePoint, energy: EnergyWithGradient, moves: RingMoves, *, kt: Tensor, generator: torch.Generator
) -> tuple[PhasePoint, Tensor]:
    """One move of every row, and which rows (R,) took it; one evaluation.

    kt: (R,) thermal energies. A proposal whose energy is not finite is not taken. `moves` must not be empty.
    Velocities have their own distribution and stay.
    """
    proposed = moves.proposed(point.positions.double(), generator).to(point.positions.dtype)
    chance = torch.rand(len(proposed), generator=generator, device=proposed.device, dtype=torch.float64)
    return metropolis(point, proposed, energy, kt=kt, chance=chance)


def _mirrored(ring: Tensor) -> Tensor:
    """A ring (B, n, 3), in order, mirrored at the mean plane of Cremer and Pople."""
    arms = ring - ring.mean(dim=1, keepdim=True)
    turn = 2 * math.pi * torch.arange(ring.shape[1], dtype=ring.dtype, device=ring.device) / ring.shape[1]
    sine, cosine = ((part[:, None] * arms).sum(dim=1) for part in (torch.sin(turn), torch.cos(turn)))
    normal = _unit(torch.cross(sine, cosine, dim=-1))[:, None]
    return ring - 2 * (arms * normal).sum(dim=-1, keepdim=True) * normal


def _re_placed(x: Tensor, new: Tensor, junction: Junction, *, mirror: bool) -> Tensor:
    """(B, atoms, 3) what `junction` places, moved with its bond from `x` to `new`; mirrored or rigid."""
    p = junction.bond[0]
    local = (x[:, list(junction.atoms)] - x[:, p, None]) @ _hinge(x, junction)
    if mirror:
        ends = local[:, [0, -1], 1:]
        bisector = _unit(_unit(ends).sum(dim=1))
        normal = torch.stack([torch.zeros_like(bisector[:, 0]), -bisector[:, 1], bisector[:, 0]], dim=-1)[
            :, None
        ]
        local = local - 2 * (local * normal).sum(dim=-1, keepdim=True) * normal
    return new[:, p, None] + local @ _hinge(new, junction).mT


def _hinge(x: Tensor, junction: Junction) -> Tensor:
    """(B, 3, 3) axes in columns: along the bond, to the bisector of the ring's neighbours, and across."""
    (p, q), (a, b) = junction.bond, junction.beside
    along = _unit(x[:, q] - x[:, p])
    across = [
        _unit(arm - (arm * along).sum(dim=-1, keepdim=True) * along)
        for arm in (x[:, a] - x[:, p], x[:, b] - x[:, q])
    ]
    return _axes(along, across[0] + across[1])


def _frame(x: Tensor, branch: Branch) -> Tensor:
    """(B, 3, 3) axes in columns of the ring atom that carries `branch`."""
    first, second, third = (x[:, atom] - x[:, branch.root] for atom in branch.frame)
    return _axes(first, _unit(second) + _unit(third))


def _axes(first: Tensor, second: Tensor) -> Tensor:
    """(B, 3, 3) right-handed axes in columns: along `first` (B, 3), `second` in their plane, and across."""
    along = _unit(first)
    across = _unit(torch.cross(along, second, dim=-1))
    return torch.stack([along, torch.cross(across, along, dim=-1), across], dim=-1)


def _unit(x: Tensor) -> Tensor:
    return torch.nn.functional.normalize(x, dim=-1)


def _sines(x: Tensor, ring: tuple[int, ...]) -> Tensor:
    """(B, n) sines of the torsions of a ring, up to a factor that is the same for its mirror image."""
    atoms = torch.as_tensor(torsions_around(ring), device=x.device)
    first, middle, last = (x[:, atoms[:, k + 1]] - x[:, atoms[:, k]] for k in range(3))
    volume = (torch.cross(first, middle, dim=-1) * last).sum(dim=-1)
    return volume / (first.norm(dim=-1) * middle.norm(dim=-1) * last.norm(dim=-1))


def _hands_stay(graph: MolecularGraph, flip: Flip) -> bool:
    """Whether every hand of the reference survives the flip."""
    x = flip(torch.tensor(graph.reference_positions)[None])[0].numpy()
    return all(
        np.linalg.det(x[list(hand.neighbours)] - x[hand.centre]) * hand.sign > 0 for hand in graph.hands
    )


def _leans(system: MolecularSystem, flip: Flip, first: np.ndarray) -> Tensor | None:
    """The rotation of each branch from a minimum `first` (N, 3) to that below its image.

    None where one of the two is not on its side.
    """
    image = flip(torch.as_tensor(first)[None])[0].numpy()
    _, _, second = energy_and_minimum(system.openmm_system(), image, iterations=_STEPS)
    pair = torch.as_tensor(np.stack([first, second]))
    sides = flip.side(pair)
    if not bool(torch.isfinite(pair).all()) or not (sides[0] > 0 > sides[1]):
        return None
    leans = []
    for branch in flip.flip.branches:
        arms = pair[:, list(branch.atoms)] - pair[:, branch.root, None]
        here, there = (arms @ _frame(pair, branch)).numpy()
        leans.append(_best_rotation(here, there))
    return torch.as_tensor(np.array(leans).reshape(-1, 3, 3))


def _best_rotation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The proper rotation that brings `first` (n, 3) nearest to `second`; Kabsch. Of one arm the smallest."""
    u, _, v = np.linalg.svd(first.T @ second)
    if len(first) == 1:
        a, b = (arm[0] / np.linalg.norm(arm[0]) for arm in (first, second))
        axis, cosine = np.cross(a, b), float(a @ b)
        skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
        return np.eye(3) + skew + skew @ skew / (1 + cosine)
    flipped = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ v))])
    return np.asarray((u @ flipped @ v).T)
