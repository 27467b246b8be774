"""Commands of the server are what new processes are, and what it may not serve is a new process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from command_server import FOUNDATIONS
from helpers import ROOT

CLI = ["-m", "boltzgen_cli"]
SIMULATION = "--time 0.4ps --equilibration 0.1ps --save-interval 20fs --exchange-interval 20fs".split()
TRAINING = ["optimizer.steps=2", "evaluation.samples=20", "flow.hidden=8"]
ROAD = [
    [*CLI, "prepare", "--smiles", "CCO", "-o", "SYS"],
    [*CLI, "simulate", "SYS", "-o", "MD", "--temperatures", "300,400", *SIMULATION],
    [*CLI, "train", "molecule", "system=SYS", "data=MD", "-o", "RUN", *TRAINING],
    [*CLI, "sample", "RUN", "SYS", "-o", "OUT", "-n", "20"],
    [*CLI, "smaple"],
    ["-c", "import boltzgen as bg; print(bg.load_samples('OUT').log_w.tolist()); raise SystemExit(5)"],
]

#: What a clock measured, what was computed from that, and sums over it.
MEASURED = [
    re.compile(rb'"(\w*seconds\w*|energies_a_second|content_sha256)": ("\w+"|[-+.e\d]+)'),
    re.compile(rb"[-+.e\d]+ (s|ms|ns/day|samples a second|times as much)\b|(ns/day|energies/s) +[-+.e\d]+"),
    re.compile(rb"(seconds|wall time, s) +[-+.e\d]+ +"),
]


def found(folder: Path, words: list[str]) -> dict[str, bytes | int]:
    """Output, messages, exit code and every file after a command in `folder`, without times."""
    done = subprocess.run(words, cwd=folder, capture_output=True)
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    content = {
        name: path.read_bytes() for name, path in files.items() if not path.name.startswith("metrics.")
    }
    return {"code": done.returncode, **{name: _without_times(data) for name, data in content.items()}} | {
        "output": _without_times(done.stdout),
        "messages": _without_times(done.stderr),
    }


def _without_times(data: bytes) -> bytes:
    for pattern in MEASURED:
        data = pattern.sub(b"", data)
    return data


@pytest.mark.slow
def test_commands_give_the_bytes_of_new_processes(command_server, tmp_path):
    """From a molecule to samples: preparation, dynamics, training, draws, and two that end otherwise."""
    places = [tmp_path / "new" / "here", tmp_path / "served" / "here"]
    for place in places:
        place.mkdir(parents=True)
    for words in ROAD:
        new, served = (
            found(places[0], [sys.executable, *words]),
            found(places[1], command_server.words(*words)),
        )
        assert new["code"] == {"smaple": 2, "-c": 5}.get(words[-1] if words[0] == "-m" else words[0], 0)
        assert {name for name in {*new, *served} if new.get(name) != served.get(name)} == set(), words
    said = command_server.log.read_text().splitlines()[-len(ROAD) :]
    assert [line.split(",")[0] for line in said] == ["served"] * len(ROAD)


#: What begins with entropy in every process.
BY_CHANCE = {"random", "numpy stream", "torch stream"}


def test_foundations_come_with_the_settings_that_they_set(command_server):
    """All that a process shares with libraries: in both kinds the same, once the foundations are there."""
    program = (
        f"import importlib, json, sys; sys.path.append({str(ROOT / 'tests' / 'cases')!r})\n"
        f"for name in {FOUNDATIONS}: importlib.import_module(name)\n"
        "from callers_state import callers_state\n"
        "found = {name: repr(value) for name, value in callers_state().items()}\n"
        "print(json.dumps({name: value for name, value in found.items() if name != 'standard streams'}))"
    )

    def settings(words: list[str]) -> dict[str, str]:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        found = {name: re.sub(r"0x\w+", "", value) for name, value in json.loads(done.stdout).items()}
        # where temporary files go is looked up when it is first asked for, by whichever thread that is
        if found["temporary files"] == "None":
            found["temporary files"] = repr(tempfile.gettempdir())
        return found

    def differing(one: dict[str, str], other: dict[str, str]) -> set[str]:
        return {name for name in {*one, *other} if one.get(name) != other.get(name)}

    new = settings([sys.executable, "-c", program])
    served, again = (settings(command_server.words("-c", program)) for _ in range(2))
    assert differing(new, served) - BY_CHANCE <= {"environment"} and len(new) > 60
    assert "TORCHINDUCTOR_CACHE_DIR" in new["environment"]  # of torch's compiler; boltzgen puts it back
    assert differing(served, again) - {"environment"} == BY_CHANCE


@pytest.mark.parametrize("begins", [signal.SIG_IGN, signal.SIG_DFL], ids=["ignored", "heard"])
def test_interrupts_are_heard_as_in_a_new_process(command_server, begins):
    """Also where the server, or the tests, began as a shell's job in the background, which ignores them."""
    program = "import signal; print(repr(signal.getsignal(signal.SIGINT)))"
    former = signal.signal(signal.SIGINT, begins)
    try:
        found = [
            subprocess.run(words, capture_output=True, text=True, check=True).stdout.split(" at ")[0]
            for words in ([sys.executable, "-c", program], command_server.words("-c", program))
        ]
    finally:
        signal.signal(signal.SIGINT, former)
    assert found[0] == found[1] and ("SIG_IGN" in found[0]) == (begins is signal.SIG_IGN)


def test_streams_arguments_and_ends_are_the_commands_own(command_server, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys; print(sys.argv[1:], sys.path[0], __name__, input()); sys.stderr.write('e')"
    )
    words = command_server.words(str(program), "a b", "")
    done = subprocess.run(words, cwd="/", input="from a pipe\n", capture_output=True, text=True)
    assert done.stdout == f"['a b', ''] {tmp_path} __main__ from a pipe\n"
    assert (done.returncode, done.stderr) == (0, "e")
    killed = "import os, sys; print([os.getcwd(), *sys.path[:1]], flush=True); os.kill(os.getpid(), 15)"
    done = subprocess.run(command_server.words("-c", killed), cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-15, f"['{tmp_path}', '']\n")
    raising = "import atexit; atexit.register(print, 'bye'); print(1); 1 / 0"
    done = subprocess.run(command_server.words("-c", raising), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "1\nbye\n")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
    late = "import threading, time; threading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()"
    for end, code, told in (("exit('why')", 1, "why\n"), ("exit()", 0, ""), ("exit(259)", 3, "")):
        words = command_server.words("-c", f"{late}; import sys; sys.{end}")
        done = subprocess.run(words, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (code, "late\n", told)


@pytest.mark.parametrize(
    ("words", "environment", "why"),
    [
        (["-c", "pass"], {"OMP_NUM_THREADS": "3", "PATH": ""}, "OMP_NUM_THREADS"),
        (["-c", "pass"], {"HOME": "/proc/nowhere", "NO_COLOR": "1"}, "HOME NO_COLOR"),
        ([*CLI, "glossary", "--threads=2"], {}, "its own number of threads"),
        (["-m", "json.tool", "--help"], {}, "another use of Python"),
    ],
)
def test_what_it_may_not_serve_is_a_new_process(command_server, words, environment, why):
    subprocess.run(
        command_server.words(*words), env={**os.environ, **environment}, check=True, capture_output=True
    )
    assert command_server.log.read_text().splitlines()[-1].startswith(f"{why}: ")


def test_a_command_without_its_streams_is_a_new_process(command_server):
    before = command_server.log.read_text() if command_server.log.exists() else ""
    words = command_server.words("-c", "import sys; sys.exit(7 if sys.stdout is None else 0)")
    assert subprocess.run(["bash", "-c", '"$@" >&-', "bash", *words]).returncode == 7
    assert (command_server.log.read_text() if command_server.log.exists() else "") == before


def test_a_command_goes_with_its_client(command_server, tmp_path):
    """A client that was killed, after a time limit say, leaves nobody behind who holds its streams."""
    program = "import sys, time\nwhile True: print('here', flush=True); time.sleep(0.01)"
    words = command_server.words("-c", program)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "here\n"
        process.kill()
        for _ in process.stdout:  # to the end
            pass
