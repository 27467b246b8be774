"""train and sample as a user meets them: processes, signals, the printed command, the same bytes again."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import signal
import subprocess
import sys

import mdtraj
import numpy as np
import pytest
from butane import write_butane
from helpers import until_first_step

from boltzgen.data.trajectory import read_trajectory
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen_cli.main import main

CONFIG = """\
# A double well on energies alone.
# Seconds.
system: model:double-well
flow: {kind: coupling, layers: 2, hidden: 8, bins: 4}
reverse_kl: {weight: 1.0, batch_size: 16}
optimizer: {steps: 40}
evaluation: {every: 20, samples: 40}
"""


class Done:
    """What a command run in this process left: exit code and standard error."""

    def __init__(self, folder, *words):
        err = io.StringIO()
        with contextlib.chdir(folder), contextlib.redirect_stderr(err):
            self.returncode = main(list(words))
        self.stderr = err.getvalue()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with train.yaml and RUN, made without interruption."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "train.yaml").write_text(CONFIG)
    done = Done(folder, "train", "train.yaml", "-o", "RUN", "--seed", "3")
    assert done.returncode == 0, done.stderr
    return folder


def weights(run):
    return (run / "model" / "weights.safetensors").read_bytes()


def test_the_run_folder_is_complete(trained):
    run = trained / "RUN"
    assert json.loads((run / "environment.json").read_text())["torch"]
    assert "seed: 3" in (run / "config.yaml").read_text()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [20, 40]
    assert (run / "metrics.csv").read_text().count("\n") == 3


def test_time_limit_then_the_printed_command_equals_an_uninterrupted_run(trained, tmp_path):
    (tmp_path / "train.yaml").write_text(CONFIG)
    words = ["train", "train.yaml", "-o", "RUN", "--seed", "3", "--max-time", "0.001s"]
    stopped = Done(tmp_path, *words)
    assert stopped.returncode == 75, stopped.stderr
    assert "time limit" in stopped.stderr and "Traceback" not in stopped.stderr
    (command,) = [line for line in stopped.stderr.splitlines() if line.startswith("To go on: ")]
    resumed = shlex.split(command.removeprefix("To go on: boltzgen "))
    assert resumed[: len(words)] == words and resumed[len(words) :] == ["--resume", "auto"]
    resumed[resumed.index("0.001s")] = "1h"
    done = Done(tmp_path, *resumed)
    assert done.returncode == 0, done.stderr
    assert weights(tmp_path / "RUN") == weights(trained / "RUN")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_run_goes_on(tmp_path, number):
    (tmp_path / "train.yaml").write_text(CONFIG)
    process = subprocess.Popen(
        [sys.executable, "-m", "boltzgen_cli", "train", "train.yaml", "-o", "RUN", "optimizer.steps=100000"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert any(line.startswith("train: 100000 steps, ") for line in until_first_step(process))
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "finishing the batch" in err and "--resume auto" in err
    (checkpoint,) = (tmp_path / "RUN" / "checkpoints").iterdir()
    assert (tmp_path / "RUN" / "model" / "weights.safetensors").exists()  # what there is so far, to draw from
    step = int(checkpoint.name.rpartition("-")[2])
    done = Done(
        tmp_path, "train", "train.yaml", "-o", "RUN", f"optimizer.steps={step + 2}", "--resume", "auto"
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "RUN" / "model" / "weights.safetensors").exists()


def test_a_run_is_not_overwritten(trained):
    done = Done(trained, "train", "train.yaml", "-o", "RUN")
    assert done.returncode == 2 and "--resume auto" in done.stderr


def test_a_run_goes_on_only_with_its_own_flow(trained):
    """Other masks have weights of the same shapes; only the settings tell."""
    done = Done(trained, "train", "train.yaml", "-o", "RUN", "--resume", "auto", "flow.mask_seed=3")
    assert done.returncode == 2 and "flow.mask_seed" in done.stderr


def test_samples_are_the_same_bytes_again(trained):
    for name in ("A", "B"):
        done = Done(trained, "sample", "RUN", "model:double-well", "-o", name, "-n", "300", "--seed", "5")
        assert done.returncode == 0, done.stderr
    first, second = (np.load(trained / name / "samples.npz") for name in ("A", "B"))
    assert set(first) >= {"log_q", "u", "log_w", "valid", "reason"}
    for name in first:
        assert first[name].tobytes() == second[name].tobytes()
    x, y = first["positions"].astype(float).T
    exact = x**4 - 6 * x**2 - x / 2 + y**2 / 2
    assert np.allclose(first["u"], exact, rtol=1e-4, atol=1e-4)
    assert np.array_equal(first["log_w"], -first["u"] - first["log_q"])
    summary = json.loads((trained / "A" / "summary.json").read_text())
    assert summary["requested"] == summary["kept"] == 300 and summary["rejected"] == {}
    assert summary["verdict"] != "ok", "coverage was not checked"


def test_the_size_of_batches_changes_no_byte(trained):
    """1300 samples are a whole block and the beginning of another."""
    words = ["sample", "RUN", "model:double-well", "-n", "1300", "--seed", "5"]
    assert Done(trained, *words, "-o", "AUTO").returncode == 0
    expected = np.load(trained / "AUTO" / "samples.npz")
    for size in ("1", "64", "257", "1000"):
        assert Done(trained, *words, "-o", f"OF{size}", "--batch-size", size).returncode == 0
        found = np.load(trained / f"OF{size}" / "samples.npz")
        for name in expected:
            assert found[name].tobytes() == expected[name].tobytes()


def test_strict_tells_by_the_exit_code(trained):
    words = ["sample", "RUN", "model:double-well", "-n", "30", "-o"]
    relaxed = Done(trained, *words, "C")
    strict = Done(trained, *words, "D", "--strict")
    verdict = json.loads((trained / "C" / "summary.json").read_text())["verdict"]
    assert relaxed.returncode == 0
    assert strict.returncode == (3 if verdict == "unreliable" else 0)
    assert (trained / "D" / "samples.npz").exists()


def test_samples_are_replaced_only_when_asked(trained):
    words = ["sample", "RUN", "model:double-well", "-n", "30", "-o", "E"]
    assert Done(trained, *words).returncode == 0
    before = (trained / "E" / "samples.npz").read_bytes()
    again = Done(trained, *words, "--seed", "9")
    assert again.returncode == 2 and "--overwrite" in again.stderr
    assert (trained / "E" / "samples.npz").read_bytes() == before
    assert Done(trained, *words, "--seed", "9", "--overwrite").returncode == 0
    assert (trained / "E" / "samples.npz").read_bytes() != before


def test_a_stopped_draw_is_the_beginning_of_the_whole(trained):
    """A block at least, 1024 samples here, whatever the size of batches."""
    words = ["sample", "RUN", "model:double-well", "-n", "5000"]
    done = Done(trained, *words, "-o", "P", "--batch-size", "10", "--max-time", "0.001s")
    assert done.returncode == 4, done.stderr
    assert json.loads((trained / "P" / "manifest.json").read_text())["status"] == "partial"
    assert Done(trained, *words, "-o", "WHOLE").returncode == 0
    found, whole = (np.load(trained / name / "samples.npz") for name in ("P", "WHOLE"))
    assert len(found["log_w"]) == 1024
    for name in ("positions", "log_q", "u", "log_w"):
        assert found[name].tobytes() == whole[name][:1024].tobytes()


@pytest.fixture(scope="module")
def butane(tmp_path_factory):
    """A folder with SYS, MD, CHECK and a model trained on MD."""
    folder = tmp_path_factory.mktemp("butane")
    write_butane(folder)
    (folder / "train.yaml").write_text(
        "system: SYS\ndata: MD\nflow: {kind: coupling, layers: 2, hidden: 8, bins: 4}\n"
        "optimizer: {steps: 2}\n"
        "evaluation: {samples: 20}\n"
    )
    simulate = ["simulate", "SYS", "--temperatures", "300", "--time", "4ps", "--equilibration", "0.2ps", "-o"]
    for words in (
        ["prepare", "system.xml", "--coordinates", "butane.pdb", "-o", "SYS"],
        [*simulate, "MD"],
        [*simulate, "CHECK", "--seed", "1"],
        ["train", "train.yaml", "-o", "RUN"],
    ):
        done = Done(folder, *words)
        assert done.returncode == 0, done.stderr
    return folder


def test_frames_of_the_training_certify_nothing(butane):
    reasons = {}
    for data in ("MD", "CHECK"):
        done = Done(butane, "sample", "RUN", "SYS", "-o", f"OUT-{data}", "-n", "50", "--data", data)
        assert done.returncode == 0, done.stderr
        reasons[data] = json.loads((butane / f"OUT-{data}" / "summary.json").read_text())["reasons"]
    assert any("training saw these frames" in reason for reason in reasons["MD"])
    assert not any("training saw these frames" in reason for reason in reasons["CHECK"])


def test_correlated_frames_made_elsewhere_do_not_count_as_independent(butane):
    system = MolecularSystem.load(butane / "SYS")
    frames = read_trajectory(butane / "CHECK", system)
    slow = np.repeat(frames.positions, 20, axis=0)
    mdtraj.Trajectory(slow, system.mdtraj_topology()).save_dcd(str(butane / "slow.dcd"))
    words = ["sample", "RUN", "SYS", "-o", "SLOW", "-n", "50", "--data", "slow.dcd"]
    done = Done(butane, *words, "--data-temperature", "300")
    assert done.returncode == 0, done.stderr
    coverage = json.loads((butane / "SLOW" / "manifest.json").read_text())["coverage"]
    assert coverage["n_target"] == len(slow) and coverage["n_independent"] < 0.2 * len(slow)


def test_a_temperature_outside_the_training_is_said(butane):
    done = Done(butane, "sample", "RUN", "SYS", "-o", "HOT", "-n", "50", "--temperature", "900")
    assert done.returncode == 0 and "900 K lies outside" in done.stderr


def test_a_hotter_proposal_is_drawn_hot_and_weighed_at_the_temperature(butane):
    """The same as to sample hot and to reweight; and `check` asks the flow the same way."""
    hot = ["--proposal-temperature", "330", "--temperature", "300"]
    for words in (
        ["sample", "RUN", "SYS", "-o", "PROPOSED", "-n", "200", "--data", "CHECK", *hot],
        ["sample", "RUN", "SYS", "-o", "AT330", "-n", "200", "--temperature", "330"],
        ["reweight", "AT330", "--temperature", "300", "-o", "AT300"],
    ):
        done = Done(butane, *words)
        assert done.returncode == 0, done.stderr
    own, other = (np.load(butane / name / "samples.npz") for name in ("PROPOSED", "AT300"))
    assert np.array_equal(own["log_q"], other["log_q"])
    assert not np.array_equal(own["u"], np.load(butane / "AT330" / "samples.npz")["u"])
    np.testing.assert_allclose(own["log_w"], other["log_w"], rtol=1e-9)
    done = Done(butane, "check", "PROPOSED", "--data", "CHECK")
    assert done.returncode == 0, done.stderr
    coverage = json.loads((butane / "PROPOSED" / "manifest.json").read_text())["coverage"]
    assert coverage["examination"]["log_q_difference"] < 1e-3
    assert not any("do not come from this model" in reason for reason in coverage["reasons"])


@pytest.mark.parametrize("kelvin", ["-5", "0", "nan"])
def test_a_proposal_needs_a_temperature(butane, kelvin):
    words = ["sample", "RUN", "SYS", "-o", "NONE", "-n", "5", "--proposal-temperature", kelvin]
    done = Done(butane, *words)
    assert done.returncode == 2 and "--proposal-temperature" in done.stderr


def test_bad_data_is_found_before_samples_are_drawn(butane):
    done = Done(butane, "sample", "RUN", "SYS", "-o", "NONE", "-n", "50", "--data", "nowhere")
    assert done.returncode == 2 and "nowhere" in done.stderr and "50/50" not in done.stderr
