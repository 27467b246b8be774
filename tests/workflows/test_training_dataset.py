"""Training on a data set: what is learned, what is only measured, and what is never touched."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from helpers import seeded
from training_cases import SIMULATION

from boltzgen.config.build import build_flow
from boltzgen.config.model import load_model
from boltzgen.config.settings import build_settings, dump_yaml, load_settings
from boltzgen.data.dataset import Dataset
from boltzgen.errors import InputError
from boltzgen.generator import Target
from boltzgen.progress import silent
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.checkpoint import load_checkpoint
from boltzgen.training.metrics import read_metrics
from boltzgen.training.settings import TrainingSettings
from boltzgen.training.step import Objectives
from boltzgen.training.trainer import Trainer
from boltzgen.training.training_data import draw_pairs
from boltzgen.workflows.datasets.build import build_dataset
from boltzgen.workflows.datasets.settings import DatasetSettings
from boltzgen.workflows.training.dataset import dataset_frames
from boltzgen.workflows.training.train import train

FLOW = {"kind": "autoregressive", "hidden": 8, "embedding": 8, "bins": 4, "encoder_blocks": 1}


def small(name: str, smiles: str) -> dict[str, str]:
    return {"name": name, "smiles": smiles}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ethane and methanol with data; water and methylamine to measure on; propane that nobody may see."""
    place = tmp_path_factory.mktemp("set") / "DATASET"
    settings = build_settings(
        DatasetSettings,
        {
            "simulation": SIMULATION,
            "train": [small("ethane", "CC"), small("methanol", "CO")],
            "validation": [small("water", "O"), small("methylamine", "CN")],
            "test": [small("propane", "CCC")],
        },
    )
    build_dataset(settings, place, split=["train", "validation"])
    build_dataset(settings, place, split=["test"], systems_only=True)
    return place


def settings_for(folder, **changes) -> TrainingSettings:
    values = {
        "dataset": str(folder),
        "flow": FLOW,
        "workers": 1,
        "optimizer": {"steps": 4},
        "likelihood": {"molecules": 1, "batch_size": 6, "dispersion": 0.5},
        "reweighted": {"weight": 1.0, "fresh": 8, "batch_size": 8, "stay": 2},
        "evaluation": {"every": 2, "samples": 20},
        **changes,
    }
    return TrainingSettings.model_validate(values)


def fingerprints(folder, split: str) -> set[str]:
    return {one.fingerprint for one in Dataset.load(folder).molecules if one.split == split}


@pytest.fixture(autouse=True)
def _few_frames_will_do(monkeypatch):
    """These data hold fewer independent frames than a forward effective sample size is quoted from."""
    monkeypatch.setattr("boltzgen.training.evaluation.FEWEST_QUOTED", 1.0)


def test_a_run_learns_train_and_measures_validation(folder, tmp_path):
    (tmp_path / "run.yaml").write_text(dump_yaml(settings_for(folder)))
    result = train(tmp_path / "run.yaml", [], tmp_path / "RUN")
    record = load_model(tmp_path / "RUN").record
    assert {one["fingerprint"] for one in record["systems"]} == fingerprints(folder, "train")
    rows = read_metrics(tmp_path / "RUN" / "molecules.jsonl")
    assert [(row["step"], row["molecule"]) for row in rows] == [
        (step, name) for step in (2, 4) for name in ("water", "methylamine")
    ]
    assert result.molecules == "2 learned, 2 measured"
    last = [row for row in rows if row["step"] == 4]
    assert result.evaluation["ess"] == pytest.approx(np.mean([row["ess"] for row in last]))
    assert result.evaluation["forward_ess"] == pytest.approx(np.mean([row["forward_ess"] for row in last]))
    counters = json.loads(next((tmp_path / "RUN").glob("checkpoints/*04/state.json")).read_text())["counters"]
    data = sum(one.evaluations for one in Dataset.load(folder).of("train"))
    assert counters["energy_evaluations"] == data + 4 * 8


def test_a_model_is_not_judged_on_what_it_began_from(folder, tmp_path):
    water = build_settings(DatasetSettings, {"simulation": SIMULATION, "train": [small("water", "O")]})
    build_dataset(water, tmp_path / "WATER", systems_only=True)
    alone = settings_for(tmp_path / "WATER", likelihood={"weight": 0.0}, optimizer={"steps": 2}, seed=1)
    (tmp_path / "one.yaml").write_text(dump_yaml(alone))
    train(tmp_path / "one.yaml", [], tmp_path / "FIRST")
    (tmp_path / "two.yaml").write_text(dump_yaml(settings_for(folder, start=str(tmp_path / "FIRST"))))
    with pytest.raises(InputError, match="trained on water, which the data set keeps for validation"):
        train(tmp_path / "two.yaml", [], tmp_path / "SECOND")


def test_each_step_is_about_one_molecule_and_all_come(folder, monkeypatch):
    settings = settings_for(folder)
    learned = dataset_frames(settings, "cpu", folder, silent)
    drawn_from = []

    def recorded(target, *others):
        drawn_from.append(target.fingerprint)
        return draw_pairs(target, *others)

    monkeypatch.setattr("boltzgen.training.losses.likelihood.draw_pairs", recorded)
    flow = build_flow(settings.flow, seed=0)
    objectives = Objectives(settings, flow, learned.targets, learned.frames.data)
    for step in range(4):
        tasks, _ = objectives.tasks(step, 1)
        assert tasks[0].compute().value is not None
    assert len(drawn_from) == 4
    assert {*drawn_from[:2]} == {*drawn_from[2:]} == fingerprints(folder, "train")


def test_a_molecule_without_data_is_learned_from_energies(folder, tmp_path):
    settings = build_settings(
        DatasetSettings,
        {
            "simulation": SIMULATION,
            "train": [small("ethane", "CC"), small("methanol", "CO")],
        },
    )
    place = tmp_path / "DATASET"
    build_dataset(settings, place, only=["ethane"])
    build_dataset(settings, place, systems_only=True)
    learned = dataset_frames(settings_for(place), "cpu", tmp_path, silent)
    assert [part is not None for part in learned.frames.data] == [True, False]
    assert learned.judged == []


def test_frames_beyond_the_memory_are_drawn_from_disk(folder, tmp_path):
    """The same draws, whether positions lie in memory or in a file."""
    kept, read = (
        dataset_frames(settings_for(folder, memory=memory), "cpu", tmp_path / "frames", silent).frames.data
        for memory in (1.0, 0.0)
    )
    assert len(list((tmp_path / "frames").iterdir())) == 2
    for one, other in zip(kept, read, strict=True):
        assert len(one.positions) == len(other.positions) == 2 * Dataset.load(folder).of("train")[0].frames
        for first, second in zip(one.draw(9, seeded(3)), other.draw(9, seeded(3)), strict=True):
            assert torch.equal(first, second)


def test_a_run_without_validation_is_measured_on_its_holdout_wherever_frames_lie(folder, tmp_path):
    """The set without its validation molecules; nothing but the model and its records stays in the run."""
    place = tmp_path / "DATASET"
    shutil.copytree(folder, place)
    document = json.loads((place / "dataset.json").read_text())
    document["molecules"] = [one for one in document["molecules"] if one["split"] == "train"]
    (place / "dataset.json").write_text(json.dumps(document))
    found = [
        train(write(tmp_path, place, memory), [], tmp_path / f"RUN-{memory}").evaluation
        for memory in (1.0, 0.0)
    ]
    assert found[0]["forward_ess"] is not None and found[0]["forward_ess"] == found[1]["forward_ess"]
    assert not (tmp_path / "RUN-0.0" / "frames").exists()


def write(tmp_path, place, memory):
    path = tmp_path / f"memory-{memory}.yaml"
    path.write_text(dump_yaml(settings_for(place, memory=memory, holdout=0.3)))
    return path


def test_several_data_sets_are_learned_together(folder, tmp_path):
    more = build_settings(DatasetSettings, {"train": [small("fluoromethane", "CF")]})
    build_dataset(more, tmp_path / "MORE", systems_only=True)
    both = settings_for(folder, dataset=[str(folder), str(tmp_path / "MORE")])
    learned = dataset_frames(both, "cpu", tmp_path, silent)
    assert [target.name for target in learned.targets] == ["ethane", "methanol", "fluoromethane"]


def test_what_one_data_set_tests_on_no_other_trains_on(folder, tmp_path):
    other = build_settings(DatasetSettings, {"train": [small("another-name", "CCC")]})
    build_dataset(other, tmp_path / "OTHER", systems_only=True)
    both = settings_for(folder, dataset=[str(folder), str(tmp_path / "OTHER")])
    with pytest.raises(InputError, match="another-name would be trained on, and propane, the same molecule"):
        dataset_frames(both, "cpu", tmp_path, silent)


def test_a_run_goes_on_with_its_own_molecules_alone(folder, tmp_path):
    """Buffers belong to molecules by their place; a data set that grew would shift them."""
    settings = settings_for(folder)
    learned = dataset_frames(settings, "cpu", folder, silent)

    def trainer(order: list[int]) -> Trainer:
        return Trainer(
            settings,
            build_flow(settings.flow, seed=0),
            [learned.targets[n] for n in order],
            [learned.frames.data[n] for n in order],
            tmp_path,
            judged=learned.judged,
        )

    checkpoint = load_checkpoint(trainer([0, 1]).save())
    trainer([0, 1]).restore(checkpoint)
    with pytest.raises(InputError, match="of other molecules"):
        trainer([1, 0]).restore(checkpoint)


def test_what_a_model_began_from_is_remembered(folder, tmp_path):
    """Frames and molecules that the start was trained on are no test of what was made of it."""
    quick = {"optimizer": {"steps": 1}, "reweighted": {}}
    (tmp_path / "run.yaml").write_text(dump_yaml(settings_for(folder, **quick)))
    train(tmp_path / "run.yaml", [], tmp_path / "ONE")
    more = build_settings(DatasetSettings, {"train": [small("propane", "CCC")]})
    build_dataset(more, tmp_path / "P", systems_only=True)
    tuned = settings_for(
        tmp_path / "P", start=str(tmp_path / "ONE"), optimizer={"steps": 2}, likelihood={"weight": 0.0}
    )
    (tmp_path / "two.yaml").write_text(dump_yaml(tuned))
    train(tmp_path / "two.yaml", [], tmp_path / "TWO")
    one, two = load_model(tmp_path / "ONE"), load_model(tmp_path / "TWO")
    assert one.record["data_sha256"] and two.record["data_sha256"] == one.record["data_sha256"]
    ethane, propane, other = (
        next(m for m in Dataset.load(folder).molecules if m.name == name)
        for name in ("ethane", "propane", "methylamine")
    )
    assert two.was_trained_on(ethane.fingerprint, ethane.graph)
    assert two.was_trained_on("in another force field", ethane.graph)
    assert two.was_trained_on(propane.fingerprint, propane.graph)
    assert not one.was_trained_on(propane.fingerprint, propane.graph)
    assert not two.was_trained_on(other.fingerprint, other.graph)


def test_validation_frames_are_of_the_temperature_that_is_measured(folder):
    learned = dataset_frames(settings_for(folder, evaluation={"molecules": 1}), "cpu", folder, silent)
    assert len(learned.judged) == 1
    target, frames = learned.judged[0]
    assert target.name == "water" and frames.temperature_ladder.tolist() == [300.0]
    molecule = Dataset.load(folder).of("validation")[0]
    assert target.fingerprint == Target.from_system(MolecularSystem.load(molecule.system)).fingerprint
    energies = target.potential.energy(torch.as_tensor(np.array(frames.positions[:4]), dtype=torch.float64))
    np.testing.assert_allclose(energies.numpy(), frames.energies[:4], atol=1e-3)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "either system=SYS or dataset=DATASET"),
        ({"system": "SYS", "dataset": "D"}, "either system=SYS or dataset=DATASET"),
        ({"dataset": "D", "data": "MD"}, "a dataset holds its own data"),
    ],
)
def test_molecules_are_named_once(tmp_path, values, words):
    (tmp_path / "run.yaml").write_text(json.dumps(values))
    with pytest.raises(InputError, match=words):
        load_settings(TrainingSettings, tmp_path / "run.yaml")
