"""Chains made of a flow on peptides: what an independent sample of the slowest torsion costs.

    OMP_NUM_THREADS=1 python tests/benchmarks/chains/moves.py OUT SEQUENCE|tetra|octa|chosen ...
        [--model peptides-ff14sb-obc1] [--dtype float32] [--sweeps 200] [--walkers 32] [--groups 4] [--seed 0]

Appends a line to OUT/chains.jsonl for each molecule and keeps the states as OUT/chains-SEQUENCE-SEED.npz.
Energies of rungs are counted; CPU time is that of the whole run without pilot and warm-up.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from measured import KELVIN, append, bulk_samples, names_of, prepared, series_of

import boltzgen
from boltzgen.generator import BoltzmannGenerator
from boltzgen.refine.chains.run import run_chains
from boltzgen.refine.chains.settings import ChainSettings


def measure(sequence: str, asked: argparse.Namespace) -> None:
    """One molecule: states, their worth and their price."""
    system = prepared(sequence)
    loaded = boltzgen.load_generator(asked.model, system)
    generator = BoltzmannGenerator(loaded.flow.to(getattr(torch, asked.dtype)), loaded.target)
    walkers = asked.walkers * asked.groups
    settings = ChainSettings(
        walkers_a_group=asked.walkers, groups=asked.groups, warm_up=asked.warm_up, ladder=asked.ladder
    )
    spent: list[tuple[float, float]] = []

    def watch(done: float, total: float, _: object) -> None:
        spent.append((done, time.process_time()))

    began = time.process_time()
    found = run_chains(
        generator, walkers * asked.sweeps, KELVIN, settings=settings, seed=asked.seed, progress=watch
    )
    whole = time.process_time() - began
    cpu = spent[-1][1] - next(at for done, at in spent if done >= asked.warm_up)
    shape = (asked.sweeps, walkers)
    positions = found.positions.reshape(*shape, system.n_atoms, 3).swapaxes(0, 1)
    u = found.u.reshape(shape).T
    worth = bulk_samples(series_of(system, positions, u))
    slowest = min(worth, key=lambda name: worth[name])
    energies = found.energy_evaluations["sampling"] + (
        found.energy_evaluations["rungs"] * asked.sweeps / found.sweeps
    )
    samples = max(worth[slowest], 1e-9)
    record = {
        "side": "chains",
        "sequence": sequence,
        "model": asked.model,
        "dtype": asked.dtype,
        "seed": asked.seed,
        "atoms": system.n_atoms,
        "walkers": walkers,
        "sweeps": asked.sweeps,
        "samples": worth[slowest],
        "slowest": slowest,
        "energies": energies,
        "evaluations": found.energy_evaluations,
        "cpu_seconds": cpu,
        "whole_cpu_seconds": whole,
        "energies_a_sample": energies / samples,
        "cpu_a_sample": cpu / samples,
        "acceptance": {kind: yes / max(tried, 1) for kind, (yes, tried) in found.acceptance.items()},
        "tried": {kind: tried for kind, (_, tried) in found.acceptance.items()},
        "log_z": found.log_z,
        "largest_drift": found.largest_drift,
    }
    append(asked.out / "chains.jsonl", record)
    np.savez(asked.out / f"chains-{sequence}-{asked.seed}.npz", positions=positions, u=u)
    print(
        f"{sequence}: {worth[slowest]:.0f} samples ({slowest}); {energies / samples:.0f} energies, "
        f"{cpu / samples:.3f} CPU s each; {whole:.0f} CPU s in all",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("sequences", nargs="+")
    parser.add_argument("--model", default="peptides-ff14sb-obc1")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--sweeps", type=int, default=200)
    parser.add_argument("--warm-up", type=int, default=100)
    parser.add_argument("--walkers", type=int, default=32)
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--ladder", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for sequence in names_of(asked.sequences):
        measure(sequence, asked)


if __name__ == "__main__":
    main()
