"""Standard streams that never fail: what cannot be printed ends no verb.

A reader that has gone (``| head -1``), a terminal that was closed, a descriptor that never was open (``>&-``)
are no reason to stop. Standard output on a full disk is told at the end, with code 1.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

#: Nobody reads any longer.
_GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO)


class Descriptor(io.FileIO):
    """Where a standard stream writes to; once that fails, nowhere."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self.refused: str | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno not in _GONE:
                self.refused = error.strerror or str(error)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return super().write(data)

    def finished(self) -> str | None:
        """Why what was printed is not all there; None where it is, or nobody wanted it."""
        sys.stdout.flush()
        return self.refused


def patient_streams() -> Descriptor:
    """Give the process standard streams that never fail; returns that of standard output."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # it would be the first file that is opened
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    output, errors = Descriptor(1), Descriptor(2)
    sys.stdout, sys.stderr = _text(output, sys.stdout), _text(errors, sys.stderr, by_lines=True)
    return output


def _text(descriptor: Descriptor, former: object, by_lines: bool = False) -> io.TextIOWrapper:
    """The stream of text that takes the place of `former`, which is None where it was closed."""
    return io.TextIOWrapper(
        io.BufferedWriter(descriptor),
        encoding=getattr(former, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=by_lines or descriptor.isatty(),
        write_through=getattr(former, "write_through", False),
    )
