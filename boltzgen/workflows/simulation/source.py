"""Replica exchange within a budget of evaluations: how a training run and a data set make their data."""

from __future__ import annotations

from pathlib import Path

from boltzgen.dynamics.batched_data import replicas_within
from boltzgen.dynamics.ring_moves import RingMoves
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress, silent
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.settings import SimulationSource
from boltzgen.workflows.simulation.record import Simulation
from boltzgen.workflows.simulation.simulate import simulate


def simulate_source(
    wanted: SimulationSource,
    molecule: MolecularSystem,
    folder: Path,
    *,
    seed: int,
    device: str = "cpu",
    compile_energies: bool | None = None,
    stop: StopRequest | None = None,
    progress: Progress = silent,
) -> Simulation:
    """Replica exchange of `molecule` by the torch engine within the budget, in the MD folder `folder`.

    Goes on where a former call was stopped. `compile_energies`: None compiles where the budget pays for it.
    The errors of `boltzgen.workflows.simulation.simulate` pass: StoppedError when `stop` asks to end.
    """
    rungs = len(wanted.temperatures)
    replicas = wanted.ladders * rungs if wanted.ladders else replicas_within(wanted.evaluations, rungs)
    steps = max(1, wanted.evaluations // replicas)
    moves = wanted.torsion_moves + (wanted.ring_moves if RingMoves.of(molecule, leaning=False) else 0)
    if moves:  # after every segment, which is no longer than the time between exchanges
        each = min(save_and_exchange_steps(wanted, steps, replicas // rungs))
        steps = max(1, steps * each // (each + moves))
    equilibration = min(steps // 4, round(wanted.equilibration / wanted.timestep))
    every, exchange_every = save_and_exchange_steps(wanted, steps - equilibration, replicas // rungs)
    equilibration = equilibration // every * every
    return simulate(
        molecule,
        folder,
        temperatures=wanted.temperatures,
        time=(steps - equilibration) * wanted.timestep,
        timestep=wanted.timestep,
        exchange_interval=exchange_every * wanted.timestep,
        save_interval=every * wanted.timestep,
        equilibration=equilibration * wanted.timestep,
        seed=seed,
        engine="torch",
        replicas=replicas,
        device=device,
        hydrogen_mass=wanted.hydrogen_mass,
        torsion_moves=wanted.torsion_moves,
        ring_moves=wanted.ring_moves,
        compile_energies=compile_energies,
        resume="auto",
        stop=stop,
        progress=progress,
    )


def save_and_exchange_steps(wanted: SimulationSource, steps: int, walks: int) -> tuple[int, int]:
    """Steps between frames and between exchanges, one a multiple of the other.

    `walks` ladders of `steps` steps give the frames wanted, up to a factor below two, and at least one frame
    each.
    """
    every = min(max(1, steps * walks // wanted.frames), steps)
    exchange_every = max(1, round(wanted.exchange_interval / wanted.timestep))
    if every < exchange_every:
        return every, every * round(exchange_every / every)
    return every - every % exchange_every, exchange_every
