"""Our replica exchange on peptides: what an independent sample of the slowest torsion costs.

    OMP_NUM_THREADS=1 python tests/benchmarks/chains/exchange.py OUT SEQUENCE|tetra|octa|chosen ...
        [--setting six|heavy|short] [--picoseconds 40] [--ladders 8] [--seed 0]

Appends a line to OUT/exchange.jsonl for each molecule and keeps the frames of the coldest rung as
OUT/exchange-SEQUENCE.npz. The three settings are frozen; the best of them on `chosen` is the opponent.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from measured import KELVIN, append, bulk_samples, names_of, prepared, series_of

from boltzgen.dynamics.batched_run import BatchedProblem, initial_state, relaxed_start, run_batched_blocks
from boltzgen.dynamics.masses import with_heavy_hydrogens
from boltzgen.dynamics.settings import BatchedSettings
from boltzgen.dynamics.torsion_moves import Rotors
from boltzgen.potentials.of_system import potential_of
from boltzgen.units import GAS_CONSTANT

#: Rungs, highest temperature (K), step (ps), mass of hydrogens (dalton), moves about bonds at an exchange.
SETTINGS = {
    "six": (6, 670.0, 1e-3, None, 10),
    "heavy": (6, 670.0, 2e-3, 3.0, 10),
    "short": (4, 500.0, 2e-3, 3.0, 20),
}
EQUILIBRATION, EXCHANGE, SAVE = 10.0, 0.1, 0.2


def measure(sequence: str, setting: str, picoseconds: float, ladders: int, seed: int, out: Path) -> None:
    """One molecule: frames, their worth and their price."""
    rungs, hottest, timestep, hydrogen, moves = SETTINGS[setting]
    system = prepared(sequence)
    potential = potential_of(system)
    potential.use_compiler()
    masses = system.masses
    if hydrogen is not None:
        masses = with_heavy_hydrogens(masses, system.atomic_numbers, system.bonds, hydrogen)
    settings = BatchedSettings(
        temperatures=tuple(np.geomspace(KELVIN, hottest, rungs).tolist()),
        time=picoseconds,
        timestep=timestep,
        exchange_interval=EXCHANGE,
        save_interval=SAVE,
        equilibration=EQUILIBRATION,
        seed=seed,
        replicas=ladders * rungs,
        hydrogen_mass=hydrogen,
        torsion_moves=moves,
    ).checked()
    problem = BatchedProblem.of(potential, masses, rotors=Rotors.of(system))
    state = initial_state(problem, relaxed_start(problem, system.reference_positions), settings)
    positions, energies, sampled, cpu = [], [], 0, 0.0
    began = time.process_time()
    for block in run_batched_blocks(problem, state, settings):
        now = time.process_time()
        first, state = state.segments, block.state
        if state.segments > settings.equilibration_segments:
            sampled += (state.segments - max(first, settings.equilibration_segments)) * settings.replicas
            cpu += now - began
        began = now
        positions.append(block.positions[0].reshape(-1, ladders, system.n_atoms, 3))
        energies.append(block.energies[0].reshape(-1, ladders))
    frames = np.concatenate(positions).swapaxes(0, 1)
    reduced = np.concatenate(energies).T / (GAS_CONSTANT * KELVIN)
    found = bulk_samples(series_of(system, frames, reduced))
    slowest = min(found, key=lambda name: found[name])
    evaluations = sampled * settings.segment_evaluations
    record = {
        "side": "exchange",
        "sequence": sequence,
        "setting": setting,
        "seed": seed,
        "atoms": system.n_atoms,
        "walks": ladders,
        "frames": frames.shape[1],
        "samples": found[slowest],
        "slowest": slowest,
        "energies": evaluations,
        "cpu_seconds": cpu,
        "energies_a_sample": evaluations / max(found[slowest], 1e-9),
        "cpu_a_sample": cpu / max(found[slowest], 1e-9),
    }
    append(out / "exchange.jsonl", record)
    np.savez(out / f"exchange-{sequence}-{setting}-{seed}.npz", positions=frames, u=reduced)
    print(
        f"{sequence} {setting}: {found[slowest]:.0f} samples ({slowest}); "
        f"{record['energies_a_sample']:.0f} energies, {record['cpu_a_sample']:.3f} CPU s each; "
        f"{cpu:.0f} CPU s in all",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("sequences", nargs="+")
    parser.add_argument("--setting", choices=SETTINGS, default="heavy")
    parser.add_argument("--picoseconds", type=float, default=40.0)
    parser.add_argument("--ladders", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for sequence in names_of(asked.sequences):
        measure(sequence, asked.setting, asked.picoseconds, asked.ladders, asked.seed, asked.out)


if __name__ == "__main__":
    main()
