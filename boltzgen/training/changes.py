"""Losses as people see them: with a unit, and with a zero that means something.

``-log q`` is a density in nanometres, ``log q + u`` a divergence up to the unknown ln Z: their values say
nothing by themselves, and a divergence of 249 looks like a catastrophe. What is shown is the change since the
run began, for each molecule by itself: 0 is the flow as it was then (of a new flow the base distribution, of
an adapted one the model that it began from), and below 0 is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from boltzgen.training.losses.objective import Shown
from boltzgen.training.optimizer.gradients import Outcome

#: What the metrics call the change of a statistic.
CHANGE = "_change"


class Changes:
    """The changes of the losses of one run.

    shown: how each loss is shown, by its name. dimensions: internal degrees of freedom of each target.
    first: the values that changes are counted from, by loss and molecule; a checkpoint keeps them.
    """

    def __init__(self, shown: Mapping[str, Shown], dimensions: Sequence[int]) -> None:
        self.shown, self.dimensions = shown, dimensions
        self.first: dict[str, float] = {}

    @property
    def columns(self) -> tuple[str, ...]:
        """What the metrics have besides the values."""
        return tuple(name + CHANGE for name, one in self.shown.items() if one.change)

    def of(self, outcomes: Sequence[Outcome]) -> dict[str, float]:
        """The change of each loss at one step, the mean over its molecules; first values become `first`."""
        totals: dict[str, tuple[str, int, float, float]] = {}
        for outcome in outcomes:
            for name, value in outcome.parts.items():
                if (
                    name in self.shown
                    and self.shown[name].change
                    and math.isfinite(value)
                    and outcome.task.of
                ):
                    key = " ".join([name, *map(str, outcome.task.of)])
                    _, _, total, share = totals.get(key, ("", 0, 0.0, 0.0))
                    more = outcome.task.share
                    totals[key] = (name, outcome.task.of[0], total + more * value, share + more)
        means: dict[str, tuple[float, float]] = {}
        for key, (name, place, total, share) in totals.items():
            value = total / share
            size = self.dimensions[place] if self.shown[name].a_degree else 1
            change = (value - self.first.setdefault(key, value)) / max(size, 1)
            summed, weight = means.get(name, (0.0, 0.0))
            means[name] = (summed + share * change, weight + share)
        return {name + CHANGE: summed / weight for name, (summed, weight) in means.items()}

    def told(self, values: Mapping[str, float | int | None]) -> dict[str, str]:
        """What a progress line says of the losses in `values`, a row of the metrics."""
        told = {}
        for name, one in self.shown.items():
            value = values.get(name + CHANGE if one.change else name)
            if value is not None:
                number = (
                    f"{value:+.3f}" if one.a_degree else f"{value:+.2f}" if one.change else f"{value:.2f}"
                )
                told[one.words] = f"{number} {one.unit}".strip()
        return told
