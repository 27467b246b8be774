"""However a command ends: signals from the start on, closed streams, no home, limits of time, dead files."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import run_cli, until_first_step
from verbs import VERBS, make_inputs

from boltzgen.config.model import load_model
from boltzgen.errors import InputError, StoppedError
from boltzgen.files import atomic_path
from boltzgen.folders import alone_in, alone_with_file
from boltzgen.interrupts import StopRequest
from boltzgen.training.checkpoint import Checkpoint, complete_checkpoints, save_checkpoint
from boltzgen.workflows.sampling.sample import sample
from boltzgen.workflows.training.train import train

BOLTZGEN = [sys.executable, "-m", "boltzgen_cli"]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: A training that lasts until it is stopped.
LONG = ["optimizer.steps=1000000", "checkpoint_every=1000000", "evaluation.every=1000000"]


@pytest.fixture(scope="module")
def inputs(butane, tmp_path_factory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("ends") / "inputs", butane)


@pytest.fixture
def place(inputs, tmp_path) -> Path:
    for path in inputs.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


@pytest.mark.parametrize(("number", "delay"), zip(SIGNALS, (0.3, 1.0, 0.6), strict=True))
def test_a_signal_at_the_start_is_one_line(place, number, delay):
    """Also amid imports, where C code makes other errors of it; Python's own first 0.1 s are not ours."""
    command = [*BOLTZGEN, "prepare", "--smiles", "CCO", "-o", "S"]
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(delay)
    process.send_signal(number)
    said = process.communicate()[1]
    assert process.returncode == 128 + number and said == "boltzgen: interrupted.\n"
    assert not (place / "S").exists()


#: Sends this process a signal at the n-th import of the command, and leaves what is imported half done.
AMID_IMPORTS = """
import os, signal, sys
from boltzgen_cli import entry

class Finder:
    left = int(sys.argv.pop(1))
    def find_spec(self, *_):
        Finder.left -= 1
        if Finder.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Finder())
entry.run()
"""


@pytest.mark.parametrize("number", [1, 40, 200, 700, 1500])
def test_a_signal_at_any_import(place, number):
    words = [
        sys.executable,
        "-c",
        AMID_IMPORTS,
        str(number),
        "reweight",
        "DRAWN",
        "-o",
        "HOT",
        "--temperature",
    ]
    done = subprocess.run([*words, "320"], cwd=place, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, "boltzgen: interrupted.\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_training_leaves_a_model(place, number, command_server):
    """The first signal saves; `sample` takes the model at once, and the same command goes on."""
    command = [*BOLTZGEN, "train", "data.yaml", "-o", "T", "--resume", "auto"]
    process = subprocess.Popen([*command, *LONG], cwd=place, stderr=subprocess.PIPE, text=True)
    assert any(line.startswith("train: ") for line in until_first_step(process))  # what to expect
    process.send_signal(number)
    said = process.communicate()[1]
    assert process.returncode == 75, said
    assert "a checkpoint is in T. The model so far is in T/model." in said and "To go on: " in said
    assert sample(place / "T", place / "SYS", place / "OUT", 50).requested == 50
    step = load_model(place / "T").record["steps"]
    done = run_cli(*command[3:], *LONG, "--max-time", "0.01s", cwd=place, server=command_server)
    assert done.returncode == 75 and f"at step {step + 1} of" in done.stderr
    assert load_model(place / "T").record["steps"] == step + 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["train", "data.yaml", "-o", "R", *LONG, "--max-time", "1s"], 75),
        (["train", "data.yaml", "-o", "R", *LONG, "until.minutes=0.01"], 0),
        (["train", "data.yaml", "-o", "R", *LONG, "until.evaluations=64"], 0),
        ([*VERBS["adapt"].words, "-o", "R", "--max-time", "0.001s"], 75),
        ([*VERBS["adapt"].words, "-o", "R", "until.minutes=0.00001"], 0),
    ],
)
def test_what_ends_a_training_leaves_a_model(place, words, code, command_server):
    served = command_server.words("-m", "boltzgen_cli", *words)
    done = subprocess.run(served, cwd=place, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert sample(place / "R", place / "SYS", place / "OUT", 50).requested == 50
    assert (place / "R" / "adapt.json").exists() == (words[0] == "adapt" and code == 0)
    assert not list((place / "R").rglob(".*"))


def test_a_second_signal_ends_at_once(place):
    process = subprocess.Popen(
        [*BOLTZGEN, "train", "data.yaml", "-o", "T", *LONG], cwd=place, stderr=subprocess.PIPE, text=True
    )
    assert any(line.startswith("train: ") for line in until_first_step(process))  # what to expect
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    assert "Traceback" not in said
    assert process.returncode in (75, 130, 143)  # whichever comes first, and is the second


def test_an_adaptation_has_a_model_from_its_first_moment(place, command_server):
    """Killed before its first checkpoint, there is the model that it began from; stopped, the one so far."""
    start = load_model(place / "RUN")
    command = [
        *BOLTZGEN,
        *VERBS["adapt"].words,
        "-o",
        "A",
        "optimizer.steps=1000000",
        "checkpoint_every=1000000",
    ]
    process = subprocess.Popen(command, cwd=place, stderr=subprocess.PIPE, text=True)
    while not (place / "A" / "adapt.yaml").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    found = load_model(place / "A")
    assert found.record["systems"] == start.record["systems"]
    state = start.flow.state_dict()
    assert all((value == state[name]).all() for name, value in found.flow.state_dict().items())
    done = run_cli(*VERBS["adapt"].words, "-o", "A", cwd=place, server=command_server)
    assert done.returncode == 0 and (place / "A" / "adapt.json").exists()


def test_what_stops_before_the_first_step_says_so(place, monkeypatch):
    """While a training makes its own data there is nothing to save but these."""
    monkeypatch.setattr("boltzgen.dynamics.batched_run.BLOCK_WORK", 1)  # the smallest blocks
    words = ["simulation.evaluations=20000", *LONG]
    stop = StopRequest()
    stop.ask()
    asked = ["data=null", f"system={place / 'SYS'}", *words]
    with pytest.raises(StoppedError, match=r"everything so far is saved in .*T/data/0"):
        train(place / "data.yaml", asked, place / "T", compile_energies=False, stop=stop)
    assert not (place / "T" / "model").exists() and not list((place / "T").glob("checkpoints/*"))


def test_going_back_gives_up_what_came_later(tmp_path):
    """A run that went on from an older checkpoint keeps its own ones, and half a checkpoint stays nowhere."""
    for step in (10, 20, 30):
        save_checkpoint(tmp_path, step, Checkpoint({}, {}))
    (tmp_path / "step-00000012").mkdir()
    save_checkpoint(tmp_path, 25, Checkpoint({}, {}))
    assert [place.name for place in sorted(tmp_path.iterdir())] == ["step-00000020", "step-00000025"]
    assert complete_checkpoints(tmp_path)[-1].name == "step-00000025"


CLOSED = {
    "a reader of the first line": "| head -1",
    "a reader of nothing": "| true",
    "one of both": "2>&1 | true",
    "no output": ">&-",
    "no messages": "2>&-",
    "nothing": "<&- >&- 2>&-",
    "a full disk for messages": "2>/dev/full",
}


@pytest.mark.parametrize("how", CLOSED)
def test_closed_streams_stop_no_work(place, how):
    words = " ".join(VERBS["sample"].words)
    line = f"{sys.executable} -m boltzgen_cli {words} {CLOSED[how]}; echo ${{PIPESTATUS[0]}} > code"
    done = subprocess.run(["bash", "-c", line], cwd=place, capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "ignored" not in done.stderr
    assert (place / "code").read_text() == "0\n"
    assert json.loads((place / "OUT" / "manifest.json").read_text())["status"] == "complete"


def test_results_that_cannot_be_printed_are_told(place):
    line = f"{sys.executable} -m boltzgen_cli models > /dev/full"
    done = subprocess.run(["bash", "-c", line], cwd=place, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "boltzgen: standard output cannot be written (No space left on device).\n"


@pytest.mark.parametrize("verb", ["sample", "free-energy states", "train on data", "benchmark transfer"])
def test_a_home_that_cannot_be_written_stops_no_work(place, verb):
    """Matplotlib keeps files there; /proc takes none, not even of root."""
    nowhere = {
        name: "/proc/nowhere" for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR")
    }
    nowhere |= {"TMPDIR": "/proc/nowhere", "TORCHINDUCTOR_CACHE_DIR": ""}
    done = run_cli(*VERBS[verb].words, cwd=place, environment=nowhere)
    assert done.returncode == 0, done.stderr
    assert "matplotlib" not in done.stderr.lower() and (place / VERBS[verb].output).exists()


def test_the_dead_leave_nothing_beside_a_file(tmp_path):
    """Temporary files of the same stem go, those of others, of a writer that lives and of people stay."""
    gone = [".a.0123abcd.tmp.json", ".a.0123abcd.tmp.png", ".a.weights.0123abcd.tmp.txt", ".a.boltzgen-lock"]
    kept = [".b.0123abcd.tmp.json", ".a.json", ".a.tmp.json", "a.0123abcd.tmp.json", ".lock", ".a.boltzgen"]
    for name in (*gone, *kept):
        (tmp_path / name).touch()
    with alone_with_file(tmp_path / "a.json") as path, atomic_path(path) as temporary:
        temporary.write_text("1")
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([*kept, "a.json"])


def test_who_has_the_folder_leaves_a_file_in_writing_alone(tmp_path):
    program = """
import sys
from boltzgen.files import atomic_path
from boltzgen.folders import alone_with_file
with alone_with_file(sys.argv[1]) as path, atomic_path(path) as temporary:
    print("here", flush=True)
    sys.stdin.readline()
    temporary.write_text("1")
"""
    target = tmp_path / "a.json"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program, str(target)], **pipes) as writer:
        assert writer.stdout.readline() == "here\n"
        (tmp_path / ".b.0123abcd.tmp.json").touch()
        with alone_in(tmp_path):
            assert len(list(tmp_path.glob(".a.*"))) == 2 and not list(tmp_path.glob(".b.*"))
        writer.stdin.write("\n")
        writer.stdin.flush()
        assert writer.wait() == 0
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"] and target.read_text() == "1"


@pytest.mark.parametrize("verb", ["sample", "free-energy states", "export xtc"])
def test_a_folder_that_cannot_be_made_is_a_sentence(place, verb, command_server):
    """/proc is read-only for everybody, root too."""
    word = VERBS[verb].output
    words = [f"/proc/nowhere/{word}" if one == word else one for one in VERBS[verb].words]
    done = run_cli(*words, cwd=place, server=command_server)
    assert done.returncode in (1, 2) and done.stderr.splitlines()[-1].startswith("boltzgen: /proc/nowhere")
    assert "Traceback" not in done.stderr and "unexpected" not in done.stderr


def test_a_writer_in_another_language_is_understood(tmp_path):
    """What they raise has no number but in its text; or nowhere, and the disk is asked."""

    class StrangeError(Exception):
        pass

    with pytest.raises(Exception, match=r"a\.x: the disk is full"), atomic_path(tmp_path / "a.x"):
        raise StrangeError("I/O error: No space left on device (os error 28)")
    with pytest.raises(InputError, match=r"a\.x: not writable"), atomic_path(tmp_path / "a.x"):
        try:
            raise OSError("unable to write (errno = 30, error message = 'Read-only file system')")
        except OSError as error:
            raise RuntimeError("Can't decrement id ref count") from error
    with pytest.raises(StrangeError, match="a fault of its own"), atomic_path(tmp_path / "a.x"):
        raise StrangeError("a fault of its own")
    assert not list(tmp_path.iterdir())


def test_what_was_there_outlives_a_limit_of_sizes(inputs, place):
    """`--overwrite` replaces samples when the new ones are written, all of them."""
    (place / "DRAWN").unlink()
    shutil.copytree(inputs / "DRAWN", place / "DRAWN")
    before = {path.name: path.read_bytes() for path in (place / "DRAWN").iterdir()}
    line = (
        f"ulimit -f 3; exec {sys.executable} -m boltzgen_cli {' '.join(VERBS['sample again'].words)} --seed 5"
    )
    done = subprocess.run(["bash", "-c", line], cwd=place, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"boltzgen: DRAWN/samples\.\w+: cannot be written, .*\(ulimit -f\)", done.stderr)
    assert {path.name: path.read_bytes() for path in (place / "DRAWN").iterdir()} == before
