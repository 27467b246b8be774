"""The probe: short replica exchanges from several starts, which owe nothing to the flow.

Several independent exchanges run one after the other; in each, the replicas start from different
conformations: the reference structure and samples from different rotamer states of the ensemble. Hydrogens
are made heavier at their neighbours' expense, which leaves the distribution of conformations as it is and
allows a step of 2 fs. Rings are turned over by Metropolis moves at every exchange.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from boltzgen.checks import MOST_EVALUATIONS, check_number
from boltzgen.dynamics.exchange import ExchangeRecord
from boltzgen.dynamics.masses import with_heavy_hydrogens as heavier_masses
from boltzgen.dynamics.openmm_engine import ReplicaEngine, ReplicaState, choose_platform, refuse_constraints
from boltzgen.dynamics.replica_exchange import Block, RunState, run_blocks
from boltzgen.dynamics.ring_moves import RingMoves
from boltzgen.dynamics.settings import SimulationSettings
from boltzgen.ensemble.chains.walkers import Walkers
from boltzgen.errors import InputError, StoppedError, UnsupportedError
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress, silent
from boltzgen.system.molecular_system import MolecularSystem

#: Independent exchanges: their scatter is the honest error of a population.
EXCHANGES = 4

#: Energy evaluations of all replicas together, when none are asked for.
BUDGET = 2_000_000

#: Fewest that make a probe: some ps for each replica.
SMALLEST_BUDGET = 50_000

#: Top of the ladder over the temperature of interest.
HOTTEST = 2.7

#: ps; step, time between exchanges, and the part of each run that is thrown away.
TIMESTEP, EXCHANGE_INTERVAL, DISCARDED = 2e-3, 0.1, 0.15

#: Dalton; mass of a hydrogen in the probe.
HYDROGEN_MASS = 3.0

#: Frames of all temperatures and exchanges together; those at each below which nothing is judged.
MOST_FRAMES, FEWEST_FRAMES = 8000, 20


@dataclass(frozen=True)
class ProbeFrames:
    """Frames of the probe, one row each.

    Attributes
    ----------
    positions: (M, N, 3) float32, nm. energies: (M,) kJ/mol, OpenMM's. rungs: (M,) index into `ladder` (K).
    exchanges: (M,) which independent exchange; within one exchange and rung the rows are in order of time.
    replicas, times: (M,) the copy of the molecule that made the frame, and when (in frames).
    evaluations: energy evaluations that they cost. starts: conformations that the replicas began from.
    """

    positions: np.ndarray
    energies: np.ndarray
    rungs: np.ndarray
    exchanges: np.ndarray
    replicas: np.ndarray
    times: np.ndarray
    ladder: np.ndarray
    evaluations: int
    starts: int

    def __len__(self) -> int:
        return len(self.energies)

    def crossings(self, here: np.ndarray) -> tuple[int, int]:
        """How often replicas entered, and left, the frames marked in `here` (M,) bool.

        Where a replica began counts for neither: that is what the starts say.
        """
        copies = self.exchanges * (int(self.replicas.max()) + 1) + self.replicas
        return Walkers(copies, self.exchanges, self.times).crossings(here)


def check_probe(system: MolecularSystem | None, budget: int) -> MolecularSystem:
    """`system`, or why it cannot be probed: InputError or UnsupportedError."""
    if budget < SMALLEST_BUDGET:
        raise InputError(f"`budget={budget}`: a probe needs at least {SMALLEST_BUDGET} energy evaluations.")
    check_number(budget, "budget", least=SMALLEST_BUDGET, most=MOST_EVALUATIONS)
    if system is None:
        raise InputError(
            "`probe=True` is for molecules; a model system's coverage is known from its reference."
        )
    if system.energy_model.region is not None:
        raise UnsupportedError(
            f"The energy of {system.name!r} is a hybrid, which OpenMM alone cannot simulate; check it with "
            "frames of that energy, `data=MD`."
        )
    refuse_constraints(system.openmm_system())
    return system


def run_probe(
    system: MolecularSystem,
    starts: Sequence[np.ndarray],
    temperature: float,
    *,
    budget: int = BUDGET,
    seed: int = 0,
    platform: str = "auto",
    stop: StopRequest | None = None,
    progress: Progress = silent,
) -> ProbeFrames:
    """Replica exchange of `system` at `temperature` (K) and above from `starts`, each (N, 3) nm.

    `budget` counts energy evaluations of all replicas. Raises InputError for a budget too small to tell
    anything, UnsupportedError for a hybrid, BoltzgenError when the dynamics break down.
    """
    check_probe(system, budget)
    ladder = probe_ladder(temperature, 3 * system.n_atoms - 6)
    rings = RingMoves.of(system)
    settings = _settings(ladder, budget, seed, moves=1 if rings else 0)
    heavy = with_heavy_hydrogens(system)
    name = choose_platform(heavy, system.reference_positions, name=platform, timestep=TIMESTEP)
    engine = ReplicaEngine(heavy, ladder, timestep=TIMESTEP, friction=settings.friction, platform=name)
    relaxed = [engine.minimized(np.asarray(start, dtype=float)) for start in starts]
    parts: list[tuple[int, Block]] = []
    whole, spent, ends = EXCHANGES * settings.total_segments, 0, stop or StopRequest()
    for exchange in range(EXCHANGES):
        own = settings.model_copy(update={"seed": seed * EXCHANGES + exchange})
        before, last = exchange * settings.total_segments, 0
        for block in run_blocks(engine, _begin(engine, relaxed, exchange, own), own, ends, rings):
            parts.append((exchange, block))
            last = block.state.segments
            progress(before + last, whole, None)
            if ends.requested:
                break
        spent = budget * (before + last) // whole
        if ends.requested:
            break
    frames = sum(block.energies.shape[1] for _, block in parts)
    if frames < FEWEST_FRAMES:
        raise StoppedError(
            f"{ends.reason} when the probe had {frames} frames at each temperature, of which nothing can be "
            "judged; what was known of the samples stays. Give it more time, or a smaller `budget`."
        )
    return replace(_joined(parts, np.array(ladder)), evaluations=spent, starts=len(starts))


def probe_ladder(temperature: float, dimension: int) -> tuple[float, ...]:
    """Temperatures (K) from `temperature` to `HOTTEST` times it, close enough to exchange.

    Neighbours whose energies overlap lie about sqrt(2 / dimension) apart in ln T.
    """
    gap = 1.2 * np.sqrt(2.0 / max(dimension, 2))
    rungs = int(np.ceil(np.log(HOTTEST) / min(gap, 0.5))) + 1
    return tuple(float(t) for t in np.round(temperature * np.geomspace(1.0, HOTTEST, rungs), 3))


def with_heavy_hydrogens(system: MolecularSystem) -> Any:
    """A copy of the OpenMM System whose hydrogens weigh `HYDROGEN_MASS`, the molecule as much as before."""
    changed = copy.deepcopy(system.openmm_system())
    masses = heavier_masses(system.masses, system.atomic_numbers, system.bonds, HYDROGEN_MASS)
    for atom, mass in enumerate(masses):
        changed.setParticleMass(atom, float(mass))
    return changed


def _settings(ladder: tuple[float, ...], budget: int, seed: int, moves: int) -> SimulationSettings:
    """`moves` that turn rings over after each exchange count in the budget."""
    steps = budget // (EXCHANGES * len(ladder))
    steps = int(steps / (1 + moves * TIMESTEP / EXCHANGE_INTERVAL))
    time = steps * TIMESTEP * (1 - DISCARDED)
    frames = MOST_FRAMES // (EXCHANGES * len(ladder))
    rounds = max(1, int(np.ceil(time / frames / EXCHANGE_INTERVAL)))
    interval = rounds * EXCHANGE_INTERVAL
    return SimulationSettings(
        temperatures=ladder,
        time=max(time, interval),
        timestep=TIMESTEP,
        exchange_interval=EXCHANGE_INTERVAL,
        save_interval=interval,
        equilibration=steps * TIMESTEP * DISCARDED,
        seed=seed,
        ring_moves=moves,
    ).checked()


def _begin(
    engine: ReplicaEngine, relaxed: Sequence[np.ndarray], exchange: int, settings: SimulationSettings
) -> RunState:
    """Replica k at start k + exchange, in turn, with thermal velocities of its temperature."""
    rungs = engine.n_replicas
    positions = np.array([relaxed[(k + exchange) % len(relaxed)] for k in range(rungs)])
    engine.temperature_index = np.arange(rungs)
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(0,)))
    state = ReplicaState(positions, engine.thermal_velocities(rng), np.arange(rungs))
    return RunState(state, ExchangeRecord.empty(rungs), segments=0, frames=0)


def _joined(parts: Sequence[tuple[int, Block]], ladder: np.ndarray) -> ProbeFrames:
    positions, energies, rungs, exchanges, replicas, times = [], [], [], [], [], []
    for exchange, block in parts:
        n_rungs, frames = block.energies.shape
        positions.append(block.positions.reshape(n_rungs * frames, *block.positions.shape[2:]))
        energies.append(block.energies.reshape(-1))
        rungs.append(np.repeat(np.arange(n_rungs), frames))
        exchanges.append(np.full(n_rungs * frames, exchange))
        replicas.append(block.replicas.reshape(-1))
        times.append(np.tile(block.first_frame + np.arange(frames), n_rungs))
    return ProbeFrames(
        np.concatenate(positions),
        np.concatenate(energies),
        np.concatenate(rungs),
        np.concatenate(exchanges),
        np.concatenate(replicas),
        np.concatenate(times),
        ladder,
        0,
        0,
    )
