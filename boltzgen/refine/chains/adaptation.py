"""Which moves are made how often, and how wide they are: learned in the warm-up, fixed before samples count.

A move m changes variable t (cos and sin of an open torsion, an energy) by ``d_mt``: half the mean squared
change of a walker over the variance, rejected moves counted as no change, for a cost ``c_m`` in atoms passed.
In the mean a walker counts as many times as it has waited for a change of t: what limits a chain are states
of large w, from which most redraws are rejected, and the moves that free walkers there are worth most.
When m has the share ``s_m`` of all cost, t is forgotten at the rate ``sum_m s_m d_mt / c_m``, and its
autocorrelation time is about the inverse of that. The shares minimise the sum of the p-th powers of these
times: nearly the largest of them, for that is what limits the sample. Steps of a torsion within one well
count little; and all rates are brought to those by which walkers are seen to forget, sweep by sweep. No clock
is read, so that the same seed gives the same chains everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from boltzgen.coordinates.internal import InternalCoordinates
from boltzgen.flows.standardise import Standardiser
from boltzgen.generator import Target
from boltzgen.refine.chains.blocks import blocks_of
from boltzgen.refine.chains.moves import Move
from boltzgen.refine.chains.walkers import Walkers
from boltzgen.system.graph.torsions import Subset

#: Power of the times that are summed, and steps of the iteration that finds the shares.
POWER, ITERATIONS = 4.0, 300

#: Share of all cost that is spread evenly over the moves, so that every coordinate goes on moving.
FLOOR = 0.3

#: Applications of a move that its kind is worth: moves of a kind resemble each other while little is known.
PRIOR = 4.0

#: What a former application is worth after another sweep of the warm-up: walkers begin at one point.
MEMORY = 0.97

#: Sweeps after which the correlation of walkers with themselves is measured, the longest that is above the
#: least one; what another sweep adds to it; and the bounds of the factor that it gives.
LAGS, LEAST_CORRELATION, NEWS, CORRECTED = (1, 3, 6), 0.2, 0.1, (0.05, 10.0)

#: Acceptance that widths aim at, first width, largest, and how fast its logarithm follows.
ACCEPTANCE, FIRST_WIDTH, WIDEST, GAIN = 0.4, 0.3, 1.0, 1.5

#: Squared change of cos and sin (a turn by 45 degrees) below which it is one within a well, and its worth.
WITHIN_A_WELL, LITTLE = 0.6, 0.1

#: Squared change over the variance after which a walker has not waited.
CHANGED = 0.5

#: Least variance of a followed variable: a torsion that has not turned yet cannot have moved far.
LEAST_VARIANCE = 0.02


class Adaptation:
    """Shares and widths of `moves`, of which a sweep has `moves_a_sweep`, for `variables` followed ones."""

    def __init__(self, moves: Sequence[Move], variables: int, moves_a_sweep: int) -> None:
        self.moves, self.moves_a_sweep = tuple(moves), moves_a_sweep
        self.kinds = tuple(dict.fromkeys(move.kind for move in self.moves))
        self.kind = np.array([self.kinds.index(move.kind) for move in self.moves])
        self.cost = np.array([move.cost for move in self.moves])
        size = len(self.moves)
        self.changes = np.zeros((size, variables))
        self.applied = np.zeros(size)
        self.variance = np.zeros(variables)
        self.widths = np.full(size, FIRST_WIDTH)
        self.correction, self.waited = np.ones(variables), np.zeros((0, variables))
        self.history = np.zeros((0, 0, 0, 0))
        self.offer(np.ones(size, dtype=bool))

    def offer(self, offered: np.ndarray) -> None:
        """Only moves that are `offered` (moves,) bool are made from now on; what was learned stays."""
        self.offered = np.asarray(offered, dtype=bool)
        self.probabilities = self._frequencies(self._shares())

    def record(self, move: int, square: np.ndarray, acceptance: float) -> None:
        """One application of `move`: squared changes (B, variables) and mean acceptance of the walkers."""
        if self.waited.shape != square.shape:
            self.waited = np.zeros(square.shape)
        self.waited += 1
        self.changes[move] += (self.waited * square).sum(axis=0) / self.waited.sum(axis=0)
        self.waited[square > CHANGED * np.maximum(self.variance, LEAST_VARIANCE)] = 0
        self.applied[move] += 1
        if self.moves[move].drifts:
            wider = self.widths[move] * np.exp(GAIN * (acceptance - ACCEPTANCE))
            self.widths[move] = min(wider, WIDEST)

    def end_sweep(self, values: np.ndarray) -> None:
        """After a sweep, at the end of which the followed variables of the walkers are (B, variables, 2)."""
        self.variance += (1 - MEMORY) * (values.var(axis=0).sum(axis=1) - self.variance)
        earlier = self.history if self.history.shape[1:] == values.shape else values[None][:0]
        seen, known = _forgotten(earlier, values)
        predicted = self._predicted()
        found = np.clip(seen / np.maximum(predicted, 1e-12), *CORRECTED)
        self.correction = np.where(
            known, self.correction * (found / self.correction) ** NEWS, self.correction
        )
        self.history = np.concatenate([earlier, values[None]])[-max(LAGS) :]
        self.probabilities = self._frequencies(self._shares())
        self.changes *= MEMORY
        self.applied *= MEMORY

    def slowest(self) -> float:
        """Sweeps in which the slowest variable is forgotten, by what was learned."""
        return float(1 / max((self.correction * self._predicted()).min(), 1e-12))

    def _predicted(self) -> np.ndarray:
        """(variables,) rates a sweep at which changes say that they are forgotten."""
        return np.asarray(self.moves_a_sweep * (self.probabilities * self.cost) @ self.rates())

    def arrays(self) -> dict[str, np.ndarray]:
        """All that was learned; `restore` takes it."""
        return {name: getattr(self, name).copy() for name in self._LEARNED}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """What `arrays` gave before."""
        for name in self._LEARNED:
            setattr(self, name, arrays[name].copy())

    _LEARNED = (
        "changes",
        "applied",
        "variance",
        "widths",
        "probabilities",
        "correction",
        "history",
        "waited",
    )

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
        rates = self.rates() * self.correction
        rates = np.where(self.offered[:, None], rates, 0.0)
        rates = rates[:, rates.max(axis=0) > 0]  # what nothing has moved yet says nothing of any move
        even = self.offered / self.offered.sum()
        if not rates.size:
            return even
        share = even
        for _ in range(ITERATIONS):
            forgotten = np.maximum((FLOOR * even + (1 - FLOOR) * share) @ rates, 1e-12)
            slope = rates @ (forgotten / forgotten.min()) ** -(POWER + 1)
            share = share * (slope / slope.max()) ** (1 / (POWER + 1))
            share /= share.sum()
        return share

    def _frequencies(self, share: np.ndarray) -> np.ndarray:
        """How often each move is made (moves,), from its share of the cost."""
        often = ((1 - FLOOR) * share + FLOOR * self.offered / self.offered.sum()) / self.cost
        return np.asarray(often / often.sum())


def _forgotten(earlier: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(variables,) rates a sweep at which walkers forget, and for which of them that is known.

    earlier: (sweeps, B, variables, 2), the last one just before `values` (B, variables, 2).
    """
    now = values - values.mean(axis=0)
    rate, known = np.full(values.shape[1], -np.log(LEAST_CORRELATION)), np.zeros(values.shape[1], dtype=bool)
    for lag in LAGS:
        if lag > len(earlier):
            break
        then = earlier[-lag] - earlier[-lag].mean(axis=0)
        scale = np.sqrt((now**2).sum(axis=(0, 2)) * (then**2).sum(axis=(0, 2)))
        correlation = (now * then).sum(axis=(0, 2)) / np.maximum(scale, 1e-300)
        high = correlation > LEAST_CORRELATION
        rate = np.where(high, -np.log(np.clip(correlation, LEAST_CORRELATION, 1.0)) / lag, rate)
        known = known | high | (lag == LAGS[0])
    return rate, known


class Followed:
    """The variables by which movement is measured, of a target.

    Cos and sin of each open torsion; of each fragment half the sum of squares of its whitened linear
    coordinates, which is nearly its bonded energy: the energy of the molecule is forgotten when all of them
    are; and the energy. A molecule (or model system) without torsions is followed by all of its linear
    coordinates.
    """

    def __init__(self, target: Target) -> None:
        self.rows = open_rows(target)
        circular = target.features.circular.cpu().numpy()
        column = np.cumsum(~circular) - 1
        self.stiff = [
            column[[row for row in rows if not circular[row]]].tolist()
            for kind, rows in blocks_of(target.coordinates)
            if self.rows and kind == "fragment"
        ]
        unit = torch.ones(1, dtype=torch.float64, device=target.features.circular.device)
        self.standardiser = Standardiser(target.features, unit)
        self.turns = bool(self.rows)
        self.rows = self.rows or list(range(len(circular)))

    @property
    def variables(self) -> int:
        return len(self.rows) + len(self.stiff) + 1

    @property
    def moves_a_sweep(self) -> int:
        """Moves of a sweep: one for each variable in the mean."""
        return self.variables

    def of(self, walkers: Walkers) -> Tensor:
        """(B, variables, 2): cos and sin of what turns, else a value and 0."""
        first = self.turning(walkers.coordinates)
        stiff = []
        if self.stiff:
            squares = 0.5 * self.standardiser.whiten(walkers.coordinates)[0] ** 2
            stiff = [squares[:, columns].sum(dim=1) for columns in self.stiff]
        return torch.cat([first, _with_zeros(torch.stack([*stiff, walkers.u], dim=1))], dim=1)

    def turning(self, coordinates: Tensor) -> Tensor:
        """(B, rows, 2) of `coordinates` (B, D): the part of the variables in which states differ."""
        chosen = coordinates[:, self.rows]
        return torch.stack([chosen.cos(), chosen.sin()], dim=2) if self.turns else _with_zeros(chosen)

    def square(self, before: Tensor, after: Tensor) -> Tensor:
        """(B, variables) squared change of each walker; of torsions, small ones count little."""
        square = ((after - before) ** 2).sum(dim=2)
        if self.turns:
            turned = square[:, : len(self.rows)]
            turned *= torch.where(turned < WITHIN_A_WELL, LITTLE, 1.0)
        return square


def _with_zeros(values: Tensor) -> Tensor:
    return torch.stack([values, torch.zeros_like(values)], dim=2)


def open_rows(target: Target) -> list[int]:
    """The circular coordinates that turn an open torsion of a molecule; without any, all circular ones."""
    circular = np.flatnonzero(target.features.circular.cpu().numpy()).tolist()
    if not isinstance(target.coordinates, InternalCoordinates):
        return circular
    turned = target.coordinates.graph.torsions(Subset(frozenset({"open"})))
    ends = {frozenset((one.atoms[1], one.atoms[2])) for one in turned}
    axes = target.coordinates.table.atoms[:, 1:3].tolist()
    return [row for row in circular if frozenset(axes[row]) in ends] or circular
