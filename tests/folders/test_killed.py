"""Killed before any file operation, the same command goes on to its end and leaves nothing of its own.

Points of some verbs are sampled; all points of all verbs with BOLTZGEN_ALL_KILL_POINTS=1. Two processes in
one folder: one is refused.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_model import FLOW, MODEL

from boltzgen.config.build import build_flow
from boltzgen.config.model import save_model
from boltzgen.data.trajectory import read_trajectory
from boltzgen.ensemble.store import load_ensemble
from boltzgen.workflows.sampling.sample import sample

DRIVER = Path(__file__).with_name("kill_points.py")

#: Points of each verb in a usual run.
POINTS = 4

#: All points of all verbs are asked for.
ALL = bool(os.environ.get("BOLTZGEN_ALL_KILL_POINTS"))

#: What a usual run tries, for its time.
USUAL = ("simulate", "sample", "reweight to", "train")

TRAINING = {
    "system": "model:double-well",
    "reverse_kl": {"weight": 1.0, "batch_size": 16},
    "flow": {"kind": "coupling", "layers": 2, "hidden": 8, "bins": 4, "embedding": 8, "encoder_blocks": 0},
    "optimizer": {"steps": 4, "learning_rate": 0.01},
    "evaluation": {"every": 2, "samples": 50},
    "checkpoint_every": 1,
    "workers": 1,
}
DATASET = {
    "implicit": "none",
    "simulation": {
        "evaluations": 100,
        "temperatures": [300.0, 450.0],
        "frames": 10,
        "exchange_interval": 0.005,
        "equilibration": 0.005,
    },
    "train": [{"smiles": "O", "name": "water"}],
    "test": [{"smiles": "N", "name": "ammonia"}],
}
SIMULATION = ["--temperatures", "300,400", "--time", "0.4ps", "--save-interval", "0.1ps"]
SIMULATION += ["--exchange-interval", "0.1ps", "--equilibration", "0.1ps", "--platform", "Reference"]

#: Output folder, and the command.
VERBS = {
    "simulate": ("MD", ["simulate", "SYS", "-o", "MD", *SIMULATION, "--resume", "auto"]),
    "sample": ("OUT", ["sample", "RUN", "SYS", "-o", "OUT", "-n", "50"]),
    "sample again": ("DRAWN", ["sample", "RUN", "SYS", "-o", "DRAWN", "-n", "50", "--overwrite"]),
    "reweight": ("HOT", ["reweight", "DRAWN", "-o", "HOT", "--temperature", "320"]),
    "reweight to": ("NEW", ["reweight", "DRAWN", "-o", "NEW", "--to", "SYS", "--resume", "auto"]),
    "merge": ("ALL", ["merge", "DRAWN", "OTHER", "-o", "ALL"]),
    "train": ("TRAINED", ["train", "train.yaml", "-o", "TRAINED", "--resume", "auto"]),
    "dataset": ("D", ["dataset", "build", "dataset.yaml", "-o", "D"]),
}


@pytest.fixture(scope="module")
def template(butane, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("killed") / "template"
    butane.save(folder / "SYS")
    save_model(folder / "RUN" / "model", build_flow(FLOW, seed=0), MODEL)
    for seed, name in enumerate(("DRAWN", "OTHER")):
        sample(folder / "RUN", folder / "SYS", folder / name, 50, seed=seed)
    (folder / "train.yaml").write_text(json.dumps(TRAINING))
    (folder / "dataset.yaml").write_text(json.dumps(DATASET))
    return folder


@pytest.mark.parametrize("verb", VERBS if ALL else USUAL)
def test_a_killed_command_goes_on(template, tmp_path, verb):
    output, words = VERBS[verb]
    points = 0 if ALL else POINTS
    command = [sys.executable, DRIVER, template, tmp_path / "work", output, *words]
    environment = {**os.environ, "BOLTZGEN_KILL_POINTS": str(points)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    # Samples whose manifest was there already are whole, and not drawn or weighed again without being asked.
    faults = [one for one in found["faults"] if "already holds" not in one["said"] or one["left"]]
    assert found["operations"] >= 8 and faults == []


#: A verb that waits at its first progress until the file ``go`` is there.
WAITING = """
import sys, time
from pathlib import Path
from boltzgen.workflows.sampling.sample import sample
from boltzgen.workflows.simulation.simulate import simulate

def wait(*_):
    Path("here").touch()
    while not Path("go").exists():
        time.sleep(0.01)

if sys.argv[1] == "sample":
    sample("RUN", "SYS", "OUT", 60, seed=5, progress=wait)
else:
    simulate("SYS", "MD", temperatures=[300, 400], time="0.4ps", save_interval="0.1ps", resume="auto",
             exchange_interval="0.1ps", equilibration="0.1ps", platform="Reference", progress=wait)
"""


@pytest.mark.parametrize("verb", ["sample", "simulate"])
def test_the_second_of_two_processes_is_refused(template, tmp_path, verb):
    for name in ("SYS", "RUN"):
        (tmp_path / name).symlink_to(template / name)
    first = subprocess.Popen([sys.executable, "-c", WAITING, verb], cwd=tmp_path)
    try:
        while not (tmp_path / "here").exists():
            assert first.poll() is None
            time.sleep(0.05)
        output, words = VERBS[verb]
        command = [sys.executable, "-m", "boltzgen_cli", *words]
        second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    finally:
        (tmp_path / "go").touch()
        code = first.wait()
    assert code == 0 and second.returncode == 2
    assert f"Another boltzgen process is at work in {output}" in second.stderr
    if verb == "sample":
        assert len(load_ensemble(tmp_path / "OUT")) == 60
    else:
        assert len(read_trajectory(tmp_path / "MD")) == 8
    assert not list((tmp_path / output).glob(".*"))
