"""Killed before any file operation, or refused by the disk, the same command goes on to the same result.

`kill_points.py` makes the trouble, `verbs.py` has the commands. A usual run tries some points of
some verbs; BOLTZGEN_ALL_KILL_POINTS=1 kills every verb that writes at every operation, refuses it at twelve,
and limits the size of its files in five ways.

File operations of each command, and when they were run through one by one, with no fault left: at the end
of November 2026 all of prepare (25), simulate (62, with either engine), sample (31), sample again (30),
sample chains (14 of its 222 when each state is written at once; 6 of them refused),
check (17), reweight (45), reweight to (52), merge (31), train (120), adapt (148), export (11 mdtraj-hdf5,
17 each of dcd, xtc and pdb, 11 colvar, 10 u_nk, 11 csv), free-energy (25 each of states, surface and
observable, 24 each of thermo, between and mbar), selftest (10), train on data (120), dataset build (314) and
benchmark transfer (179). Of run, which repeats these with its own plan (637, with its page), points spread
over all: 4; of transfer, kills at 3, two refusals and one limit of size; of demo, which is run: 25 of its 181
before it was.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import kill_points
import pytest
from kill_points import snapshot, unlike
from verbs import READING, VERBS, commands, make_inputs

from boltzgen.data.trajectory import read_trajectory
from boltzgen.ensemble.store import load_ensemble
from boltzgen.workflows.datasets.build import load_dataset

#: All points of all verbs are asked for.
ALL = bool(os.environ.get("BOLTZGEN_ALL_KILL_POINTS"))

#: What a usual run tries, for its time.
USUAL = (
    "simulate",
    "sample",
    "sample chains",
    "reweight to",
    "train",
    "free-energy states",
    "export mdtraj-hdf5",
)

#: How often, or (bytes that a file may have) where.
POINTS = {"kill": 0, "disk": 12, "size": [10, 400, 3000, 9000, 20000]}
SAMPLED = {"kill": 4, "disk": 3, "size": [3000]}


@pytest.fixture(scope="module")
def template(butane, tmp_path_factory, request) -> Path:
    peptide = request.getfixturevalue("alanine_dipeptide") if ALL else None
    return make_inputs(tmp_path_factory.mktemp("killed") / "template", butane, peptide)


@pytest.fixture(scope="module")
def driver(template, tmp_path_factory):
    """What `kill_points.py` answers to a command and a kind of trouble."""
    work = tmp_path_factory.mktemp("work") / "work"
    command = [sys.executable, kill_points.__file__, str(template), str(work)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:

        def ask(name: str, trouble: str, points: int | list[int]) -> dict:
            verb = VERBS[name]
            asked = {"words": verb.words, "changes": verb.changes, "trouble": trouble, "points": points}
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


def test_every_verb_that_writes_is_tried():
    """Or there is a reason why not."""
    tried = {verb.command for verb in VERBS.values()}
    assert tried | set(READING) == set(commands()) and not tried & set(READING)


@pytest.mark.parametrize("trouble", POINTS)
@pytest.mark.parametrize("verb", VERBS if ALL else USUAL)
def test_a_troubled_command_goes_on(driver, verb, trouble):
    found = driver(verb, trouble, (POINTS if ALL else SAMPLED)[trouble])
    assert found["operations"] >= 7 and found["faults"] == []


#: A verb that waits at its first progress until the file ``go`` is there.
WAITING = """
import sys, time
from pathlib import Path
import boltzgen_cli.terminal.console as console
from boltzgen_cli.main import main

class Waiting:
    def __init__(self, title): pass
    def close(self): pass
    def expecting(self, dry_run): return lambda found: None
    def __call__(self, *_):
        Path("here").touch()
        while not Path("go").exists():
            time.sleep(0.01)

console._LineProgress = Waiting
sys.exit(main(sys.argv[1:]))
"""

#: Verbs that work for long in a folder of their own, and where the second one is refused.
OWNING = {
    "sample": "OUT",
    "simulate": "MD",
    "train": "TRAINED",
    "adapt": "ADAPTED",
    "reweight to": "HOT",
    "benchmark transfer": "BENCH",
}


@pytest.mark.parametrize("verb", OWNING if ALL else ("sample", "train"))
def test_the_second_of_two_processes_is_refused(template, tmp_path, verb, command_server):
    for name in template.iterdir():
        (tmp_path / name.name).symlink_to(name)
    command = command_server.words("-c", WAITING, *VERBS[verb].words)
    first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while not (tmp_path / "here").exists():
            assert first.poll() is None, first.stderr.read().decode()
            time.sleep(0.05)
        words = command_server.words("-m", "boltzgen_cli", *VERBS[verb].words)
        second = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    finally:
        (tmp_path / "go").touch()
        told = first.communicate()[1].decode()
    assert first.returncode == 0, told
    output = tmp_path / VERBS[verb].output
    assert second.returncode == 2
    assert f"Another boltzgen process is at work in {OWNING[verb]};" in second.stderr
    if verb == "sample":
        assert len(load_ensemble(output)) == 50
    if verb == "simulate":
        assert len(read_trajectory(output)) == 8
    assert not list(output.rglob(".*"))


def test_two_processes_build_one_data_set(template, tmp_path, command_server):
    """Both succeed, and what they leave is what one leaves."""
    command = command_server.words("-m", "boltzgen_cli", *VERBS["dataset build"].words)
    for place in ("ONE", "TWO"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "dataset.yaml").write_bytes((template / "dataset.yaml").read_bytes())
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, cwd=tmp_path / "TWO", **pipes) for _ in range(2)]
    told = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    subprocess.run(command, cwd=tmp_path / "ONE", check=True, capture_output=True)
    assert unlike(snapshot(tmp_path / "TWO"), snapshot(tmp_path / "ONE")) == []
    assert load_dataset(tmp_path / "TWO" / "D", verify=True).status == "complete"


def test_two_processes_write_one_result(template, tmp_path, command_server):
    """The files of one stem are of one process, whichever was the last."""
    verb = VERBS["free-energy states"]
    for name in template.iterdir():
        (tmp_path / name.name).symlink_to(name)
    command = command_server.words("-m", "boltzgen_cli", *verb.words, "--seed")
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen([*command, str(seed)], cwd=tmp_path, **pipes) for seed in (1, 2)]
    told = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    found = json.loads((tmp_path / verb.output).read_text())["estimates"]
    rows = (tmp_path / verb.output).with_suffix(".csv").read_text()
    assert all(str(one["standard_error"]["kT"]) in rows for one in found)
    assert not list(tmp_path.glob(".*"))
