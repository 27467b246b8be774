"""How long a simulation will take with each engine here, and which of them is the faster one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, Unpack

import torch

from boltzgen.dynamics.openmm_engine import choose_platform, platform_rates
from boltzgen.dynamics.settings import BatchedSettings, SimulationSettings, usual_replicas
from boltzgen.guards import torch_threads
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.options import takes
from boltzgen.workflows.simulation.asked import engines_of, settings_of
from boltzgen.workflows.simulation.engines import TorchEngine
from boltzgen.workflows.simulation.options import SimulateKeywords, SimulateOptions
from boltzgen.workflows.timing.expectation import Expectation, seconds_of

#: Torch is taken for one ladder where it is so many times as fast as OpenMM: chance then decides nothing.
CLEARLY = 1.3

#: A batch of the usual size is mentioned when it makes so many times the nanoseconds a day.
WORTH_SAYING = 1.5


@dataclass(frozen=True)
class Speed:
    """What one engine does here.

    Attributes
    ----------
    engine, platform, threads: what computes. steps_per_second: of all replicas together.
    seconds: of the whole run. replicas: at a time.
    """

    engine: str
    platform: str
    threads: int
    steps_per_second: float
    seconds: float
    replicas: int

    def ns_per_day(self, timestep: float) -> float:
        """Of all replicas together; `timestep` in ps."""
        return self.steps_per_second * timestep * 86.4

    def told(self, timestep: float) -> str:
        """In a few words."""
        threads = f", {self.threads} threads" if self.threads > 1 else ""
        return f"{self.engine} ({self.platform}{threads}) {self.ns_per_day(timestep):.3g} ns/day in all"


@dataclass(frozen=True)
class SimulationExpectation(Expectation):
    """And with which engine: the fastest of those asked about, of which `speeds` has all, fastest first."""

    speeds: tuple[Speed, ...] = ()

    @property
    def chosen(self) -> Speed:
        """The fastest."""
        return self.speeds[0]

    def decided(self, asked: SimulateOptions) -> SimulateOptions:
        """`asked` with what was measured to be the fastest."""
        if self.chosen.engine == "openmm":
            return replace(asked, engine="openmm", platform=self.chosen.platform)
        return replace(asked, engine="torch")

    def to_json(self) -> dict[str, Any]:
        return {
            **super().to_json(),
            "engine": self.chosen.engine,
            "speeds": [vars(speed) for speed in self.speeds],
        }


@takes(SimulateOptions)
def expect_simulation(
    system: MolecularSystem | str | PathLike[str], **options: Unpack[SimulateKeywords]
) -> SimulationExpectation:
    """How long `simulate` with these options would take here, by which engine; measured in two seconds.

    Raises InputError for options that `simulate` refuses. Nothing is written.
    """
    asked = SimulateOptions(**options)
    molecule = system if isinstance(system, MolecularSystem) else MolecularSystem.load(str(system))
    candidates = {engine: settings_of(asked, engine) for engine in engines_of(asked, molecule)}
    return expected(molecule, candidates, asked)


def expected(
    molecule: MolecularSystem,
    candidates: Mapping[str, SimulationSettings],
    asked: SimulateOptions,
    *,
    done: int = 0,
) -> SimulationExpectation:
    """What to expect of the settings of each engine that may run, `done` segments of them being there."""
    found = _fastest(molecule, {engine: (asked, settings) for engine, settings in candidates.items()}, done)
    if len(candidates) == 1:
        return found
    return replace(found, further=_many_ladders(molecule, candidates, asked, found.chosen))


def fastest(molecule: MolecularSystem, ways: Mapping[str, SimulateOptions]) -> SimulationExpectation:
    """What to expect of the fastest of several `ways` to the same end, one for each engine.

    Engines that cannot simulate `molecule` are left out. InputError for options that `simulate` refuses.
    """
    able = engines_of(SimulateOptions(), molecule)
    return _fastest(
        molecule, {e: (asked, settings_of(asked, e)) for e, asked in ways.items() if e in able}, 0
    )


def _fastest(
    molecule: MolecularSystem, ways: Mapping[str, tuple[SimulateOptions, SimulationSettings]], done: int
) -> SimulationExpectation:
    speeds = [_speed(molecule, settings, asked, done) for asked, settings in ways.values()]
    speeds.sort(key=lambda speed: speed.seconds * (CLEARLY if speed.engine == "torch" else 1.0))
    told = [speed.told(ways[speed.engine][1].timestep) for speed in speeds]
    task = _task(ways[speeds[0].engine][1], speeds[0])
    measured = "measured: " + "; ".join(told)
    return SimulationExpectation("simulate", speeds[0].seconds, task, measured, "", tuple(speeds))


def _speed(
    molecule: MolecularSystem, settings: SimulationSettings, asked: SimulateOptions, done: int
) -> Speed:
    if isinstance(settings, BatchedSettings):
        return _torch(molecule, settings, asked, done)
    return _openmm(molecule, settings, asked.platform, done)


def _task(settings: SimulationSettings, speed: Speed) -> str:
    ladder, length = settings.temperatures, settings.time + settings.equilibration
    copies = f"{speed.replicas} replica{'s' if speed.replicas > 1 else ''}"
    at = f"{ladder[0]:g} K" if len(ladder) == 1 else f"{len(ladder)} temperatures"
    return f"{copies} at {at}, {length:g} ps each, with {speed.engine}"


def _openmm(molecule: MolecularSystem, settings: SimulationSettings, platform: str, done: int) -> Speed:
    system, positions = molecule.openmm_system(), molecule.reference_positions
    names = None if platform == "auto" else [choose_platform(system, positions, name=platform)]
    rates = platform_rates(system, positions, settings.timestep, names)
    best = max(rates, key=lambda name: rates[name])
    rungs = len(settings.temperatures)
    steps = (settings.total_segments - done) * settings.segment_steps * rungs
    rate = max(rates[best], 1e-9)
    return Speed("openmm", best, 1, rate, steps / rate, rungs)


def _torch(molecule: MolecularSystem, settings: BatchedSettings, asked: SimulateOptions, done: int) -> Speed:
    device = asked.device or "cpu"
    engine = TorchEngine(molecule, settings, device, False, molecule.reference_positions[None], 1)
    settings = engine.settings
    try:
        found = {}
        for threads in _threads(device):
            with torch_threads(threads):
                found[threads] = engine.seconds_of_a_step(_timed)
    finally:
        engine.close()
    threads = min(found, key=lambda number: found[number])
    evaluations = (settings.total_segments - done) * settings.segment_evaluations
    seconds = found[threads]
    return Speed(
        "torch", device, threads, settings.replicas / seconds, evaluations * seconds, settings.replicas
    )


def _threads(device: str) -> Sequence[int]:
    """Numbers of torch's threads worth a measurement: what was asked for, else one, and as many as it takes.

    Two beside other load are often slower than one.
    """
    own = torch.get_num_threads()
    return [own] if device != "cpu" or "OMP_NUM_THREADS" in os.environ else sorted({1, own})


def _timed(work: Any) -> float:
    return seconds_of(work, within=0.6)


def _many_ladders(
    molecule: MolecularSystem,
    candidates: Mapping[str, SimulationSettings],
    asked: SimulateOptions,
    best: Speed,
) -> str:
    """A sentence on many short walks in one batch, where they are worth it; empty otherwise."""
    settings = candidates["torch"]
    many = usual_replicas(len(settings.temperatures))
    assert isinstance(settings, BatchedSettings)
    batch = _torch(molecule, settings.model_copy(update={"replicas": many}), asked, 0)
    gain = batch.steps_per_second / best.steps_per_second
    if gain < WORTH_SAYING:
        return ""
    return (
        f'Many short walks make {gain:.2g} times as much a day: `engine="torch"` with `replicas={many}` and '
        f"a shorter `time` ({batch.ns_per_day(settings.timestep):.3g} ns/day in all)."
    )
