"""What things cost here (s), by `boltzgen.workflows.timing`: a draw, an energy, a training step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.roads.defaults import Simulated
from boltzgen.workflows.timing.sampling import expect_sampling
from boltzgen.workflows.timing.simulation import expect_simulation
from boltzgen.workflows.timing.training import expect_training

#: Samples and steps of which the time is asked.
SAMPLES, STEPS = 1000, 200


def seconds_a_sample(model: str | Path, system: str | Path, temperature: float) -> float:
    """Of one sample of `model`, its energy included."""
    return expect_sampling(model, system, SAMPLES, temperature=temperature).seconds / SAMPLES


def seconds_an_energy(system: MolecularSystem, how: Simulated) -> float:
    """Of one energy with its gradient in a simulation such as `how`."""
    return expect_simulation(system, **how.options()).seconds / how.evaluations  # type: ignore[arg-type]


def seconds_a_step(config: str, overrides: Sequence[str]) -> float:
    """Of one training step of `config`, measurements on the way included."""
    steps = f"optimizer.steps={STEPS}"
    return expect_training(config, [*overrides, steps]).seconds / STEPS
