"""What a long verb says before it begins: what it will do, and how long it expects to take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from boltzgen.progress import hours_and_minutes

#: Seconds that a measurement may take in all, so that the estimate is there within five.
MEASURING = 2.5


@dataclass(frozen=True)
class Expectation:
    """How long something will take here.

    Attributes
    ----------
    verb: what it is about. seconds: from now to the end, wall time.
    task: what will be done, in a few words. measured: what the seconds rest on.
    further: sentences worth knowing beside it; empty for none.
    """

    verb: str
    seconds: float
    task: str
    measured: str
    further: str = ""

    @property
    def sentence(self) -> str:
        """All of it, for people."""
        behind = f" {self.further}" if self.further else ""
        return f"{self.verb}: {self.task}; about {hours_and_minutes(self.seconds)} ({self.measured}).{behind}"

    def to_json(self) -> dict[str, Any]:
        """The fields and the sentence, JSON types only."""
        return {
            "verb": self.verb,
            "expected_seconds": self.seconds,
            "task": self.task,
            "measured": self.measured,
            "sentence": self.sentence,
        }


class Expect(Protocol):
    """Who is told what to expect, before anything is written; may raise to end the verb there."""

    def __call__(self, found: Expectation, /) -> None: ...


def seconds_of(work: Callable[[], object], *, within: float = MEASURING, most: int = 20) -> float:
    """Wall seconds of one call of `work`: the mean of those after the first, which warms up.

    The first alone where it took more than half the time `within` (s), at most `most` calls in all.
    """
    begin = time.perf_counter()
    work()
    warm = time.perf_counter()
    if warm - begin > within / 2:
        return warm - begin
    calls = 0
    while True:
        work()
        calls += 1
        now = time.perf_counter()
        if calls + 1 >= most or now - begin + (now - warm) / calls > within:
            return (now - warm) / calls
