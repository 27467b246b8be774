"""Which ladder walkers are worth being put on: those that could pay are tried in the warm-up, and compared.

A ladder of K rungs costs K times the work, so that it pays where walkers of the target forget more than K
times faster. The warm-up is cut into fifths. In the second one walkers move without a ladder, and mostly that
is all. Rungs are tried where the slowest variable is forgotten in more than `PAYS_BEYOND` sweeps by what was
learned of the moves, or in more than `BEYOND_BY_HOT` when its change is measured by the spread of draws of
the flow at the hottest temperature (passes, no energies): walkers that move well in one state and never leave
it would seem fast by their own spread. Then the third fifth is spent on the ladder q^(1-b) p^b, the fourth on
that of temperatures.

Over a fifth of L sweeps, walkers at the target change variable v by the mean square ``m_v``; with the
variance ``s_v`` of all points that walkers at the target were seen at, in all fifths, ``f_v = m_v / (2 s_v)``
of it is forgotten, at the rate ``-ln(1 - f_v) / L``. The worth of a ladder is the smallest rate over K, and
the best one is taken if it is worth `MARGIN` times as much as none. A state that a ladder alone has found is
part of ``s_v``, so that walkers without one have hardly moved there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from boltzgen.conditioning.context import Context
from boltzgen.generator import BoltzmannGenerator
from boltzgen.refine.chains.adaptation import LEAST_VARIANCE, Followed
from boltzgen.refine.chains.moves import draw_base

#: Sweeps for which walkers forget nothing, beyond which rungs are tried: by what was learned of the moves,
#: and by the spread of hot draws, which is somewhat wider in any case.
PAYS_BEYOND, BEYOND_BY_HOT = 40.0, 80.0

#: What a ladder must be worth, over none: its rate over its rungs is known to about a third.
MARGIN = 1.5

#: Parts of the warm-up, and fewest sweeps of one in which anything can be seen.
PARTS, FEWEST = 5, 3

#: Most of a variable that counts as forgotten in a part: more is noise.
MOST_FORGOTTEN = 0.95


class LadderTrial:
    """What was seen of the ladders that one group tried in a warm-up of `warm_up` sweeps.

    values: (n, W, variables, 2) where the W walkers of the target were at the ends of the parts so far.
    rungs: (n - 1,) of the ladder between two of them. exponents: of the tempered ladder when it ended.
    over: whether nothing is tried any more.
    """

    def __init__(self, warm_up: int) -> None:
        self.length = warm_up // PARTS
        self.over = self.length < FEWEST
        self.values, self.rungs, self.exponents = np.zeros((0, 0, 0, 0)), np.zeros(0), np.zeros(0)

    def due(self, sweeps: int) -> bool:
        """Whether something is decided after so many sweeps."""
        return not self.over and sweeps % self.length == 0

    def next(self, values: np.ndarray, exponents: np.ndarray, slow: Callable[[], bool]) -> str | None:
        """The ladder from now on, None for the one that there is.

        values: (W, variables, 2) of the walkers of the target. exponents: of the rungs that they are on.
        slow: whether walkers without a ladder may be slow.
        """
        before = self.values if len(self.values) else values[None][:0]
        self.values = np.concatenate([before, values[None]])
        if len(self.values) == 1:
            return None
        self.rungs = np.append(self.rungs, len(exponents))
        if len(self.values) == 2:
            self.over = not slow()
            return None if self.over else "tempered"
        if len(self.values) == 3:
            self.exponents = exponents
            return "temperatures"
        self.over = True
        best = self.best()
        return None if best == "temperatures" else best

    def best(self) -> str:
        """``none``, ``tempered`` or ``temperatures``, by what each is worth."""
        worth = self.worth()
        worth[1:] /= MARGIN
        return ("none", "tempered", "temperatures")[int(np.argmax(worth))]

    def worth(self) -> np.ndarray:
        """(n - 1,) the slowest rate at which walkers forget, a sweep and rung, in each part."""
        turned = self.values.reshape(-1, *self.values.shape[2:])
        spread = np.maximum(turned.var(axis=0).sum(axis=1), LEAST_VARIANCE)
        rates = [rate_of(one, two, spread, self.length) for one, two in zip(self.values, self.values[1:])]
        return np.array([rate.min() for rate in rates]) / self.rungs

    def slow_by(self, spread: np.ndarray) -> bool:
        """Whether the last part was slow where (variables,) variances are at least `spread`."""
        own = self.values[-2:].reshape(-1, *self.values.shape[2:]).var(axis=0).sum(axis=1)
        spread = np.maximum(np.maximum(own, spread), LEAST_VARIANCE)
        return bool(rate_of(self.values[-2], self.values[-1], spread, self.length).min() < 1 / BEYOND_BY_HOT)

    def arrays(self) -> dict[str, np.ndarray]:
        """All that was seen; `restore` takes it."""
        return {
            "values": self.values,
            "rungs": self.rungs,
            "exponents": self.exponents,
            "over": np.array(self.over),
        }

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """What `arrays` gave before."""
        self.values, self.rungs = arrays["values"], arrays["rungs"]
        self.exponents, self.over = arrays["exponents"], bool(arrays["over"])


def rate_of(before: np.ndarray, after: np.ndarray, spread: np.ndarray, sweeps: float) -> np.ndarray:
    """(variables,) rates a sweep at which walkers forgot from `before` to `after`, (W, variables, 2) both.

    spread: (variables,) variances. Half a walker's change is the least that is seen.
    """
    forgotten = ((after - before) ** 2).sum(axis=2).mean(axis=0) / (2 * spread)
    return -np.log1p(-np.clip(forgotten, 0.5 / len(before), MOST_FORGOTTEN)) / sweeps


def spread_of_draws(
    generator: BoltzmannGenerator,
    followed: Followed,
    temperature: float,
    number: int,
    random: torch.Generator,
) -> np.ndarray:
    """(variables,) variances of what turns in `number` draws of the flow at `temperature` (K)."""
    flow, features = generator.latent_flow, generator.target.features
    with torch.no_grad():
        latents = draw_base(number, features.circular, generator=random)
        coordinates, _ = flow.decode(latents, flow.embed(Context.of(features, temperature, number)))
    turned = np.asarray(followed.turning(coordinates).cpu())
    return np.asarray(turned[np.isfinite(turned).all(axis=(1, 2))].var(axis=0).sum(axis=1))
