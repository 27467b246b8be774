"""`boltzgen prepare` and `run` with GAFF2: what they tell before, how they end, what they leave behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from helpers import run_cli
from programs.amber_cases import SMILES, calls, scripted_tools

import boltzgen as bg
from boltzgen.interrupts import StopRequest
from boltzgen.system.ambertools.charges import expected_seconds
from boltzgen.system.options import PrepareOptions
from boltzgen.workflows.roads.guess import first_guess
from boltzgen.workflows.roads.question import Question
from boltzgen_cli.main import main

WORDS = ["prepare", "--smiles", SMILES, "--forcefield", "gaff2", "-o", "S"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder in which scripts are AmberTools, with a cache of its own."""
    tools = scripted_tools(tmp_path / "amber")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("AMBERHOME", raising=False)
    monkeypatch.setenv("PATH", f"{tools.folder}:{os.environ['PATH']}")
    return tmp_path


def test_a_dry_run_tells_the_time_and_calls_nothing_that_takes_long(place, capsys):
    assert main([*WORDS, "--dry-run", "--json"]) == 0
    told = capsys.readouterr()
    assert "prepare: AM1 charges of 13 atoms; about " in told.err
    assert json.loads(told.out)["expected_seconds"] > 0 and not (place / "S").exists()
    asked = calls(place / "amber")
    assert len(asked) == 1 and "-at gaff2" in asked[0] and " -c " not in asked[0]  # types alone, in 0.1 s
    assert main(WORDS) == 0
    assert "AM1 charges of 13 atoms; about" in capsys.readouterr().err and (place / "S").is_dir()
    assert main([*WORDS[:-1], "T", "--dry-run"]) == 0  # kept by now: nothing takes long
    told = capsys.readouterr()
    assert "nothing in it takes long" in told.err and not (place / "T").exists()


SLEEPING = "sleep 61 & echo $! > {child}\nwait"


def is_alive(child) -> bool:
    status = f"/proc/{child}/status"
    return os.path.exists(status) and "State:\tZ" not in open(status).read()


def test_max_time_ends_the_programs_and_nothing_is_written(place, capsys):
    scripted_tools(place / "amber", charges=SLEEPING.replace("{child}", str(place / "child")))
    assert main([*WORDS, "--max-time", "3s"]) == 75
    told = capsys.readouterr()
    assert "time limit of 3 s reached while antechamber was at work; nothing was written" in told.err
    assert not (place / "S").exists() and not is_alive((place / "child").read_text().strip())


def test_ctrl_c_ends_the_programs_and_nothing_is_written(place):
    scripted_tools(place / "amber", charges=SLEEPING.replace("{child}", str(place / "child")))
    command = [sys.executable, "-m", "boltzgen_cli", *WORDS]
    process = subprocess.Popen(command, cwd=place, stderr=subprocess.PIPE, text=True)
    waited = time.monotonic()
    while not (place / "child").exists() and time.monotonic() - waited < 60:
        time.sleep(0.1)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 130 and "interrupted" in said and "Traceback" not in said
    assert not (place / "S").exists() and not is_alive((place / "child").read_text().strip())


def test_a_failure_is_one_line_and_leaves_nothing(place):
    scripted_tools(place / "amber", charges="echo 'Error: no way!'; exit 1")
    done = run_cli(*WORDS, cwd=place)
    assert done.returncode == 1 and "(Error: no way)" in done.stderr and "Traceback" not in done.stderr
    assert "--charges FILE" in done.stderr and not (place / "S").exists()


def test_a_first_guess_counts_the_charges(place, monkeypatch):
    monkeypatch.setattr("boltzgen.workflows.roads.guess.pace", lambda: 1.7)  # that of a busy machine varies
    left_out = ("frames", "check_frames", "config", "samples", "data_temperature")
    question = Question.of(
        "x",
        temperature=300.0,
        precision="0.1kT",
        states="auto",
        seed=0,
        overrides=(),
        **dict.fromkeys(left_out),  # type: ignore[arg-type]
    )
    seconds = [
        first_guess(None, PrepareOptions(smiles="C" * 12, **options), question, None).seconds
        for options in ({}, {"forcefield": ("gaff2",)}, {"forcefield": ("gaff2",), "charges": "x.json"})
    ]
    assert (
        seconds[1] - seconds[0] == pytest.approx(1.7 * expected_seconds(12 + 26))
        and seconds[1] > seconds[0] + 5
    )
    assert seconds[2] == seconds[0]


def test_run_goes_through(place, monkeypatch):
    """The whole road under GAFF2 from frames that a simulation made; charges are computed once."""
    asked = {"smiles": SMILES, "forcefield": ["gaff2"], "charges": "bcc", "implicit": "obc2"}
    bg.prepare(output="SYS", **asked)
    bg.simulate("SYS", "MD", temperatures=[300.0], time="2ps", save_interval="0.01ps", equilibration="0.1ps")
    flow = {"kind": "coupling", "layers": 2, "hidden": 8, "bins": 4, "embedding": 4, "encoder_blocks": 1}
    config = {"system": "SYS", "data": "MD", "flow": flow, "likelihood": {"batch_size": 32}, "workers": 1}
    config |= {"optimizer": {"steps": 2}, "evaluation": {"every": 2, "samples": 20}}
    (place / "tiny.yaml").write_text(json.dumps(config))
    said: list[str] = []
    found = bg.run(
        output="DIR", config="tiny.yaml", frames="MD", samples=40, time=None, say=said.append, **asked
    )
    assert found.status == "complete"
    (line,) = [text for text in said if " prepare " in text and "$" in text]
    assert "--forcefield gaff2 --charges bcc --implicit obc2" in line
    assert sum("-c bcc" in text for text in calls(place / "amber")) == 1


def test_a_stop_in_the_middle_of_run_is_a_stop(place):
    scripted_tools(place / "amber", charges="sleep 60")
    with pytest.raises(bg.errors.StoppedError):
        bg.run(
            smiles=SMILES,
            forcefield=["gaff2"],
            output="DIR",
            time="2s",
            stop=StopRequest(),
            say=lambda text: None,
        )
    assert not (place / "DIR" / "SYS").exists()
