"""Two processes that train together make the step of their mean gradient, and count what both spent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from boltzgen.config.build import build_flow
from boltzgen.config.settings import dump_yaml
from boltzgen.generator import Target
from boltzgen.training.checkpoint import complete_checkpoints, load_checkpoint
from boltzgen.training.optimizer.gradients import GradientWorkers
from boltzgen.training.optimizer.ranks import Ranks
from boltzgen.training.optimizer.soap import Soap
from boltzgen.training.settings import TrainingSettings
from boltzgen.training.step import Objectives
from boltzgen.training.trainer import Trainer

SETTINGS = {
    "system": ["model:double-well", "model:many-well-32"],
    "flow": {"kind": "coupling", "layers": 2, "hidden": 8, "bins": 4, "embedding": 8, "encoder_blocks": 1},
    "reverse_kl": {"weight": 1.0, "batch_size": 6},
    "workers": 1,
    "seed": 5,
    "optimizer": {"steps": 2, "warmup": 0},
    "evaluation": {"samples": 20},
    "checkpoint_every": 1,
}


def torchrun(arguments: list[str], folder: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "boltzgen_cli",
        *arguments,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


def test_ranks_stay_as_long_as_one_alone_and_each_with_a_molecule_of_its_own():
    own = {"weight": 1.0, "fresh": 4, "stay": 3, "temperatures": [300.0, 400.0, 500.0]}
    settings = TrainingSettings.model_validate({**SETTINGS, "reverse_kl": {}, "reweighted": own})
    flow = build_flow(settings.flow, seed=0)
    targets = [Target.from_model("double-well"), Target.from_model("many-well-32")]
    both = [Objectives(settings, flow, targets, [], rank=rank, ranks=2) for rank in range(2)]

    def place(objectives: Objectives, step: int) -> tuple[int, int]:
        (draw,) = objectives.tasks(step, 1)[1]
        return next(
            (molecule, rung)
            for molecule, ladder in enumerate(objectives.losses["reweighted"].buffers)
            for rung, buffer in enumerate(ladder)
            if buffer is draw.buffer
        )

    for start in (0, 3, 6, 9):
        stays = [{place(one, step) for step in range(start, start + 3)} for one in both]
        assert [len(stay) for stay in stays] == [1, 1]
        assert {molecule for stay in stays for molecule, _ in stay} == {0, 1}


def test_a_rank_that_only_fills_its_buffer_does_not_stop_the_step(tmp_path, monkeypatch):
    """Rank 0 has a sound gradient, another rank only puts its first samples into a buffer."""
    settings = TrainingSettings.model_validate(SETTINGS)
    trainer = Trainer(
        settings, build_flow(settings.flow, seed=0), [Target.from_model("double-well")], [], tmp_path
    )
    before = [p.detach().clone() for p in trainer.flow.parameters()]
    another = (0.0, 1.0, 0.0, 8.0)
    monkeypatch.setattr(Ranks, "total", lambda self, own: [a + b for a, b in zip(own, another, strict=True)])
    trainer._step()
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.flow.parameters(), strict=True))


def test_two_processes_take_the_step_of_their_mean_gradient(tmp_path):
    settings = TrainingSettings.model_validate(SETTINGS)
    (tmp_path / "two.yaml").write_text(dump_yaml(settings))
    torchrun(["train", "two.yaml", "-o", "RUN"], tmp_path)
    checkpoints = complete_checkpoints(tmp_path / "RUN" / "checkpoints")
    first, last = (load_checkpoint(place) for place in checkpoints)
    assert last.record["counters"]["energy_evaluations"] == 2 * 2 * 6
    assert json.loads((tmp_path / "RUN" / "environment.json").read_text())["ranks"] == 2

    flow = build_flow(settings.flow, seed=settings.seed)
    targets = [Target.from_model("double-well"), Target.from_model("many-well-32")]
    optimizer = Soap(flow.parameters(), lr=settings.optimizer.learning_rate)
    gradients = []
    for rank in range(2):
        tasks, _ = Objectives(settings, flow, targets, [], rank=rank, ranks=2).tasks(0, 1)
        GradientWorkers(flow, 1, settings.optimizer.gradient_clip)(tasks)
        gradients.append([torch.zeros_like(p) if p.grad is None else p.grad for p in flow.parameters()])
    assert any(not torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    for parameter, a, b in zip(flow.parameters(), *gradients, strict=True):
        parameter.grad = 0.5 * (a + b)
    optimizer.step()
    for name, value in flow.state_dict().items():
        torch.testing.assert_close(value, first.part("flow")[name], rtol=1e-6, atol=1e-9)
