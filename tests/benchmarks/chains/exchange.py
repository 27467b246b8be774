"""Our replica exchange on peptides: what an independent sample of the slowest torsion costs.

    OMP_NUM_THREADS=1 python tests/benchmarks/chains/exchange.py OUT SEQUENCE|tetra|octa|chosen ...
        [--setting six|heavy|short] [--picoseconds 40] [--ladders 8] [--seed 0]

Appends a line to OUT/exchange.jsonl for each molecule and keeps the frames of the coldest rung as
OUT/exchange-SEQUENCE-SETTING-SEED.npz. The three settings are frozen; the best on `chosen` is the opponent.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from measured import KELVIN, kept, names_of, parser, prepared

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
    kept(
        out,
        "exchange",
        f"{sequence}-{setting}-{seed}",
        system,
        frames,
        reduced,
        sampled * settings.segment_evaluations,
        cpu,
        sequence=sequence,
        setting=setting,
        seed=seed,
        walks=ladders,
        frames=frames.shape[1],
    )


def main() -> None:
    words = parser(__doc__)
    words.add_argument("--setting", choices=SETTINGS, default="short")
    words.add_argument("--picoseconds", type=float, default=40.0)
    words.add_argument("--ladders", type=int, default=8)
    asked = words.parse_args()
    torch.set_num_threads(1)
    for sequence in names_of(asked.sequences):
        measure(sequence, asked.setting, asked.picoseconds, asked.ladders, asked.seed, asked.out)


if __name__ == "__main__":
    main()
