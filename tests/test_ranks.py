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
from boltzgen.training.gradients import GradientWorkers
from boltzgen.training.objectives import Objectives
from boltzgen.training.settings import TrainingSettings

SETTINGS = {
    "system": ["model:double-well", "model:many-well-32"],
    "flow": {"kind": "coupling", "layers": 2, "hidden": 8, "bins": 4, "embedding": 8, "encoder_blocks": 1},
    "reverse_kl": {"weight": 1.0, "batch_size": 6}, "workers": 1, "seed": 5,
    "optimizer": {"steps": 2, "warmup": 0}, "evaluation": {"samples": 20}, "checkpoint_every": 1,
}  # fmt: skip


def torchrun(arguments: list[str], folder: Path) -> None:
    words = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "boltzgen_cli", *arguments,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


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
    optimizer = torch.optim.AdamW(flow.parameters(), lr=settings.optimizer.learning_rate, weight_decay=0.0)
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
