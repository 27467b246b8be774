"""What suits a molecule: the rules of the shipped configurations; what says more stays as it is."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from between_cases import butane_frames, write_frames

from boltzgen.config.settings import build_settings, dump_yaml, load_settings
from boltzgen.config.shipped import shipped_configs
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training import suited
from boltzgen.training.settings import TrainingSettings
from boltzgen.training.suited import Material
from boltzgen.training.upgrades import upgraded_run_settings
from boltzgen.workflows.roads import road_simulated
from boltzgen.workflows.training.settings import suited_to_its_molecule, training_settings
from boltzgen.workflows.training.train import train

DEMO = {300.0: 4000, 366.0: 4000, 446.0: 4000, 543.0: 4000, 662.0: 4000, 800.0: 4000}
TRAINS = [name for name in shipped_configs() if not name.startswith("dataset-") and name != "molecule"]


@pytest.mark.parametrize("name", TRAINS)
def test_configurations_that_say_how_stay_as_they_are(name: str) -> None:
    """Every shipped one but `molecule`, and every number in it: nothing is read, nothing is filled in."""
    before = load_settings(TrainingSettings, shipped_configs()[name])
    assert training_settings(name) == before
    assert dump_yaml(training_settings(name)) == dump_yaml(before)


@pytest.mark.parametrize("part", ["likelihood", "reverse_kl", "reweighted", "losses"])
def test_one_word_on_losses_is_enough(part: str, tmp_path: Path, butane: MolecularSystem) -> None:
    inside = {"log_dispersion": {"weight": 0.5}} if part == "losses" else {"batch_size": 64}
    values = two_lines(tmp_path, butane, 40) | {part: inside}
    settings = build_settings(TrainingSettings, values)
    assert suited_to_its_molecule(settings, "x") == settings


def two_lines(folder: Path, butane: MolecularSystem, frames: int, kelvin: float = 410.0) -> dict[str, str]:
    """A configuration of butane, and frames of it at `kelvin`."""
    butane.save(folder / "SYS")
    positions = butane_frames(frames, kelvin, np.random.default_rng(5))
    write_frames(folder / "MD", positions, kelvin, butane.fingerprint)
    return {"system": str(folder / "SYS"), "data": str(folder / "MD")}


def test_alanine_dipeptide_gets_what_the_demo_has() -> None:
    """The demo's configuration was tuned by hand on these frames; the rules lead to it."""
    demo = yaml.safe_load(shipped_configs()["alanine-dipeptide-demo"].read_text())
    found = suited.recipe(Material(22, DEMO), {})
    for part in ("likelihood", "reweighted", "optimizer"):
        assert {key: found[part][key] for key in demo[part]} == demo[part], part
    assert found["flow"]["kind"] == demo["flow"]["kind"] and found["flow"]["hidden"] == 64
    assert found["holdout"] == pytest.approx(demo["holdout"], abs=0.006)


@pytest.mark.parametrize(
    ("name", "atoms"), [("capped-tri-alanine", 42), ("capped-penta-alanine", 62), ("elil", 75)]
)
def test_larger_molecules_get_the_sizes_of_their_configurations(name: str, atoms: int) -> None:
    shipped = yaml.safe_load(shipped_configs()[name].read_text())
    found = suited.recipe(Material(atoms, {300.0: 12000, 370.0: 12000}), {})
    assert found["flow"]["hidden"] == shipped["flow"]["hidden"]
    assert found["optimizer"]["learning_rate"] == shipped["optimizer"]["learning_rate"]
    assert found["reweighted"]["fresh"] <= shipped["reweighted"]["fresh"]


def test_steps_and_rows_grow_with_the_molecule_within_bounds() -> None:
    sizes = [4, 9, 14, 22, 30, 42, 62, 75, 120, 300]
    steps, rows = [suited.steps(n) for n in sizes], [suited.rows(n) for n in sizes]
    assert steps == sorted(steps) and rows == sorted(rows)
    assert steps[3] == 350 and steps[5] == round(350 * (42 / 22) ** 1.5, -1) == 920
    assert (steps[0], steps[-1]) == (200, 4000) and (rows[0], rows[-1]) == (128, 384)


@pytest.mark.parametrize(
    ("frames", "share"), [(10, 0.2), (100, 0.2), (500, 0.2), (1000, 0.1), (4000, 0.025), (10**6, 0.02)]
)
def test_a_hundred_frames_are_held_out_or_a_fifth(frames: int, share: float) -> None:
    assert suited.holdout(frames) == share


def test_few_frames_are_not_learned_by_heart() -> None:
    """Each frame is drawn at most some twenty times before the energies take over."""
    for frames in (50, 500, 2000, 3000, 24000):
        material = Material(22, {300.0: frames})
        found = suited.recipe(material, {})
        rows, count = found["likelihood"]["batch_size"], found["optimizer"]["steps"]
        places, weights = np.array(found["likelihood"]["weight"]).T
        seen = np.trapezoid(weights, places) * count * rows / frames
        early = found["reweighted"]["weight"][1][0]
        assert seen <= 20 or early < 0.15, (frames, seen)
        assert (seen > 20) <= (weights[-1] == 0.1)


def test_two_lines_are_resolved_in_the_run(tmp_path: Path, butane: MolecularSystem) -> None:
    values = two_lines(tmp_path, butane, 300)
    (tmp_path / "two.yaml").write_text(json.dumps(values))
    small = [
        "optimizer.steps=3",
        "evaluation.samples=20",
        "workers=1",
        "flow={kind: coupling, layers: 2, hidden: 8}",
    ]
    run = train(tmp_path / "two.yaml", small, tmp_path / "RUN")
    written = yaml.safe_load((tmp_path / "RUN" / "config.yaml").read_text())
    expected = suited.recipe(Material(4, {410.0: 300}), {"optimizer": {"steps": 3}})
    for part in ("likelihood", "reweighted"):
        assert expected[part].items() <= written[part].items()
    assert written["optimizer"]["steps"] == run.steps == 3 and written["optimizer"]["warmup"] == 1
    assert written["holdout"] == 0.2 and written["flow"]["layers"] == 2 and written["flow"]["hidden"] == 8
    assert written["evaluation"]["temperature"] == 410.0 and written["reweighted"]["temperatures"] == [410.0]
    assert written["evaluation"]["samples"] == 20
    again = build_settings(TrainingSettings, upgraded_run_settings(written))
    assert suited_to_its_molecule(again, "x") == again
    more = train(tmp_path / "two.yaml", small, tmp_path / "RUN", resume="auto")
    assert more.steps == 3


def test_a_temperature_that_is_given_is_the_one_of_the_draws(tmp_path: Path, butane: MolecularSystem) -> None:
    values = two_lines(tmp_path, butane, 60) | {"evaluation": {"temperature": 350.0}}
    found = suited_to_its_molecule(build_settings(TrainingSettings, values), "x")
    assert found.evaluation.temperature == 350.0 and found.reweighted.temperatures == [350.0]


def test_frames_made_by_the_run_or_of_others(tmp_path: Path, butane: MolecularSystem) -> None:
    values = two_lines(tmp_path, butane, 60)
    made = {"system": values["system"], "simulation": {"frames": 700, "temperatures": [310.0, 400.0]}}
    found = suited_to_its_molecule(build_settings(TrainingSettings, made), "x")
    assert found.holdout == 0.143 and found.evaluation.temperature == 310.0
    for other in ({"system": "model:double-well"}, {"system": values["system"]}, {"dataset": "D"}):
        settings = build_settings(TrainingSettings, other)
        assert suited_to_its_molecule(settings, "x") == settings


def test_run_takes_the_same_steps_and_rows() -> None:
    question = SimpleNamespace(config=None, frames="MD", temperature=300.0, overrides=())
    for atoms in (2, 8, 14, 22, 23, 31, 54, 90, 400):
        plan = SimpleNamespace(decided=lambda name: None, decide=lambda name, found: found)
        walk = SimpleNamespace(question=question, plan=plan, share=lambda part: None)
        scene = SimpleNamespace(atoms=atoms, walk=walk)
        taken = road_simulated.ROAD._overrides(scene, road_simulated.ROAD._decided(scene))
        assert f"optimizer.steps={int(suited.steps(atoms))}" in taken
        assert {f"{loss}.batch_size={suited.rows(atoms)}" for loss in ("likelihood", "reweighted")} <= set(
            taken
        )
