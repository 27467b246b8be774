"""Flows and losses from outside: another package adds one of each in one file, and a whole run uses them."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import ROOT, seeded
from training_cases import tiny_flow

from boltzgen.config.build import build_flow
from boltzgen.config.model import load_model
from boltzgen.config.settings import build_settings, dump_yaml, load_settings
from boltzgen.ensemble.diagnostics import log_z
from boltzgen.ensemble.store import load_ensemble
from boltzgen.errors import BoltzgenError, InputError
from boltzgen.flows.settings import KINDS, FlowSettings, settings_of
from boltzgen.generator import Target
from boltzgen.training.losses.objective import LOSSES, Given, LossSettings, loss_settings_of
from boltzgen.training.losses.stored_pairs import stored_pairs_loss
from boltzgen.training.settings import TrainingSettings, evaluations_of
from boltzgen.training.step import Objectives
from boltzgen.training.training_data import draw_pairs
from boltzgen.workflows.sampling.sample import sample
from boltzgen.workflows.training.train import train

#: -ln Z of the double well x^4 - 6x^2 - x/2 + y^2/2 in kT.
DOUBLE_WELL_LOG_Z = 10.293479707

STRANGER = '''
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from boltzgen.flows.vector_flow import VectorFlow, VectorSettings
from boltzgen.training.losses.loss import Loss, mean_loss
from boltzgen.training.losses.objective import LossSettings, MoleculeObjective
from boltzgen.training.losses.replay_buffer import draw_samples
from boltzgen.training.schedule import Schedule


class TiltedSettings(VectorSettings):
    kind: Literal["tilted"] = "tilted"
    strength: float = Field(default=0.5, gt=0)
    """How far the second half can be moved."""

    def build(self):
        return Tilted(self.size(), self.strength)


class Tilted(VectorFlow):
    """Scales, and moves each coordinate by a wave of the one before it."""

    def __init__(self, dimension, strength):
        super().__init__(dimension)
        self.own = nn.Linear(dimension, 2)
        self.scale = nn.Parameter(0.1 * torch.randn(dimension, dtype=torch.float64))
        self.wave = nn.Parameter(torch.randn(dimension, dtype=torch.float64))
        self.strength = strength

    def to_latent(self, vectors):
        latents = (vectors - self.shift(vectors)) * self.scale.exp()
        return latents, self.scale.sum().expand(len(vectors))

    def from_latent(self, latents):
        vectors = latents * (-self.scale).exp()
        return vectors + self.shift(vectors), -self.scale.sum().expand(len(latents))

    def shift(self, vectors):
        """Of every second coordinate, from the one before, which stays."""
        wave = torch.sin(self.wave * torch.roll(vectors, 1, 1))
        return self.strength * wave * (torch.arange(vectors.shape[1]) % 2)


class SpreadSettings(LossSettings):
    """Spread of the log weights of fresh draws."""

    weight: Schedule = 0.3
    kelvin: float = Field(default=300.0, gt=0)
    """Temperature of the draws."""

    def objective(self, name, given):
        return Spread(name, self, given)

    @property
    def evaluations_a_step(self):
        return self.batch_size

    @property
    def learned_temperatures(self):
        return [self.kelvin]


class Spread(MoleculeObjective):
    def __init__(self, name, settings, given):
        super().__init__(name, settings, given)
        self.kelvin = settings.kelvin

    def loss(self, place, progress, rows, generator):
        flow, target = self.given.flow, self.given.targets[place]
        drawn = draw_samples(flow, target, self.kelvin, rows, generator)
        from boltzgen.conditioning.context import Context
        embedding = flow.embed(Context.of(target.features, self.kelvin, rows))
        log_w = drawn.log_det - drawn.energy / self.kelvin - flow.log_prob(drawn.coordinates, embedding)
        return mean_loss(self.name, 0.5 * (log_w - log_w.detach().mean()) ** 2, rows)


nothing = 3
'''


def install(folder: Path, name: str, **groups: str) -> None:
    """A distribution `name` in `folder`, which is on sys.path, with entry points of flows and losses."""
    record = folder / f"{name}-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    text = "".join(f"[boltzgen.{group}]\n{points}\n" for group, points in groups.items())
    (record / "entry_points.txt").write_text(text)


@pytest.fixture
def stranger(tmp_path, monkeypatch) -> Path:
    """A folder on sys.path with a package that brings the flow `tilted` and the loss `spread`."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "stranger_flow.py").write_text(STRANGER)
    install(
        folder,
        "stranger",
        flows="tilted = stranger_flow:TiltedSettings\nnothing = stranger_flow:nothing\n"
        "broken = stranger_flow:gone",
        losses="spread = stranger_flow:SpreadSettings\nnothing = stranger_flow:nothing",
    )
    monkeypatch.syspath_prepend(folder)
    yield folder
    sys.modules.pop("stranger_flow", None)


RUN = {
    "system": "model:double-well",
    "flow": {"kind": "tilted", "strength": 0.3},
    "reweighted": {"weight": 0.5, "batch_size": 64, "fresh": 32},
    "losses": {"spread": {"batch_size": 48}},
    "optimizer": {"steps": 40, "learning_rate": 0.02},
    "evaluation": {"every": 20, "samples": 100},
    "workers": 1,
    "seed": 4,
}


def test_ours_are_registered_as_a_stranger_would_register_one():
    points = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    assert points[KINDS.group] == KINDS.own and points[LOSSES.group] == LOSSES.own
    for kind in KINDS.own:
        assert settings_of(kind).model_fields["kind"].default == kind
    for loss in LOSSES.own:
        assert issubclass(loss_settings_of(loss), LossSettings)


def test_every_setting_of_ours_says_what_it_is():
    for cls in [*map(settings_of, KINDS.own), *map(loss_settings_of, LOSSES.own)]:
        assert cls.__doc__ and all(field.description for field in cls.model_fields.values()), cls


def test_another_package_brings_a_flow_and_a_loss(stranger, tmp_path):
    """Train, go on, sample, weigh; then another process that knows nothing yet loads the model again."""
    config = tmp_path / "run.yaml"
    config.write_text(json.dumps(RUN))
    result = train(config, [], tmp_path / "RUN")
    assert result.energy_evaluations == 40 * (32 + 48)
    with open(tmp_path / "RUN" / "metrics.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["20", "40"]
    assert all(float(row["spread"]) > 0 and float(row["reweighted"]) > 0 for row in rows)
    written = (tmp_path / "RUN" / "config.yaml").read_text(encoding="utf-8")
    assert dump_yaml(load_settings(TrainingSettings, tmp_path / "RUN" / "config.yaml")) == written
    model = load_model(tmp_path / "RUN")
    assert model.record["flow"] == {"kind": "tilted", "strength": 0.3, "dimension": 2}
    assert model.temperatures == [300.0] and "own.weight" in model.flow.state_dict()
    train(config, ["optimizer.steps=42"], tmp_path / "RUN", resume="auto")
    with pytest.raises(InputError, match=r"losses\.spread\.kelvin=310\.0 \(was 300\.0\)"):
        train(config, ["losses.spread.kelvin=310"], tmp_path / "RUN", resume="auto")

    sample(tmp_path / "RUN", "model:double-well", tmp_path / "OUT", 4000)
    ensemble = load_ensemble(tmp_path / "OUT")
    value, error = log_z(ensemble.log_w)
    assert error < 0.3 and abs(value - DOUBLE_WELL_LOG_Z) < 4 * error
    program = (
        "import sys, boltzgen\n"
        "drawn = boltzgen.load_generator(sys.argv[1], 'model:double-well').sample(4000, 300.0, seed=0)\n"
        "print(drawn.log_w.sum())\n"
    )
    paths = os.pathsep.join([str(stranger), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "RUN"],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(ensemble.log_w.sum(), rel=1e-9)


def test_a_model_of_a_package_that_is_gone_says_so(stranger, tmp_path, monkeypatch):
    config = tmp_path / "run.yaml"
    config.write_text(json.dumps({**RUN, "optimizer": {"steps": 1}}))
    train(config, [], tmp_path / "RUN")
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(stranger)])
    with pytest.raises(InputError, match=r"'flow\.kind' is 'tilted': no kind of flow of this name"):
        load_model(tmp_path / "RUN")


@pytest.mark.parametrize(
    ("departures", "words"),
    [
        ({"flow": {"kind": "tited"}}, r"'flow\.kind' is 'tited': no kind of flow .* did you mean tilted\?"),
        (
            {"flow": {"kind": "tilted", "strenth": 1.0}},
            r"unknown key 'flow\.strenth'\. Did you mean 'strength'",
        ),
        ({"flow": {"kind": "tilted", "strength": -1}}, r"'flow\.strength' is -1"),
        ({"flow": {"kind": "tilted", "degree": 2}}, "only flows of kind autoregressive have this key"),
        ({"flow": {"kind": "tilted", "bins": 5}}, "kind autoregressive or coupling or nflows have this key"),
        ({"losses": {"spred": {}}}, r"'losses' is 'spred': no loss of this name .* did you mean spread\?"),
        (
            {"losses": {"spread": {"kelvn": 3}}},
            r"unknown key 'losses\.spread\.kelvn'\. Did you mean 'kelvin'",
        ),
        ({"losses": {"spread": {"kelvin": -3}}}, r"'losses\.spread\.kelvin' is -3"),
        ({"losses": {"reverse_kl": {}}}, "reverse_kl is a key of its own: write it beside losses"),
        ({"losses": 3}, "'losses' is 3"),
    ],
)
def test_names_and_keys_are_corrected(stranger, departures, words):
    with pytest.raises(InputError, match=words):
        build_settings(TrainingSettings, {"system": "model:double-well", **departures})


def test_what_packages_get_wrong_is_told_apart(stranger):
    with pytest.raises(BoltzgenError, match="stranger_flow:gone cannot be imported"):
        settings_of("broken")
    with pytest.raises(BoltzgenError, match="registers 3, no subclass of FlowSettings"):
        settings_of("nothing")
    with pytest.raises(BoltzgenError, match="registers 3, no subclass of LossSettings"):
        loss_settings_of("nothing")
    install(stranger, "another", flows="coupling = stranger_flow:TiltedSettings")
    with pytest.raises(InputError, match="several packages bring a kind of flow of this name"):
        settings_of("coupling")


def test_a_further_loss_moves_no_number_of_the_others(stranger):
    """Its random streams are its own: tasks and draws of our losses are what they are without it."""
    own = {**RUN, "flow": {"kind": "coupling", "layers": 1}, "reverse_kl": {"weight": 1.0, "batch_size": 8}}
    flow, target = tiny_flow(0.1), Target.from_model("harmonic-well-0.7-3")
    plain, more = (
        Objectives(TrainingSettings.model_validate(asked), flow, [target], [])
        for asked in ({**own, "losses": {}}, own)
    )
    for step in range(3):
        (tasks, draws), (others, other_draws) = plain.tasks(step, 1), more.tasks(step, 1)
        assert len(others) == len(tasks) + 1
        for one, other in zip(tasks, others, strict=False):
            assert one.weight == other.weight and one.compute().parts == other.compute().parts
        for one, other in zip(draws, other_draws, strict=True):
            samples = one.compute(), other.compute()
            assert torch.equal(samples[0].coordinates, samples[1].coordinates)
            one.buffer.add(samples[0]), other.buffer.add(samples[1])
        found = others[-1].compute()
        assert set(found.parts) == {"spread"} and found.energy_evaluations == 48
    assert others[-1].weight == 0.3


def test_what_a_further_loss_costs_is_counted(stranger):
    settings = TrainingSettings.model_validate({**RUN, "optimizer": {"steps": 100}, "reweighted": {}})
    assert evaluations_of(settings) == pytest.approx(100 * (48 + 100 / 20))
    half = TrainingSettings.model_validate(
        {**RUN, "losses": {"spread": {"weight": [[0.0, 0.0], [0.5, 0.0], [0.6, 1.0]], "batch_size": 48}}}
    )
    assert evaluations_of(half) == pytest.approx(40 * (32 + 0.5 * 48 + 100 / 20))


def test_log_dispersion_alone_is_that_of_the_likelihood_s_frames(butane):
    from molecules import simulated

    from boltzgen.data.record import Trajectory
    from boltzgen.training.training_data import TrainingData, energies_of_frames

    target, flow = Target.from_system(butane), build_flow(FlowSettings.model_validate({"hidden": 8}), seed=3)
    positions = simulated(butane, 40, temperature=320.0)
    frames = Trajectory(positions, np.full(40, np.nan), np.full(40, 320.0), np.zeros(40, dtype=int))
    data = TrainingData.from_trajectory(
        target, energies_of_frames(target, frames, known=True)[0], holdout=0.2, temperatures=None
    )
    settings = loss_settings_of("log_dispersion")(batch_size=12, knee=1.7)
    assert settings.needs_frames and settings.needs_energies_of_frames
    found = settings.objective("log_dispersion", Given(flow, [target], {0: data})).loss(0, 0.4, 12, seeded(5))
    pairs = draw_pairs(target, data, 12, seeded(5))
    both = stored_pairs_loss(flow, pairs, "x", 1.0, 1.7)
    assert found.parts == {"log_dispersion": pytest.approx(both.parts["x_dispersion"], rel=1e-9)}
    assert found.rows == 12 and math.isfinite(float(found.value))


def test_a_loss_without_its_data_is_left_out():
    asked = {"system": "model:double-well", "likelihood": {"weight": 0.0}, "losses": {"log_dispersion": {}}}
    flow, targets = tiny_flow(0.1), [Target.from_model("harmonic-well-0.7-3")]
    with pytest.raises(InputError, match=r"no data, and reverse_kl\.weight and reweighted\.weight are 0"):
        Objectives(TrainingSettings.model_validate(asked), flow, targets, [])
    asked["reverse_kl"] = {"weight": 0.7, "batch_size": 5}
    tasks, draws = Objectives(TrainingSettings.model_validate(asked), flow, targets, []).tasks(0, 1)
    assert [task.weight for task in tasks] == [0.7] and draws == []
