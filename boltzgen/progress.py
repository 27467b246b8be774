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
