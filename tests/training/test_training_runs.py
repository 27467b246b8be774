"""Whole runs of the trainer, small: exact resume, guards, several molecules, and a known ln Z."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from molecules import simulated

from boltzgen.conditioning.context import Context
from boltzgen.config.build import build_flow
from boltzgen.config.model import Model, load_model
from boltzgen.config.settings import load_settings
from boltzgen.data.record import Trajectory
from boltzgen.digests import signed
from boltzgen.errors import BoltzgenError, InputError, StoppedError
from boltzgen.folders import alone_in
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.interrupts import StopRequest
from boltzgen.potentials.model_systems import DoubleWell, by_name
from boltzgen.training.checkpoint import complete_checkpoints, load_checkpoint
from boltzgen.training.settings import TrainingSettings
from boltzgen.training.trainer import PATIENCE, Trainer
from boltzgen.training.training_data import TrainingData
from boltzgen.workflows.training.frames import Frames
from boltzgen.workflows.training.train import _evaluations_before, train

FLOW = {"kind": "coupling", "layers": 2, "hidden": 8, "bins": 4, "embedding": 8, "encoder_blocks": 1}


def settings(**parts) -> TrainingSettings:
    """Departures from small settings of every test here."""
    return TrainingSettings.model_validate({"system": "any", "flow": FLOW, "seed": 5, **parts})


def trainer(
    chosen: TrainingSettings, targets: list[Target], data: list[TrainingData], folder: Path
) -> Trainer:
    folder.mkdir(exist_ok=True)
    return Trainer(chosen, build_flow(chosen.flow, seed=chosen.seed), targets, data, folder)


def data_of(target: Target, positions: np.ndarray, temperatures=300.0, holdout: float = 0.2) -> TrainingData:
    count = len(positions)
    frames = Trajectory(
        positions, np.zeros(count), np.broadcast_to(temperatures, (count,)).copy(), np.zeros(count, dtype=int)
    )
    return TrainingData.from_trajectory(target, frames, holdout=holdout, temperatures=None)


@pytest.fixture(scope="module")
def small(butane) -> tuple[Target, TrainingData]:
    target = Target.from_system(butane)
    return target, data_of(target, simulated(butane, 40, temperature=320.0), [300.0, 350.0] * 20)


BOTH = {
    "likelihood": {"weight": [[0.0, 1.0], [1.0, 0.5]], "batch_size": 9},
    "reverse_kl": {"weight": 0.3, "batch_size": 7, "temperatures": [300.0, 350.0]},
}
LOSSES = {
    "both": BOTH,
    "all three": {
        **BOTH,
        "reweighted": {
            "weight": [[0.0, 0.0], [0.2, 0.0], [0.3, 1.0]],
            "batch_size": 8,
            "fresh": 6,
            "buffer": 14,
            "temperatures": [300.0, 350.0],
            "dispersion": 0.5,
            "trust_region": 0.7,
        },
    },
    "one in shares": {"likelihood": {"batch_size": 9}},
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("losses", LOSSES)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(small, tmp_path, losses, workers):
    target, data = small
    chosen = settings(
        **LOSSES[losses],
        workers=workers,
        optimizer={"steps": 7, "warmup": 2, "weight_decay": 0.01},
        evaluation={"every": 2, "samples": 30},
        checkpoint_every=100,
    )
    whole = trainer(chosen, [target], [data], tmp_path / "whole")
    whole.run()

    stop = StopRequest()
    first = trainer(chosen, [target], [data], tmp_path / "parts")
    with pytest.raises(StoppedError, match="at step 3 of 7"):
        first.run(stop=stop, progress=lambda step, total, shown: stop.ask() if step == 3 else None)
    (place,) = complete_checkpoints(tmp_path / "parts" / "checkpoints")
    second = trainer(chosen, [target], [data], tmp_path / "parts")
    second.restore(load_checkpoint(place))
    second.run()

    one, other = (load_checkpoint(t.folder / "checkpoints" / "step-00000007") for t in (whole, second))
    assert set(one.tensors) == set(other.tensors)
    kept = {"flow", "average", "optimizer"} | ({"buffer"} if "reweighted" in LOSSES[losses] else set())
    kept |= {"first"} if whole.changes.columns else set()
    assert {name.split("/")[0] for name in one.tensors} == kept
    for name in one.tensors:
        assert torch.equal(one.tensors[name], other.tensors[name]), name
    seconds = [checkpoint.record["counters"].pop("seconds") for checkpoint in (one, other)]
    assert min(seconds) > 0 and one.record == other.record
    lines = [(t.folder / "metrics.jsonl").read_text().splitlines() for t in (whole, second)]
    timed = {"seconds": None, "evaluations_per_second": None}
    rows = [[{**json.loads(line), **timed} for line in part] for part in lines]
    assert rows[0] == rows[1] and [row["step"] for row in rows[0]] == [2, 4, 6, 7]
    start = build_flow(chosen.flow, seed=chosen.seed).state_dict()
    assert any(not torch.equal(start[name], one.tensors[f"flow/{name}"]) for name in start)


def test_every_step_and_every_seed_draws_anew(small, tmp_path):
    """With a rate of next to nothing the losses differ by their draws alone."""
    target, data = small
    found = []
    for seed in (2, 3, 2):
        chosen = settings(
            **BOTH,
            seed=seed,
            workers=1,
            optimizer={"steps": 3, "learning_rate": 1e-12},
            evaluation={"every": 1, "samples": 10},
        )
        run = trainer(chosen, [target], [data], tmp_path / f"{len(found)}")
        run.run()
        lines = (run.folder / "metrics.jsonl").read_text().splitlines()
        found.append([json.loads(line)[name] for line in lines for name in ("likelihood", "reverse_kl")])
    assert found[0] == found[2]
    assert len({round(value, 9) for value in found[0] + found[1]}) == 12


@pytest.fixture
def checkpoint(small, tmp_path) -> Path:
    chosen = settings(**BOTH, optimizer={"steps": 2}, evaluation={"every": 2, "samples": 10})
    target, data = small
    done = trainer(chosen, [target], [data], tmp_path / "RUN")
    done.run()
    return tmp_path / "RUN" / "checkpoints" / "step-00000002"


def truncate(place: Path) -> None:
    weights = place / "state.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def change(place: Path, **record) -> None:
    known = json.loads((place / "state.json").read_text())
    (place / "state.json").write_text(json.dumps(signed({**known, **record})))


DAMAGE = {
    "truncated": (truncate, "state.safetensors: not a readable safetensors file"),
    "no tensors": (lambda place: (place / "state.safetensors").unlink(), "no such file"),
    "foreign schema": (
        lambda place: change(place, schema="other/3"),
        "expected the schema boltzgen.checkpoint/2",
    ),
    "half a record": (lambda place: (place / "state.json").write_text('{"schema": "bol'), "truncated"),
    "counters": (lambda place: change(place, counters={"steps": 2}), "counters.steps' is not one"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_refused_in_a_sentence(small, checkpoint, tmp_path, damage):
    harm, told = DAMAGE[damage]
    harm(checkpoint)
    target, data = small
    with pytest.raises(InputError, match=re.escape(told)) as caught:
        trainer(settings(**BOTH), [target], [data], tmp_path).restore(load_checkpoint(checkpoint))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("other", [{"hidden": 16}, {"layers": 3}, {"layers": 1}, {"encoder_blocks": 0}])
def test_a_checkpoint_of_another_flow_is_refused(small, checkpoint, tmp_path, other):
    target, data = small
    wrong = trainer(settings(**{**BOTH, "flow": {**FLOW, **other}}), [target], [data], tmp_path)
    with pytest.raises(InputError, match="does not fit the configured flow") as caught:
        wrong.restore(load_checkpoint(checkpoint))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such checkpoint"):
        load_checkpoint(checkpoint.parent / "step-00000099")


class Broken(DoubleWell):
    """NaN to the right of `edge`, with a gradient that is NaN there as well."""

    def __init__(self, edge: float) -> None:
        super().__init__()
        self.edge = edge

    def _energy(self, positions):
        return super()._energy(positions) + torch.sqrt(self.edge - positions[:, 0])


def broken(edge: float) -> Target:
    """The reference, near x = 1.75, stays sound as long as `edge` is larger."""
    return replace(Target.from_model("double-well"), potential=Broken(edge))


def test_a_run_without_a_finite_gradient_gives_up(tmp_path):
    chosen = settings(reverse_kl={"weight": 1.0, "batch_size": 4}, optimizer={"steps": 80}, workers=1)
    run = trainer(chosen, [broken(-1e6)], [], tmp_path)
    start = {name: value.clone() for name, value in run.flow.state_dict().items()}
    with pytest.raises(BoltzgenError, match=f"{PATIENCE} steps in a row .*last step {PATIENCE - 1}"):
        run.run()
    assert run.counters.skipped_steps == PATIENCE
    assert run.counters.discarded_rows == 4 * PATIENCE
    assert all(torch.equal(value, start[name]) for name, value in run.flow.state_dict().items())


def test_rows_of_broken_energy_are_counted_and_the_run_goes_on(tmp_path):
    """About a sixth of the draws have NaN energy and gradient; no step is lost to them."""
    chosen = settings(
        reverse_kl={"weight": 1.0, "batch_size": 32},
        optimizer={"steps": 6},
        workers=1,
        evaluation={"every": 6, "samples": 50},
    )
    run = trainer(chosen, [broken(2.0)], [], tmp_path)
    run.run()
    assert run.counters.skipped_steps == 0
    assert 5 < run.counters.discarded_rows < 100
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert row["discarded_rows"] == run.counters.discarded_rows and row["energy_evaluations"] == 192
    assert all(bool(torch.isfinite(value).all()) for value in run.flow.state_dict().values())


def test_frames_that_are_not_finite_are_discarded_and_counted(small, tmp_path):
    target, data = small
    positions = data.positions.numpy().copy()
    positions[3], positions[7, 2, 0] = np.nan, np.nan
    dirty = data_of(target, positions, holdout=0.0)
    assert dirty.outside == {"not finite": 2} and len(dirty.positions) == len(positions) - 2
    chosen = settings(
        likelihood={"batch_size": 64}, optimizer={"steps": 4}, evaluation={"every": 4, "samples": 10}
    )
    run = trainer(chosen, [target], [dirty], tmp_path)
    run.run()
    assert (run.counters.discarded_rows, run.counters.skipped_steps) == (0, 0)


def test_losses_that_leave_a_gap_are_refused(small, tmp_path):
    target, data = small
    late = settings(reverse_kl={"weight": [[0.0, 0.0], [0.5, 0.0], [0.6, 1.0]]})
    with pytest.raises(InputError, match=r"From progress 0\.01 to 0\.50 no loss"):
        trainer(late, [target], [], tmp_path)
    trainer(late, [target], [data], tmp_path)
    with pytest.raises(InputError, match="Nothing to train on"):
        trainer(settings(), [target], [], tmp_path)


def test_one_run_improves_two_molecules(butane, alanine_dipeptide, tmp_path):
    """One flow, batches of both; frames that training did not see become more likely for each."""
    targets = [Target.from_system(alanine_dipeptide), Target.from_system(butane)]
    frames = [simulated(alanine_dipeptide, 250, 300.0), simulated(butane, 1500, 300.0)]
    data = [data_of(*pair, holdout=0.25) for pair in zip(targets, frames, strict=True)]
    chosen = settings(
        likelihood={"batch_size": 64},
        optimizer={"steps": 40, "warmup": 3, "learning_rate": 1e-2},
        evaluation={"every": 25, "samples": 20},
        workers=1,
    )
    run = trainer(chosen, targets, data, tmp_path)
    before = [unseen(run, *pair) for pair in zip(targets, data, strict=True)]
    run.run()
    after = [unseen(run, *pair) for pair in zip(targets, data, strict=True)]
    assert after[0] < before[0] - 1.0
    assert after[1] < before[1] - 0.1


@torch.no_grad()
def unseen(run: Trainer, target: Target, data: TrainingData) -> float:
    """Mean -log q of the held-out frames, in internal coordinates."""
    frames = data.held_out
    values = target.coordinates.encode(torch.as_tensor(np.array(frames.positions)).double())[0]
    context = Context.of(target.features, torch.as_tensor(np.array(frames.temperatures)))
    return -float(run.flow.log_prob(values, run.flow.embed(context)).mean())


def test_energies_alone_give_the_partition_function_of_the_double_well(tmp_path):
    """ln Z = 10.2935 within 0.05; a flow that lost the smaller well would give 10.124."""
    chosen = settings(
        flow={"kind": "coupling", "layers": 4, "hidden": 16, "embedding": 16, "encoder_blocks": 0},
        seed=1,
        workers=1,
        reweighted={"weight": 1.0, "batch_size": 256},
        reverse_kl={
            "weight": [[0.0, 0.0], [0.5, 0.0], [0.7, 0.2]],
            "batch_size": 128,
            "energy_cap": 1000.0,
        },
        optimizer={"steps": 80, "learning_rate": 6e-3, "warmup": 10},
        evaluation={"every": 80, "samples": 100},
    )
    target = Target.from_model("double-well")
    run = trainer(chosen, [target], [], tmp_path)
    run.run()
    found = BoltzmannGenerator(run.average, target).sample(10_000, 300.0, seed=9).diagnostics()
    assert by_name("double-well").log_partition() == pytest.approx(10.293479707, abs=1e-8)
    assert found.log_z == pytest.approx(10.293479707, abs=0.05)
    assert found.ess > 0.5
    assert run.counters.energy_evaluations == 80 * 256 + 39 * 128


def test_a_run_begins_from_a_model_and_may_not_contradict_it(tmp_path):
    """With a learning rate of next to nothing the model stays what it was; its flow need not be repeated."""
    flow = {"kind": "coupling", "layers": 2, "hidden": 8, "bins": 4, "embedding": 8, "encoder_blocks": 0}
    config = tmp_path / "config.yaml"
    config.write_text(
        json.dumps(
            {
                "system": "model:double-well",
                "reverse_kl": {"weight": 1.0, "batch_size": 16},
                "flow": flow,
                "optimizer": {"steps": 3, "learning_rate": 0.02},
                "evaluation": {"every": 3, "samples": 10},
            }
        )
    )
    train(config, [], tmp_path / "first")
    again = tmp_path / "again.yaml"
    settings_again = {**json.loads(config.read_text()), "start": str(tmp_path / "first")}
    del settings_again["flow"]
    again.write_text(json.dumps(settings_again))
    apart = ["optimizer.learning_rate=1e-12", "seed=9"]
    train(again, apart, tmp_path / "second")
    one, other = (load_model(tmp_path / name).flow.state_dict() for name in ("first", "second"))
    assert all(torch.allclose(one[name], other[name], atol=1e-9) for name in one)
    fresh = build_flow(load_settings(TrainingSettings, config).flow, seed=9).state_dict()
    assert any(not torch.allclose(one[name], fresh[name], atol=1e-3) for name in one)
    with pytest.raises(InputError, match="holds another flow"):
        train(again, ["flow.hidden=12"], tmp_path / "third")
    elsewhere = ThreadPoolExecutor(1)  # the thread that has a folder may ask for it again
    lock = alone_in(tmp_path / "second")
    elsewhere.submit(lock.__enter__).result()
    with pytest.raises(InputError, match="Another boltzgen process"):
        train(again, apart, tmp_path / "second", resume="auto")
    elsewhere.submit(lock.__exit__, None, None, None).result()


@pytest.mark.parametrize(("digests", "expected"), [(["a"], 1000 - 600), (["a", "c"], 1000), ([], 1000)])
def test_data_that_a_run_shares_with_its_start_are_counted_once(digests, expected):
    past = Model(None, {"energy_evaluations": 900, "start_evaluations": 100, "data_sha256": ["a", "b"]})
    frames = Frames([], digests, 600)
    assert _evaluations_before(past, frames) == expected
    assert _evaluations_before(None, frames) == 0
