"""Where a run ends, and how it goes on: targets, budgets, settings that changed meanwhile."""

from __future__ import annotations

import json

import pytest
import yaml
from training_cases import DOUBLE_WELL

from boltzgen.errors import InputError
from boltzgen.training.metrics import read_metrics
from boltzgen.workflows.training.train import train

CONFIG = {
    **DOUBLE_WELL,
    "reverse_kl": {"weight": 1.0, "batch_size": 32},
    "evaluation": {"every": 2, "samples": 200},
    "checkpoint_every": 2,
}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(CONFIG))
    return path


def rates(run):
    return [row["learning_rate"] for row in read_metrics(run / "metrics.jsonl")]


def test_auto_goes_on_with_what_the_run_began_with(config, tmp_path):
    run = tmp_path / "RUN"
    train(config, [], run)
    with pytest.raises(InputError, match=r"reverse_kl\.batch_size=8 \(was 32\)"):
        train(config, ["reverse_kl.batch_size=8"], run, resume="auto")
    with pytest.raises(InputError, match="seed=7"):
        train(config, [], run, seed=7, resume="auto")
    with pytest.raises(InputError, match=r"stands at step 4, beyond optimizer\.steps=3"):
        train(config, ["optimizer.steps=3"], run, resume="auto")
    assert yaml.safe_load((run / "config.yaml").read_text())["reverse_kl"]["batch_size"] == 32
    assert train(config, [], run, resume="auto").steps == 4  # nothing is left to do
    free = ["optimizer.steps=6", "evaluation.samples=100", "checkpoint_every=3", "until.minutes=60"]
    assert train(config, free, run, resume="auto").steps == 6
    assert not list(run.glob("config-to-*"))


def test_a_checkpoint_named_on_purpose_may_go_on_otherwise(config, tmp_path):
    run = tmp_path / "RUN"
    train(config, [], run)
    checkpoint = run / "checkpoints" / "step-00000002"
    train(config, ["optimizer.learning_rate=1e-3"], run, resume=str(checkpoint))
    assert yaml.safe_load((run / "config.yaml").read_text())["optimizer"]["learning_rate"] == 1e-3
    former = yaml.safe_load((run / f"config-to-{checkpoint.name}.yaml").read_text())
    assert former["optimizer"]["learning_rate"] == 0.01
    assert rates(run)[-1] < 1e-3 and train(config, [], tmp_path / "WHOLE").steps == 4
    with pytest.raises(InputError, match=r"another flow \(flow.hidden\)"):
        train(config, ["flow.hidden=12"], run, resume=str(checkpoint))


def test_targets_end_a_run(config, tmp_path):
    steps = ["optimizer.steps=50"]
    reached = train(config, [*steps, "until.ess=0.001"], tmp_path / "ESS")
    assert reached.steps == 2 and reached.evaluation["ess"] >= 0.001  # at the first evaluation
    unreached = train(config, ["until.ess=1.0"], tmp_path / "NEVER")
    assert unreached.steps == 4 and unreached.evaluation["ess"] < 1.0
    short = train(config, [*steps, "until.minutes=1e-6"], tmp_path / "MINUTES")
    assert short.steps == 1 and (tmp_path / "MINUTES" / "model" / "weights.safetensors").is_file()


@pytest.mark.parametrize(("budget", "steps"), [(100, 3), (96, 3), (95, 2), (31, 1)])
def test_a_budget_is_not_passed_by_a_step_that_costs_what_the_last_did(config, tmp_path, budget, steps):
    result = train(config, ["optimizer.steps=50", f"until.evaluations={budget}"], tmp_path / "RUN")
    assert (result.steps, result.energy_evaluations) == (steps, 32 * steps)
