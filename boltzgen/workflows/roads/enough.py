"""When to stop drawing: a pilot sets the number, the answer uses fresh draws, and more come once at most.

To draw until one's own error is small enough makes the error too small: one stops where it happens to be.
Here the pilot's samples are not part of the answer, so that the first number knows nothing of the answer's
own error; if that is still too large the rest is drawn in one go, and the first part is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from boltzgen.ensemble.diagnostics import ENOUGH_EFFECTIVE

#: Samples of the pilot.
PILOT = 2000

#: How many more are drawn than the pilot's error asks for, since that error is an estimate itself.
MARGIN = 1.2

#: Fewest samples of an answer; with fewer a bootstrap means nothing.
FEWEST = 500

#: Times the first number that there may be in the end.
MOST_GROWTH = 4.0


@dataclass(frozen=True)
class Draws:
    """How many samples are wanted, how many each part has, and whether their number was already raised.

    A part more than one before it was raised is what the time had left undone; all stay.
    """

    wanted: int
    parts: tuple[int, ...] = ()
    enlarged: bool = False

    @property
    def number(self) -> int:
        return sum(self.parts)

    def next_part(self, most: int) -> int:
        """Samples of the next part, of which there is time for `most`; 0: enough, or no time."""
        left = self.wanted - self.number
        if left <= 0:
            return 0
        if not self.parts:
            return min(left, max(most, FEWEST))
        return 0 if most < min(left, FEWEST) else min(left, most)

    def with_part(self, number: int) -> Draws:
        return replace(self, parts=(*self.parts, number))

    def judged(self, error: float | None, precision: float) -> Draws:
        """The same, or once with a larger number wanted: all are drawn and `error` (kT) is too large."""
        if self.enlarged or self.number < self.wanted or (error is not None and error <= precision):
            return self
        most = math.ceil(MOST_GROWTH * self.number)
        wanted = number_for(error, self.number, precision) or most
        return replace(self, wanted=max(min(wanted, most), self.number + FEWEST), enlarged=True)


def number_for(error: float | None, number: int, precision: float) -> int | None:
    """Samples that bring the standard error `error` (kT) of `number` ones to `precision`; None: not known."""
    if error is None or not math.isfinite(error):
        return None
    return max(FEWEST, math.ceil(MARGIN * number * (error / precision) ** 2))


def number_with(effective: float, number: int) -> int | None:
    """Samples with which a state has `ENOUGH_EFFECTIVE`, of whose `number` so many are `effective`."""
    return None if effective <= 0 else math.ceil(MARGIN * number * ENOUGH_EFFECTIVE / effective)


def draw_enough(
    draws: Draws,
    precision: float,
    draw: Callable[[int, int], None],
    error: Callable[[], float | None],
    *,
    most: Callable[[], int],
    keep: Callable[[Draws], None] = lambda draws: None,
) -> tuple[Draws, float | None]:
    """Draw what is wanted, and once more where the error (kT) is then above `precision`.

    ``draw(number, part)`` draws part 0, 1, ..., independent of the pilot and of each other; `error` is the
    largest standard error of what is asked for, from all parts so far; `most` how many more there is time
    for; `keep` is told the state before each part. Returns the state at the end and the error.
    """
    while True:
        keep(draws)
        left, number = draws.wanted - draws.number, draws.next_part(most())
        if number:
            draw(number, len(draws.parts))
            draws = draws.with_part(number)
            keep(draws)
        found = error()
        raised = draws if number < left else draws.judged(found, precision)
        if raised == draws:
            return draws, found
        draws = raised
