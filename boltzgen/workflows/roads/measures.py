"""What things cost here (s), by `boltzgen.workflows.timing`: a draw, an energy, a training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.roads.defaults import Simulated
from boltzgen.workflows.sampling.chained import chain_settings
from boltzgen.workflows.sampling.options import SampleOptions
from boltzgen.workflows.simulation.options import SimulateOptions
from boltzgen.workflows.timing.sampling import cost_of_chains, expect_sampling
from boltzgen.workflows.timing.simulation import fastest
from boltzgen.workflows.timing.training import expect_training

#: Samples and steps of which the time is asked.
SAMPLES, STEPS = 1000, 200


def seconds_a_sample(model: str | Path, system: str | Path, temperature: float) -> float:
    """Of one sample of `model`, its energy included."""
    return expect_sampling(model, system, SAMPLES, temperature=temperature).seconds / SAMPLES


@dataclass(frozen=True)
class Rate:
    """What samples cost (s): `before` the first, and `a_row` each."""

    before: float
    a_row: float

    def within(self, seconds: float) -> int:
        """How many there is time for."""
        return max(int((seconds - self.before) / self.a_row), 0)


def rate_of_chains(model: str | Path, system: str | Path, temperature: float, walkers: int) -> Rate:
    """Of rows of `walkers` that `model` moves, one a sweep; before them their pilot and their warm-up."""
    settings = chain_settings(SampleOptions(chains=True, walkers=walkers))
    assert settings is not None
    pilot, sweep = cost_of_chains(model, system, settings, temperature=temperature)
    return Rate(pilot + settings.warm_up * sweep, sweep / walkers)


def fastest_engine(system: MolecularSystem, how: Simulated) -> dict[str, Any]:
    """The engine, with its platform, that makes the picoseconds of `how` in the least time, and why.

    seconds_an_energy: of one energy with its gradient in such a simulation.
    """
    ways = {engine: replace(how, engine=engine) for engine in ("torch", "openmm")}
    asked = {engine: SimulateOptions(**way.options()) for engine, way in ways.items()}  # type: ignore[arg-type]
    found = fastest(system, asked)
    engine = found.chosen.engine
    return {
        "engine": engine,
        "platform": found.chosen.platform if engine == "openmm" else "auto",
        "threads": found.chosen.threads,
        "seconds_an_energy": found.seconds / ways[engine].evaluations,
        "why": found.measured,
    }


def seconds_a_step(config: str, overrides: Sequence[str]) -> float:
    """Of one training step of `config`, measurements on the way included."""
    steps = f"optimizer.steps={STEPS}"
    return expect_training(config, [*overrides, steps]).seconds / STEPS
