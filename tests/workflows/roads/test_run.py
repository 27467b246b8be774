"""`run` on butane: its road, its answer, the commands it prints, and how it goes on."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from between_cases import butane_frames, write_frames
from butane import EXACT, STATES, write_butane

import boltzgen as bg
from boltzgen.errors import InputError, PartialError, StoppedError
from boltzgen.interrupts import StopRequest
from boltzgen.training import suited
from boltzgen.workflows.roads import defaults
from boltzgen.workflows.roads.question import digests, parse_limit, parse_precision
from boltzgen.workflows.roads.road import roads

CONFIG = {
    "system": "SYS",
    "data": "MD",
    "flow": {"kind": "coupling", "layers": 3, "hidden": 16, "bins": 8, "embedding": 8, "encoder_blocks": 1},
    "likelihood": {"batch_size": 128},
    "reweighted": {
        "weight": [[0.3, 0.0], [0.4, 1.0]],
        "fresh": 64,
        "batch_size": 64,
        "temperatures": [300.0],
    },
    "optimizer": {"steps": 60},
    "evaluation": {"every": 60, "samples": 100},
    "workers": 1,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, butane) -> Path:
    base = tmp_path_factory.mktemp("run")
    write_butane(base)
    frames = butane_frames(3000, 300.0, np.random.default_rng(3))
    write_frames(base / "MD300", frames, 300.0, butane.fingerprint)
    (base / "tiny.yaml").write_text(json.dumps(CONFIG))
    (base / "states.json").write_text(json.dumps(STATES))
    return base


@pytest.fixture
def here(inputs, monkeypatch) -> Path:
    monkeypatch.chdir(inputs)
    return inputs


WORDS = {
    "coordinates": "butane.pdb",
    "frames": "MD300",
    "config": "tiny.yaml",
    "seed": 11,
    "states": "states.json",
}


@pytest.fixture(scope="module")
def answered(inputs):
    """(the answer, what was said), made in the folder of the inputs."""
    before, said = Path.cwd(), []
    os.chdir(inputs)
    try:
        return bg.run("system.xml", "ANSWER", say=said.append, **WORDS), said
    finally:
        os.chdir(before)


def test_the_answer_is_right_and_says_what_it_did(answered, inputs):
    found, said = answered
    assert found.status == "complete" and found.road == "simulate, train, draw"
    assert found.reason == "frames to train on were given" and found.error <= 0.1
    (one,) = found.to_json()["free_energies"]
    assert abs(one["value"]["kT"] - EXACT[300.0][1]) < 4 * one["standard_error"]["kT"]
    shares = {state["name"]: state["population"] for state in found.populations}
    assert shares["trans"] == pytest.approx(1 / (1 + np.exp(-EXACT[300.0][1])), abs=0.04)
    assert said[2].startswith("\n[  0 s] $ boltzgen prepare") and any(
        "road: simulate" in line for line in said
    )
    answer = json.loads((inputs / "ANSWER" / "answer.json").read_text())
    assert answer["schema"] == "boltzgen.answer/1" and answer == found.to_json()
    record = json.loads((inputs / "ANSWER" / "run.json").read_text())
    assert record["schema"] == "boltzgen.run/1" and record["status"] == "complete"
    assert [step["status"] for step in record["steps"]] == ["complete"] * len(record["steps"])
    assert found.rows()["verdict"] == found.verdict and "verdict" in repr(found)
    for name in ("SYS", "MD", "CHECK", "RUN", "PILOT", "OUT"):
        assert (inputs / "ANSWER" / name).is_dir()


def test_its_commands_do_the_same_by_hand(answered, inputs, tmp_path, command_server):
    """Every command of run.json, pasted in an empty folder, one after the other: the same digits."""
    record = json.loads((inputs / "ANSWER" / "run.json").read_text())
    for name in ("system.xml", "butane.pdb", "tiny.yaml", "MD300"):
        (tmp_path / name).symlink_to(inputs / name)
    (tmp_path / "ANSWER").mkdir()
    shutil.copy(inputs / "ANSWER" / "states.yaml", tmp_path / "ANSWER")
    for command in (step["command"] for step in record["steps"]):
        program, *words = shlex.split(command)
        line = command_server.words(*(["-m", "boltzgen_cli"] if program == "boltzgen" else []), *words)
        line = [program, *words] if program in ("mv", "cp") else line
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    for place in ("OUT/samples.npz", "PILOT/samples.npz"):
        assert (tmp_path / "ANSWER" / place).read_bytes() == (inputs / "ANSWER" / place).read_bytes()
    mine, theirs = (
        json.loads((base / "ANSWER" / "free_energy.json").read_text())["estimates"]
        for base in (inputs, tmp_path)
    )
    assert mine == theirs


def test_the_same_command_finds_everything_done(answered, here):
    before = json.loads((here / "ANSWER" / "OUT" / "manifest.json").read_text())
    said: list[str] = []
    again = bg.run("system.xml", "ANSWER", say=said.append, **WORDS)
    assert json.loads((here / "ANSWER" / "OUT" / "manifest.json").read_text()) == before
    assert again.populations == answered[0].populations
    done = [line for line in said if "$ " in line]
    assert all("free-energy states" in line for line in done), done


def test_another_question_in_its_folder_is_refused(answered, here):
    with pytest.raises(InputError, match=r"asked something else \(temperature 300\.0, now 310\.0\)"):
        bg.run("system.xml", "ANSWER", temperature=310.0, **WORDS)
    (here / "mine").mkdir(exist_ok=True)
    (here / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="holds other files"):
        bg.run("system.xml", "mine", **WORDS)


def test_another_molecule_of_the_same_name_is_refused(answered, here, tmp_path):
    """A file changed since, or another of that name: its answer is not that of the first."""
    for name in ("system.xml", "butane.pdb", "MD300"):
        (shutil.copytree if name == "MD300" else shutil.copy)(here / name, tmp_path / name)
    words = {**WORDS, "coordinates": tmp_path / "butane.pdb"}
    with pytest.raises(InputError, match="coordinates"):  # asked with other words
        bg.run(tmp_path / "system.xml", "ANSWER", **words)
    (tmp_path / "system.xml").write_bytes((here / "system.xml").read_bytes() + b"\n")
    with pytest.raises(
        InputError, match=r"`source` holds something else than when the run in .*ANSWER began"
    ):
        bg.run(tmp_path / "system.xml", "ANSWER", **WORDS)
    kept = json.loads((here / "ANSWER" / "run.json").read_text())["decided"]["files"]
    assert sorted(kept) == ["coordinates", "frames", "source"]
    assert digests({"source": here / "system.xml", "name": "nothing", "frames": None, "ph": 7.0}) == {
        "source": kept["source"]
    }


def test_a_number_of_samples_needs_no_pilot(here):
    found = bg.run("system.xml", "OWN", samples=4000, say=lambda _: None, **WORDS)
    (one,) = found.to_json()["free_energies"]
    assert found.status == "complete" and one["counts"] and one["n"] == 4000
    assert abs(one["value"]["kT"] - EXACT[300.0][1]) < 4 * one["standard_error"]["kT"]
    assert not (here / "OWN" / "PILOT").exists()


def test_without_words_it_simulates_and_finds_the_states(here, monkeypatch):
    """Dichloropropane: two torsions, their wells and joint states, from nothing but a name."""
    monkeypatch.setattr(defaults, "BASE_EVALUATIONS", 30_000)
    monkeypatch.setattr(defaults, "EVALUATIONS_A_TORSION", 0)
    said: list[str] = []
    words = {"config": "tiny.yaml", "samples": 400, "time": None, "say": said.append}
    found = bg.run(None, "FOUND", smiles="ClCCCCl", **words)
    results = {one["result"] for one in found.populations}
    assert "free_energy" in results and len(results) == 3
    for result in results:
        shares = [one["population"] for one in found.populations if one["result"] == result]
        assert sum(shares) == pytest.approx(1.0)
    shares = {(one["result"], one["name"]): one["population"] for one in found.populations}
    assert {one["result"] for one in found.mirror_images} >= results - {"free_energy"}
    for one in found.mirror_images:
        parts = [shares[one["result"], name] for name in one["states"]]
        assert one["population"] == pytest.approx(sum(parts)) and one["standard_error"] > 0
    assert any(line.startswith("Mirror images of one another") for line in found.sentences)
    assert (here / "FOUND" / "MD" / "manifest.json").is_file() and (here / "FOUND" / "CHECK").is_dir()
    assert found.reason.startswith("data or a configuration to train with were given")
    assert found.to_json()["precision"]["asked_kT"] == 0.1


def test_without_time_there_is_an_answer_and_the_next_call_goes_on(here):
    said: list[str] = []
    with pytest.raises(PartialError, match="the same command goes on") as cut:
        bg.run("system.xml", "SHORT", time=1.0, precision="0.02kT", say=said.append, **WORDS)
    first = json.loads((here / "SHORT" / "answer.json").read_text())
    assert cut.value.result.to_json() == first
    assert first["status"] == "partial" and first["sentences"] and "time was over" in first["reasons"][0]
    found = bg.run("system.xml", "SHORT", time=None, precision="0.02kT", say=said.append, **WORDS)
    assert found.status == "complete" and found.error <= 0.03
    assert found.to_json()["samples"] > first["samples"]


def test_a_signal_stops_it_and_the_same_call_ends_where_an_undisturbed_one_does(here):
    stop, said = StopRequest(), []

    def say(text: str) -> None:
        said.append(text)
        if "$ boltzgen train" in text:
            stop.ask()

    with pytest.raises(StoppedError):
        bg.run("system.xml", "STOPPED", stop=stop, say=say, **WORDS)
    assert json.loads((here / "STOPPED" / "run.json").read_text())["status"] == "partial"
    bg.run("system.xml", "STOPPED", say=say, **WORDS)
    if (here / "ANSWER").is_dir():
        left, right = ((here / name / "OUT" / "samples.npz") for name in ("STOPPED", "ANSWER"))
        assert left.read_bytes() == right.read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"precision": "0.1 eV"}, "`precision='0.1 eV'` is not a standard error with a unit"),
        ({"precision": 0}, "`precision=0` is 0 kT, outside 0.0001 to 1000 kT"),
        ({"time": "soon"}, "`time='soon'` is not a duration"),
        ({"time": -3.0}, "`time=-3.0` leaves no time"),
        ({"temperature": -1.0}, "`temperature=-1.0` is not a temperature"),
        ({"samples": 1}, "`samples=1`"),
        ({"check_frames": "MD300"}, "`check_frames` is given without `frames`"),
        ({"states": "nowhere.yaml"}, "nowhere.yaml"),
    ],
)
def test_bad_words_are_refused_in_a_sentence(here, words, message):
    given = {key: value for key, value in WORDS.items() if key != "frames"} | words
    with pytest.raises(InputError) as found:
        bg.run("system.xml", "NEW", say=lambda _: None, **given)
    assert message in str(found.value) and not (here / "NEW" / "SYS").exists()


def test_words_for_precision_and_time():
    assert parse_precision("0.1kT", 310.0) == 0.1 and parse_precision(0.25, 310.0) == 0.25
    assert parse_precision("1kJ/mol", 300.0) == pytest.approx(0.400908, rel=1e-5)
    assert parse_precision("0.5 kcal/mol", 310.0) == pytest.approx(0.811640, rel=1e-5)
    assert parse_limit("1h30m") == 5400 and parse_limit(None) is None and parse_limit(7) == 7


@pytest.mark.parametrize("text", ["1e-200", "1e-160kT", "0kT", "9.9e-5kT", "1e6", "0.0001kcal/mol", "nan"])
def test_a_precision_that_no_draws_reach_is_refused(text):
    with pytest.raises(InputError, match=r"`precision="):
        parse_precision(text, 1000.0)
    assert parse_precision("1e-4", 300.0) == 1e-4


def test_roads_are_tried_in_the_order_of_their_numbers():
    found = roads()
    assert [road.name for road in found] == ["draw", "chains", "adapt", "simulate, train, draw"]
    assert [road.order for road in found] == sorted({road.order for road in found})


@pytest.mark.parametrize("atoms", [4, 60, 900])
@pytest.mark.parametrize("kelvin", [0.0012345, 2.0, 77.36, 310.15, 9000.0])
def test_a_ladder_rises_from_the_temperature_asked(atoms, kelvin):
    rungs = defaults.ladder(atoms, kelvin, 1)
    assert rungs[0] == kelvin and list(rungs) == sorted(set(rungs))
    assert rungs[-1] == pytest.approx(2.4 * kelvin, rel=0.01)
    assert [float(f"{rung:g}") for rung in rungs] == list(rungs)  # as `simulate` is told


def test_defaults_grow_with_the_molecule():
    small, large = (defaults.simulation(atoms, 310.0, turns) for atoms, turns in ((8, 1), (64, 12)))
    assert small.temperatures[0] == 310.0 == large.temperatures[0]
    assert len(small.temperatures) < len(large.temperatures)
    assert large.evaluations > 3 * small.evaluations
    assert suited.steps(8) < suited.steps(22) == suited.STEPS < suited.steps(64)
    assert suited.rows(8) < suited.rows(22) == suited.rows(64)
    for how in (small, large, defaults.check(large), large.within(1e5)):
        assert how.replicas % len(how.temperatures) == 0
        for span in (how.time, how.equilibration):
            assert span / defaults.INTERVAL == pytest.approx(round(span / defaults.INTERVAL))
        assert how.time / how.save_interval == pytest.approx(round(how.time / how.save_interval))
        assert defaults.Simulated.of(json.loads(json.dumps(how.to_json()))) == how
    assert large.within(1e5).evaluations < 2e5 and large.within(1e12) == large
    assert not defaults.simulation(5, 300.0, 0).moves
