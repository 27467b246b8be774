"""Our replica exchange on peptides: what an independent sample of the slowest torsion costs.

    OMP_NUM_THREADS=1 python tests/benchmarks/chains/exchange.py OUT SEQUENCE|tetra|octa|chosen ...
        [--setting six|heavy|short] [--picoseconds 40] [--ladders 8] [--seed 0]

Appends a line to OUT/exchange.jsonl for each molecule and keeps the frames of the coldest rung as
OUT/exchange-SEQUENCE-SETTING-SEED.npz. The three settings are frozen; the best on `chosen` is the opponent.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from measured import KELVIN, kept, names_of, parser, prepared

from boltzgen.dynamics.batched_run import BatchedProblem, initial_state, relaxed_start, run_batched_blocks
from boltzgen.dynamics.masses import with_heavy_hydrogens
from boltzgen.dynamics.settings import BatchedSettings
from boltzgen.dynamics.torsion_moves import Rotors
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import GAS_CONSTANT

#: Rungs, highest temperature (K), step (ps), mass of hydrogens (dalton), moves about bonds at an exchange.
SETTINGS = {
    "six": (6, 670.0, 1e-3, None, 10),
    "heavy": (6, 670.0, 2e-3, 3.0, 10),
    "short": (4, 500.0, 2e-3, 3.0, 20),
}
EQUILIBRATION, EXCHANGE, SAVE = 10.0, 0.1, 0.2


@dataclass(frozen=True)
class Exchanged:
    """What replica exchange of L ladders left: (rungs, L, frames), coldest rung first.

    positions: (rungs, L, frames, N, 3) nm, of the rungs that were asked for. energies: kJ/mol. replicas: who
    was there. evaluations, cpu: energies and CPU seconds of the sampling, equilibration not counted.
    """

    system: MolecularSystem
    temperatures: tuple[float, ...]
    positions: np.ndarray
    energies: np.ndarray
    replicas: np.ndarray
    evaluations: int
    cpu: float


def exchanged(
    sequence: str, setting: str, picoseconds: float, ladders: int, seed: int, *, coldest_alone: bool
) -> Exchanged:
    """Replica exchange of one molecule in one of the `SETTINGS`."""
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
    positions, energies, replicas, sampled, cpu = [], [], [], 0, 0.0
    began, kept_rungs = time.process_time(), 1 if coldest_alone else rungs
    for block in run_batched_blocks(problem, state, settings):
        now = time.process_time()
        first, state = state.segments, block.state
        if state.segments > settings.equilibration_segments:
            sampled += (state.segments - max(first, settings.equilibration_segments)) * settings.replicas
            cpu += now - began
        began = now
        positions.append(block.positions[:kept_rungs].reshape(kept_rungs, -1, ladders, system.n_atoms, 3))
        energies.append(block.energies.reshape(rungs, -1, ladders))
        replicas.append(block.replicas.reshape(rungs, -1, ladders))
    whole = (np.concatenate(parts, axis=1).swapaxes(1, 2) for parts in (positions, energies, replicas))
    return Exchanged(system, settings.temperatures, *whole, sampled * settings.segment_evaluations, cpu)


def measure(sequence: str, setting: str, picoseconds: float, ladders: int, seed: int, out: Path) -> None:
    """One molecule: frames, their worth and their price."""
    found = exchanged(sequence, setting, picoseconds, ladders, seed, coldest_alone=True)
    kept(
        out,
        "exchange",
        f"{sequence}-{setting}-{seed}",
        found.system,
        found.positions[0],
        found.energies[0] / (GAS_CONSTANT * KELVIN),
        found.evaluations,
        found.cpu,
        sequence=sequence,
        setting=setting,
        seed=seed,
        walks=ladders,
        frames=found.positions.shape[2],
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
