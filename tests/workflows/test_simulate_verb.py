"""The verb ``simulate``: what it prints, how it stops, and what it says to bad input."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest
from helpers import run_cli
from toy_molecules import chain

from boltzgen.data.trajectory import read_trajectory


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return chain().save(tmp_path_factory.mktemp("prepared") / "SYS")


BAD = {
    "no such SYS": (["nowhere", "-o", "MD"], "nowhere is not a prepared system"),
    "no output": (["SYS"], "--output"),
    "temperature not a number": (["SYS", "-o", "MD", "--temperatures", "300,warm"], "not a list of numbers"),
    "temperatures falling": (["SYS", "-o", "MD", "--temperatures", "400,300"], "rise strictly"),
    "temperature twice": (["SYS", "-o", "MD", "--temperatures", "300,300"], "rise strictly"),
    "temperature in Celsius": (["SYS", "-o", "MD", "--temperatures=-20,300"], "outside 1 to 10000 K"),
    "time without unit": (["SYS", "-o", "MD", "--time", "5"], "not a time with a unit"),
    "time negative": (["SYS", "-o", "MD", "--time=-5ns"], "must be positive"),
    "time shorter than a frame": (["SYS", "-o", "MD", "--time", "0.1ps"], "no frame would be saved"),
    "timestep too long": (["SYS", "-o", "MD", "--timestep", "5fs"], "too long"),
    "interval no multiple": (["SYS", "-o", "MD", "--save-interval", "0.5005ps"], "whole number of timesteps"),
    "intervals unequal": (
        [
            "SYS",
            "-o",
            "MD",
            "--temperatures",
            "300,400",
            "--save-interval",
            "0.5ps",
            "--exchange-interval",
            "0.3ps",
        ],
        "multiple of the shorter",
    ),
    "friction zero": (["SYS", "-o", "MD", "--friction", "0"], "--friction must be positive"),
    "seed negative": (["SYS", "-o", "MD", "--seed=-1"], "--seed"),
    "unknown platform": (["SYS", "-o", "MD", "--platform", "Abacus"], "this machine has"),
    "unknown resume": (["SYS", "-o", "MD", "--resume", "perhaps"], "--resume"),
    "bad max-time": (["SYS", "-o", "MD", "--max-time", "soon"], "not a duration"),
    "output is a file": (["SYS", "-o", "SYS/system.xml"], "is a file"),
    "output in use": (["SYS", "-o", "SYS"], "holds a prepared system"),
    "truncated SYS": (["BROKEN", "-o", "MD"], "truncated"),
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    chain().save(folder / "SYS")
    broken = chain().save(folder / "BROKEN") / "system.json"
    broken.write_text(broken.read_text()[:200])
    return folder


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, workplace, monkeypatch, capfd):
    from boltzgen_cli.main import main

    monkeypatch.chdir(workplace)
    words, sentence = BAD[case]
    code = main(["simulate", *words])
    out, err = capfd.readouterr()
    assert code == 2, err
    assert sentence in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""
    assert not (workplace / "MD" / "manifest.json").exists()


def test_verb_runs_and_reports(prepared, tmp_path, command_server):
    words = ["-o", tmp_path / "MD", "--temperatures", "300,450", "--time", "5ps", "--timestep", "2fs"]
    done = run_cli("simulate", prepared, *words, server=command_server)
    assert done.returncode == 0, done.stderr
    assert "10 frames at each temperature" in done.stdout
    assert "450" in done.stdout
    assert len(read_trajectory(tmp_path / "MD")) == 20
    manifest = json.loads((tmp_path / "MD" / "manifest.json").read_text())
    assert "--timestep" in manifest["command"]


def test_interrupt_saves_and_names_the_command_that_goes_on(prepared, tmp_path, command_server):
    words = [prepared, "-o", tmp_path / "MD", "--time", "500ns", "--platform", "Reference"]
    process = subprocess.Popen(
        [sys.executable, "-m", "boltzgen_cli", "simulate", *map(str, words)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "MD" / "blocks").glob("*.npz")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert err.strip().splitlines()[-1].startswith("To go on: boltzgen simulate")
    assert err.strip().endswith("--resume auto")
    assert "Traceback" not in err
    before = json.loads((tmp_path / "MD" / "manifest.json").read_text())["frames"]["300"]
    words += ["--resume", "auto", "--max-time", "1s"]
    again = run_cli("simulate", *words, server=command_server)
    assert again.returncode == 75, again.stderr
    assert json.loads((tmp_path / "MD" / "manifest.json").read_text())["frames"]["300"] > before > 0
