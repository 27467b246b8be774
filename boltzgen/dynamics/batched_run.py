"""Replica exchange of thousands of replicas at once: L ladders of K temperatures in one batch.

Row ``l * K + j`` of the batch is replica j of ladder l. The run is made of segments and blocks as in
`replica_exchange`: each block draws from ``SeedSequence(seed, first segment)`` and begins with a fresh
evaluation, so that a run stopped and resumed makes the frames of one that was not (on a CPU to the last bit).

A replica that breaks down (an energy that is not finite, or one that no thermal fluctuation reaches) is put
back where it was one segment before, with new velocities, and counted; many of them end the run. Others never
notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from boltzgen.dynamics.batched_exchange import exchange_round, replicas_on_rungs
from boltzgen.dynamics.batched_langevin import (
    EnergyWithGradient,
    PhasePoint,
    energy_with_gradient,
    langevin,
    minimised,
    of_rows,
    put_back,
    recentred,
    thermal_velocities,
)
from boltzgen.dynamics.exchange import ExchangeRecord
from boltzgen.dynamics.openmm_engine import ReplicaState
from boltzgen.dynamics.replica_exchange import Block, RunState, segments_until
from boltzgen.dynamics.ring_moves import RingMoves, ring_move
from boltzgen.dynamics.settings import BatchedSettings
from boltzgen.dynamics.torsion_moves import Rotors, torsion_move
from boltzgen.errors import BoltzgenError
from boltzgen.interrupts import StopRequest, in_turns
from boltzgen.potentials.base import Potential
from boltzgen.units import GAS_CONSTANT

#: (atoms^2 x steps x replicas) per block: some seconds on one core for a small molecule.
BLOCK_WORK = 3.0e8

#: Steps downhill from each starting structure.
MINIMISATION_STEPS = 200

#: A replica has broken down so many kT (for each coordinate, and for all) above the lowest one of its block.
HIGHEST_ENERGY_EACH, HIGHEST_ENERGY = 10.0, 100.0

#: A block fails when one replica breaks down so often, or this fraction of all segments of replicas does.
MOST_RESTARTS_OF_ONE, MOST_RESTARTS = 5, 0.01


@dataclass(frozen=True, eq=False)
class BatchedProblem:
    """What is simulated.

    Attributes:
        energy: positions (R, N, 3) in nm (or (R, D)) -> energies and gradients.
        masses: (N,) or (D,), dalton. atomic: whether positions are (R, N, 3).
        invariant: whether translations leave the energy as it is.
        boltzmann_constant: in the unit of the energy, per K.
        rotors, rings: what the moves turn that the settings ask for; None where they ask for none.
        device, dtype: of the dynamics.
    """

    energy: EnergyWithGradient
    masses: Tensor
    atomic: bool
    invariant: bool
    boltzmann_constant: float
    device: torch.device
    dtype: torch.dtype
    rotors: Rotors | None = None
    rings: RingMoves | None = None

    @classmethod
    def of(
        cls,
        potential: Potential,
        masses: np.ndarray,
        *,
        boltzmann_constant: float = GAS_CONSTANT,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        rotors: Rotors | None = None,
        rings: RingMoves | None = None,
    ) -> BatchedProblem:
        """`potential` with `masses`; the potential and `rotors` must be on `device` already."""
        weights = torch.as_tensor(np.array(masses, dtype=float), device=device)
        atomic = potential.energy_unit == "kJ/mol"
        return cls(
            energy_with_gradient(potential),
            weights,
            atomic,
            atomic and potential.invariant,
            boltzmann_constant,
            torch.device(device),
            dtype,
            rotors,
            rings,
        )


def relaxed_start(problem: BatchedProblem, reference: np.ndarray) -> np.ndarray:
    """`reference` (N, 3), or several (S, N, 3), after `MINIMISATION_STEPS` downhill in float64: (S, N, 3).

    Costs one evaluation more than steps for each. BoltzgenError when the energy there is not finite.
    """
    one = np.array(reference, dtype=float)
    starts = one[None] if one.ndim == (2 if problem.atomic else 1) else one
    x = torch.as_tensor(starts, device=problem.device)
    found, energy = minimised(x, problem.energy, steps=MINIMISATION_STEPS)
    if not bool(torch.isfinite(energy).all()):
        raise BoltzgenError(
            "The energy of the starting structure is not finite; check the structure with "
            "`prepare(..., check=True)`."
        )
    return found.cpu().numpy()


def initial_state(problem: BatchedProblem, starts: np.ndarray, settings: BatchedSettings) -> RunState:
    """Replica r on rung r modulo K, with velocities of its temperature, at one of the `starts` (S, N, 3).

    Ladder after ladder the starts are shifted by one, so that each rung sees all of them.
    """
    rows = np.arange(settings.replicas)
    rungs = len(settings.temperatures)
    index = rows % rungs
    positions = starts[(rows // rungs + index) % len(starts)]
    x = torch.as_tensor(positions, device=problem.device, dtype=problem.dtype)
    generator = _generator(settings.seed, (0,), problem.device)
    kt = _ladder(problem, settings)[torch.as_tensor(index, device=problem.device)]
    velocities = thermal_velocities(x, kt=kt.to(x.dtype), masses=problem.masses, generator=generator)
    replicas = ReplicaState(x.cpu().numpy(), velocities.cpu().numpy(), index)
    return RunState(replicas, ExchangeRecord.empty(rungs, settings.replicas), segments=0, frames=0)


def run_batched_blocks(
    problem: BatchedProblem,
    state: RunState,
    settings: BatchedSettings,
    stop: StopRequest | None = None,
) -> Iterator[Block]:
    """Yield block after block until every frame of `settings` is there. Stop iterating to stop early.

    A block that would keep `stop` waiting is cut short (`segments_until`) and is the last one. The frames of
    a block stand save after save, and in each save walk after walk.
    """
    per_block = segments_per_block(settings, len(problem.masses))
    while state.segments < settings.total_segments:
        end = min((state.segments // per_block + 1) * per_block, settings.total_segments)
        block = _Run(problem, settings).block(state, end, stop or StopRequest())
        state = block.state
        yield block
        if state.segments < end:
            return


def stepping(problem: BatchedProblem, state: RunState, settings: BatchedSettings) -> Callable[[], object]:
    """A call that makes one step of all replicas from `state`, to be timed; `state` stays as it is."""
    run = _Run(problem, settings)
    point, ladder = run.begin(state.replicas), _ladder(problem, settings)
    rung = torch.as_tensor(state.replicas.temperature_index, device=problem.device)
    return lambda: langevin(
        point,
        problem.energy,
        steps=1,
        timestep=settings.timestep,
        friction=settings.friction,
        kt=ladder[rung].to(problem.dtype),
        masses=problem.masses,
        generator=_generator(settings.seed, (2,), problem.device),
    )


def segments_per_block(settings: BatchedSettings, n_atoms: int) -> int:
    """Segments of a block: a function of the settings and the molecule alone, so that runs repeat."""
    work = settings.segment_evaluations * settings.replicas * max(n_atoms, 4) ** 2
    return max(int(BLOCK_WORK / work) // settings.segments_per_save, 1) * settings.segments_per_save


@dataclass(frozen=True, eq=False)
class _Run:
    """The loop of one block."""

    problem: BatchedProblem
    settings: BatchedSettings

    def block(self, state: RunState, end: int, stop: StopRequest) -> Block:
        settings, problem = self.settings, self.problem
        generator = _generator(settings.seed, (1, state.segments), problem.device)
        ladder = _ladder(problem, settings)
        rung = torch.as_tensor(state.replicas.temperature_index, device=problem.device)
        point = self.begin(state.replicas)
        ceilings = _ceilings(point, ladder)
        exchanges = state.exchanges
        broken, turned, flipped = torch.zeros(3, settings.replicas, dtype=torch.int64, device=problem.device)
        frames: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        reached = state.segments
        for segment in segments_until(state.segments, end, stop):
            kt = ladder[rung].to(problem.dtype)
            moved = self._segment(point, kt, ceilings[rung], generator, stop)
            if moved is None:
                break
            point, sound = moved
            reached = segment
            broken += ~sound
            point = self._turned(point, ladder[rung], turned, generator)
            point = self._flipped(point, ladder[rung], flipped, generator)
            sampling = segment > settings.equilibration_segments
            if sampling and (segment - settings.equilibration_segments) % settings.segments_per_save == 0:
                frames.append(_frame(point, rung, len(ladder)))
            if len(ladder) > 1 and segment % settings.segments_per_exchange == 0:
                number = segment // settings.segments_per_exchange
                swaps = exchange_round(number, point.energy, rung, 1.0 / ladder, generator)
                faster = (ladder[swaps.rung] / ladder[rung]).sqrt().to(problem.dtype)
                point = replace(point, velocities=of_rows(faster, point.velocities) * point.velocities)
                rung = swaps.rung
                if sampling:
                    exchanges = _counted(exchanges, swaps.low, swaps.accepted, rung)
        self._check(broken, reached - state.segments)
        replicas = ReplicaState(
            point.positions.cpu().numpy(), point.velocities.cpu().numpy(), rung.cpu().numpy()
        )
        count = state.frames + len(frames) * settings.walks
        done = RunState(
            replicas,
            exchanges,
            reached,
            count,
            state.restarts + int(broken.sum()),
            state.torsion_moves + int(turned.sum()),
            state.ring_moves + int(flipped.sum()),
        )
        return _block(state.frames, frames, len(ladder), replicas.positions.shape[1:], done)

    def begin(self, replicas: ReplicaState) -> PhasePoint:
        """The phase point of `replicas`, with a fresh evaluation."""
        x, v = (
            torch.as_tensor(values, device=self.problem.device, dtype=self.problem.dtype)
            for values in (replicas.positions, replicas.velocities)
        )
        return PhasePoint(x, v, *self.problem.energy(x))

    def _segment(
        self, point: PhasePoint, kt: Tensor, ceiling: Tensor, generator: torch.Generator, stop: StopRequest
    ) -> tuple[PhasePoint, Tensor] | None:
        """The point one segment later, and which rows (R,) got there without breaking down.

        None where it was given up, for a `stop` would have had to wait.
        """
        settings, masses = self.settings, self.problem.masses
        new, sound = point, torch.ones_like(point.energy, dtype=torch.bool)

        def advance(steps: int) -> None:
            nonlocal new, sound
            new, still = langevin(
                new,
                self.problem.energy,
                steps=steps,
                timestep=settings.timestep,
                friction=settings.friction,
                kt=kt,
                masses=masses,
                generator=generator,
            )
            sound = sound & still

        if not in_turns(settings.segment_steps, advance, stop):
            return None
        sound = sound & (new.energy < ceiling) & torch.isfinite(new.velocities).flatten(1).all(dim=1)
        fresh = thermal_velocities(point.positions, kt=kt, masses=masses, generator=generator)
        new = put_back(new, point, sound, fresh)
        return (recentred(new) if self.problem.invariant else new), sound

    def _turned(
        self, point: PhasePoint, kt: Tensor, turned: Tensor, generator: torch.Generator
    ) -> PhasePoint:
        """The point after the moves about bonds, which are counted in `turned` (R,)."""
        rotors = self.problem.rotors
        if not rotors:
            return point
        for _ in range(self.settings.torsion_moves):
            point, taken = torsion_move(point, self.problem.energy, rotors, kt=kt, generator=generator)
            turned += taken
        return point

    def _flipped(
        self, point: PhasePoint, kt: Tensor, flipped: Tensor, generator: torch.Generator
    ) -> PhasePoint:
        """The point after the moves of rings, which are counted in `flipped` (R,)."""
        rings = self.problem.rings
        if not rings:
            return point
        for _ in range(self.settings.ring_moves):
            point, taken = ring_move(point, self.problem.energy, rings, kt=kt, generator=generator)
            flipped += taken
        return point

    def _check(self, broken: Tensor, segments: int) -> None:
        worst, total = int(broken.max()), int(broken.sum())
        allowed = max(MOST_RESTARTS_OF_ONE - 1, MOST_RESTARTS * segments * len(broken))
        if worst >= MOST_RESTARTS_OF_ONE or total > allowed:
            raise BoltzgenError(
                f"The dynamics broke down: {total} times in {segments} segments of {len(broken)} replicas "
                f"energies were not finite or absurd; use a shorter `timestep` than "
                f"{self.settings.timestep * 1e3:g}fs or a longer `equilibration`."
            )


def _ceilings(point: PhasePoint, ladder: Tensor) -> Tensor:
    """Energies (K,) that no sound replica of each rung reaches: far above the lowest of `point`."""
    unbounded = torch.full_like(point.energy, torch.inf)
    lowest = torch.where(torch.isfinite(point.energy), point.energy, unbounded).min()
    return lowest + (HIGHEST_ENERGY_EACH * point.positions[0].numel() + HIGHEST_ENERGY) * ladder


def _ladder(problem: BatchedProblem, settings: BatchedSettings) -> Tensor:
    """kT of each rung (K,), float64."""
    kelvin = torch.tensor(settings.temperatures, dtype=torch.float64, device=problem.device)
    return problem.boltzmann_constant * kelvin


def _generator(seed: int, key: tuple[int, ...], device: torch.device) -> torch.Generator:
    words = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(words[0] >> np.uint64(1)))


def _frame(point: PhasePoint, rung: Tensor, rungs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (K, L, ...), energies and rows (K, L) of one save, coldest rung first."""
    rows = replicas_on_rungs(rung, rungs).T
    return (
        point.positions[rows].float().cpu().numpy(),
        point.energy[rows].double().cpu().numpy(),
        rows.cpu().numpy().astype(np.int32),
    )


def _block(
    first: int,
    frames: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    rungs: int,
    shape: tuple[int, ...],
    state: RunState,
) -> Block:
    if not frames:
        empty = np.zeros((rungs, 0))
        return Block(first, np.zeros((rungs, 0, *shape), np.float32), empty, empty.astype(np.int32), state)
    positions, energies, rows = (np.concatenate(column, axis=1) for column in zip(*frames, strict=True))
    return Block(first, positions, energies, rows, state)


def _counted(record: ExchangeRecord, low: Tensor, accepted: Tensor, rung: Tensor) -> ExchangeRecord:
    lower = low.cpu().numpy()
    tried = np.tile(lower, len(accepted))
    return record.after(tried, tried[accepted.cpu().numpy().ravel()], rung.cpu().numpy())
