"""Proposals in the latent space that leave the base distribution n(z) as it is, and where they are made.

Each is symmetric under n: ``n(z) T(z -> z') = n(z') T(z' -> z)``. For the target ``n(z) w(z)^b`` the ratio of
Metropolis and Hastings is then ``(w'/w)^b``, whatever the flow:

- *redraw*: the latents of some coordinates anew from n (Metropolis within Gibbs: Tierney, Ann. Stat. 22,
  1701 (1994)); of all of them, a fresh draw of the flow.
- *drift*: linear latents ``sqrt(1 - s^2) z + s xi`` (preconditioned Crank-Nicolson: Cotter, Roberts, Stuart,
  White, Stat. Sci. 28, 424 (2013)), circular ones ``z + pi s xi`` wrapped to [-pi, pi); xi standard normal.

A move of some latents is made in one of two ways. In the latent space of the whole flow all coordinates that
are drawn later follow, for the price of the pass from the first one on. *In place* all other coordinates
stay as they are, and what hangs on the moved atoms goes with them: only these atoms pass through the network,
and the ratio is that of `ChainTarget.placed_anew`. Such moves know nothing of the density of the whole flow,
and serve the target itself alone, at whatever temperature.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from boltzgen.conditioning.features import placed_atoms
from boltzgen.coordinates.base import wrap_angle
from boltzgen.generator import Target
from boltzgen.refine.chains.blocks import blocks_of
from boltzgen.refine.chains.langevin import GRADIENT, STEPS

#: Kinds of blocks whose linear latents drift together, and whose circular ones do.
DRIFTING, TURNING = ("fragment", "residue", "all"), ("torsion", "torsion pair", "all")

#: Of one energy, in passes over all atoms: of a force field, and of what takes milliseconds.
ENERGY, SLOW_ENERGY = 0.05, 10.0

#: Cost of a move in place: of each drawn atom, whose old coordinates are encoded too, in atoms passed; and of
#: placing all atoms again, in passes over all of them.
IN_PLACE, PLACING = 2.0, 0.1

#: What follows the kind of a move in place.
SUFFIX = " in place"


@dataclass(frozen=True)
class Move:
    """One kind of step of some coordinates.

    Attributes
    ----------
    kind: under which acceptance is reported. rows: of the molecule's table of coordinates, ascending.
    drifts: whether it is a drift, which has a width, or a redraw. cost: of one walker, in atoms passed.
    in_place: the coordinates that are drawn where all others stay: `rows`, and the others of their atoms;
        empty in the latent space of the whole flow.
    """

    kind: str
    rows: tuple[int, ...]
    drifts: bool
    cost: float
    in_place: tuple[int, ...] = ()

    @property
    def first(self) -> int:
        """The first coordinate that a pass has to compute anew."""
        return self.rows[0]


def draw_base(count: int, circular: Tensor, *, generator: torch.Generator) -> Tensor:
    """(count, k) latents of the base distribution of k coordinates, `circular` (k,) bool or not."""
    normal = torch.randn(count, len(circular), generator=generator, dtype=torch.float64)
    turn = torch.rand(count, len(circular), generator=generator, dtype=torch.float64)
    return torch.where(circular.to(turn.device), (2 * turn - 1) * math.pi, normal).to(circular.device)


def proposed(
    latents: Tensor, move: Move, width: float, circular: Tensor, *, generator: torch.Generator
) -> Tensor:
    """`latents` (B, D) after `move`; width: s above, in (0, 1]. circular: (D,) bool."""
    rows = torch.tensor(move.rows, device=latents.device)
    turns = circular[rows]
    if move.drifts:
        old = latents[:, rows]
        noise = torch.randn(old.shape, generator=generator, dtype=torch.float64).to(latents)
        around = wrap_angle(old + math.pi * width * noise)
        fresh = torch.where(turns, around, math.sqrt(1 - width**2) * old + width * noise)
    else:
        fresh = draw_base(len(latents), turns, generator=generator).to(latents)
    return latents.index_copy(1, rows, fresh)


def accepted(log_ratio: Tensor, *, generator: torch.Generator) -> Tensor:
    """(B,) bool: yes with probability min(1, exp(log_ratio)); NaN is no."""
    uniform = torch.rand(len(log_ratio), generator=generator, dtype=torch.float64).to(log_ratio)
    return torch.log(uniform) < log_ratio


def moves_of(
    target: Target,
    *,
    langevin: bool = True,
    can_redraw: Callable[[tuple[int, ...]], bool] | None = None,
) -> list[Move]:
    """The moves of a molecule (or model system): redraws and drifts of its blocks, and Langevin steps.

    can_redraw: with it, moves in place of all blocks that the flow can draw alone come first.
    """
    placed = placed_before(target)
    circular = target.features.circular.tolist()
    energy = (SLOW_ENERGY if target.potential.slow else ENERGY) * placed[-1]

    def moves(kind: str, rows: tuple[int, ...], drifts: bool) -> list[Move]:
        found = [Move(kind, rows, drifts, placed[-1] - placed[rows[0]] + energy)]
        whole = _whole_atoms(rows, placed, circular)
        if can_redraw is not None and len(whole) < len(circular) and can_redraw(whole):
            atoms = len({placed[row] for row in whole})
            cost = IN_PLACE * atoms + PLACING * placed[-1] + energy
            found.append(Move(f"{kind}{SUFFIX}", rows, drifts, cost, whole))
        return found

    found = [
        move
        for kind, rows in blocks_of(target.coordinates)
        for move in moves("global" if kind == "all" else kind, rows, False)
    ]
    for kind, rows in blocks_of(target.coordinates):
        linear = tuple(row for row in rows if not circular[row])
        turning = tuple(row for row in rows if circular[row])
        if kind in DRIFTING and linear:
            found += moves("crank-nicolson", linear, True)
        if kind in TURNING and turning:
            found += moves("turn", turning, True)
    if langevin and not target.potential.slow:
        whole = tuple(range(len(circular)))
        cost = (STEPS + 1) * GRADIENT * (placed[-1] + energy) + placed[-1]
        found.append(Move("langevin", whole, True, cost))
    unique = {(one.kind == "langevin", one.rows, one.drifts, one.in_place): one for one in reversed(found)}
    return [one for one in found if unique[one.kind == "langevin", one.rows, one.drifts, one.in_place] is one]


def _whole_atoms(rows: tuple[int, ...], placed: list[int], circular: list[bool]) -> tuple[int, ...]:
    """`rows` with the others of their atoms, but for torsions that move alone."""
    with_linear = {placed[row] for row in rows if not circular[row]}
    others = (row for row in range(len(circular)) if placed[row] in with_linear)
    return tuple(sorted({*rows, *others}))


def placed_before(target: Target) -> list[int]:
    """How many atoms are placed before the one that each coordinate places; last, how many there are."""
    placed = target.coordinates.table.atoms[:, 0].tolist()
    if not placed or placed[0] < 0:
        return list(range(len(placed) + 1))
    order = {atom: number for number, atom in enumerate(placed_atoms(target.coordinates.table))}
    return [*(order[atom] for atom in placed), len(order)]
