"""Which of several shipped models `run` takes: those that are near enough are tried, and pilots decide."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import small_model

from boltzgen.conditioning.familiarity import Seen
from boltzgen.config import shipped
from boltzgen.config.build import build_flow
from boltzgen.config.model import save_model
from boltzgen.dynamics.starts import conformer_starts
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.generator import Target
from boltzgen.interrupts import StopRequest
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.options import PrepareOptions
from boltzgen.system.prepare import prepare
from boltzgen.trust.rings import ring_codes, ring_columns
from boltzgen.workflows.installation.models import write_release
from boltzgen.workflows.reporting.show import show
from boltzgen.workflows.roads import guess as guessing
from boltzgen.workflows.roads import look as looking
from boltzgen.workflows.roads import road_adapted, road_chains, road_shipped, road_simulated
from boltzgen.workflows.roads.guess import first_guess
from boltzgen.workflows.roads.look import Look, better, look
from boltzgen.workflows.roads.measures import Rate
from boltzgen.workflows.roads.plan import Plan
from boltzgen.workflows.roads.question import Question
from boltzgen.workflows.roads.road import Source
from boltzgen.workflows.roads.walk import Walk


def a_look(ess: float, k_hat: float | None, score: float = 30.0, a_sample: float = 1e-3) -> Look:
    return Look("of peptides", score, ess, k_hat, 1000, a_sample)


@pytest.fixture(scope="module")
def alcohol():
    return prepare(smiles="CO", forcefield=("mmff94",))


@pytest.fixture(scope="module")
def models(butane, alcohol, tmp_path_factory):
    """Two releases: one of butane's united atoms, one of an alcohol."""
    place = tmp_path_factory.mktemp("models")
    for name, system, field, solvent in (
        ("of-butane", butane, "united atoms (butane.xml)", "none"),
        ("of-alcohols", alcohol, "MMFF94 (mmff94), GAFF2 (gaff2)", "vacuum (none), OBC2 (implicit/obc2.xml)"),
    ):
        run = place / name
        seen = Seen.of([Target.from_system(system).features], [300.0, 600.0])
        save_model(run / "model", build_flow(small_model.FLOW, seed=1), small_model.MODEL, seen)
        (run / "config.yaml").write_text("system: SYS\n")
        metrics = {"force_field": field, "solvent": solvent, "figures": {}}
        write_release(run, name, metrics, "# Tiny\n", place / "models")
    return place / "models"


@pytest.fixture
def scene(models, tmp_path, monkeypatch):
    files = shipped.resources.files
    monkeypatch.setattr(
        shipped.resources, "files", lambda package: models if package == "boltzgen_models" else files(package)
    )
    words = {"temperature": 300.0, "precision": 0.1, "states": "auto", "seed": 3, "overrides": ()}
    unset = dict.fromkeys(("frames", "check_frames", "data_temperature", "config", "samples"))
    question = Question.of("a molecule", **words, **unset)
    plan = Plan.begin(tmp_path, question)
    walk = Walk(tmp_path, plan, question, 600.0, StopRequest(), lambda text: None, lambda title: None)
    return SimpleNamespace(walk=walk, atoms=4, torsions=1, rings=0, system=None)


def test_the_most_familiar_comes_first_and_what_is_far_is_not_tried(scene, butane, alcohol, monkeypatch):
    for system, name in ((butane, "of-butane"), (alcohol, "of-alcohols")):
        scene.system = system
        near = looking._near(scene)["models"]
        assert near == [{"model": name, "score": 0.0}]  # which has seen all of it
    scene.system = prepare(smiles="CCO", forcefield=("mmff94",))
    first, *others = looking._near(scene)["models"]
    assert first["model"] == "of-alcohols" and 0 < first["score"] < looking.TRIED
    monkeypatch.setattr(looking, "NEAR", 1e9)
    monkeypatch.setattr(looking, "TRIED", 1e9)
    both = looking._near(scene)["models"]
    assert [one["model"] for one in both] == ["of-alcohols", "of-butane"]
    assert both[1]["score"] > both[0]["score"] == first["score"]
    monkeypatch.setattr(looking, "TRIED", first["score"] / 2)
    assert "no shipped model knows such molecules (unfamiliarity" in looking._near(scene)["why"]
    assert all(one["score"] <= first["score"] + 100 for one in others)


def test_draws_decide_among_models_that_are_near(scene, monkeypatch):
    """Each is tried once, in its own folder; the road, its reason and its pilot are of the better one."""
    tried, worth = [], {"far": a_look(0.2, 0.3, score=90.0), "familiar": a_look(0.05, 0.4)}
    scene.walk.plan.decide(
        "near models", {"models": [{"model": "familiar", "score": 30.0}, {"model": "far", "score": 90.0}]}
    )

    def looked(scene, model, score, pilot):
        tried.append((model, pilot))
        return replace(worth[model], model=model, pilot=pilot)

    monkeypatch.setattr(looking, "_looked", looked)
    found = look(scene)
    assert tried == [("familiar", "PILOT"), ("far", "PILOT2")]
    assert (found.model, found.pilot) == ("far", "PILOT2")
    monkeypatch.setattr(road_shipped, "simulated_check", lambda *words: None)
    assert "far knows such molecules" in road_shipped.ROAD.suits(scene)
    assert road_shipped.ROAD.steps(scene).pilot == "PILOT2"


def test_what_is_less_familiar_must_be_clearly_better():
    familiar = a_look(0.05, 0.4)
    for ess, k_hat, a_sample, taken in (
        (0.07, 0.3, 1e-3, False),
        (0.08, 0.3, 1e-3, True),
        (0.08, 0.3, 2e-3, False),  # it draws half as fast
        (0.30, 0.9, 1e-3, False),  # a few draws outweigh all others
    ):
        other = a_look(ess, k_hat, score=90.0, a_sample=a_sample)
        assert (better(familiar, other) is other) is taken
    assert better(a_look(0.3, 0.9), other=(sound := a_look(0.02, 0.6, score=90.0))) is sound


def test_a_stranger_may_draw_but_is_not_adapted(scene, monkeypatch):
    """Beyond the unfamiliarity that tells kin: plain draws where they suffice, else a flow of its own."""
    found = a_look(0.2, 0.3, score=190.0)
    for module in (road_shipped, road_adapted, road_chains, road_simulated, looking):
        monkeypatch.setattr(module, "look", lambda scene: found)
    assert "hardly knows such molecules (unfamiliarity 190)" in road_shipped.ROAD.suits(scene)
    found = a_look(0.002, 1.3, score=190.0)
    assert [road.ROAD.suits(scene) for road in (road_shipped, road_chains, road_adapted)] == [None] * 3
    why = road_simulated.ROAD.suits(scene)
    assert "0.2 % are effective, k-hat 1.30: too few for an answer, so that a flow of this" in why


def test_where_draws_hardly_show_a_chair_walkers_turn_the_ring_over(scene, monkeypatch):
    """Whatever the flow knows of the molecule; a model that shows it is taken before one that does not."""
    axial = ("ring C2-C3-C4-C5-C6-C7 as the chair with C1 axial",)
    found = replace(a_look(0.2, 0.3, score=190.0), hardly=axial)
    for module in (road_shipped, road_chains):
        monkeypatch.setattr(module, "look", lambda scene: found)
    monkeypatch.setattr(road_chains.Chained, "rate", lambda self, scene, found: Rate(1.0, 1e-4))
    assert road_shipped.ROAD.suits(scene) is None
    why = road_chains.ROAD.suits(scene)
    assert "they hardly show ring C2-C3-C4-C5-C6-C7 as the chair with C1 axial, and moves turn" in why
    shown = a_look(0.01, 0.3, score=250.0)
    assert better(found, shown) is shown and better(shown, found) is shown


def test_a_trained_flow_that_hardly_draws_a_chair_moves_walkers(scene, monkeypatch):
    """Where there is time for them; decided once, and anew when the flow was trained further."""
    weights = scene.walk.path("RUN") / "model" / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"first")
    monkeypatch.setattr(
        Walk, "draw", lambda self, name, *words, **options: self.path(name).mkdir(exist_ok=True)
    )
    monkeypatch.setattr(road_simulated, "load_ensemble", lambda path: None)
    monkeypatch.setattr(road_simulated, "rate_of_chains", lambda *words: Rate(2.0, 1e-3))
    shown = {"hardly": ("axial",)}
    monkeypatch.setattr(road_simulated, "hardly", lambda scene, pilot, drawn: shown["hardly"])
    left = Source(scene.walk.path("RUN"), None, pilot="PILOT_TRAINED")
    assert road_simulated.ROAD._walking(scene, left) is None  # no ring
    scene.rings = 1
    walking = road_simulated.ROAD._walking(scene, left)
    assert (walking.pilot, walking.walkers, walking.rate) == ("PILOT_CHAINS", 128, Rate(2.0, 1e-3))
    assert walking.model == left.model and scene.walk.path("PILOT_TRAINED").is_dir()
    shown["hardly"] = ()
    assert road_simulated.ROAD._walking(scene, left) is None
    shown["hardly"] = ("axial",)
    monkeypatch.setattr(road_simulated, "rate_of_chains", lambda *words: Rate(2.0, 10.0))
    assert road_simulated.ROAD._walking(scene, left) is not None  # decided before
    weights.write_bytes(b"further")
    assert road_simulated.ROAD._walking(scene, left) is None  # 60 sweeps of 128 walkers take too long


def test_what_draws_hold_of_a_chair_is_weighed(scene, monkeypatch):
    """Methylcyclohexane: axial rows count by their weights, against what its conformers promise."""
    system = prepare(smiles="CC1CCCCC1", forcefield=("mmff94",))
    axial, equatorial = sorted(conformer_starts(system)[:2], key=lambda x: ring_codes_of(system, x))
    rows = np.array([equatorial] * 180 + [axial] * 20, dtype=np.float32)
    scene.rings, scene.system = 1, system
    for log_w, wanted in ((0.0, ()), (-300.0, 1)):
        ensemble = weighed(rows, np.r_[np.zeros(180), np.full(20, log_w)], system)
        told = looking.hardly(scene, f"PILOT_{log_w:g}", ensemble)
        assert told == wanted if wanted == () else len(told) == 1 and "axial" in told[0]
    monkeypatch.setattr(looking, "hardly_drawn", None)  # it is looked for once
    assert len(looking.hardly(scene, "PILOT_-300", ensemble)) == 1
    scene.rings = 0
    assert looking.hardly(scene, "PILOT", ensemble) == ()


def ring_codes_of(system, x) -> bool:
    (column,) = ring_columns(MolecularGraph.from_system(system), system.atom_names)
    (code,) = ring_codes([column], x[None])[:, 0]
    return "equatorial" in column.state(int(code))


def weighed(rows: np.ndarray, log_w: np.ndarray, system) -> Ensemble:
    return Ensemble.from_densities(
        rows,
        np.zeros(len(rows)),
        -log_w,
        temperature=300.0,
        measure="shape",
        system_fingerprint=system.fingerprint,
        domain="isomers: reference",
        topology_pdb=system.topology_pdb,
    )


def test_a_stranger_that_draws_slowly_is_not_tried(scene, monkeypatch):
    drawn = []
    monkeypatch.setattr(looking, "seconds_a_sample", lambda *words: 0.03)
    monkeypatch.setattr(Walk, "draw", lambda self, *words, **options: drawn.append(words[0]))
    diagnostics = SimpleNamespace(ess=0.1, k_hat=0.3)
    monkeypatch.setattr(
        looking, "load_ensemble", lambda path: SimpleNamespace(diagnostics=lambda: diagnostics)
    )
    assert looking._looked(scene, "m", 190.0, "PILOT") is None and drawn == []
    assert looking._looked(scene, "m", 60.0, "PILOT").ess == 0.1 and drawn == ["PILOT"]
    scene.walk.limit = None
    assert looking._looked(scene, "m", 190.0, "PILOT2").pilot == "PILOT2"
    assert scene.walk.plan.decided("seconds a sample") == {"m": 0.03}


def test_a_release_is_known_by_its_force_field_and_solvent(scene, alcohol, tmp_path, monkeypatch):
    """By the words of `prepare`, wherever they stand: `show` offers its samples, `run` reckons with them."""
    assert shipped.made_for(["gaff2"], "obc2") == shipped.made_for(["GAFF2"], "none") == ["of-alcohols"]
    assert shipped.made_for(["gaff2"], "gbn2") == shipped.made_for(["gaff"], "obc2") == []
    assert shipped.made_for([], "none") == shipped.made_for(["gaff2", "other.xml"], "none") == []
    assert shipped.made_for(["butane.xml"], "none") == ["of-butane"]
    alcohol.save(tmp_path / "SYS")
    path = tmp_path / "SYS" / "system.json"
    options = json.loads(path.read_text())["provenance"]["options"]
    assert options["forcefield"] == ["mmff94"]
    whys = [step.why for step in show(tmp_path / "SYS").steps]
    assert "samples of of-alcohols, which knows such molecules" in whys
    monkeypatch.setattr(guessing, "pace", lambda: 1.0)
    asked = scene.walk.question
    known = PrepareOptions(smiles="CCO", forcefield=("gaff2",), implicit="obc2", charges="file")
    told = [first_guess(None, one, asked, None).sentence for one in (known, replace(known, implicit="gbn2"))]
    assert "with a shipped model" in told[0] and "shipped model" not in told[1]
