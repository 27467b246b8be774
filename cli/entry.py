"""The script ``boltzgen``: a signal ends it with 128 + its number and one line, from the first moment on."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType

#: Signals that end a process, those of `boltzgen.interrupts`, which would take longer to import.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def run() -> None:
    """The entry point of the script ``boltzgen``: never returns, ends with an exit code."""
    for number in SIGNALS:
        if number.name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` has it
            signal.signal(number, _leave)
    from boltzgen_cli.main import run

    run()


def _leave(number: int, frame: FrameType | None) -> None:
    """End at once: nothing has begun, or all is done."""
    with suppress(OSError):
        os.write(2, b"boltzgen: interrupted.\n")
    os._exit(128 + number)
