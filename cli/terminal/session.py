"""What one command was told about its output, and where that goes: standard streams, the log file, JSON.

`main` opens a session around a command; the options that every verb takes (`boltzgen_cli.terminal.common`)
set it up; `boltzgen_cli.terminal.console` asks it before anything is shown.
"""

from __future__ import annotations

import json
import math
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from boltzgen import __version__
from boltzgen.errors import InputError

#: What a log file of ours begins with.
HEAD = "# log of boltzgen"


@dataclass
class Session:
    """One command.

    Attributes
    ----------
    started: of the clock `time.monotonic`, when it began.
    as_json: standard output is for one JSON object. quiet: no progress and no notes.
    words: the command line. log: the open log file. result: what the verb came to, with ``to_json``.
    """

    words: Sequence[str] = ()
    started: float = field(default_factory=time.monotonic)
    as_json: bool = False
    quiet: bool = False
    log: TextIO | None = None
    result: Any = None

    def write(self, text: str) -> None:
        """`text` into the log file, if there is one, each line with date and time; troubles are told once."""
        if self.log is None:
            return
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        try:
            self.log.write("".join(f"{now}  {line.rstrip()}\n" for line in text.splitlines() if line.strip()))
            self.log.flush()
        except OSError as error:
            name, self.log = self.log.name, None
            print(f"boltzgen: {name} cannot be written ({error.strerror}); going on.", file=sys.stderr)

    def open_log(self, path: Path) -> None:
        """Append to the log file `path` from now on; InputError where it is another file or cannot be."""
        try:
            if path.exists() and not path.is_file():
                raise InputError(f"`log_file='{path}'` is no file; name one to be made.")
            if path.is_file() and path.stat().st_size and not _is_log(path):
                raise InputError(f"`log_file='{path}'` is no log of boltzgen; name another file.")
            self.log = path.open("a", encoding="utf-8", errors="backslashreplace")
            if self.log.tell() == 0:
                self.log.write(f"{HEAD}\n")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(f"`log_file='{path}'` cannot be written ({reason}).") from error
        self.write(f"boltzgen-sampler {__version__}")

    def close(self) -> None:
        """Close the log file."""
        if self.log is not None:
            with suppress(OSError):
                self.log.close()
            self.log = None


def _is_log(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(HEAD)) == HEAD.encode()


_running: ContextVar[Session | None] = ContextVar("_session", default=None)

#: What speaks when no command runs: tests, and what is printed before one begins.
_NONE = Session()


def session() -> Session:
    """That of the running command."""
    return _running.get() or _NONE


@contextmanager
def opened(line: Sequence[str]) -> Iterator[Session]:
    """A session for the command line `line`; what warns meanwhile is in its log, too."""
    found = Session(line, as_json="--json" in line)
    token = _running.set(found)
    former = warnings.showwarning

    def told(message: Any, category: Any, filename: str, lineno: int, *others: Any) -> None:
        found.write(f"{category.__name__}: {message}")
        former(message, category, filename, lineno, *others)

    warnings.showwarning = told  # type: ignore[assignment]
    try:
        yield found
    finally:
        if warnings.showwarning is told:
            warnings.showwarning = former
        found.close()
        _running.reset(token)


def json_text(value: Any) -> str:
    """`value` as JSON; numbers that are not finite, for which JSON has no word, are null."""
    return json.dumps(_plain(value), indent=1, allow_nan=False, ensure_ascii=True)


def _plain(value: Any) -> Any:
    if hasattr(value, "to_json"):
        return _plain(value.to_json())
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if hasattr(value, "tolist"):  # NumPy's numbers and arrays
        return _plain(value.tolist())
    return str(value)
