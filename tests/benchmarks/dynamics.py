"""Steps a second of the two engines of ``boltzgen simulate`` on alanine dipeptide, side by side.

    python tests/benchmarks/dynamics.py [--replicas 32,128,512] [--device cpu] [--seconds 2] [--rounds 5]

A step is one step of one replica, 1 fs, at one temperature, on one core (OMP_NUM_THREADS=1). The engines take
turns, a slice of time each, round after round; a ratio is the median over rounds of the ratio within one, so
that other work on the machine touches both sides. Compilation is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from boltzgen.dynamics.batched_langevin import langevin, phase_point
from boltzgen.dynamics.batched_run import BatchedProblem
from boltzgen.dynamics.openmm_engine import ReplicaEngine, ReplicaState, choose_platform
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.prepare import prepare
from boltzgen.units import thermal_energy

KELVIN, TIMESTEP, FRICTION = 300.0, 1e-3, 2.0


def openmm_stepper(system):
    """The engine on its fastest platform here, and what advances it by a number of steps."""
    platform = choose_platform(system.openmm_system(), system.reference_positions, timestep=TIMESTEP)
    engine = ReplicaEngine(
        system.openmm_system(), [KELVIN], timestep=TIMESTEP, friction=FRICTION, platform=platform
    )
    relaxed = engine.minimized(system.reference_positions)
    velocities = engine.thermal_velocities(np.random.default_rng(1))
    engine.begin(ReplicaState(relaxed[None], velocities, np.array([0])), np.random.SeedSequence(2))
    return platform, relaxed, engine.step


def torch_stepper(system, relaxed, replicas: int, device: str):
    """What advances `replicas` copies, compiled, by a number of steps."""
    potential = potential_of(system).to(device)
    potential.use_compiler()
    problem = BatchedProblem.of(potential, system.masses, device=device)
    generator = torch.Generator(device).manual_seed(3)
    x = torch.as_tensor(relaxed, dtype=torch.float32, device=device).repeat(replicas, 1, 1)
    kt = torch.full((replicas,), thermal_energy(KELVIN), device=device)
    point = phase_point(x, problem.energy, kt=kt, masses=problem.masses, generator=generator)

    def step(steps: int) -> None:
        nonlocal point
        point, sound = langevin(
            point,
            problem.energy,
            steps=steps,
            timestep=TIMESTEP,
            friction=FRICTION,
            kt=kt,
            masses=problem.masses,
            generator=generator,
        )
        assert bool(sound.all())  # waits for the device too

    return step


def rate(step, chunk: int, seconds: float) -> float:
    """Steps a second over about `seconds`."""
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        step(chunk)
        done += chunk
    return done / elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", default="32,128,512")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    counts = [int(word) for word in options.replicas.split(",")]
    system = prepare(sequence="ACE-ALA-NME", forcefield=("amber99sbildn.xml",), implicit="amber99_obc.xml")
    platform, relaxed, openmm_step = openmm_stepper(system)
    steppers = {count: torch_stepper(system, relaxed, count, options.device) for count in counts}
    for step in steppers.values():
        step(5)
    ratios: dict[int, list[float]] = {count: [] for count in counts}
    rates: dict[str, list[float]] = {platform: []} | {str(count): [] for count in counts}
    for _ in range(options.rounds):
        single = rate(openmm_step, 50, options.seconds)
        rates[platform].append(single)
        for count, step in steppers.items():
            many = count * rate(step, 5, options.seconds)
            rates[str(count)].append(many)
            ratios[count].append(many / single)
    print(f"OpenMM {platform}, one replica: {statistics.median(rates[platform]):.0f} steps/s")
    for count in counts:
        median, low, high = statistics.median(ratios[count]), min(ratios[count]), max(ratios[count])
        print(
            f"torch {options.device}, {count} replicas: {statistics.median(rates[str(count)]):.0f} steps/s, "
            f"{median:.2f} times OpenMM ({low:.2f} to {high:.2f})"
        )


if __name__ == "__main__":
    main()
