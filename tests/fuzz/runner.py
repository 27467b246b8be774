"""Mutations by the thousand, each in a child process that may hang, crash or eat memory.

A child forks from a parent that has imported everything, takes a run of cases, and says before each which it
is; the parent ends a child whose case takes more than `SECONDS` of processor time or `WALL` seconds, and a
child may hold `MEMORY` bytes more than it was born with. A case is (target, number): its random stream is
seeded by both, so that every fault can be met again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.mutations import mutate
from fuzz.target import Target

from boltzgen.errors import BoltzgenError

SECONDS = 10.0
WALL = 120.0
MEMORY = 2 << 30

#: What an InputError may not say: words of parsers and of Python that tell a user nothing.
_NOISE = ("Traceback", "object at 0x", "NoneType", "fault of boltzgen", "unexpected keyword")


@dataclass
class Report:
    """counts: outcomes of each target. faults: (target, case number, what)."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[tuple[str, int, str]] = field(default_factory=list)

    def add(self, target: str, number: int, outcome: str, what: str) -> None:
        self.counts.setdefault(target, Counter())[outcome] += 1
        if outcome not in ("refused", "accepted", "unchanged"):
            self.faults.append((target, number, f"{outcome}: {what}"))


def damaged(target: Target, number: int) -> bytes:
    """The file of case `number`."""
    return mutate(target.files[target.damaged], random.Random(f"{target.name}:{number}"))


def write(target: Target, number: int, folder: Path) -> None:
    """The folder of case `number`."""
    for name, data in target.files.items():
        (folder / name).write_bytes(damaged(target, number) if name == target.damaged else data)


def one(target: Target, number: int, folder: Path) -> tuple[str, str]:
    """The outcome of a case and what there is to say of it: "refused", "accepted", or a fault's name."""
    write(target, number, folder)
    silent = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with silent[0], silent[1], warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = target.read(folder)
        except BoltzgenError as error:
            said = str(error)
            noise = [word for word in _NOISE if word in said]
            if noise or not said.strip() or len(said) > 1500:
                return "bad sentence", said[:600]
            return "refused", ""
        except MemoryError:
            return "memory", f"more than {MEMORY >> 30} GiB"
        except BaseException as error:  # noqa: BLE001  (that is what is looked for)
            import traceback

            last = traceback.extract_tb(error.__traceback__)[-1]
            return "traceback", f"{type(error).__name__}: {str(error)[:200]} ({last.filename}:{last.lineno})"
        try:
            complaint = target.verify(folder, result)
        except Exception:  # noqa: BLE001  (the other reader refuses it: it says nothing)
            complaint = None
    return ("changed number", complaint) if complaint else ("accepted", "")


def _child(target: Target, numbers: range, pipe: int) -> None:
    """Cases one after the other; a line before each and one after it. Never returns."""
    born = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (born + MEMORY, born + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder = Path(tempfile.mkdtemp(prefix="boltzgen-fuzz-"))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    status = 0
    try:
        for number in numbers:
            os.write(pipe, f"{json.dumps([number])}\n".encode())
            os.write(pipe, f"{json.dumps([number, *one(target, number, folder)])}\n".encode())
    except BaseException:  # noqa: BLE001
        status = 99
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(status)


def processor_seconds(process: int) -> float:
    """Processor time of `process` so far; 0 when it has ended."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def run(target: Target, numbers: range, report: Report) -> None:
    """All cases of `numbers`, in as many children as it takes."""
    left = numbers
    while left:
        left = _one_child(target, left, report)


def _one_child(target: Target, numbers: range, report: Report) -> range:
    """A child's cases; what is left of `numbers` when it has ended."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        os.close(reading)
        _child(target, numbers, writing)
    os.close(writing)
    current, done, heard = numbers[0], numbers[0], b""
    since, used, fault = time.monotonic(), 0.0, ""
    while True:
        ready, _, _ = select.select([reading], [], [], 1.0)
        if ready:
            data = os.read(reading, 1 << 16)
            if not data:
                break
            heard += data
            *lines, heard = heard.split(b"\n")
            for line in lines:
                said = json.loads(line)
                if len(said) == 1:
                    current, since, used = said[0], time.monotonic(), processor_seconds(process)
                else:
                    report.add(target.name, said[0], said[1], said[2])
                    done = said[0] + 1
        elif processor_seconds(process) - used > SECONDS or time.monotonic() - since > WALL:
            fault = f"more than {SECONDS:g} s of processor time"
            os.kill(process, signal.SIGKILL)
            break
    os.close(reading)
    _, status = os.waitpid(process, 0)
    if not fault and status:
        ended = os.waitstatus_to_exitcode(status)
        fault = f"the process ended with {ended}"
    if fault:
        report.add(target.name, current, "hang" if "processor" in fault else "crash", fault)
        done = current + 1
    return range(done, numbers.stop)
