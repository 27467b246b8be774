"""Which moves are made how often, and how wide they are: learned in the warm-up, fixed before samples count.

A move m changes variable t (cos and sin of an open torsion, the energy) by ``d_mt``: half the mean squared
change of a walker over the variance, rejected moves counted as no change, for a cost ``c_m`` in atoms passed.
When m has the share ``s_m`` of all cost, t is forgotten at the rate ``sum_m s_m d_mt / c_m``, and its
autocorrelation time is about the inverse of that. The shares minimise the sum of the p-th powers of these
times: nearly the largest of them, for that is what limits the sample. No clock is read, so that the same
seed gives the same chains everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from boltzgen.refine.chains.moves import Move

#: Power of the times that are summed, and steps of the iteration that finds the shares.
POWER, ITERATIONS = 3.0, 200

#: Share of all cost that is spread evenly over the moves, so that every coordinate goes on moving.
FLOOR = 0.1

#: Applications of a move that its kind is worth: moves of a kind resemble each other while little is known.
PRIOR = 2.0

#: What a former application is worth after another sweep of the warm-up: walkers begin at one point.
MEMORY = 0.97

#: Acceptance that widths aim at, first width, largest, and how fast its logarithm follows.
ACCEPTANCE, FIRST_WIDTH, WIDEST, GAIN = 0.4, 0.2, 1.0, 0.5

#: Least variance of a followed variable: a torsion that has not turned yet cannot have moved far.
LEAST_VARIANCE = 0.02


class Adaptation:
    """Shares and widths of `moves` for `variables` followed ones."""

    def __init__(self, moves: Sequence[Move], variables: int) -> None:
        self.moves = tuple(moves)
        self.kinds = tuple(dict.fromkeys(move.kind for move in self.moves))
        self.kind = np.array([self.kinds.index(move.kind) for move in self.moves])
        self.cost = np.array([move.cost for move in self.moves])
        size = len(self.moves)
        self.changes = np.zeros((size, variables))
        self.applied = np.zeros(size)
        self.variance = np.zeros(variables)
        self.widths = np.full(size, FIRST_WIDTH)
        self.probabilities = self._frequencies(np.ones(size) / size)

    def record(self, move: int, change: np.ndarray, acceptance: float) -> None:
        """One application of `move`: mean squared changes (variables,) and mean acceptance of the walkers."""
        self.changes[move] += change
        self.applied[move] += 1
        if self.moves[move].drifts:
            wider = self.widths[move] * np.exp(GAIN * (acceptance - ACCEPTANCE))
            self.widths[move] = min(wider, WIDEST)

    def end_sweep(self, variance: np.ndarray) -> None:
        """After a sweep in which the followed variables had this variance (variables,) over the walkers."""
        weight = 1 - MEMORY
        self.variance += weight * (variance - self.variance)
        self.probabilities = self._frequencies(self._shares())
        self.changes *= MEMORY
        self.applied *= MEMORY

    def arrays(self) -> dict[str, np.ndarray]:
        """All that was learned; `restore` takes it."""
        return {name: getattr(self, name).copy() for name in self._LEARNED}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """What `arrays` gave before."""
        for name in self._LEARNED:
            setattr(self, name, arrays[name].copy())

    _LEARNED = ("changes", "applied", "variance", "widths", "probabilities")

    def rates(self) -> np.ndarray:
        """(moves, variables) what each move changes for one unit of cost."""
        size = len(self.kinds)
        of_kind, applied = np.zeros((size, self.changes.shape[1])), np.zeros(size)
        np.add.at(of_kind, self.kind, self.changes)
        np.add.at(applied, self.kind, self.applied)
        mean = of_kind / np.maximum(applied, 1e-12)[:, None]
        known = (self.changes + PRIOR * mean[self.kind]) / (self.applied + PRIOR)[:, None]
        return 0.5 * known / np.maximum(self.variance, LEAST_VARIANCE) / self.cost[:, None]

    def _shares(self) -> np.ndarray:
        """Shares of the cost (moves,): multiplicative steps to the least sum of powers of the times."""
        rates = self.rates()
        share = np.full(len(rates), 1 / len(rates))
        even = share.copy()
        for _ in range(ITERATIONS):
            forgotten = np.maximum((FLOOR * even + (1 - FLOOR) * share) @ rates, 1e-12)
            slope = rates @ (forgotten / forgotten.min()) ** -(POWER + 1)
            if not slope.max() > 0:
                return even
            share = share * (slope / slope.max()) ** (1 / (POWER + 1))
            share /= share.sum()
        return share

    def _frequencies(self, share: np.ndarray) -> np.ndarray:
        """How often each move is made (moves,), from its share of the cost."""
        often = ((1 - FLOOR) * share + FLOOR / len(share)) / self.cost
        return np.asarray(often / often.sum())


class Followed:
    """The variables by which movement is measured: cos and sin of open torsions, and the energy.

    rows: circular coordinates; of a molecule (or model system) without any, all linear ones by their values.
    """

    def __init__(self, rows: Sequence[int], dimension: int) -> None:
        self.circular = len(rows) > 0
        self.rows = list(rows) if rows else list(range(dimension))

    @property
    def variables(self) -> int:
        return len(self.rows) + 1

    def of(self, coordinates: Tensor, u: Tensor) -> Tensor:
        """(B, variables, 2): cos and sin (a value and 0), and the energy."""
        chosen = coordinates[:, self.rows]
        if self.circular:
            waves = torch.stack([chosen.cos(), chosen.sin()], dim=2)
        else:
            waves = torch.stack([chosen, torch.zeros_like(chosen)], dim=2)
        return torch.cat([waves, torch.stack([u, torch.zeros_like(u)], dim=1)[:, None]], dim=1)

    @staticmethod
    def change(before: Tensor, after: Tensor) -> np.ndarray:
        """(variables,) mean squared change of the walkers."""
        return ((after - before) ** 2).sum(dim=2).mean(dim=0).cpu().numpy()

    @staticmethod
    def variance(values: Tensor) -> np.ndarray:
        """(variables,) variance over the walkers."""
        return values.var(dim=0, correction=0).sum(dim=1).cpu().numpy()
