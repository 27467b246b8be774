"""Trouble at the n-th file operation of a command, then the command again, and what that leaves.

    python kill_points.py TEMPLATE WORK     then one JSON object a line on standard input, one answer a line

``words`` are the command, run in a copy of the folder TEMPLATE at WORK; ``trouble`` is

- ``kill``: the process ends before the n-th operation;
- ``disk``: the n-th operation and all that follow fail, as on a full, read-only, foreign or lost disk;
- ``size``: no file grows beyond n bytes, which also meets the writers in C and Rust (safetensors, HDF5, XTC).

``points`` is a list of n, a number of points spread over the operations, or 0 for all of them. The answer
has ``operations`` of the undisturbed command and ``faults``: what was said that should not be, an exit code
that is not documented, and where the same command afterwards does not succeed or leaves anything else in WORK
than the undisturbed one did. ``changes`` names functions to be replaced (`SHORTER`), for verbs that take
minutes.

A process forks for each run, so that imports are paid once.
"""

from __future__ import annotations

import builtins
import errno
import hashlib
import importlib
import io
import json
import os
import re
import resource
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

KILLED = 86

#: Whatever a disk says that cannot be written to any longer.
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOENT, errno.EIO)

#: Operations that a full disk still does.
REMOVALS = ("unlink", "rmdir")

#: Times, and what is made of them: no two runs agree there.
VOLATILE = re.compile(r"(.*_)?(seconds|per_second)|(content_)?sha256|files|wall|pace|command|samples")


class Shim:
    """Counts the file operations of this process that change something, and makes trouble at the n-th."""

    def __init__(self, work: Path, at: int, trouble: str) -> None:
        self.work, self.at, self.trouble, self.count = str(work.resolve()), at, trouble, 0

    def step(self, name: str, path: object) -> None:
        if not isinstance(path, int) and not os.path.abspath(os.fspath(path)).startswith(self.work):
            return  # caches of libraries
        self.count += 1
        if self.trouble == "kill" and self.count == self.at:
            os._exit(KILLED)
        if self.trouble == "disk" and 0 < self.at <= self.count and name not in REMOVALS:
            number = ERRORS[self.at % len(ERRORS)]
            raise OSError(number, os.strerror(number), str(path))

    def counted(self, name: str, work: Callable) -> Callable:
        def operation(path, *arguments, **words):
            self.step(name, path)
            return work(path, *arguments, **words)

        return operation

    def install(self) -> None:
        for name in ("replace", "rename", "fsync", "mkdir", *REMOVALS):
            setattr(os, name, self.counted(name, getattr(os, name)))
        opened, opened_descriptor = builtins.open, os.open

        def writing(file, mode="r", *arguments, **words):
            if set(str(mode)) & set("wax+"):
                self.step("open", file)
            return opened(file, mode, *arguments, **words)

        def making(path, flags, *arguments, **words):
            if flags & os.O_CREAT:
                self.step("open", path)
            return opened_descriptor(path, flags, *arguments, **words)

        builtins.open = io.open = writing
        os.open = making


def short_demo(work: Callable) -> Callable:
    return partial(work, config="tiny.yaml", samples=60, shipped="SHIPPED")


def short_pilot(_: int) -> int:
    return 300


def short_chains(settings: Callable) -> Callable:
    """A warm-up of three sweeps, and a state that is kept, and written, after each second one."""

    def short(asked: Any) -> Any:
        importlib.import_module("boltzgen.refine.chains.run").SAVED_EVERY = 0.0
        found = settings(asked)
        changes = {"warm_up": 3, "pilot": 32, "full_pass_every": 2, "ladder": "none"}
        return None if found is None else found.model_copy(update=changes)

    return short


def short_selftest(cases: Callable) -> Callable:
    return lambda quick: dict(list(cases(quick).items())[:1])


#: Functions to be replaced by shorter ones: module, name, what makes the new one of the old.
SHORTER = {
    "chains": ("boltzgen.workflows.sampling.sample", "chain_settings", short_chains),
    "demo": ("boltzgen.workflows.installation.demo", "demo", short_demo),
    "run": ("boltzgen.workflows.roads.run", "PILOT", short_pilot),
    "selftest": ("boltzgen.workflows.exact_answers.selftest", "cases", short_selftest),
}


def forked(work: Path, words: list[str], changes: str | None, at: int, trouble: str) -> tuple[int, dict, str]:
    """Exit code, file operations and modules, and output of the command in a child."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code, shim = 1, Shim(work, at, trouble)
        try:
            os.close(reading)
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            os.chdir(work)
            from boltzgen_cli.main import main

            if changes is not None:
                module, name, shorter = SHORTER[changes]
                setattr(sys.modules[module], name, shorter(getattr(sys.modules[module], name)))
            if trouble == "size":
                resource.setrlimit(resource.RLIMIT_FSIZE, (at, resource.RLIM_INFINITY))
            else:
                shim.install()
            code = main(words)
        except BaseException:  # noqa: BLE001  (told, as the interpreter would)
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            told = {"operations": shim.count, "modules": sorted(set(sys.modules))}
            os.write(writing, f"\n{json.dumps(told)}".encode())
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    head, _, last = said.rpartition("\n")
    return (code, json.loads(last), head) if last.startswith('{"operations"') else (code, {}, said)


def snapshot(folder: Path) -> dict[str, str]:
    """Each path below `folder` with a digest of what it holds, times left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir():
            found[name] = "folder"
            continue
        content = path.read_bytes()
        if path.suffix in (".json", ".jsonl"):
            rows = content.decode().splitlines() if path.suffix == ".jsonl" else [content.decode()]
            content = json.dumps([timeless(json.loads(row)) for row in rows]).encode()
        elif path.name == "metrics.csv":
            lines = [line.split(",") for line in content.decode().splitlines()]
            kept = [k for k, column in enumerate(lines[0]) if not VOLATILE.fullmatch(column)]
            content = repr([[line[k] for k in kept] for line in lines]).encode()
        elif path.suffix == ".html":  # a page tells how long each step took
            content = b""
        elif path.suffix in (".npz", ".safetensors", ".md", ".csv", ".png") and path.stem in UNEQUAL:
            content = b""
        found[name] = hashlib.sha256(content).hexdigest()
    return found


#: Files that hold times among their numbers.
UNEQUAL = ("reweight", "transfer")


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: timeless(one) for key, one in value.items() if not VOLATILE.fullmatch(key)}
    return [timeless(one) for one in value] if isinstance(value, list) else value


def unlike(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """What differs: ``+`` is too much, ``-`` is missing, ``~`` has another content."""
    return [
        ("+" if name not in wanted else "-" if name not in found else "~") + name
        for name in sorted({*found, *wanted})
        if found.get(name) != wanted.get(name)
    ]


def fault(code: int, said: str, trouble: str) -> str | None:
    """What is wrong with how a command ended that met trouble."""
    if "Traceback" in said or "unexpected" in said or "Exception ignored" in said:
        return "not a sentence"
    if trouble == "kill":
        return None if code == KILLED else "was not killed"
    told = [line for line in said.splitlines() if line.startswith("boltzgen: ")]
    if code not in (0, 1, 2, 4) or (code and len(told) != 1):
        return "not one sentence and a documented exit code"
    return None


def answer(template: Path, work: Path, asked: dict[str, Any]) -> dict[str, Any]:
    words, trouble, changes = asked["words"], asked["trouble"], asked.get("changes")

    def afresh() -> None:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(template, work, symlinks=True)

    afresh()
    code, told, said = forked(work, words, changes, 0, "kill")
    count = told.get("operations", 0)
    for name in told.get("modules", ()):  # what the verb imports is paid once, too
        with suppress(ImportError):
            importlib.import_module(name)
    if code:
        return {"operations": count, "faults": [{"point": 0, "code": code, "said": said[-2000:]}]}
    wanted = snapshot(work)
    points = asked["points"]
    if isinstance(points, int):
        number = points
        points = range(1, count + 1)
        if number and number < count:
            points = sorted({1 + round(k * (count - 1) / max(number - 1, 1)) for k in range(number)})
    faults = []
    for point in points:
        afresh()
        code, _, said = forked(work, words, changes, point, trouble)
        wrong = fault(code, said, trouble)
        again, told = 0, ""
        if wrong is None and code != 0:
            again, _, told = forked(work, words, changes, 0, "kill")
        left = unlike(snapshot(work), wanted)
        # Samples whose manifest was there already are whole; they are not drawn again without being asked.
        if wrong or (again and "already holds" not in told) or left:
            heard = {"said": said[-1500:], "then": told[-1500:]}
            faults.append(
                {"point": point, "wrong": wrong, "code": code, "again": again, **heard, "left": left}
            )
    return {"operations": count, "faults": faults}


def main() -> None:
    template, work = Path(sys.argv[1]), Path(sys.argv[2])
    import matplotlib.figure
    import torch

    import boltzgen.workflows.datasets.build
    import boltzgen.workflows.exact_answers.selftest
    import boltzgen.workflows.free_energy.averages
    import boltzgen.workflows.free_energy.between
    import boltzgen.workflows.free_energy.mbar
    import boltzgen.workflows.free_energy.states
    import boltzgen.workflows.free_energy.surface
    import boltzgen.workflows.installation.demo
    import boltzgen.workflows.roads.run
    import boltzgen.workflows.sampling.check
    import boltzgen.workflows.sampling.export
    import boltzgen.workflows.sampling.merge
    import boltzgen.workflows.sampling.reweight
    import boltzgen.workflows.sampling.sample
    import boltzgen.workflows.training.adapt
    import boltzgen.workflows.transfer.benchmark  # noqa: F401

    assert matplotlib.figure
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(answer(template, work, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
