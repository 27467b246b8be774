"""`Walkers`: which walker made each sample, and when.

Rows of one walker depend on one another; walkers of different groups never talked. What resamples samples
resamples walkers, and what counts samples counts independent ones (`boltzgen.ensemble.chains.diagnostics`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from boltzgen.ensemble.chains.samples import FEWEST_STEPS, bulk_samples
from boltzgen.errors import InputError

#: The fields of an ensemble of walkers, one number a row; all three are there, or none.
CHAIN_FIELDS = ("walker", "group", "step")


@dataclass(frozen=True, eq=False)
class Walkers:
    """Who made each of n rows.

    Attributes
    ----------
    walker, group, step: (n,) int, not negative: the number of the walker, of the group that it belongs to,
        and of the sweep after which the row was written. Rows may stand in any order.
    log_z, log_z_standard_error: ln Z of their target, from outside the chains (a ladder, draws of the flow);
        None where nobody knows: the rows of walkers alone do not tell.

    InputError where a walker belongs to two groups, or has one step twice.
    """

    walker: np.ndarray
    group: np.ndarray
    step: np.ndarray
    log_z: float | None = None
    log_z_standard_error: float | None = None

    def __post_init__(self) -> None:
        for name in CHAIN_FIELDS:
            array = getattr(self, name)
            if array.ndim != 1 or array.shape != self.walker.shape or array.dtype.kind not in "iu":
                raise InputError(f"walkers: {name} must hold one whole number a sample, as walker does.")
            if (array < 0).any():
                raise InputError(f"walkers: {name} of sample {int((array < 0).argmax())} is negative.")
        who, when = self.walker[self.order], self.step[self.order]
        same = np.diff(who) == 0
        twice = np.flatnonzero(same & (np.diff(when) == 0))
        if twice.size:
            raise InputError(f"walkers: walker {who[twice[0]]} has step {when[twice[0]]} twice.")
        torn = np.flatnonzero(same & (np.diff(self.group[self.order]) != 0))
        if torn.size:
            raise InputError(f"walkers: walker {who[torn[0]]} belongs to two groups.")

    def __len__(self) -> int:
        return len(self.walker)

    @cached_property
    def order(self) -> np.ndarray:
        """(n,) row numbers, walker by walker, each in the order of its steps."""
        return np.lexsort((self.step, self.walker))

    @cached_property
    def starts(self) -> np.ndarray:
        """(walkers,) where each walker begins in `order`."""
        who = self.walker[self.order]
        return np.flatnonzero(np.r_[True, np.diff(who) != 0]) if len(who) else np.empty(0, dtype=np.intp)

    @property
    def number(self) -> int:
        """How many walkers there are."""
        return len(self.starts)

    @cached_property
    def index(self) -> np.ndarray:
        """(n,) int, the place of the walker of each row among all walkers."""
        return np.unique(self.walker, return_inverse=True)[1].reshape(-1)

    @cached_property
    def group_of_walker(self) -> np.ndarray:
        """(walkers,) the group of each walker."""
        return self.group[self.order][self.starts]

    @property
    def groups(self) -> int:
        return len(np.unique(self.group_of_walker))

    @cached_property
    def steps(self) -> int:
        """Rows that every walker has; a stopped run may leave one walker a row more than another."""
        return int(np.diff(np.r_[self.starts, len(self)]).min()) if self.number else 0

    @cached_property
    def stride(self) -> float:
        """Sweeps from one row of a walker to its next, in the mean; 1 where no walker has two rows."""
        last = np.r_[self.starts[1:], len(self)] - 1
        rows = last - self.starts
        when = self.step[self.order]
        return float((when[last] - when[self.starts]).sum() / rows.sum()) if rows.sum() else 1.0

    def series(self, values: np.ndarray) -> np.ndarray:
        """(walkers, steps) of `values` (n,): the last `steps` rows of each walker."""
        last = np.r_[self.starts[1:], len(self)]
        places = last[:, None] - np.arange(self.steps, 0, -1)
        return np.asarray(values)[self.order[places]]

    def sums(self, x_jn: np.ndarray) -> np.ndarray:
        """Sums of `x_jn` (J, n) over the rows of each walker: (J, walkers)."""
        found: np.ndarray = np.add.reduceat(x_jn[:, self.order], self.starts, axis=1)
        return found

    def crossings(self, inside: np.ndarray) -> tuple[int, int]:
        """How often walkers entered, and how often they left, the rows marked in `inside` (n,) bool.

        From one row of a walker to its next; where it began counts for neither.
        """
        here = np.asarray(inside, dtype=bool)[self.order].astype(np.int8)
        change = np.diff(here)
        change[self.starts[1:] - 1] = 0
        return int((change == 1).sum()), int((change == -1).sum())

    def independent(self, values: np.ndarray) -> float:
        """How many of the n rows count as independent for the mean of `values` (n,), at most n.

        Their bulk sample size (`boltzgen.ensemble.chains.samples`). Of marks, True and False, no more than
        the crossings allow, whatever the walkers began with: a chain of two states that enters one of them
        ``r p (1 - p)`` times a row has ``n r / (2 - r)`` independent rows. 0 for what never changed, and
        where walkers have fewer than `FEWEST_STEPS` rows.
        """
        if self.steps < FEWEST_STEPS:
            return 0.0
        found = bulk_samples(self.series(np.asarray(values, dtype=np.float64)))
        if values.dtype != np.bool_ or found is None:
            return min(found or 0.0, float(len(self)))
        p = float(np.mean(values))
        rows = len(self) - self.number  # from which a walker goes on
        rate = min(self.crossings(values)) / (p * (1 - p) * rows)
        return min(found, len(self) * rate / max(2 - rate, 1.0), float(len(self)))

    def spaced(self, inefficiency: float, most: int | None = None) -> np.ndarray:
        """Rows in rising order that are `inefficiency` rows (>= 1) of a walker apart, at least one a walker.

        At most `most` of them, spread evenly.
        """
        last = np.r_[self.starts[1:], len(self)]
        chosen = [
            self.order[begin + np.unique(np.arange(0.0, end - begin, max(inefficiency, 1.0)).astype(int))]
            for begin, end in zip(self.starts.tolist(), last.tolist(), strict=True)
        ]
        rows = np.sort(np.concatenate(chosen))
        if most is None or len(rows) <= most:
            return rows
        return rows[np.linspace(0, len(rows) - 1, most).astype(int)]

    def inefficiency(self, values: np.ndarray) -> float:
        """Rows for an independent one, at least 1, for the mean of `values` (n,); infinite where none is."""
        found = self.independent(values)
        return max(len(self) / found, 1.0) if found > 0 else float("inf")


def renumbered(parts: Sequence[Walkers]) -> dict[str, np.ndarray]:
    """`CHAIN_FIELDS` of all `parts` in order, walkers and groups of each numbered after those before."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in CHAIN_FIELDS}
    walker = group = 0
    for part in parts:
        found["walker"].append(part.walker + walker)
        found["group"].append(part.group + group)
        found["step"].append(part.step)
        walker, group = walker + int(part.walker.max()) + 1, group + int(part.group.max()) + 1
    return {name: np.concatenate(arrays) for name, arrays in found.items()}
