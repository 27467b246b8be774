"""Passes of walkers that a training run moves are compiled where that pays, and there is time for it."""

from __future__ import annotations

import pytest
from helpers import compile_nothing

from boltzgen.config.build import build_flow
from boltzgen.config.settings import load_settings
from boltzgen.config.shipped import find_config
from boltzgen.errors import StoppedError
from boltzgen.flows import compiled_steps
from boltzgen.flows.autoregressive import AutoregressiveSettings
from boltzgen.generator import Target
from boltzgen.interrupts import StopRequest
from boltzgen.training.settings import TrainingSettings
from boltzgen.workflows.training.compiling import compile_passes

SMALL = AutoregressiveSettings(hidden=8, depth=1, bins=4, embedding=8, encoder_blocks=1)


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """What was compiled, in no time."""
    found = compile_nothing(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr(compiled_steps, "_FUNCTIONS", {})
    monkeypatch.setattr(compiled_steps, "FIRST_TIME", 30.0)
    return found


def settings(steps: int, config: str = "adapt-chains") -> TrainingSettings:
    words = [f"optimizer.steps={steps}", "evaluation.temperature=310"]
    return load_settings(TrainingSettings, find_config(config), words)


@pytest.mark.parametrize(
    ("steps", "config", "asked", "limit", "used"),
    [
        (12_800, "adapt-chains", None, None, True),  # times four atoms and 5/8 of a pass: 32 000
        (11_200, "adapt-chains", None, None, False),
        (12_800, "adapt-chains", False, None, False),
        (10, "adapt-chains", True, None, True),
        (12_800, "adapt", None, None, False),  # moves no walkers
        (12_800, "adapt-chains", None, 750.0, True),  # three minutes of compiling, a quarter of what is left
        (12_800, "adapt-chains", None, 700.0, False),
    ],
)
def test_passes_are_compiled_where_it_pays(butane, compiled, steps, config, asked, limit, used):
    flow, target = build_flow(SMALL, seed=2), Target.from_system(butane)
    stop = None if limit is None else StopRequest(limit)
    assert compile_passes(settings(steps, config), flow, [target], asked, stop) is used
    assert flow._compiled is used and len(compiled) == (6 if used else 0)


def test_a_stop_is_heard_while_passes_are_compiled(butane, compiled):
    flow, target = build_flow(SMALL, seed=2), Target.from_system(butane)
    with pytest.raises(StoppedError, match="of 20 s reached while passes of the flow were compiled"):
        compile_passes(settings(10), flow, [target], True, StopRequest(20.0))
    assert not compiled
