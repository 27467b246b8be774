"""A normalised density on a grid: what a flow is to the estimators, made without a flow.

The cells of a rectangular grid are drawn with probability proportional to ``exp(-t u)`` at their centres
times their volume, the place within a cell uniformly. The density is exact, so that importance sampling
with it is exact at any coarseness; t < 1 makes it wider than the target, and its weights bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from boltzgen.errors import InputError

#: (n, d) -> (n,) in kT.
ReducedEnergy = Callable[[np.ndarray], np.ndarray]


class GridDensity:
    """The density above for one reduced energy u.

    Parameters
    ----------
    energy: u of points (n, d). edges: d increasing arrays of cell edges. tempering: t.
    """

    def __init__(self, energy: ReducedEnergy, edges: Sequence[np.ndarray], *, tempering: float = 1.0) -> None:
        self.edges = [np.asarray(edge, dtype=np.float64) for edge in edges]
        self.shape = tuple(edge.size - 1 for edge in self.edges)
        centres = [(edge[1:] + edge[:-1]) / 2 for edge in self.edges]
        points = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1).reshape(-1, len(self.edges))
        log_volume = np.zeros(self.shape)
        for axis, edge in enumerate(self.edges):
            along = [1] * len(self.shape)
            along[axis] = -1
            log_volume = log_volume + np.log(np.diff(edge)).reshape(along)
        log_mass = log_volume.ravel() - tempering * energy(points)
        log_mass -= np.logaddexp.reduce(log_mass)
        self._log_density = log_mass - log_volume.ravel()
        self._cumulative = np.cumsum(np.exp(log_mass))
        self._energy = energy

    def draw(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """`n` points (n, d) and their log density (n,)."""
        cell = np.searchsorted(self._cumulative, rng.random(n) * self._cumulative[-1], side="right")
        x = np.empty((n, len(self.edges)))
        for axis, index in enumerate(np.unravel_index(cell, self.shape)):
            edge = self.edges[axis]
            x[:, axis] = edge[index] + rng.random(n) * (edge[index + 1] - edge[index])
        return x, self._log_density[cell]

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Log density (n,) of points (n, d); ``-inf`` outside the grid."""
        cell, inside = np.zeros(len(x), dtype=np.int64), np.ones(len(x), dtype=bool)
        for edge, values in zip(self.edges, x.T, strict=True):
            place = np.searchsorted(edge, values, side="right") - 1
            inside &= (place >= 0) & (place < edge.size - 1)
            cell = cell * (edge.size - 1) + np.clip(place, 0, edge.size - 2)
        return np.where(inside, self._log_density[cell], -np.inf)

    def equilibrium(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """`n` independent points (n, d) of ``exp(-u)`` itself, by rejection; for t = 1 and fine grids.

        The bound of the rejection is the largest weight met, 1 + O(cell size) times the typical one.
        """
        x, log_q = self.draw(2 * n + 1000, rng)
        log_w = -self._energy(x) - log_q
        kept = x[np.log(rng.random(len(x))) < log_w - log_w.max()]
        if len(kept) < n:
            raise InputError("the grid is too coarse to draw from it by rejection; give more cells.")
        return kept[:n]
