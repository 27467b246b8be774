"""What every command takes: --json, --quiet, --log-file, --threads, completion, NO_COLOR; time told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
import typer.main
from small_model import FLOW, MODEL
from toy_molecules import chain

from boltzgen.config.build import build_flow
from boltzgen.config.model import save_model
from boltzgen_cli.main import app, main
from boltzgen_cli.terminal import console
from boltzgen_cli.terminal.common import OPTIONS
from boltzgen_cli.terminal.session import HEAD, json_text

COMMON = {"--json", "--quiet", "--log-file", "--threads"}

#: Verbs that may take long: they tell how long, keep to a limit and can be asked before.
LONG = {"simulate", "train", "adapt", "sample", "check", "reweight", "dataset build", "benchmark transfer"}
LONG |= {"conformers", "prepare", "free-energy between", "free-energy mbar", "selftest", "demo", "transfer"}

#: Verbs without chance: the same input gives the same output.
WITHOUT_CHANCE = {
    *("prepare", "merge", "models", "cite", "doctor", "glossary", "dataset list", "show", "report"),
    *("config list", "config show", "config keys", "config check"),
}


def verbs() -> dict[str, set[str]]:
    """The words of every command of the application, and all its options."""
    found: dict[str, set[str]] = {}

    def walk(command, path):
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, (*path, name))
        if not hasattr(command, "commands"):
            found[" ".join(path)] = {name for one in command.params for name in one.opts}

    walk(typer.main.get_command(app), ())
    return found


VERBS = verbs()


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_what_all_take(verb):
    assert len(VERBS) > 20 and COMMON <= VERBS[verb]
    assert len(OPTIONS) == len(COMMON)


@pytest.mark.parametrize("verb", sorted(LONG))
def test_long_verbs_keep_to_a_limit_and_can_be_asked_before(verb):
    assert {"--max-time", "--dry-run"} <= VERBS[verb]


@pytest.mark.parametrize("verb", VERBS)
def test_where_there_is_chance_there_is_a_seed(verb):
    if verb not in WITHOUT_CHANCE:
        assert "--seed" in VERBS[verb]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with SYS and a model RUN for it."""
    monkeypatch.chdir(tmp_path)
    chain().save(tmp_path / "SYS")
    return tmp_path


SIMULATE = ["simulate", "SYS", "-o", "MD", "--time", "0.4ps", "--save-interval", "0.1ps"]
SIMULATE += ["--equilibration", "0.1ps", "--platform", "Reference"]


def test_json_alone_goes_to_standard_output(place, capsys):
    assert main([*SIMULATE, "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == json.loads((place / "MD" / "manifest.json").read_text())
    assert "independent frames" in told.err and "simulate: 1 replica at 300 K" in told.err


def test_json_of_a_process_is_pure_whoever_writes(place):
    """A library in C writes to the descriptor itself."""
    program = (
        "import os, sys, boltzgen.workflows.installation.doctor as d; former = d.doctor\n"
        "def loud(): os.write(1, b'from C'); print('from Python'); return former()\n"
        "d.doctor = loud; from boltzgen_cli.main import run; run()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "doctor", "--json"], capture_output=True, text=True, check=True
    )
    assert "OpenMM platforms" in json.dumps(json.loads(done.stdout))
    assert "from C" in done.stderr and "from Python" in done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["simulate", "NONE", "-o", "MD"], 2),
        (["simulate", "SYS", "-o", "MD", "--tim", "1ns"], 2),
        (["doctor", "--log-file", "SYS"], 2),
        (["sample", "NONE", "SYS", "-o", "OUT", "-n", "4", "--threads", "0"], 2),
    ],
)
def test_an_error_is_json_too(place, capsys, words, code):
    assert main([*words, "--json"]) == code
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert set(found) == {"error", "exit_code", "go_on", "result"}
    assert found["exit_code"] == code and found["result"] is None and found["error"] in told.err


def test_what_was_stopped_says_how_to_go_on_and_what_there_is(place, capsys):
    words = [*SIMULATE, "--max-time", "0.000001s", "--json"]
    words[words.index("0.4ps")] = "4000ps"
    assert main(words) == 75
    found = json.loads(capsys.readouterr().out)
    assert found["go_on"].startswith("boltzgen simulate SYS") and found["go_on"].endswith("--resume auto")
    assert found["result"]["status"] == "partial" and "time limit" in found["error"]


def test_numbers_that_json_does_not_know_are_null():
    import numpy as np

    found = json.loads(
        json_text({"a": float("nan"), "b": [np.float64(1.5), float("inf")], "c": np.arange(2)})
    )
    assert found == {"a": None, "b": [1.5, None], "c": [0, 1]}


def test_quiet_leaves_results_and_nothing_else(place, capsys):
    assert main([*SIMULATE, "--quiet"]) == 0
    told = capsys.readouterr()
    # So short a run stays in the states that it began in, and a warning of that remains.
    assert "independent frames" in told.out
    assert told.err.startswith("caution: these are the starts' populations") and told.err.count("\n") == 1


def test_a_log_file_has_everything_and_grows(place, capsys):
    words = [*SIMULATE, "--log-file", "log.txt", "--quiet"]
    assert main(words) == 0
    assert main(words) == 2  # the folder is taken
    text = (place / "log.txt").read_text()
    assert text.startswith(HEAD) and text.count("  boltzgen simulate SYS -o MD") == 2
    for expected in ("simulate, ps of each replica", "independent frames", "exit code 0", "already holds"):
        assert expected in text
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  .*\S$", line) for line in text.splitlines()[1:])


@pytest.mark.parametrize("name", ["SYS", "SYS/system.json", "NONE/log.txt", "a\0b"])
def test_a_log_file_never_touches_another_file(place, capsys, name):
    before = (place / "SYS" / "system.json").read_bytes()
    assert main(["doctor", "--log-file", name]) == 2
    assert "--log-file" in capsys.readouterr().err
    assert (place / "SYS" / "system.json").read_bytes() == before


def test_an_unexpected_error_has_its_traceback_in_the_log(place, monkeypatch, capsys):
    def fail():
        raise ZeroDivisionError("of nothing")

    monkeypatch.setattr("boltzgen.workflows.installation.doctor.doctor", fail)
    assert main(["doctor", "--log-file", "log.txt"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert "Traceback" in (place / "log.txt").read_text()


def test_threads_hold_while_a_verb_runs(place, monkeypatch):
    import torch

    seen = []

    def look():
        seen.append((torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]))
        raise ZeroDivisionError

    monkeypatch.setattr("boltzgen.workflows.installation.doctor.doctor", look)
    before = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    main(["doctor", "--threads", "3"])
    assert seen == [(3, "3")]
    assert (torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")) == before


@pytest.mark.parametrize(
    ("words", "number", "expected"),
    [
        ("boltzgen sim", 1, "simulate"),
        ("boltzgen simulate --max", 2, "--max-time"),
        ("boltzgen free-energy st", 2, "states"),
    ],
)
def test_bash_completes_verbs_and_options(words, number, expected):
    environment = {**os.environ, "_BOLTZGEN_COMPLETE": "complete_bash", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(number)
    program = [sys.executable, "-m", "boltzgen_cli"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True)
    assert expected in done.stdout.split() and done.stderr == ""


def test_the_completion_for_bash_is_shown_and_is_bash():
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    program = [sys.executable, "-m", "boltzgen_cli", "--show-completion", "bash"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    assert "_BOLTZGEN_COMPLETE=complete_bash" in done.stdout
    subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True)


def test_without_colour_where_none_is_wanted():
    """On a terminal, too: the library that draws bars and tables is told by NO_COLOR."""
    import pty

    program = (
        "from boltzgen_cli.terminal import console\n"
        "with console.progress('work') as progress: progress(1, 3, {'loss': 2.5})\n"
    )
    colours = {}
    for wanted in ("", "1"):
        ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
        environment.pop("NO_COLOR", None)
        environment |= {"NO_COLOR": wanted} if wanted else {}
        subprocess.run([sys.executable, "-c", program], env=environment, stderr=theirs, check=True)
        os.close(theirs)
        text = b""
        try:
            while piece := os.read(ours, 65536):
                text += piece
        except OSError:
            pass  # the other end is closed
        os.close(ours)
        colours[wanted] = re.findall(rb"\x1b\[[0-9;]*3[0-9][0-9;]*m", text)
        assert b"work" in text and b"1/3" in text
    assert colours[""] and not colours["1"]


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_progress_says_how_long_it_still_takes(monkeypatch, capsys):
    """Ten of forty parts a minute: before there is a pace, what was expected, less the time since."""
    clock = Clock()
    monkeypatch.setattr(console.time, "monotonic", clock)
    from boltzgen.workflows.timing.expectation import Expectation

    with console.progress("work") as progress:
        progress.expecting()(Expectation("work", 7260.0, "much", "a guess"))
        clock.now += 60.0
        progress(10, 40)
        clock.now += 60.0
        progress(20, 40)
        clock.now += 7200.0
        progress(21, 40)
        progress(40, 40)
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "work: much; about 2:01 h (a guess)."
    assert told[1] == "work  10/40  60 s  2:00 h left"
    assert told[2] == "work  20/40  0:02 h  0:02 h left"
    assert told[3].endswith("left") and "1 d 14:00 h" in told[3]  # of late: a part in two hours
    assert told[4] == "work  40/40  2:02 h"


def test_a_dry_run_writes_nothing(place, capsys):
    save_model(place / "RUN" / "model", build_flow(FLOW, seed=0), MODEL)
    before = sorted(place.rglob("*"))
    assert main([*SIMULATE, "--dry-run"]) == 0
    told = capsys.readouterr()
    assert re.search(
        r"simulate: 1 replica at 300 K, .* with openmm; about \S+ s \(measured: .* ns/day", told.err
    )
    assert told.out == "" and sorted(place.rglob("*")) == before
