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
StoppedError into exit code 75 and the command that goes on. Where there is no request, inside
``ending_by_signal``, a signal ends the process at once, with 128 + its number.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

from boltzgen.errors import InputError

#: Signals that stop a run; the last is what a terminal that is closed sends.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|m|min|h|d)?", re.IGNORECASE)
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


#: Seconds that a limit of time may be.
LONGEST = 1e9


class StopRequest:
    """A flag that signals and a time limit raise, and that loops poll.

    As a context manager it catches SIGINT, SIGTERM and SIGHUP (in the main thread; elsewhere only the
    time limit acts) and puts the former handlers back at exit. A second signal raises
    KeyboardInterrupt, which the command line turns into exit code 128 + its number.

    Parameters
    ----------
    max_time: seconds after which ``requested`` becomes true, counted from `started` (of the clock
        `time.monotonic`), which is now where it is not given.
    """

    def __init__(self, max_time: float | None = None, *, started: float | None = None) -> None:
        self.max_time = max_time
        self._started = time.monotonic() if started is None else started
        self._signal: signal.Signals | None = None
        self._asked = False
        self._over = False
        self._former: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """True once a signal came, ``ask`` was called or the time is over."""
        return self._asked or self._signal is not None or self._overtime

    @property
    def left(self) -> float:
        """Seconds until the time is over; 0 once an end is requested, infinite without a limit."""
        if self.requested:
            return 0.0
        return float("inf") if self.max_time is None else self.max_time - (time.monotonic() - self._started)

    def leaves(self, seconds: float) -> bool:
        """Whether there is time for something that takes so long; where not, the time is over now."""
        if self.requested:
            return False
        self._over = self.left < seconds
        return not self._over

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
        passed = self.max_time is not None and time.monotonic() - self._started >= self.max_time
        return passed or self._over

    def ask(self) -> None:
        """Request the stop from the program itself (tests, callers of the Python interface)."""
        self._asked = True

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._former = _handled_by(self._caught)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _put_back(self._former)
        self._former = {}

    def _caught(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None:
            _end(number, frame)
        self._signal = signal.Signals(number)
        _say(f"\n{self._signal.name}: finishing the batch and saving; once more to end at once.\n")


#: Seconds that whoever stops something waits for the end of a part that could be cut short.
PATIENCE = 2.0

#: Seconds of work between two looks at whether to stop.
_LOOK_EVERY = 0.5


def in_turns(steps: int, advance: Callable[[int], None], stop: StopRequest, *, beyond: float = 1.0) -> bool:
    """Call ``advance(n)`` until all `steps` are made; False when a stop came that would have had to wait.

    It would where more than `PATIENCE` seconds are left of all `beyond` times so many steps.
    """
    began, done, turn = time.monotonic(), 0, min(10, steps)
    while done < steps:
        advance(turn)
        done += turn
        each = (time.monotonic() - began) / done
        if (beyond * steps - done) * each > PATIENCE and stop.requested:
            return False
        turn = min(steps - done, max(1, int(_LOOK_EVERY / max(each, 1e-9))))
    return True


#: The signal by which this process is ending.
_ending: signal.Signals | None = None


@contextmanager
def ending_by_signal() -> Iterator[None]:
    """Inside, in the main thread, SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt; `ended_by` names them.

    So that files are closed and locks let go. While a module is imported, and when it is not the first
    signal, the process ends in the handler: C code turns the exception into something else.
    """
    global _ending
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _ending = None
    former, hook = _handled_by(_end), sys.unraisablehook
    sys.unraisablehook = _raised_again(hook)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        _put_back(former)


def ended_by() -> signal.Signals | None:
    """The signal that raised KeyboardInterrupt; None when none did."""
    return _ending


def _end(number: int, frame: FrameType | None) -> None:
    global _ending
    again, _ending = _ending is not None, signal.Signals(number)
    if again or _is_importing(frame):
        _say("boltzgen: interrupted.\n")
        os._exit(128 + number)
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _raised_again(hook: Any) -> Any:
    """`hook` for what is raised where nothing can be, in a finalizer, say: there a signal comes once more."""

    def unraisable(found: Any) -> None:
        if _ending is not None and isinstance(found.exc_value, KeyboardInterrupt):
            os.kill(os.getpid(), _ending)
        else:
            hook(found)

    return unraisable


def _handled_by(handler: Any) -> dict[signal.Signals, Any]:
    """Set `handler` for all signals but a SIGHUP that is ignored (`nohup`); the former ones.

    None: a handler that was not set from Python, and could not be put back.
    """
    found = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number, former in found.items() if former is not None]
    hangup = getattr(signal, "SIGHUP", None)
    kept = [number for number in ours if number != hangup or found[number] is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in kept}


def _put_back(former: dict[signal.Signals, Any]) -> None:
    for number, handler in former.items():
        signal.signal(number, handler)


def _say(text: str) -> None:
    """Straight to the descriptor: a stream that is just written to cannot be entered from a handler."""
    with suppress(OSError):
        os.write(2, text.encode())


def parse_duration(text: str) -> float:
    """Seconds in ``90``, ``90s``, ``15m``, ``2h``, ``1.5h`` or ``1h30m``; InputError otherwise."""
    compact = text.replace(" ", "")
    parts = _DURATION.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise InputError(f"`max_time={text!r}` is not a duration; write 90s, 15m, 2h or 1h30m.")
    seconds = sum(float(number) * _SECONDS[unit.lower() or "s"] for number, unit in parts)
    if seconds <= 0:
        raise InputError(f"`max_time={text!r}` leaves no time; write a duration such as 15m or 2h.")
    if seconds > LONGEST:
        raise InputError(
            f"`max_time={text[:40]!r}` is more than thirty years; write 15m or 2h, or leave it out."
        )
    return seconds
