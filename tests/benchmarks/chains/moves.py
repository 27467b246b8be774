"""Chains made of a flow on peptides: what an independent sample of the slowest torsion costs.

    OMP_NUM_THREADS=1 python tests/benchmarks/chains/moves.py OUT SEQUENCE|tetra|octa|chosen ...
        [--model peptides-ff14sb-obc1] [--dtype float32] [--sweeps 200] [--walkers 32] [--groups 4] [--seed 0]

Appends a line to OUT/chains.jsonl for each molecule and keeps the states as OUT/chains-SEQUENCE-SEED.npz.
Energies of rungs are counted; CPU time is that of the whole run without pilot and warm-up.
"""

from __future__ import annotations

import argparse
import time

import torch
from measured import KELVIN, kept, names_of, parser, prepared

import boltzgen
from boltzgen.generator import BoltzmannGenerator
from boltzgen.refine.chains.run import run_chains
from boltzgen.refine.chains.settings import ChainSettings


def measure(sequence: str, asked: argparse.Namespace) -> None:
    """One molecule: states, their worth and their price."""
    system = prepared(sequence)
    loaded = boltzgen.load_generator(asked.model, system)
    generator = BoltzmannGenerator(loaded.flow.to(getattr(torch, asked.dtype)), loaded.target)
    generator.flow.use_compiler()
    generator.target.potential.use_compiler()
    if asked.dear:
        potential = generator.target.potential  # as if it were of quantum mechanics: energies are what counts
        potential.__class__ = type("Dear", (type(potential),), {"slow": True})
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
    rungs = found.energy_evaluations["rungs"] * asked.sweeps / found.sweeps
    kept(
        asked.out,
        "chains",
        f"{sequence}-{asked.seed}",
        system,
        positions,
        u,
        found.energy_evaluations["sampling"] + rungs,
        cpu,
        sequence=sequence,
        model=asked.model,
        dtype=asked.dtype,
        seed=asked.seed,
        dear=asked.dear,
        walkers=walkers,
        sweeps=asked.sweeps,
        evaluations=found.energy_evaluations,
        whole_cpu_seconds=whole,
        acceptance={kind: yes / max(tried, 1) for kind, (yes, tried) in found.acceptance.items()},
        tried={kind: tried for kind, (_, tried) in found.acceptance.items()},
        log_z=found.log_z,
        largest_drift=found.largest_drift,
    )


def main() -> None:
    words = parser(__doc__)
    words.add_argument("--model", default="peptides-ff14sb-obc1")
    words.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    words.add_argument("--sweeps", type=int, default=200)
    words.add_argument("--warm-up", type=int, default=100)
    words.add_argument("--walkers", type=int, default=32)
    words.add_argument("--groups", type=int, default=4)
    words.add_argument("--ladder", default="auto")
    words.add_argument("--dear", action="store_true", help="choose moves as if energies were what costs")
    asked = words.parse_args()
    torch.set_num_threads(1)
    for sequence in names_of(asked.sequences):
        measure(sequence, asked)


if __name__ == "__main__":
    main()
