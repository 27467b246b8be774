"""What RDKit says on its log and on standard output, caught instead of shown."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TIME = re.compile(r"^\[\d\d:\d\d:\d\d\] ")
_STACK = re.compile(r"^(\*{4}|-{4}|\s*\d+# |Stacktrace|Violation occurred|Failed Expression|Post-condition)")


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = _TIME.sub("", record.getMessage()).strip()
        if line and not _STACK.match(line) and line not in self.lines:
            self.lines.append(line)


@contextmanager
def rdkit_log() -> Iterator[list[str]]:
    """RDKit's messages inside the block, without times and stack traces; nothing reaches the terminal."""
    from rdkit import rdBase

    collector, logger = _Collector(), logging.getLogger("rdkit")
    handlers, propagate = logger.handlers[:], logger.propagate
    rdBase.LogToPythonLogger()
    logger.handlers, logger.propagate = [collector], False
    try:
        yield collector.lines
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        rdBase.LogToCppStreams()


def printed_by(work: Callable[[], object]) -> str:
    """What `work` writes to the process's standard output from C++, where ``sys.stdout`` is blind."""
    sys.stdout.flush()
    with tempfile.TemporaryFile() as file:
        kept = os.dup(1)
        try:
            os.dup2(file.fileno(), 1)
            with contextlib.suppress(Exception):
                work()
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        file.seek(0)
        return file.read().decode("utf-8", errors="replace")
