"""What makes the steps of `simulate`: OpenMM replica by replica, or torch, all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from boltzgen.dynamics.batched_run import (
    MINIMISATION_STEPS,
    BatchedProblem,
    relaxed_start,
    run_batched_blocks,
    segments_per_block,
    stepping,
)
from boltzgen.dynamics.batched_run import initial_state as initial_batched_state
from boltzgen.dynamics.masses import with_heavy_hydrogens
from boltzgen.dynamics.openmm_engine import ReplicaEngine, choose_platform
from boltzgen.dynamics.replica_exchange import Block, RunState, initial_state, run_blocks
from boltzgen.dynamics.ring_moves import RingMoves
from boltzgen.dynamics.settings import BatchedSettings, SimulationSettings
from boltzgen.dynamics.torsion_moves import Rotors
from boltzgen.errors import UnsupportedError
from boltzgen.interrupts import StopRequest
from boltzgen.potentials.base import Potential
from boltzgen.potentials.fast.compiled import decide_compilation
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.molecular_system import MolecularSystem


class Engine(Protocol):
    """What a run needs of an engine; `platform` is recorded."""

    platform: str

    def start(self) -> RunState: ...

    def blocks(self, state: RunState, stop: StopRequest) -> Iterator[Block]: ...

    def record(self, state: RunState) -> dict[str, Any]:
        """Keys of the manifest beyond those of all engines."""

    def close(self) -> None: ...


@dataclass
class OpenMMEngine:
    """One OpenMM context for each temperature. starts: (S, N, 3) nm, of a run that begins."""

    system: MolecularSystem
    settings: SimulationSettings
    platform: str
    starts: np.ndarray

    def __post_init__(self) -> None:
        if self.system.energy_model.region is not None:
            backend = self.system.energy_model.region.backend
            raise UnsupportedError(
                f"The energy of {self.system.name!r} is a hybrid with {backend}, which OpenMM alone cannot "
                'simulate; add `engine="torch"`, or prepare the molecule without `ml` too and simulate that.'
            )
        self.platform = choose_platform(
            self.system.openmm_system(),
            self.system.reference_positions,
            name=self.platform,
            timestep=self.settings.timestep,
        )
        self._rings = rings_of(self.system, self.settings)

    def start(self) -> RunState:
        return initial_state(self._engine(), self.starts, self.settings)

    def blocks(self, state: RunState, stop: StopRequest) -> Iterator[Block]:
        return run_blocks(self._engine(), state, self.settings, stop, self._rings)

    def record(self, state: RunState) -> dict[str, Any]:
        return {
            "ring_moves": record_of_moves(self._rings, state, self.settings, len(self.settings.temperatures))
        }

    def close(self) -> None:
        """Nothing is held."""

    def _engine(self) -> ReplicaEngine:
        settings = self.settings
        return ReplicaEngine(
            self.system.openmm_system(),
            settings.temperatures,
            timestep=settings.timestep,
            friction=settings.friction,
            platform=self.platform,
        )


@dataclass
class TorchEngine:
    """All replicas in one batch, on the energy that `train` and `sample` use.

    starts: (S, N, 3) nm, of a run that begins. begun: how many there were.
    """

    system: MolecularSystem
    settings: BatchedSettings
    device: str
    compile_energies: bool | None
    starts: np.ndarray
    begun: int
    platform: str = field(init=False)
    compilation: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        rotors = Rotors.of(self.system, self.device) if self.settings.torsion_moves else None
        if not rotors:  # moves that nothing can make cost nothing
            self.settings = self.settings.model_copy(update={"torsion_moves": 0})
        rings = rings_of(self.system, self.settings)
        if not rings:
            self.settings = self.settings.model_copy(update={"ring_moves": 0})
        settings = self.settings
        self.platform = f"torch {self.device}"
        self._potential: Potential = potential_of(self.system).to(self.device)
        expected = settings.total_segments * settings.segment_evaluations
        self.compilation = decide_compilation(
            [self._potential], float(expected) * settings.replicas, self.compile_energies, self.device
        )
        masses = self.system.masses
        if settings.hydrogen_mass is not None:
            masses = with_heavy_hydrogens(
                masses, self.system.atomic_numbers, self.system.bonds, settings.hydrogen_mass
            )
        dtype = torch.float32 if settings.precision == "single" else torch.float64
        self._problem = BatchedProblem.of(
            self._potential, masses, device=self.device, dtype=dtype, rotors=rotors, rings=rings
        )

    def start(self) -> RunState:
        positions = relaxed_start(self._problem, self.starts)
        return initial_batched_state(self._problem, positions, self.settings)

    def blocks(self, state: RunState, stop: StopRequest) -> Iterator[Block]:
        return run_batched_blocks(self._problem, state, self.settings, stop)

    def seconds_of_a_step(self, timed: Callable[[Callable[[], object]], float]) -> float:
        """Wall seconds of one step of all replicas, as `timed` measures a call; the run is not touched."""
        stepped = stepping(
            self._problem, initial_batched_state(self._problem, self.starts, self.settings), self.settings
        )
        return timed(stepped)

    def record(self, state: RunState) -> dict[str, Any]:
        """Evaluations (rows) of everything, independent walks, compilation and breakdowns."""
        settings = self.settings
        blocks = -(-state.segments // segments_per_block(settings, self.system.n_atoms))
        return {
            "ring_moves": record_of_moves(self._problem.rings, state, settings, settings.replicas),
            "energy_evaluations": (MINIMISATION_STEPS + 1) * self.begun
            + settings.replicas * (state.segments * settings.segment_evaluations + blocks),
            "torch": {
                "walks": settings.walks,
                "threads": torch.get_num_threads(),
                "compilation": self.compilation,
                "restarts": state.restarts,
                "torsion_moves": self._moves(state),
            },
        }

    def _moves(self, state: RunState) -> dict[str, Any] | None:
        """Moves about bonds: how many bonds there are, moves tried and taken; None where none were asked."""
        if self._problem.rotors is None:
            return None
        tried = state.segments * self.settings.torsion_moves * self.settings.replicas
        return {"bonds": len(self._problem.rotors), "tried": tried, "taken": state.torsion_moves}

    def close(self) -> None:
        self._potential.close()


def rings_of(system: MolecularSystem, settings: SimulationSettings) -> RingMoves | None:
    """The moves of rings that `settings` ask for; None where they ask for none or no ring has one."""
    return (RingMoves.of(system) or None) if settings.ring_moves else None


def record_of_moves(
    rings: RingMoves | None, state: RunState, settings: SimulationSettings, replicas: int
) -> dict[str, int] | None:
    """How many flips of rings and inversions of nitrogens there are, and moves tried and taken; or None."""
    if rings is None:
        return None
    tried = state.segments * settings.ring_moves * replicas
    kinds = {"flips": rings.flips, "nitrogens": len(rings) - rings.flips}
    return {**kinds, "tried": tried, "taken": state.ring_moves}
