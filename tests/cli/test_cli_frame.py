"""The frame of the command line: speed, messages, exit codes, signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from helpers import assert_refused, run_cli

from boltzgen import __version__
from boltzgen.errors import (
    BoltzgenError,
    InputError,
    PartialError,
    StoppedError,
    UnreliableError,
    UnsupportedError,
)
from boltzgen.interrupts import StopRequest, parse_duration
from boltzgen_cli import main
from boltzgen_cli.terminal import console

HEAVY = (
    "torch",
    "numpy",
    "openmm",
    "mdtraj",
    "rdkit",
    "pymbar",
    "matplotlib",
    "nflows",
    "scipy",
)


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["free-energy", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(words):
    program = f"""
        import sys
        from boltzgen_cli.main import main
        code = main({words!r})
        print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
        sys.exit(code)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"
    assert done.stdout.strip()


def test_every_command_has_an_example(capsys):
    for words in commands():
        assert main.main([*words, "--help"]) == 0
        text = " ".join(capsys.readouterr().out.split())
        assert re.search(rf"Examples?: boltzgen {' '.join(words)}", text), words


def commands() -> list[list[str]]:
    """Every command that does something, as words."""
    found = [[name] for name in main.VERBS]
    for group in main.app.registered_groups:
        for command in group.typer_instance.registered_commands:
            found.append([group.name, command.name or command.callback.__name__.replace("_", "-")])
    return found


def test_version(capsys):
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out.strip().endswith(__version__)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tarin"], ["'tarin'", "'train'"]),
        (["train"], ["CONFIG", "boltzgen train --help"]),
        (["train", "x.yaml", "--devise", "cpu"], ["--devise", "--device"]),
        (["sample", "M", "S", "-o", "O", "-n", "many"], ["--number"]),
        (["sample", "M", "S", "-o", "O", "-n", "0"], ["--number"]),
        (["sample", "M", "S", "-o", "O", "-n", "3", "--dtype", "half"], ["float32", "float64"]),
        (["train", "x.yaml", "--max-time", "soon"], ["'soon'", "2h"]),
        (["train", "x.yaml", "--max-time", "0s"], ["no time"]),
        (["--nonsense"], ["--nonsense"]),
        (["doctor", "surplus"], ["surplus"]),
    ],
)
def test_usage_errors(words, expected):
    assert_refused(words, *expected, code=2)


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (InputError("a.pdb: no such file."), 2, "boltzgen: a.pdb: no such file."),
        (UnsupportedError("virtual sites"), 2, "boltzgen: virtual sites"),
        (BoltzgenError("the disk is full"), 1, "boltzgen: the disk is full"),
        (UnreliableError("k-hat 0.9"), 3, "boltzgen: k-hat 0.9"),
        (PartialError("12 of 20"), 4, "boltzgen: 12 of 20"),
        (StoppedError("stopped at step 3"), 75, "To go on: boltzgen doctor"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("division by zero"), 1, "unexpected ZeroDivisionError: division by zero"),
        (FileNotFoundError(2, "No such file", "x"), 1, "--debug"),
    ],
)
def test_exit_codes_and_messages(monkeypatch, capsys, error, code, expected):
    def fail():
        raise error

    monkeypatch.setattr("boltzgen.workflows.installation.doctor.doctor", fail)
    assert main.main(["doctor"]) == code
    shown = capsys.readouterr().err
    assert expected in shown and "Traceback" not in shown
    assert main.main(["doctor", "--debug"]) == code
    assert isinstance(error, KeyboardInterrupt) or "Traceback" in capsys.readouterr().err


def test_the_resume_command_is_exact():
    words = ["train", "a b.yaml", "-o", "RUN", "optimizer.steps=5"]
    assert main._resume_command(words) == "boltzgen train 'a b.yaml' -o RUN optimizer.steps=5 --resume auto"
    assert main._resume_command([*words, "--resume", "auto"]).count("--resume") == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1.5h", 5400), ("1h30m", 5400)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "2x", "-3m", "2h!", "two hours", "0"])
def test_bad_durations(text):
    with pytest.raises(InputError, match="`max_time="):
        parse_duration(text)


@pytest.mark.parametrize("text", ["9" * 400, "20000d", "1000000001s"])
def test_a_limit_beyond_a_life_is_refused(text):
    with pytest.raises(InputError, match="more than thirty years"):
        parse_duration(text)
    assert parse_duration("1000000000s") == 1e9


def test_stop_request_by_time_and_by_hand():
    assert not StopRequest().requested
    stop = StopRequest(max_time=1e-6)
    time.sleep(0.001)
    assert stop.requested and "time limit" in stop.reason
    stop = StopRequest()
    stop.ask()
    assert stop.requested and stop.reason


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


LOOP = """
    import sys, time
    from boltzgen.errors import StoppedError
    from boltzgen.interrupts import StopRequest
    from boltzgen_cli import main
    import boltzgen.workflows.installation.doctor as doctor

    def loop():
        with StopRequest() as stop:
            print("ready", flush=True)
            while not (stop.requested and {obedient}):
                time.sleep(0.01)
        raise StoppedError("saved.")

    doctor.doctor = loop
    sys.exit(main.main(["doctor"]))
"""


@pytest.mark.parametrize(
    ("number", "obedient", "times", "code"),
    [(signal.SIGINT, True, 1, 75), (signal.SIGTERM, True, 1, 75), (signal.SIGINT, False, 2, 130)],
)
def test_signals(number, obedient, times, code):
    program = textwrap.dedent(LOOP).format(obedient=obedient)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline().strip() == "ready"
    for _ in range(times):
        os.kill(process.pid, number)
        if times > 1:
            assert process.stderr.readline() is not None
            time.sleep(0.3)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert ("To go on: boltzgen doctor" in err) == (code == 75)


def test_plain_progress_lines(capsys, monkeypatch):
    monkeypatch.setattr(console, "LINE_EVERY", 3600.0)
    with console.progress("train") as progress:
        for step in range(1, 8):
            progress(step, 9, {"loss": 1.23456789})
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["1/9", "7/9"]
    assert "loss 1.235" in lines[0] and "\x1b" not in "".join(lines)


def test_tables_show_unknown_as_a_dash(capsys):
    console.console.cache_clear()
    console.table("t", ("name", "value"), [("a", 0.123456), ("[b]", None), ("c", True)])
    console.console.cache_clear()
    shown = capsys.readouterr().out
    assert "0.1235" in shown and "-" in shown and "yes" in shown and "[b]" in shown


def test_closed_pipe_is_not_a_traceback():
    done = subprocess.run(
        f"{sys.executable} -m boltzgen_cli --help | true", shell=True, capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr


def test_as_a_process():
    done = run_cli("trian")
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["free-energy"], ["dataset"], ["benchmark"]])
def test_without_a_verb_the_verbs_are_listed_line_by_line(words, capsys):
    assert main.main(words) == 2
    told = capsys.readouterr().err
    assert told.startswith(" ".join(["Usage: boltzgen", *words])) and "boltzgen: " not in told
    assert len(told.splitlines()) > 8 and max(map(len, told.splitlines())) < 200
