"""What every verb shares at the terminal: consoles, tables, progress.

Arguments that texts of the library name are shown in the verb's own words (`boltzgen_cli.terminal.fields`).
Results go to standard output, messages and progress to standard error. Rich is imported when
something is drawn, so that ``boltzgen --help`` stays quick.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from boltzgen.notebook import shown
from boltzgen_cli.terminal.fields import in_words

if TYPE_CHECKING:
    from rich.console import Console

    from boltzgen.progress import Progress

#: Seconds between two plain progress lines when standard error is not a terminal.
LINE_EVERY = 5.0


@cache
def console() -> Console:
    """The console for results: standard output. Rich markup in what is printed is not interpreted."""
    from rich.console import Console

    return Console(markup=False, highlight=False, soft_wrap=not sys.stdout.isatty())


@cache
def error_console() -> Console:
    """The console for messages and progress: standard error."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, soft_wrap=not sys.stderr.isatty())


def message(text: str) -> None:
    """One plain line on standard error."""
    print(in_words(text), file=sys.stderr, flush=True)


def key_values(title: str, rows: Mapping[str, Any]) -> None:
    """Print a two-column table of names and values to standard output; None is shown as a dash."""
    table(title, ("", ""), [(name, value) for name, value in rows.items()], header=False)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, header: bool = True) -> None:
    """Print a table to standard output; floats with four significant digits, None as a dash."""
    from rich import box
    from rich.table import Table

    drawn = Table(
        title=title or None, title_justify="left", box=box.SIMPLE, show_header=header, padding=(0, 1, 0, 0)
    )
    for position, column in enumerate(columns):
        numeric = position > 0 and all(isinstance(row[position], int | float) for row in rows)
        drawn.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(_shown(cell) for cell in row))
    console().print(drawn)


def _shown(value: object) -> str:
    return in_words(shown(value))


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """Yield a listener ``(done, total, values)``: a live bar on a terminal, plain lines elsewhere."""
    listener = _LiveProgress(title) if sys.stderr.isatty() else _LineProgress(title)
    try:
        yield listener
    finally:
        listener.close()


class _LineProgress:
    """One line at the first call, then one every `LINE_EVERY` seconds, and the last state at the end."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._started = time.monotonic()
        self._printed: float | None = None
        self._pending: str | None = None

    def __call__(
        self, done: int, total: int | None, values: Mapping[str, float | str] | None = None, /
    ) -> None:
        now = time.monotonic()
        self._pending = self._line(now, done, total, values or {})
        if self._printed is None or now - self._printed >= LINE_EVERY or done == total:
            self.close()
            self._printed = now

    def _line(self, now: float, done: int, total: int | None, values: Mapping[str, float | str]) -> str:
        count = f"{done}" if total is None else f"{done}/{total}"
        words = "  ".join(f"{name} {_shown(value)}" for name, value in values.items())
        return f"{self.title}  {count}  {now - self._started:.0f} s  {words}".rstrip()

    def close(self) -> None:
        if self._pending is not None:
            message(self._pending)
            self._pending = None


class _LiveProgress:
    """A Rich bar with the time left, and a table of the latest values below it."""

    def __init__(self, title: str) -> None:
        from rich.live import Live
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._task = self._bar.add_task(title, total=None)
        self._values: dict[str, float | str] = {}
        self._live = Live(console=error_console(), get_renderable=self._render, refresh_per_second=4)
        self._live.start()

    def _render(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        if not self._values:
            return self._bar
        table = Table(box=None, padding=(0, 2), show_header=False)
        for name, value in self._values.items():
            table.add_row(Text(name), Text(_shown(value)))
        return Group(self._bar, table)

    def __call__(
        self, done: int, total: int | None, values: Mapping[str, float | str] | None = None, /
    ) -> None:
        self._values.update(values or {})
        self._bar.update(self._task, completed=done, total=total)

    def close(self) -> None:
        self._live.stop()
