"""Stopping well: the first signal finishes the batch and saves, the second ends at once.

Long loops poll a `StopRequest`; they never touch signals or clocks themselves::

    def train(..., stop: StopRequest | None = None):
        stop = stop or StopRequest()          # without signals and limit: never requested
        for step in range(steps):
            ...
            if stop.requested:
                save_checkpoint(...)
                raise StoppedError(f"{stop.reason} at step {step}; checkpoint saved in {folder}.")

The command line makes the request (``with StopRequest(max_time=...) as stop``) and turns the
StoppedError into exit code 75 and the command that goes on.
"""

from __future__ import annotations

import re
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from boltzgen.errors import InputError

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|m|min|h|d)?", re.IGNORECASE)
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


class StopRequest:
    """A flag that signals and a time limit raise, and that loops poll.

    As a context manager it catches SIGINT and SIGTERM (in the main thread; elsewhere only the
    time limit acts) and puts the former handlers back at exit. A second signal raises
    KeyboardInterrupt, which the command line turns into exit code 130.

    Parameters
    ----------
    max_time: seconds after which ``requested`` becomes true, counted from construction.
    """

    def __init__(self, max_time: float | None = None) -> None:
        self.max_time = max_time
        self._started = time.monotonic()
        self._signal: signal.Signals | None = None
        self._asked = False
        self._former: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """True once a signal came, ``ask`` was called or the time is over."""
        return self._asked or self._signal is not None or self._overtime

    @property
    def reason(self) -> str:
        """Why, for people: ``stopped by SIGINT``, ``time limit of 7200 s reached``; empty before."""
        if self._signal is not None:
            return f"stopped by {self._signal.name}"
        if self._asked:
            return "stopped on request"
        if self._overtime:
            return f"time limit of {self.max_time:g} s reached"
        return ""

    @property
    def _overtime(self) -> bool:
        return self.max_time is not None and time.monotonic() - self._started >= self.max_time

    def ask(self) -> None:
        """Request the stop from the program itself (tests, callers of the Python interface)."""
        self._asked = True

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            # None: a handler that was not set from Python, and could not be put back
            ours = [number for number in SIGNALS if signal.getsignal(number) is not None]
            self._former = {number: signal.signal(number, self._caught) for number in ours}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former = {}

    def _caught(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            raise KeyboardInterrupt
        self._signal = signal.Signals(number)
        print(
            f"\n{self._signal.name}: finishing the batch and saving; once more to end at once.",
            file=sys.stderr,
            flush=True,
        )


def parse_duration(text: str) -> float:
    """Seconds in ``90``, ``90s``, ``15m``, ``2h``, ``1.5h`` or ``1h30m``; InputError otherwise."""
    compact = text.replace(" ", "")
    parts = _DURATION.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise InputError(f"`max_time={text!r}` is not a duration; write 90s, 15m, 2h or 1h30m.")
    seconds = sum(float(number) * _SECONDS[unit.lower() or "s"] for number, unit in parts)
    if seconds <= 0:
        raise InputError(f"`max_time={text!r}` leaves no time; write a duration such as 15m or 2h.")
    return seconds
