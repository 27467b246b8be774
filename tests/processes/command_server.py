"""Commands in processes forked from one that has imported torch, OpenMM, our verbs and the others already.

A documented command takes two to four seconds of CPU for imports before it works, and the pages have some two
hundred. A `CommandServer` imports once and forks a child for each command. The child is what a new process
would be, so that a page is tested as a reader meets it:

* Only `FOUNDATIONS` and the library's verbs (`OURS`) are there before; the command line, and what a command
  alone needs, it imports itself. To import ours changes nothing (tests/ground/test_callers_state.py); what a
  verb imports when it is the first is tried by commands in new processes, those of the tests below too.
  Before a fork nothing is computed and no thread begun (a server that has a second one serves nothing).
* The child has the caller's working folder, environment, umask, arguments, search path and standard streams
  (the very descriptors), and entropy of its own where a new process has it. It runs ``-m boltzgen_cli``,
  ``-c`` or a file as ``__main__``, and ends as an interpreter ends: with its threads, with what is registered
  for the exit and with its streams. Only the modules are not taken apart, 0.3 s of each command.
* What may be read while foundations are imported is compared: a command whose environment differs from the
  server's in more than `READ_LATER`, one with a closed standard stream and one that takes ``--threads`` run
  in new processes, which their clients become. So does every other use of Python.

`tests/processes/test_command_server.py` compares commands of both kinds: bytes, output, exit codes, and all
settings that `callers_state` reads. Two things differ: all commands of a server have one hash seed, and no
signal is passed on (a client that is killed takes its command with it). Tests about processes - signals,
streams, start-up, homes, limits, kills - start real ones.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.abc import InspectLoader
from pathlib import Path
from typing import Any

CLIENT = Path(__file__).with_name("command_client.py")

#: Imported before any fork; not RDKit, which leaves its folder in the environment, nor pymbar, which speaks.
FOUNDATIONS = (
    "numpy",
    "scipy.stats",
    "scipy.signal",
    "pandas",
    "h5py",
    "openmm",
    "openmm.app",
    "mdtraj",
    "Bio.PDB",
    "PeptideBuilder",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "torch",
    "torch._dynamo",
    "pydantic.types",
    "yaml",
    "safetensors.torch",
    "typer",
    "rich.console",
    "rich.progress",
)

#: Of ours, imported after them: half a second of each command, and what all roads walk over.
OURS = ("boltzgen.workflows.roads.run",)

#: Variables that no foundation reads while it is imported: a command may have its own.
READ_LATER = {
    "COLUMNS",
    "KMP_DUPLICATE_LIB_OK",  # set by threadpoolctl wherever a test imports it
    "LINES",
    "OLDPWD",
    "PATH",
    "PWD",
    "PYTEST_CURRENT_TEST",
    "RDBASE",
    "RDK_USE_LEGACY_STEREO_PERCEPTION",
    "SHLVL",
    "TORCHINDUCTOR_CACHE_DIR",
    "_",
}

#: Seconds between two looks at a command that runs.
LOOK = 0.02


class CommandServer:
    """The server, with its socket and its log in an empty `folder`; ends with `close`, or its caller.

    Attributes
    ----------
    log: a file with a line for each command: ``served`` and its seconds of CPU, or why it was not.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self.log = folder, folder / "log"
        words = [sys.executable, __file__, str(folder)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError("the server of commands did not start")

    def words(self, *words: str) -> list[str]:
        """The command line that does what ``python WORDS`` does."""
        return [sys.executable, "-IS", str(CLIENT), str(self._folder), *words]

    def close(self) -> None:
        """End the server; it waits for nothing."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def serve(folder: str) -> Sequence[str]:
    """Import, then serve until standard input ends; returns in a child, to which it gives words to run."""
    environment = dict(os.environ)
    for name in (*FOUNDATIONS, *OURS):
        importlib.import_module(name)
    _set_environment(environment)
    gc.collect()
    gc.freeze()  # children share these pages
    threads = len(os.listdir("/proc/self/task"))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for a command
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"/proc/self/fd/{os.open(folder, os.O_PATH)}/commands")  # a long path would be too long
    listener.listen()
    print("ready", flush=True)
    while select.select([0, listener], [], [])[0] == [listener]:
        connection, _ = listener.accept()
        with connection, suppress(EOFError, OSError):
            request, descriptors = _received(connection)
            refused = "the server has threads" if threads > 1 else _refusal(request, environment)
            if refused:
                _note(folder, refused, request)
                connection.sendall(b"refused")
            elif os.fork() == 0:
                listener.close()
                if (how := _attended(connection)) is not None:
                    _note(folder, how, request)
                    os._exit(0)
                break
            for number in descriptors:
                os.close(number)
    else:
        sys.exit()
    _become(request, descriptors)
    return request["words"]


def _received(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """What a client asks for, and its three standard streams."""
    data, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    while not data.endswith(b"\n"):
        more = connection.recv(1 << 16)
        if not more:
            raise EOFError
        data += more
    return json.loads(data), list(descriptors)


def _refusal(request: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Why the command needs a new process; empty where it does not."""
    words, theirs = request["words"], request["environment"]
    if words[:2] != ["-m", "boltzgen_cli"] and not (words and (words[0] == "-c" or words[0].endswith(".py"))):
        return "another use of Python"
    if any(word.startswith("--threads") for word in words):
        return "its own number of threads"
    differ = {name for name, _ in set(environment.items()) ^ set(theirs.items())} - READ_LATER
    return " ".join(sorted(differ))


def _attended(connection: socket.socket) -> str | None:
    """Fork; None in the child. The parent tells the client how it ended, or kills it when the client goes."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        return None
    ended, status, used = os.wait4(child, os.WNOHANG)
    while not ended:
        if select.select([connection], [], [], LOOK)[0]:  # it never says more: it has gone
            os.kill(child, signal.SIGKILL)
        ended, status, used = os.wait4(child, os.WNOHANG)
    with suppress(OSError):
        connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    return f"served, {used.ru_utime + used.ru_stime:.1f} s"


def _note(folder: str, how: str, request: Mapping[str, Any]) -> None:
    with open(os.path.join(folder, "log"), "a") as file:
        file.write(f"{how}: {request['words']}\n")


def _become(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Take over the caller's streams, folder, environment and arguments, and entropy of one's own."""
    import numpy as np
    import torch

    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    _open_streams()
    os.chdir(request["folder"])
    os.umask(request["umask"])
    signal.signal(signal.SIGINT, signal.default_int_handler if request["interruptible"] else signal.SIG_IGN)
    _set_environment(request["environment"])
    importlib.invalidate_caches()
    np.random.seed()
    torch.default_generator.seed()  # Python's `random` does so by itself
    first, *others = request["words"]
    sys.argv = [first, *others[first == "-m" or first == "-c" :]]
    folders = {"-m": os.getcwd(), "-c": ""}
    sys.path[0] = folders[first] if first in folders else os.path.dirname(os.path.abspath(first))


def _open_streams() -> None:
    """Python's standard streams, as it opens them at its start."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        former = getattr(sys, name)
        mode = "w" if number else "r"
        stream = open(number, mode, encoding=former.encoding, errors=former.errors, closefd=False)
        if number:
            stream.reconfigure(line_buffering=number == 2 or stream.isatty())
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _set_environment(variables: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


class _Given(InspectLoader):
    """The program that follows ``-c``."""

    def __init__(self, program: str) -> None:
        self.program = program

    def get_source(self, fullname: str) -> str:
        return self.program


def _run(words: Sequence[str]) -> None:
    """The program as ``__main__``; it ends this process, or its end does."""
    if words[0] == "-m":
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.modules["__main__"] = program = types.ModuleType("__main__")
        _Given(words[1]).exec_module(program)
    else:
        runpy.run_path(words[0], run_name="__main__")


def _ended(words: Sequence[str]) -> int:
    """The exit code after all that an interpreter does at its end; one that fails ends by itself."""
    code = 0
    try:
        _run(words)
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise
        code = ended.code or 0
    threading._shutdown()  # waits for those that are no daemons
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return 120
    return code & 0xFF


if __name__ == "__main__":
    os._exit(_ended(serve(*sys.argv[1:])))
