"""Kill a command before its n-th file operation, run it again, and tell where that does not succeed.

    BOLTZGEN_KILL_POINTS=8 python kill_points.py TEMPLATE WORK OUTPUT WORD...

The command WORD... runs in a copy of the folder TEMPLATE at WORK, once whole, then once for each of so many
points spread over its file operations (0: all of them). A process forks for each, so that imports are paid
once. Prints JSON: ``operations`` and ``faults``, each with its point, exit code, what was said, and what was
left in OUTPUT.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

KILLED = 86


class Shim:
    """Counts file operations of this process, and ends it before the n-th (0: never)."""

    def __init__(self, last: int) -> None:
        self.last, self.count = last, 0

    def step(self) -> None:
        self.count += 1
        if self.count == self.last:
            os._exit(KILLED)

    def counted(self, work: Callable) -> Callable:
        def operation(*arguments, **words):
            self.step()
            return work(*arguments, **words)

        return operation

    def install(self) -> None:
        for name in ("replace", "rename", "fsync", "mkdir", "unlink", "rmdir"):
            setattr(os, name, self.counted(getattr(os, name)))
        opened = builtins.open

        def writing(file, mode="r", *arguments, **words):
            if set(str(mode)) & set("wax+"):
                self.step()
            return opened(file, mode, *arguments, **words)

        builtins.open = io.open = writing


def forked(template: Path | None, work: Path, words: list[str], last: int) -> tuple[int, int, str]:
    """Exit code, file operations and output of the command in a child; `template` is copied first."""
    if template is not None:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(template, work)
    log, counts = work.with_suffix(".log"), work.with_suffix(".count")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            os.chdir(work)
            from boltzgen_cli.main import main

            shim = Shim(last)
            shim.install()
            code, done = main(words), shim.count
            shim.last = 0
            counts.write_text(str(done))
        finally:
            # `main` turns exceptions into exit codes; what escapes it is a fault, which code 1 tells.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    count = int(counts.read_text()) if counts.exists() else 0
    return code, count, log.read_text()[-2000:]


def left_behind(folder: Path) -> list[str]:
    """Files of the program's own that a command which succeeded has left in `folder`."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*"))


def main() -> None:
    template, work = Path(sys.argv[1]), Path(sys.argv[2])
    output, words = sys.argv[3], sys.argv[4:]
    import torch

    import boltzgen.workflows.datasets.build
    import boltzgen.workflows.sampling.reweight
    import boltzgen.workflows.simulation.simulate
    import boltzgen.workflows.training.train  # noqa: F401

    torch.set_num_threads(1)
    asked = int(os.environ.get("BOLTZGEN_KILL_POINTS", "0"))
    code, count, said = forked(template, work, words, 0)
    faults = [{"point": 0, "code": code, "said": said}] if code else []
    points = range(1, count + 1)
    if asked and asked < count:
        points = sorted({1 + round(k * (count - 1) / (asked - 1)) for k in range(asked)})
    for point in points if not code else ():
        code, _, said = forked(template, work, words, point)
        if code != KILLED:
            faults.append({"point": point, "code": code, "said": f"was not killed: {said}"})
            continue
        code, _, said = forked(None, work, words, 0)
        left = left_behind(work / output)
        if code or left:
            faults.append({"point": point, "code": code, "said": said, "left": left})
    print(json.dumps({"operations": count, "faults": faults}))


if __name__ == "__main__":
    main()
