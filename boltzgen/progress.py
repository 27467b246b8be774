"""How a long computation tells how far it is, without knowing who listens.

A workflow takes ``progress: Progress | None = None`` and calls it as often as it likes::

    progress(done, total, {"loss": 3.2, "ESS": "12 %"})

The command line hands in one that draws a live bar on a terminal and prints one plain line every
few seconds elsewhere (``boltzgen_cli.terminal.console.progress``).
"""

from __future__ import annotations

from collections.abc import Mapping
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
