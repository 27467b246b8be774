"""Energies and forces a second: ours, plain OpenMM, the OpenMM bridge, bgflow's bridge, side by side.

    python tests/benchmarks/potentials.py --out FOLDER [--quick] [--device cuda --ours-only]

Writes potentials.json, potentials.md and two figures to FOLDER. All ways are measured in turn, a slice of
time each, round after round; a ratio is the median over rounds of the ratio within one round, so that other
work on the machine touches both sides. bgflow takes part if it can be imported (PYTHONPATH=/path/to/bgflow).
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from potentials_report import arithmetic, write_report

from boltzgen.potentials.fast.evaluate import evaluate_block, innermost
from boltzgen.potentials.fast.memory import peak_bytes
from boltzgen.potentials.from_openmm.bridge import bridge
from boltzgen.potentials.from_openmm.translate import translate
from boltzgen.potentials.molecular_mechanics import MolecularMechanics
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare

ILDN = {"forcefield": ("amber99sbildn.xml",), "implicit": "amber99_obc.xml"}
FF14 = {"forcefield": ("amber14-all.xml",), "implicit": "obc1"}
SYSTEMS: dict[str, tuple[str, dict[str, Any]]] = {
    "alanine dipeptide, ff99SB-ILDN + OBC": ("ACE-ALA-NME", ILDN),
    "alanine dipeptide, ff14SB + OBC1": ("ACE-ALA-NME", FF14),
    "capped tri-alanine, ff14SB + OBC1": ("ACE-ALA-ALA-ALA-NME", FF14),
    "capped penta-alanine, ff14SB + OBC1": ("ACE-ALA-ALA-ALA-ALA-ALA-NME", FF14),
    "chignolin, ff14SB + OBC1": ("GYDPETGTWG", FF14),
}
BATCHES = (64, 256, 1024, 4096, 16384)
COMPARED = 1024  #: rows of the batch on which the ways are compared

Way = Callable[[np.ndarray], Any]


@dataclass
class Measured:
    """What was found for one system; rates are energies and forces a second."""

    atoms: int
    ways: dict[str, list[float]] = field(default_factory=dict)
    batches: dict[str, dict[int, float]] = field(default_factory=dict)
    compile_seconds: dict[str, float] = field(default_factory=dict)
    bytes_per_conformation: dict[str, float] = field(default_factory=dict)
    operations: dict[str, float] = field(default_factory=dict)


def conformations(system: MolecularSystem, rows: int) -> np.ndarray:
    """(rows, N, 3) nm, float64: the reference with noise of 0.005 nm."""
    generator = np.random.default_rng(3)
    return system.reference_positions + 0.005 * generator.normal(size=(rows, system.n_atoms, 3))


def ours(potential: MolecularMechanics, dtype: torch.dtype, device: str) -> Way:
    """Positions are on the device and in `dtype` before the clock starts, as they are in training."""
    ready: dict[int, torch.Tensor] = {}

    def work(positions: np.ndarray) -> None:
        key = len(positions)
        if key not in ready:
            ready[key] = torch.tensor(positions, dtype=dtype, device=device)
        potential.energy_and_gradient(ready[key])
        if device != "cpu":
            torch.cuda.synchronize()

    return work


def openmm_loop(system: MolecularSystem, platform: str, threads: int | None) -> Way:
    import openmm

    properties = {} if threads is None else {"Threads": str(threads)}
    context = openmm.Context(
        system.openmm_system(),
        openmm.VerletIntegrator(0.001),
        openmm.Platform.getPlatformByName(platform),
        properties,
    )

    def work(positions: np.ndarray) -> None:
        for frame in positions:
            context.setPositions(frame)
            state = context.getState(getEnergy=True, getForces=True)
            state.getPotentialEnergy()
            state.getForces(asNumpy=True)

    return work


def bgflow_bridge(system: MolecularSystem, workers: int) -> Way | None:
    """bgflow's OpenMMBridge, or None where bgflow cannot be imported."""
    np.infty = np.inf  # type: ignore[attr-defined]  # bgflow is older than numpy 2
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from bgflow.distribution.energy.openmm import OpenMMBridge
    except ImportError:
        return None
    import openmm

    found = OpenMMBridge(
        system.openmm_system(), openmm.LangevinMiddleIntegrator(300, 1.0, 0.001), "CPU", n_workers=workers
    )

    def work(positions: np.ndarray) -> None:
        found.evaluate(torch.as_tensor(positions.reshape(len(positions), -1)))

    return work


def rate(work: Way, x: np.ndarray, seconds: float) -> float:
    """Rows a second over at least `seconds`."""
    started, calls = time.perf_counter(), 0
    while calls == 0 or time.perf_counter() - started < seconds:
        work(x)
        calls += 1
    return calls * len(x) / (time.perf_counter() - started)


def measure(system: MolecularSystem, arguments: argparse.Namespace) -> Measured:
    device, seconds = arguments.device, arguments.seconds
    found = Measured(system.n_atoms)
    x = conformations(system, max(arguments.batches))
    with ExitStack() as stack:
        # first what forks: afterwards torch has threads of its own
        others = {} if arguments.ours_only else _others(system, stack, x)
        own, scanned = _own(system, device, x, found)
        ways = {**own, **others}
        for _ in range(arguments.rounds):
            for name, work in ways.items():
                rows = min(COMPARED, len(x)) if name in own else _rows_for(work, x, seconds)
                found.ways.setdefault(name, []).append(rate(work, x[:rows], seconds))
        for name, work in scanned.items():
            found.batches[name] = {
                rows: statistics.median(rate(work, x[:rows], seconds / 2) for _ in range(3))
                for rows in arguments.batches
            }
    return found


def _own(
    system: MolecularSystem, device: str, x: np.ndarray, found: Measured
) -> tuple[dict[str, Way], dict[str, Way]]:
    ways: dict[str, Way] = {}
    for dtype in (torch.float32, torch.float64):
        short = str(dtype).removeprefix("torch.float")
        eager, fast = translate(system), translate(system)
        ways[f"ours, float{short}"] = ours(eager, dtype, device)
        part = torch.tensor(x[:64], dtype=dtype, device=device)
        evaluate_block(eager._blocks.kernels, True, innermost(part))  # casts the constants

        def block(part: torch.Tensor = part, kernels: Any = eager._blocks.kernels) -> None:
            evaluate_block(kernels, True, innermost(part))

        peak = peak_bytes(block, torch.device(device))
        found.bytes_per_conformation[f"float{short}"] = peak / len(part)
        found.operations = {k: v / len(part) for k, v in arithmetic(block).items()}
        fast.use_compiler()
        work = ours(fast, dtype, device)
        started = time.perf_counter()
        work(x[:64])
        found.compile_seconds[f"float{short}"] = time.perf_counter() - started
        compiler = fast._blocks.compiler
        if compiler is not None and compiler.active:
            ways[f"ours, compiled, float{short}"] = work
    for work in ways.values():
        work(x[: min(COMPARED, len(x))])
    return ways, dict(ways)


def _others(system: MolecularSystem, stack: ExitStack, x: np.ndarray) -> dict[str, Way]:
    ways: dict[str, Way] = {}
    for workers in (1, 2):
        if (work := bgflow_bridge(system, workers)) is not None:
            ways[f"bgflow's bridge, {workers} worker{'s' * (workers > 1)}"] = work
            work(x[:4])
    ways["OpenMM loop, Reference"] = openmm_loop(system, "Reference", None)
    ways["OpenMM loop, CPU, default threads"] = openmm_loop(system, "CPU", None)
    ways["OpenMM loop, CPU, 1 thread"] = openmm_loop(system, "CPU", 1)
    for workers in (1, 2):
        potential = bridge(system, "CPU", workers)
        stack.callback(potential.close)

        def through(positions: np.ndarray, potential: Any = potential) -> None:
            potential.energy_and_gradient(torch.as_tensor(positions))

        ways[f"our bridge, CPU, {workers} worker{'s' * (workers > 1)}"] = through
    for work in ways.values():
        work(x[:4])
    return ways


def _rows_for(work: Way, x: np.ndarray, seconds: float) -> int:
    """A batch that takes about `seconds`, at most COMPARED rows."""
    return int(np.clip(rate(work, x[:8], 0.02) * seconds, 8, min(COMPARED, len(x))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("potentials-benchmark"))
    parser.add_argument("--quick", action="store_true", help="two systems, two rounds, short slices")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--ours-only", action="store_true", help="without OpenMM and bgflow")
    parser.add_argument("--systems", nargs="*", default=[], help="parts of the names of systems")
    arguments = parser.parse_args()
    arguments.rounds, arguments.seconds = (2, 0.2) if arguments.quick else (7, 0.5)
    arguments.batches = BATCHES[:3] if arguments.quick else BATCHES
    words = arguments.systems or (["dipeptide, ff14SB"] if arguments.quick else [""])
    results = {}
    for name, (sequence, options) in SYSTEMS.items():
        if not any(word in name for word in words):
            continue
        print(f"{name} ...", flush=True)
        results[name] = measure(prepare(sequence=sequence, **options), arguments)
    machine = torch.cuda.get_device_name() if arguments.device != "cpu" else f"{os.cpu_count()} CPU cores"
    facts = {
        "machine": machine,
        "torch": torch.__version__,
        "torch threads": torch.get_num_threads(),
        "load at the end": os.getloadavg()[0],
        "rounds": arguments.rounds,
        "seconds a slice": arguments.seconds,
    }
    print(write_report(arguments.out, facts, results))


if __name__ == "__main__":
    main()
