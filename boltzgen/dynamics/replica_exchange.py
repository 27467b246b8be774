"""The run: blocks of segments, each block ending in a state from which the next one starts.

Words. A *segment* is the time between two events (a saved frame, a round of exchanges). A *block* is a
fixed number of segments; its noise starts from ``SeedSequence(seed, first segment)`` and its exchanges
draw from the same, so a block is a function of the state before it. A run interrupted between two blocks
and resumed therefore writes the same frames as one that was not (to the last bit on OpenMM's Reference
platform), unless a stop cut a slow block short (`segments_until`). Frames and the state after them travel in
one record, so none is lost or written twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from boltzgen.dynamics.exchange import ExchangeRecord, swaps_of_round
from boltzgen.dynamics.openmm_engine import ReplicaEngine, ReplicaState
from boltzgen.dynamics.ring_moves import RingMoves
from boltzgen.dynamics.settings import SimulationSettings
from boltzgen.errors import BoltzgenError
from boltzgen.interrupts import PATIENCE, StopRequest

#: (atoms^2 x steps x replicas) per block: one or two seconds on one core for a small molecule.
_BLOCK_WORK = 3.0e7


@dataclass(frozen=True)
class RunState:
    """Where a run stands after a block.

    Attributes:
        replicas: positions, velocities and rungs of the replicas.
        exchanges: counts since the end of equilibration.
        segments: segments done, equilibration included.
        frames: frames written per temperature.
        restarts: how often a replica broke down and was put back (the torch engine does that).
        torsion_moves: moves about bonds that were taken, all replicas together (the torch engine's).
        ring_moves: moves that turned a ring over and were taken, all replicas together.
    """

    replicas: ReplicaState
    exchanges: ExchangeRecord
    segments: int
    frames: int
    restarts: int = 0
    torsion_moves: int = 0
    ring_moves: int = 0


@dataclass(frozen=True)
class Block:
    """The frames of one block, sorted by temperature, and the state after it.

    Attributes:
        first_frame: index of its first frame in the run.
        positions: ``(temperatures, frames, atoms, 3)`` float32, nm.
        energies: ``(temperatures, frames)`` float64, kJ/mol.
        replicas: ``(temperatures, frames)`` int32, the replica that was there.
        state: the state after the block.
    """

    first_frame: int
    positions: np.ndarray
    energies: np.ndarray
    replicas: np.ndarray
    state: RunState


def segments_per_block(settings: SimulationSettings, n_atoms: int) -> int:
    """Segments of a block: a function of the settings and the molecule alone, so that runs repeat."""
    work = settings.segment_steps * len(settings.temperatures) * max(n_atoms, 4) ** 2
    saves = max(int(_BLOCK_WORK / work) // settings.segments_per_save, 1)
    return saves * settings.segments_per_save


def initial_state(engine: ReplicaEngine, positions: np.ndarray, settings: SimulationSettings) -> RunState:
    """The replicas at the minimised `positions` ``(starts, atoms, 3)`` in turn, with thermal velocities."""
    rungs = len(settings.temperatures)
    relaxed = np.stack([engine.minimized(start) for start in positions[:rungs]])
    if not np.isfinite(relaxed).all():
        raise BoltzgenError(
            "Minimising the starting structure gave coordinates that are not finite; "
            "check the structure with `prepare(..., check=True)`."
        )
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=(0,)))
    replicas = ReplicaState(
        positions=relaxed[np.arange(rungs) % len(relaxed)],
        velocities=engine.thermal_velocities(rng),
        temperature_index=np.arange(rungs),
    )
    return RunState(replicas, ExchangeRecord.empty(rungs), segments=0, frames=0)


def run_blocks(
    engine: ReplicaEngine,
    state: RunState,
    settings: SimulationSettings,
    stop: StopRequest | None = None,
    rings: RingMoves | None = None,
) -> Iterator[Block]:
    """Yield block after block until every frame of `settings` is there. Stop iterating to stop early.

    A block that would keep `stop` waiting is cut short (`segments_until`) and is the last one. `rings`: what
    the moves turn over that `settings` ask for.
    """
    per_block = segments_per_block(settings, len(engine.masses))
    last = settings.total_segments
    while state.segments < last:
        end = min((state.segments // per_block + 1) * per_block, last)
        block = _run_block(engine, state, settings, end, stop or StopRequest(), rings)
        state = block.state
        yield block
        if state.segments < end:
            return


def segments_until(first: int, end: int, stop: StopRequest) -> Iterator[int]:
    """Numbers of the segments of a block after `first` up to `end`, the last one that is yielded being done.

    Fewer where `stop` would have to wait for longer than `PATIENCE`: what is cut short goes on with noise
    that begins anew, so that its frames differ from those of a run that nobody stopped; their statistics do
    not.
    """
    began = time.monotonic()
    for segment in range(first + 1, end + 1):
        yield segment
        each = (time.monotonic() - began) / (segment - first)
        if (end - segment) * each > PATIENCE and not stop.leaves(each / 2):
            return


def _run_block(
    engine: ReplicaEngine,
    state: RunState,
    settings: SimulationSettings,
    end: int,
    stop: StopRequest,
    rings: RingMoves | None,
) -> Block:
    temperatures = np.asarray(settings.temperatures)
    noise, choices = np.random.SeedSequence(settings.seed, spawn_key=(1, state.segments)).spawn(2)
    rng = np.random.default_rng(choices)
    engine.begin(state.replicas, noise)
    exchanges = state.exchanges
    frames: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    before: ReplicaState | None = state.replicas  # at the end of the segment before, where it may be needed
    reached, flipped = state.segments, 0
    for segment in segments_until(state.segments, end, stop):
        begin = time.monotonic()
        if not engine.step(settings.segment_steps, StopRequest() if before is None else stop):
            return _block(engine, state, frames, before, exchanges, reached, flipped)
        if rings:
            flipped += _flipped(engine, rings, settings.ring_moves, rng)
        slow = time.monotonic() - begin > PATIENCE / 2
        sampling = segment > settings.equilibration_segments
        if sampling and (segment - settings.equilibration_segments) % settings.segments_per_save == 0:
            positions, energies = engine.frames()
            order = np.argsort(engine.temperature_index)
            frames.append((positions[order].astype(np.float32), energies[order], order.astype(np.int32)))
        elif len(temperatures) > 1 and segment % settings.segments_per_exchange == 0:
            energies = engine.energies()
        else:
            energies = np.zeros(0)
        _require_finite(energies, engine, settings, segment)
        if len(temperatures) > 1 and segment % settings.segments_per_exchange == 0:
            round_index = segment // settings.segments_per_exchange
            attempted, accepted = swaps_of_round(
                round_index, energies, temperatures, engine.temperature_index, rng
            )
            for _, cold, hot in accepted:
                engine.swap(cold, hot)
            if sampling:
                exchanges = exchanges.after(attempted, [a[0] for a in accepted], engine.temperature_index)
        reached, before = segment, engine.state() if slow else None
    return _block(engine, state, frames, before, exchanges, reached, flipped)


def _flipped(engine: ReplicaEngine, rings: RingMoves, number: int, rng: np.random.Generator) -> int:
    """How many of `number` moves of each replica that turn `rings` over were taken."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    taken = 0
    for _ in range(number):
        proposed = rings.proposed(torch.as_tensor(engine.state().positions), generator)
        taken += engine.moved(proposed.numpy(), rng.random(engine.n_replicas))
    return taken


def _block(
    engine: ReplicaEngine,
    state: RunState,
    frames: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    replicas: ReplicaState | None,
    exchanges: ExchangeRecord,
    reached: int,
    flipped: int,
) -> Block:
    """The block after `state`, with `replicas` (None: as they are) at the end of the segment `reached`."""
    n_atoms, rungs = len(engine.masses), engine.n_replicas
    done = RunState(
        replicas or engine.state(),
        exchanges,
        reached,
        state.frames + len(frames),
        ring_moves=state.ring_moves + flipped,
    )
    if not frames:
        empty = np.zeros((rungs, 0))
        return Block(
            state.frames, np.zeros((rungs, 0, n_atoms, 3), np.float32), empty, empty.astype(np.int32), done
        )
    positions, energies, rows = (np.stack(column, axis=1) for column in zip(*frames, strict=True))
    return Block(state.frames, positions, energies, rows, done)


def _require_finite(
    energies: np.ndarray, engine: ReplicaEngine, settings: SimulationSettings, segment: int
) -> None:
    bad = ~np.isfinite(energies)
    if bad.any():
        temperature = engine.temperatures[engine.temperature_index[int(np.argmax(bad))]]
        raise BoltzgenError(
            f"The energy at {temperature:g} K was not finite after "
            f"{segment * settings.segment_steps * settings.timestep:g} ps; "
            f"use a shorter `timestep` than {settings.timestep * 1e3:g}fs or a longer `equilibration`."
        )
