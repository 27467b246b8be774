"""Which road is taken, by what a pilot says, and what is expected of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from boltzgen.errors import StoppedError
from boltzgen.interrupts import StopRequest
from boltzgen.workflows.roads import look as looking
from boltzgen.workflows.roads import road_adapted, road_shipped
from boltzgen.workflows.roads.look import Look, draws_for
from boltzgen.workflows.roads.plan import Plan
from boltzgen.workflows.roads.question import Question
from boltzgen.workflows.roads.walk import DRAWS, RESERVE, Share, Walk

PRECISION = 0.3


def a_look(ess: float, k_hat: float | None, a_sample: float) -> Look:
    return Look("peptides", 26.7, ess, k_hat, draws_for(ess, PRECISION), a_sample)


@pytest.fixture
def scene(tmp_path):
    """A scene without a molecule: the roads of shipped models ask for none."""
    words = {"temperature": 310.0, "precision": PRECISION, "states": "auto", "seed": 3, "overrides": ()}
    unset = dict.fromkeys(("frames", "check_frames", "data_temperature", "config", "samples"))
    question = Question.of("AGS", **words, **unset)
    plan = Plan.begin(tmp_path, question)
    walk = Walk(tmp_path, plan, question, 300.0, StopRequest(), lambda text: None, lambda title: None)
    return SimpleNamespace(walk=walk, atoms=31, torsions=7, system=None)


def roads_for(found: Look | None, monkeypatch, scene):
    for module in (road_shipped, road_adapted):
        monkeypatch.setattr(module, "look", lambda scene: found)
    return road_shipped.ROAD.suits(scene), road_adapted.ROAD.suits(scene)


def test_plain_draws_where_the_time_suffices(monkeypatch, scene):
    found = a_look(0.14, 0.42, 1e-3)
    drawing, _ = roads_for(found, monkeypatch, scene)
    assert drawing is not None and "unfamiliarity 26.7" in drawing and f"some {found.needed} draws" in drawing
    assert found.needed == 1905  # 1.2 / (0.14 x 0.05 x 0.09), rounded up
    expected = road_shipped.ROAD.expect(scene)
    assert expected.seconds < 300 and not expected.warning


@pytest.mark.parametrize(
    "found", [a_look(0.14, 0.42, 0.2), a_look(0.14, 0.9, 1e-3), a_look(0.002, None, 1e-3)]
)
def test_a_model_is_adapted_where_draws_are_worth_too_little(monkeypatch, scene, found):
    """Too slow for the number, a tail too heavy, and too few effective ones in the pilot."""
    drawing, adapting = roads_for(found, monkeypatch, scene)
    assert drawing is None and adapting is not None and "adapted to this molecule first" in adapting


def test_what_does_not_suffice_is_said(monkeypatch, scene):
    roads_for(a_look(0.001, 1.2, 0.05), monkeypatch, scene)
    expected = road_adapted.ROAD.expect(scene)
    assert "hardly suffices" in expected.warning and expected.seconds > 300
    assert scene.walk.plan.decided("budget") == road_adapted.FEWEST
    roads_for(a_look(0.05, 0.5, 2e-4), monkeypatch, scene)
    scene.walk.plan.redecide("budget", None)
    quick = road_adapted.ROAD.expect(scene)
    assert not quick.warning and road_adapted.FEWEST < scene.walk.plan.decided("budget") <= 100_000


def test_few_energies_do_where_the_pilot_was_worth_something(monkeypatch, scene):
    """As ACE-GLY-GLY-NME: of 2000 draws 112 effective, k-hat 0.91; 6000 energies made 27 % of it."""
    _, adapting = roads_for(a_look(0.056, 0.91, 2.2e-3), monkeypatch, scene)
    assert "a few draws outweigh all others" in adapting
    expected = road_adapted.ROAD.expect(scene)
    assert scene.walk.plan.decided("budget") < looking.ENOUGH_ENERGIES and not expected.warning


def test_no_model_no_road_of_a_model(monkeypatch, scene):
    assert roads_for(None, monkeypatch, scene) == (None, None)


def test_the_second_guess_falls_with_size_and_unfamiliarity(scene):
    said = [looking._second_guess(scene, "peptides", 26.7, 1e-3)]
    scene.atoms = 70
    said.append(looking._second_guess(scene, "peptides", 55.8, 1e-2))
    assert "hardly suffice" not in said[0] and "hardly suffice" in said[1]


def test_shares_of_the_time(scene):
    walk = scene.walk
    assert walk.left() == pytest.approx((1 - RESERVE) * 300, abs=5)
    assert walk.learning() == pytest.approx((1 - RESERVE - DRAWS) * 300, abs=5)
    assert walk.share(0.2) == pytest.approx(60.0) and walk.share(2.0) == pytest.approx(walk.left(), abs=5)
    walk.limit = None
    assert walk.left() is walk.learning() is walk.share(0.2) is None
    outer = StopRequest()
    late, never = Share(outer, 0.0), Share(outer, None)
    assert not never.requested
    outer.ask()
    assert never.requested and never.reason == "stopped on request" and late.requested


def test_a_step_is_done_once_and_not_after_a_stop(scene):
    walk, done = scene.walk, []
    for _ in range(2):
        walk.step("SYS", ["boltzgen", "prepare"], lambda: done.append(1))
    assert done == [1] and walk.plan.commands() == ["boltzgen prepare"]
    walk.step("SYS", ["boltzgen", "prepare"], lambda: done.append(2), whole=lambda: False)
    walk.step("SYS", ["boltzgen", "prepare"], lambda: done.append(3), again=True)
    assert done == [1, 2, 3]
    walk.stop.ask()
    with pytest.raises(StoppedError, match="before the step 'MD'"):
        walk.step("MD", ["boltzgen", "simulate"], lambda: done.append(4))
    assert done == [1, 2, 3]


def test_what_another_model_drew_is_thrown_away(scene):
    walk = scene.walk
    weights = walk.path("RUN") / "model" / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"first")
    walk.renew(walk.path("RUN"), "PILOT")
    for name in ("PILOT", "OUT", "FIRST", "MORE1", "CHECK"):
        walk.step(name, ["boltzgen", "sample"], lambda name=name: walk.path(name).mkdir())
    walk.plan.decide("draws", {"wanted": 7})
    walk.renew(walk.path("RUN"), "PILOT")
    assert walk.path("OUT").is_dir() and walk.plan.decided("draws") == {"wanted": 7}
    weights.write_bytes(b"further")
    walk.renew(walk.path("RUN"), "PILOT")
    left = sorted(path.name for path in Path(walk.folder).iterdir() if path.is_dir())
    assert left == ["CHECK", "RUN"] and walk.plan.decided("draws") is None
    assert [step["name"] for step in walk.plan.content["steps"]] == ["CHECK"]
