"""How a long computation tells how far it is, without knowing who listens.

A workflow takes ``progress: Progress | None = None`` and calls it as often as it likes::

    progress(done, total, {"loss": 3.2, "ESS": "12 %"})

The command line hands in one that draws a live bar on a terminal and prints one plain line every
few seconds elsewhere (``boltzgen_cli.terminal.console.progress``), both with the time left (`TimeLeft`).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol


class Progress(Protocol):
    """A listener: steps done, steps in all (None when unknown), and named values to show."""

    def __call__(
        self, done: int, total: int | None, values: Mapping[str, float | str] | None = None, /
    ) -> None: ...


def silent(done: int, total: int | None, values: Mapping[str, float | str] | None = None, /) -> None:
    """The listener that ignores everything."""


def hours_and_minutes(seconds: float) -> str:
    """``0:07`` (h:mm) for 440 s; ``41 s`` below a minute and a half; days where there are some."""
    if not seconds < 1e9:
        return "unknown"
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    minutes = round(seconds / 60)
    days, minutes = divmod(minutes, 24 * 60)
    clock = f"{minutes // 60}:{minutes % 60:02d} h"
    return f"{days} d {clock}" if days else clock


class TimeLeft:
    """How long something goes on, from how fast it went: the pace of the later half of the time so far.

    So that a slow beginning (something compiled, a buffer filled) is soon forgotten. Where what is done falls
    or the total changes, something new has begun. `clock` gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, float]] = deque()
        self._total: float | None = None
        self._expected: float | None = None
        self._begun = clock()

    def expect(self, seconds: float) -> None:
        """What is told, less the time since, until a pace is known."""
        self._expected = self._clock() + seconds

    def update(self, done: float, total: float | None) -> None:
        """So much is done now."""
        now = self._clock()
        if self._seen and (total != self._total or done < self._seen[-1][1]):
            self._seen.clear()
        self._total = total
        if not self._seen:
            self._begun = now
        self._seen.append((now, done))
        half = (self._begun + now) / 2
        while len(self._seen) > 2 and self._seen[1][0] <= half:
            self._seen.popleft()

    @property
    def seconds(self) -> float | None:
        """From now; None while nothing is known."""
        now = self._clock()
        (start, before), (end, done) = (self._seen[0], self._seen[-1]) if self._seen else ((now, 0), (now, 0))
        if self._total is not None and done > before and end > start:
            return max(0.0, (self._total - done) * (end - start) / (done - before) - (now - end))
        return None if self._expected is None else max(0.0, self._expected - now)
