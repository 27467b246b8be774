"""What every verb shares at the terminal: consoles, tables, progress.

Arguments that texts of the library name are shown in the verb's own words (`boltzgen_cli.terminal.fields`).
Results go to standard output, messages and progress to standard error. Rich is imported when
something is drawn, so that ``boltzgen --help`` stays quick.
"""

from __future__ import annotations

import io
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

from boltzgen.interrupts import StopRequest, parse_duration
from boltzgen.notebook import shown
from boltzgen.progress import TimeLeft, hours_and_minutes
from boltzgen_cli.terminal.fields import in_words
from boltzgen_cli.terminal.session import session

if TYPE_CHECKING:
    from rich.console import Console

    from boltzgen.workflows.timing.expectation import Expect, Expectation

#: Seconds between two plain progress lines when standard error is not a terminal.
LINE_EVERY = 5.0

#: Columns of tables in log files.
LOG_WIDTH = 110


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
    """One plain line on standard error: a note, which ``--quiet`` leaves out."""
    if session().quiet:
        session().write(in_words(text))
    else:
        finding(text)


def finding(text: str) -> None:
    """One plain line on standard error that is told in any case: a warning, a verdict, a reason."""
    session().write(in_words(text))
    print(in_words(text), file=sys.stderr, flush=True)


def result(found: Any) -> None:
    """What the verb came to, an object with ``to_json``: what ``--json`` prints when the verb is over."""
    session().result = found


def text(words: str, *, end: str = "\n") -> None:
    """Print `words` to standard output as they are."""
    session().write(words)
    console().print(words, soft_wrap=True, end=end)


def key_values(title: str, rows: Mapping[str, Any]) -> None:
    """Print a two-column table of names and values to standard output; None is shown as a dash."""
    table(title, ("", ""), [(name, value) for name, value in rows.items()], header=False)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, header: bool = True) -> None:
    """Print a table to standard output; floats with four significant digits, None as a dash.

    With ``--json`` it goes to standard error, and with ``--quiet`` too nowhere.
    """
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
    if session().log is not None:
        session().write(_as_text(drawn))
    if not (session().as_json and session().quiet):
        console().print(drawn)


def _as_text(drawn: Any) -> str:
    from rich.console import Console

    file = io.StringIO()
    Console(file=file, width=LOG_WIDTH, markup=False, highlight=False).print(drawn)
    return file.getvalue()


def _shown(value: object) -> str:
    return in_words(shown(value))


def stop_after(max_time: str | None) -> StopRequest:
    """What ends a verb when `max_time`, such as ``15m``, is over since the command began; None: nothing."""
    limit = None if max_time is None else parse_duration(max_time)
    return StopRequest(limit, started=session().started)


@contextmanager
def long_verb(
    title: str, max_time: str | None = None, *, saves: bool = True
) -> Iterator[tuple[StopRequest, Listener]]:
    """What a verb that may take long hands to its workflow: `stop` and `progress`.

    The limit `max_time`, such as ``15m``, counts from when the command began. A verb that `saves` nothing
    ends at the first signal.
    """
    stop = stop_after(max_time)
    with stop if saves else nullcontext(), progress(title) as listener:
        yield stop, listener


@contextmanager
def progress(title: str) -> Iterator[Listener]:
    """Yield a listener ``(done, total, values)``: a live bar on a terminal, plain lines elsewhere.

    Both say how long it still takes, from the pace so far; before there is one, what `Listener.expect` was
    told.
    """
    listener: Listener
    if session().quiet:
        listener = _LineProgress(title, session().write)
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        listener = _LiveProgress(title)
    else:
        listener = _LineProgress(title)
    try:
        yield listener
    finally:
        listener.close()


def telling(dry_run: bool = False) -> Expect:
    """For a workflow's `expect`: tells what is expected; with `dry_run` the command ends there."""

    def expect(found: Expectation, /) -> None:
        message(found.sentence)
        if dry_run:
            result(found)
            raise DryRunEnded

    return expect


class Listener(ABC):
    """Hears of progress, and of what is expected before there is any."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.left = TimeLeft(lambda: time.monotonic())

    @abstractmethod
    def __call__(
        self, done: int, total: int | None, values: Mapping[str, float | str] | None = None, /
    ) -> None: ...

    @abstractmethod
    def close(self) -> None:
        """What is not yet shown is."""

    def expecting(self, dry_run: bool = False) -> Expect:
        """As `telling`; the time left counts down from what is expected."""
        told = telling(dry_run)

        def expect(found: Expectation, /) -> None:
            self.left.expect(found.seconds)
            told(found)

        return expect

    def _remaining(self) -> str:
        seconds = self.left.seconds
        return "" if seconds is None else f"{hours_and_minutes(seconds)} left"


class DryRunEnded(Exception):
    """What was expected has been told, and no more was asked for."""


class _LineProgress(Listener):
    """One line at the first call, then one every `LINE_EVERY` seconds, and the last state at the end."""

    def __init__(self, title: str, say: Callable[[str], None] = message) -> None:
        super().__init__(title)
        self._say = say
        self._started = time.monotonic()
        self._printed: float | None = None
        self._pending: str | None = None

    def __call__(
        self, done: int, total: int | None, values: Mapping[str, float | str] | None = None, /
    ) -> None:
        now = time.monotonic()
        self.left.update(done, total)
        self._pending = self._line(now, done, total, values or {})
        if self._printed is None or now - self._printed >= LINE_EVERY or done == total:
            self.close()
            self._printed = now

    def _line(self, now: float, done: int, total: int | None, values: Mapping[str, float | str]) -> str:
        count = f"{done}" if total is None else f"{done}/{total}"
        words = [f"{name} {_shown(value)}" for name, value in values.items()]
        left = "" if done == total else self._remaining()
        return "  ".join(
            filter(None, [self.title, count, hours_and_minutes(now - self._started), left, *words])
        )

    def close(self) -> None:
        if self._pending is not None:
            self._say(self._pending)
            self._pending = None


class _LiveProgress(Listener):
    """A Rich bar with the time left, and a table of the latest values below it; plain lines in the log."""

    def __init__(self, title: str) -> None:
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn
        from rich.progress import Progress as RichProgress
        from rich.text import Text

        super().__init__(title)
        started, remaining = time.monotonic(), self._remaining

        class Times(ProgressColumn):
            """Time so far, and time left."""

            def render(self, task: Any) -> Text:
                spent = hours_and_minutes(time.monotonic() - started)
                return Text("  ".join(filter(None, [spent, remaining()])))

        self._bar = RichProgress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Times())
        self._task = self._bar.add_task(title, total=None)
        self._values: dict[str, float | str] = {}
        self._logged = _LineProgress(title, session().write)
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
        self.left.update(done, total)
        self._values.update(values or {})
        self._bar.update(self._task, completed=done, total=total)
        self._logged(done, total, values)

    def close(self) -> None:
        self._logged.close()
        self._live.stop()
