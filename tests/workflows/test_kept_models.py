"""However a training ends, RUN holds a usable model of its last checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small_model import FLOW, MODEL
from training_cases import DOUBLE_WELL

from boltzgen.config.build import build_flow
from boltzgen.config.model import load_model, save_model
from boltzgen.errors import BoltzgenError
from boltzgen.training.trainer import Trainer
from boltzgen.workflows.training.train import train

TRAINING = {
    **DOUBLE_WELL,
    "optimizer": {"steps": 9},
    "evaluation": {"every": 9, "samples": 20},
    "checkpoint_every": 3,
}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text(json.dumps(TRAINING))
    return path


def failing_at(monkeypatch, step: int, error: BaseException) -> None:
    made = Trainer._step

    def one(self):
        if self.counters.step == step:
            raise error
        return made(self)

    monkeypatch.setattr(Trainer, "_step", one)


@pytest.mark.parametrize(
    "error", [BoltzgenError("No finite gradient."), MemoryError("as if killed"), KeyboardInterrupt()]
)
def test_what_ends_a_run_between_checkpoints_leaves_the_model_of_the_last(
    config, tmp_path, monkeypatch, error
):
    failing_at(monkeypatch, 8, error)
    with pytest.raises(type(error)) as told:
        train(config, run_folder=tmp_path / "RUN")
    if isinstance(error, BoltzgenError):
        assert "at step 6" in str(told.value) and str(tmp_path / "RUN" / "model") in str(told.value)
    assert load_model(tmp_path / "RUN").record["steps"] == 6
    monkeypatch.undo()
    train(config, run_folder=tmp_path / "RUN", resume="auto")
    whole = train(config, run_folder=tmp_path / "WHOLE")
    assert whole.steps == 9
    for name, value in load_model(tmp_path / "WHOLE").flow.state_dict().items():
        torch.testing.assert_close(
            value, load_model(tmp_path / "RUN").flow.state_dict()[name], rtol=0, atol=0
        )


def test_before_the_first_checkpoint_there_is_none_to_speak_of(config, tmp_path, monkeypatch):
    failing_at(monkeypatch, 2, BoltzgenError("No finite gradient."))
    with pytest.raises(BoltzgenError, match=r"^No finite gradient\.$"):
        train(config, run_folder=tmp_path / "RUN")


@pytest.mark.parametrize("dies_at", range(1, 9))
def test_a_model_is_replaced_as_a_whole(tmp_path, monkeypatch, dies_at):
    """Killed at any renaming or removal, the one or the other is found, and the next save clears up."""
    folder = tmp_path / "RUN" / "model"
    save_model(folder, build_flow(FLOW, seed=1), {**MODEL, "steps": 1})
    calls = []

    def counted(original):
        def call(*words, **options):
            calls.append(original.__name__)
            if len(calls) == dies_at:
                raise MemoryError("as if killed")
            return original(*words, **options)

        return call

    import os
    import shutil

    monkeypatch.setattr(os, "replace", counted(os.replace))
    monkeypatch.setattr(Path, "rename", counted(Path.rename))
    monkeypatch.setattr(shutil, "rmtree", counted(shutil.rmtree))
    try:
        save_model(folder, build_flow(FLOW, seed=2), {**MODEL, "steps": 2})
        died = False
    except MemoryError:
        died = True
    monkeypatch.undo()
    assert died or len(calls) < dies_at
    assert load_model(tmp_path / "RUN").record["steps"] in (1, 2)
    save_model(folder, build_flow(FLOW, seed=3), {**MODEL, "steps": 3})
    assert load_model(tmp_path / "RUN").record["steps"] == 3
    assert not [path.name for path in folder.parent.iterdir() if path.name.startswith(".model")]
