"""With which engine a road simulates: the one that is measured to be faster; the plan says which and why."""

from __future__ import annotations

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from boltzgen.digests import signed
from boltzgen.errors import PartialError
from boltzgen.interrupts import StopRequest
from boltzgen.progress import silent
from boltzgen.workflows.roads import defaults, frames, road_adapted
from boltzgen.workflows.roads import walk as walking
from boltzgen.workflows.roads.plan import Plan
from boltzgen.workflows.roads.question import Question
from boltzgen.workflows.roads.road import Scene
from boltzgen.workflows.roads.road_simulated import ROAD
from boltzgen.workflows.roads.walk import Walk
from boltzgen.workflows.simulation.asked import settings_of
from boltzgen.workflows.simulation.engines import TorchEngine
from boltzgen.workflows.simulation.options import SimulateOptions
from boltzgen.workflows.timing import simulation as timing


def quietly(title):
    return nullcontext(silent)


#: Steps of one OpenMM replica a second, and seconds of a torch step of all replicas.
RATES = {"Reference": 5000.0, "CPU": 2000.0, "torch": 1e-3}


@pytest.fixture
def rates(monkeypatch):
    found = dict(RATES)

    def platforms(system, positions, timestep, names=None):
        assert timestep == 0.001
        return {name: found[name] for name in names or ("Reference", "CPU")}

    monkeypatch.setattr(timing, "platform_rates", platforms)
    monkeypatch.setattr(TorchEngine, "seconds_of_a_step", lambda self, timed: found["torch"])
    return found


@pytest.fixture
def scene(tmp_path, butane):
    unset = dict.fromkeys(("frames", "check_frames", "data_temperature", "config", "samples"))
    words = {"temperature": 310.0, "precision": 0.1, "states": "auto", "seed": 3, "overrides": (), **unset}
    question, said = Question.of("butane", **words), []
    walk = Walk(
        tmp_path, Plan.begin(tmp_path, question), question, 300.0, StopRequest(), said.append, quietly
    )
    return Scene(walk, butane), said


@pytest.mark.parametrize(("torch_step", "engine"), [(1e-3, "torch"), (1.0, "openmm")])
def test_the_faster_engine_is_taken_once_and_the_plan_says_why(rates, scene, torch_step, engine):
    scene, said = scene
    rates["torch"] = torch_step
    how = frames.simulation(scene)
    assert how.engine == engine and how.platform == ("Reference" if engine == "openmm" else "auto")
    kept = json.loads((scene.walk.folder / "run.json").read_text())["decided"]["engine"]
    assert kept["engine"] == engine and kept["why"].startswith(f"measured: {engine} ")
    assert said == [f"engine: {engine} ({kept['why']})."]
    each = torch_step / how.replicas if engine == "torch" else 1 / 5000.0
    assert kept["seconds_an_energy"] == pytest.approx(each, rel=1e-6)
    total = frames.seconds_of_energies(scene, how, how)
    assert total == pytest.approx(2 * how.evaluations * each, rel=1e-6)
    rates["torch"] = RATES["torch"] if engine == "openmm" else 1.0
    assert frames.simulation(scene) == how and len(said) == 1


def test_either_engine_makes_the_same_picoseconds_and_frames():
    torch = defaults.simulation(31, 310.0, 4).within(7e5)
    openmm = defaults.Simulated.of({**torch.to_json(), "engine": "openmm", "platform": "CPU"})
    one, other = (
        settings_of(SimulateOptions(**how.options()), how.engine)  # type: ignore[arg-type]
        for how in (torch, openmm)
    )
    assert one.n_frames == other.n_frames and one.temperatures == other.temperatures
    assert other.time == pytest.approx(one.time * one.walks)
    assert other.equilibration == pytest.approx(one.equilibration * one.walks)
    assert openmm.evaluations == pytest.approx(
        len(other.temperatures) * other.total_segments * other.segment_steps
    )
    shorter = openmm.within(0.25 * openmm.evaluations)
    assert shorter.evaluations == pytest.approx(0.25 * openmm.evaluations, rel=0.1)


def test_a_time_is_kept_with_the_engine_that_was_taken(rates, scene):
    scene, _ = scene
    rates["torch"] = 1.0
    how = frames.fitted(scene, frames.simulation(scene), 0.1)
    assert how.evaluations / RATES["Reference"] == pytest.approx(30.0, rel=0.1)


def test_a_road_simulates_with_openmm_where_that_is_faster(rates, scene, monkeypatch):
    """The step that stands in the plan, and the folder that it made."""
    scene, _ = scene
    rates["torch"] = 1.0
    monkeypatch.setattr(defaults, "BASE_EVALUATIONS", 4_000)
    scene.walk.limit = None
    scene.system.save(scene.walk.system)
    check = frames.simulated_check(scene)
    manifest = json.loads((check / "manifest.json").read_text())
    assert manifest["platform"] == "Reference" and manifest["settings"]["seed"] == 4
    (command,) = scene.walk.plan.commands()
    assert "--engine openmm --platform Reference --seed 4" in command and "--replicas" not in command


def test_without_a_frame_there_is_nothing_to_check_with(rates, scene, monkeypatch):
    """The time is over before the first frame is saved: the road goes on without, and says nothing wrong."""
    scene, said = scene
    scene.system.save(scene.walk.system)
    scene.walk.limit = 1e-3
    assert frames.simulated_check(scene) is None
    assert scene.walk.is_partial("CHECK") and not scene.walk.path("CHECK").exists()
    assert said[-1].endswith("not begun: the time is over")
    with pytest.raises(PartialError, match=r"before .*MD had a frame; give more `time`"):
        ROAD.steps(scene)
    assert frames.frames_in(scene.walk.path("CHECK")) is None
    monkeypatch.setattr(walking, "LEAST", 0.0)
    check = frames.simulated_check(scene)  # how far it comes is a matter of the machine
    manifest = scene.walk.path("CHECK") / "manifest.json"
    record = json.loads(manifest.read_text())
    assert check == (scene.walk.path("CHECK") if record["files"] else None)
    manifest.write_text(json.dumps(signed({**record, "files": []})))
    assert frames.frames_in(manifest.parent) is None


def test_where_the_time_is_over_the_shipped_model_answers_unadapted(scene, monkeypatch):
    scene, _ = scene
    scene.walk.limit = 1e-3
    seen = SimpleNamespace(model="peptides", a_sample=1e-3, pilot="PILOT")
    monkeypatch.setattr(road_adapted, "look", lambda scene: seen)
    monkeypatch.setattr(road_adapted, "simulated_check", lambda scene: None)
    left = road_adapted.ROAD.steps(scene)
    assert (left.model, left.check, left.pilot) == ("peptides", None, "PILOT")
    assert scene.walk.is_partial("RUN") and not scene.walk.path("RUN").exists()
