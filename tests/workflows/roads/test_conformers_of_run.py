"""The table of conformers that `run` leaves for a small molecule, and says in its answer."""

from __future__ import annotations

import json
import shlex
from contextlib import nullcontext
from dataclasses import replace

import pytest
import small_model
from helpers import StopAt

from boltzgen.config.build import build_flow
from boltzgen.config.model import save_model
from boltzgen.ensemble.store import load_ensemble, save_ensemble
from boltzgen.errors import StoppedError
from boltzgen.interrupts import StopRequest
from boltzgen.progress import silent
from boltzgen.system.prepare import prepare
from boltzgen.workflows.conformers import of_run
from boltzgen.workflows.conformers.of_run import conformers_of_run, has_conformers
from boltzgen.workflows.reporting.report import report
from boltzgen.workflows.roads.answer import write_answer
from boltzgen.workflows.roads.asking import Asked
from boltzgen.workflows.roads.plan import Plan
from boltzgen.workflows.roads.question import Question
from boltzgen.workflows.roads.road import Scene
from boltzgen.workflows.roads.walk import Walk
from boltzgen.workflows.sampling.sample import sample
from boltzgen_cli.main import main
from boltzgen_cli.run import show


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """SYS and OUT of a halide, by a flow with fresh weights."""
    place = tmp_path_factory.mktemp("run")
    prepare(smiles="FCCCl").save(place / "SYS")
    save_model(place / "MODEL" / "model", build_flow(small_model.FLOW, seed=0), small_model.MODEL)
    sample(place / "MODEL", place / "SYS", place / "OUT", 300, temperature=300.0, seed=2)
    return place


@pytest.fixture
def scene(answered, monkeypatch):
    words = {"temperature": 300.0, "precision": 0.1, "states": "auto", "seed": 3, "overrides": ()}
    unset = dict.fromkeys(("frames", "check_frames", "data_temperature", "config", "samples"))
    question = Question.of("FCCCl", **words, **unset)
    (answered / "run.json").unlink(missing_ok=True)
    plan = Plan.begin(answered, question)
    listen = lambda title: nullcontext(silent)  # noqa: E731
    walk = Walk(answered, plan, question, None, StopRequest(), lambda text: None, listen)
    monkeypatch.setattr(of_run, "SECONDS", 1e3)
    return Scene(walk, prepare(smiles="FCCCl"))


def test_the_table_is_that_of_the_command(scene, answered, tmp_path, capsys):
    """Made once, anew where OUT has grown; the printed command makes the same file by hand."""
    told = conformers_of_run(scene)
    table = json.loads((answered / "CONFORMERS" / "conformers.json").read_text())
    assert told["folder"] == "CONFORMERS" and told["verdict"] == table["verdict"]
    assert [one["degeneracy"] for one in told["wells"]] == [one["degeneracy"] for one in table["wells"]]
    assert sum(one["population"] for one in told["wells"]) == pytest.approx(1.0)
    before = (answered / "CONFORMERS" / "conformers.json").stat().st_mtime_ns
    assert conformers_of_run(scene) == told
    assert (answered / "CONFORMERS" / "conformers.json").stat().st_mtime_ns == before
    program, *words = shlex.split(scene.walk.plan.step("CONFORMERS")["command"])
    words[words.index("-o") + 1] = str(tmp_path / "HAND")
    assert program == "boltzgen" and main(words) == 0
    assert json.loads((tmp_path / "HAND" / "conformers.json").read_text()) == table
    whole = load_ensemble(answered / "OUT")
    save_ensemble(whole[:200], answered / "OUT")
    assert conformers_of_run(scene)["wells"] != told["wells"]
    save_ensemble(whole, answered / "OUT")
    capsys.readouterr()


def test_the_answer_says_them(scene, answered, capsys):
    answer = write_answer(
        answered,
        road={"name": "draw", "reason": "of the test"},
        question=scene.walk.question.to_json(),
        ensemble=load_ensemble(answered / "OUT"),
        asked=Asked({}, {}),
        found={},
        mirror_images=[],
        conformers=conformers_of_run(scene),
        error=None,
        status="complete",
        why_partial="",
        next_steps=[],
        seconds=1.0,
    )
    said = answer.sentences[-1]
    assert said.startswith("Minimised, the samples fall into these conformers: F1-C1-C2-CL1 ")
    assert "gauche+ (with its mirror image) " in said and "trans " in said
    assert answer.conformers[0]["population"] >= answer.conformers[1]["population"]
    page = report(answered, answered / "page.html").path.read_text()
    assert "Conformers, minimised" in page and "gauche+" in page
    show(answer)
    assert "conformers, mirror images together" in capsys.readouterr().out


def test_what_would_take_long_is_left_to_the_command(scene, monkeypatch):
    monkeypatch.setattr(of_run, "SECONDS", 1e-6)
    assert conformers_of_run(scene) == {"folder": None, "verdict": None, "reasons": [], "wells": []}
    assert scene.walk.plan.step("CONFORMERS") is None


def test_a_signal_ends_it(scene):
    scene.walk.stop = StopAt(0)
    with pytest.raises(StoppedError):
        conformers_of_run(scene)


def test_peptides_and_united_atoms_have_none(butane, scene):
    assert has_conformers(scene.system) and not has_conformers(butane)
    assert not has_conformers(prepare(sequence="ACE-ALA-NME"))
    assert conformers_of_run(replace(scene, system=butane)) is None
