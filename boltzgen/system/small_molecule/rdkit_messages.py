"""What RDKit says on its log and on standard output, caught instead of shown."""

from __future__ import annotations

import contextlib
import io
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
    """RDKit's messages inside the block, without times and stack traces; nothing reaches the terminal.

    Afterwards RDKit writes where it wrote before, and its logs are as enabled as they were. (What
    ``AttachFileToLog`` attached cannot be seen, and is lost.)
    """
    from rdkit import rdBase

    with _collected() as collector:
        enabled, restore = rdBase.LogStatus(), _destination(collector)
        rdBase.LogToPythonLogger()
        try:
            yield collector.lines
        finally:
            restore()
            _enable(enabled)


@contextmanager
def _collected() -> Iterator[_Collector]:
    """The logger that RDKit can write to with one handler, level and handlers put back at the end."""
    collector, logger = _Collector(), logging.getLogger("rdkit")
    handlers, propagate, level = logger.handlers[:], logger.propagate, logger.level
    logger.handlers, logger.propagate = [collector], False
    logger.setLevel(logging.WARNING)
    try:
        yield collector
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def _destination(collector: _Collector) -> Callable[[], None]:
    """What makes RDKit write again to where it writes now; it does not tell, so a line is sent to see."""
    from rdkit import rdBase

    rdBase.EnableLog("rdApp.error")
    with contextlib.redirect_stderr(io.StringIO()) as python:
        cpp = _written(2, lambda: rdBase.LogErrorMsg("where to"))
    if collector.lines:
        collector.lines.clear()
        return rdBase.LogToPythonLogger
    if cpp and python.getvalue():
        return _to_both
    return rdBase.LogToCppStreams if cpp else rdBase.LogToPythonStderr


def _to_both() -> None:
    from rdkit import rdBase

    rdBase.LogToCppStreams()
    rdBase.WrapLogs()


def _enable(status: str) -> None:
    """Enable and disable RDKit's logs as in `status`, lines such as ``rdApp.error:enabled``."""
    from rdkit import rdBase

    for line in status.split():
        log, _, state = line.partition(":")
        (rdBase.EnableLog if state == "enabled" else rdBase.DisableLog)(log)


def printed_by(work: Callable[[], object]) -> str:
    """What `work` writes to the process's standard output from C++, where ``sys.stdout`` is blind."""
    sys.stdout.flush()
    return _written(1, work)


def _written(descriptor: int, work: Callable[[], object]) -> str:
    """What `work` writes to file `descriptor` of the process."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(descriptor)
        try:
            os.dup2(file.fileno(), descriptor)
            with contextlib.suppress(Exception):
                work()
        finally:
            os.dup2(kept, descriptor)
            os.close(kept)
        file.seek(0)
        return file.read().decode("utf-8", errors="replace")
