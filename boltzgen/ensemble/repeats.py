"""Samples that occur twice: drawn with one seed, or joined with themselves.

A repeated sample halves no error and still looks like two. Rows are compared by their numbers, not
by what a manifest says of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boltzgen.ensemble.ensemble import Ensemble

#: Conformations whose coordinates all differ by less, in nm, are one: the same draw in batches of another
#: size differs by rounding alone, and independent draws of a molecule never come so close.
SAME_POSITION = 1e-5

#: Draws with one coordinate, in float32, coincide by chance; more than this share is none.
CHANCE_SHARE = 0.2

#: Atoms below which independent draws do come as close as `SAME_POSITION`: there the densities decide.
FEW_ATOMS = 4

#: Grid on which log densities are compared before positions are.
_GRID = 1e-3
_AT_ONCE = 10_000


def repeated_rows(parts: Sequence[Ensemble], *, one_draw: bool = False) -> np.ndarray:
    """Pairs (m, 2) of row numbers, counted over all `parts` in order, that hold one sample.

    A sample that occurs k times gives k - 1 pairs; those of one walker are none, for a rejected move repeats
    the state (`one_draw`: walkers of all parts are the same). Rows without a finite density or position are
    not compared. Conformations agree within `SAME_POSITION`, points of model systems bit by bit, and so do
    the densities of molecules of fewer than `FEW_ATOMS`.
    """
    log_q_n = np.concatenate([part.log_q for part in parts])
    last_n = np.concatenate([part.positions.reshape(len(part), -1)[:, -1] for part in parts])
    rows = np.flatnonzero(np.isfinite(log_q_n) & np.isfinite(last_n))
    molecular = parts[0].is_molecular
    tolerance = SAME_POSITION if molecular else 0.0
    density, last = log_q_n[rows], last_n[rows]
    if molecular and parts[0].positions.shape[1] >= FEW_ATOMS:
        density = np.round(density / _GRID)
    order = np.lexsort((last, density))
    near = (np.diff(density[order]) == 0) & (np.diff(last[order]) <= tolerance)
    place = np.flatnonzero(near)
    pairs = np.sort(np.stack([rows[order[place]], rows[order[place + 1]]], axis=1), axis=1)
    blocks = [pairs[start : start + _AT_ONCE] for start in range(0, len(pairs), _AT_ONCE)]
    same = [block[_same_positions(parts, block, tolerance)] for block in blocks]
    found = np.concatenate(same) if same else np.empty((0, 2), dtype=np.intp)
    if all(part.walker is None for part in parts):
        return found
    walker_n = np.concatenate([_walkers(part) for part in parts])
    sizes = np.cumsum([len(part) for part in parts])
    owner = np.searchsorted(sizes, found, side="right")
    within = (one_draw | (owner[:, 0] == owner[:, 1])) & (walker_n[found[:, 0]] == walker_n[found[:, 1]])
    return found[~within]


def may_coincide(ensemble: Ensemble) -> bool:
    """Whether so few coordinates are drawn that up to `CHANCE_SHARE` of the rows may be equal by chance."""
    return not ensemble.is_molecular or ensemble.positions.shape[1] == 2


def _walkers(part: Ensemble) -> np.ndarray:
    """(n,) the walker of each row; of independent rows each is one of its own."""
    return np.arange(len(part)) if part.walker is None else part.walker


def _same_positions(parts: Sequence[Ensemble], pairs: np.ndarray, tolerance: float) -> np.ndarray:
    first, second = (_gather(parts, pairs[:, side]) for side in (0, 1))
    return np.all(np.abs(first - second) <= tolerance, axis=1)


def _gather(parts: Sequence[Ensemble], rows: np.ndarray) -> np.ndarray:
    """Positions (rows, coordinates) of row numbers that count over all `parts`."""
    starts = np.cumsum([0, *(len(part) for part in parts)])
    owner = np.searchsorted(starts, rows, side="right") - 1
    found = np.empty((len(rows), parts[0].positions[:1].size), dtype=np.float64)
    for number, part in enumerate(parts):
        mine = owner == number
        found[mine] = part.positions[rows[mine] - starts[number]].reshape(int(mine.sum()), found.shape[1])
    return found
