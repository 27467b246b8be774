"""Several copies of one molecule in OpenMM, each at its own temperature.

The only file of this room that imports OpenMM. A replica is an OpenMM context; exchanges swap the
temperatures of two replicas (and rescale their velocities), not their coordinates, so nothing large
moves. Units: nm, ps, K, kJ/mol.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm
from openmm import unit

from boltzgen.errors import BoltzgenError, InputError, UnsupportedError
from boltzgen.interrupts import StopRequest, in_turns
from boltzgen.system.platforms import platform_names
from boltzgen.units import thermal_energy

_SEED_LIMIT = 2**31 - 1
_TRIAL_SECONDS = 0.4


@dataclass(frozen=True)
class ReplicaState:
    """Everything that a run needs to go on: the phase point and the temperature of each replica.

    Attributes:
        positions: ``(replicas, atoms, 3)`` float64, nm.
        velocities: ``(replicas, atoms, 3)`` float64, nm/ps.
        temperature_index: ``(replicas,)`` int, the rung of the ladder that each replica is on.
    """

    positions: np.ndarray
    velocities: np.ndarray
    temperature_index: np.ndarray


class ReplicaEngine:
    """One OpenMM context per replica, with a LangevinMiddleIntegrator each.

    Args:
        system: the OpenMM ``System``; it is not changed.
        temperatures: ``(replicas,)`` K, the ladder.
        timestep: ps. friction: 1/ps.
        platform: name of an OpenMM platform (see `choose_platform`).
    """

    def __init__(
        self, system: Any, temperatures: Sequence[float], *, timestep: float, friction: float, platform: str
    ) -> None:
        self.temperatures = np.asarray(temperatures, dtype=float)
        self.temperature_index = np.arange(len(self.temperatures))
        self.masses = np.array(
            [system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(system.getNumParticles())]
        )
        self._contexts = [
            _context(system, float(temperature), timestep, friction, platform)
            for temperature in self.temperatures
        ]

    @property
    def n_replicas(self) -> int:
        return len(self._contexts)

    def minimized(self, positions: np.ndarray, iterations: int = 200) -> np.ndarray:
        """`positions` ``(atoms, 3)`` after at most `iterations` steps of L-BFGS to 10 kJ/mol/nm."""
        context = self._contexts[0]
        context.setPositions(positions)
        openmm.LocalEnergyMinimizer.minimize(context, 10.0, iterations)
        return _positions(context.getState(positions=True))

    def thermal_velocities(self, rng: np.random.Generator) -> np.ndarray:
        """Maxwell-Boltzmann velocities, ``(replicas, atoms, 3)`` nm/ps, each replica at its temperature."""
        kt = thermal_energy(self.temperatures[self.temperature_index])
        with np.errstate(divide="ignore"):
            inverse_mass = np.where(self.masses > 0, 1.0 / self.masses, 0.0)
        width = np.sqrt(kt[:, None, None] * inverse_mass[None, :, None])
        return rng.normal(size=(self.n_replicas, len(self.masses), 3)) * width

    def begin(self, state: ReplicaState, seed: np.random.SeedSequence) -> None:
        """Put every replica into `state` and start its noise from `seed` anew.

        A block begun twice from one state and one seed gives the same bytes on the Reference
        platform, which makes a resumed run equal to an uninterrupted one.
        """
        seeds = seed.generate_state(self.n_replicas).astype(np.int64) % (_SEED_LIMIT - 1) + 1
        self.temperature_index = np.array(state.temperature_index)
        for k, context in enumerate(self._contexts):
            integrator = context.getIntegrator()
            integrator.setRandomNumberSeed(int(seeds[k]))
            integrator.setTemperature(float(self.temperatures[self.temperature_index[k]]))
            context.reinitialize()
            context.setPositions(state.positions[k])
            context.setVelocities(state.velocities[k])

    def step(self, steps: int, stop: StopRequest) -> bool:
        """Advance every replica by `steps` steps; BoltzgenError when one of them blows up.

        False when a `stop` came that would have had to wait: the replicas then stand at different times. One
        after the other goes all the way, for on the Reference platform they share one stream of noise.
        """
        for place, context in enumerate(self._contexts):
            try:
                step = context.getIntegrator().step
                if not in_turns(steps, step, stop, beyond=self.n_replicas - place):
                    return False
            except openmm.OpenMMException as error:
                raise BoltzgenError(
                    f"The dynamics broke down in OpenMM ({error}); try a shorter `timestep` "
                    "or a longer `equilibration`."
                ) from error
        return True

    def energies(self) -> np.ndarray:
        """Potential energy of each replica, ``(replicas,)`` kJ/mol."""
        return np.array([_energy(context.getState(energy=True)) for context in self._contexts])

    def frames(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions ``(replicas, atoms, 3)`` nm and potential energies ``(replicas,)`` kJ/mol."""
        states = [context.getState(positions=True, energy=True) for context in self._contexts]
        return np.array([_positions(s) for s in states]), np.array([_energy(s) for s in states])

    def moved(self, proposed: np.ndarray, chance: np.ndarray) -> int:
        """Put replicas where Metropolis' rule takes the positions `proposed` (replicas, atoms, 3); how many.

        chance: (replicas,) uniform in [0, 1). The proposal must be symmetric. Velocities stay.
        """
        kt = thermal_energy(self.temperatures[self.temperature_index])
        taken = 0
        for k, context in enumerate(self._contexts):
            before = context.getState(positions=True, energy=True)
            context.setPositions(proposed[k])
            after = _energy(context.getState(energy=True))
            if np.isfinite(after) and chance[k] < np.exp(min((_energy(before) - after) / kt[k], 0.0)):
                taken += 1
            else:
                context.setPositions(_positions(before))
        return taken

    def swap(self, first: int, second: int) -> None:
        """Exchange the temperatures of two replicas, rescaling velocities by ``sqrt(T_new / T_old)``."""
        old = self.temperatures[self.temperature_index]
        index = self.temperature_index
        index[first], index[second] = index[second], index[first]
        for k in (first, second):
            new = float(self.temperatures[index[k]])
            context = self._contexts[k]
            velocities = _velocities(context.getState(velocities=True))
            context.setVelocities(velocities * np.sqrt(new / old[k]))
            context.getIntegrator().setTemperature(new)

    def state(self) -> ReplicaState:
        """The present state, for a checkpoint."""
        states = [context.getState(positions=True, velocities=True) for context in self._contexts]
        return ReplicaState(
            positions=np.array([_positions(s) for s in states]),
            velocities=np.array([_velocities(s) for s in states]),
            temperature_index=self.temperature_index.copy(),
        )


def choose_platform(system: Any, positions: np.ndarray, *, name: str = "auto", timestep: float = 1e-3) -> str:
    """The platform to run on: `name` itself when this machine has it, or the fastest for ``"auto"``.

    Why measured: for 22 atoms the Reference platform makes ten times the steps of the CPU platform
    with a native GBSAOBCForce, and a tenth of them with a CustomGBForce.
    Raises InputError when `name` is not a platform of this machine.
    """
    known = platform_names()
    if name != "auto":
        match = {k.lower(): k for k in known}.get(name.lower())
        if match is None:
            raise InputError(f"`platform={name!r}`: this machine has {', '.join(known)}; give one, or auto.")
        return match
    rates = platform_rates(system, positions, timestep)
    best = max(rates, key=lambda candidate: rates[candidate])
    if rates[best] <= 0.0:
        raise BoltzgenError("No OpenMM platform of this machine can run this system; see `doctor()`.")
    return best


def platform_rates(
    system: Any, positions: np.ndarray, timestep: float, names: Sequence[str] | None = None
) -> dict[str, float]:
    """Steps of one replica a second on each platform of `names` (default: all here), measured; 0: none."""
    return {name: _rate(system, positions, timestep, name) for name in names or platform_names()}


def refuse_constraints(system: Any) -> None:
    """UnsupportedError when `system` has constraints: a flow needs every bond free."""
    count = system.getNumConstraints()
    if count:
        raise UnsupportedError(
            f"The system has {count} constrained bonds, and a density in all coordinates needs none; "
            'prepare it again with `constraints="none"`.'
        )


def _context(system: Any, temperature: float, timestep: float, friction: float, platform: str) -> Any:
    integrator = openmm.LangevinMiddleIntegrator(
        temperature * unit.kelvin, friction / unit.picosecond, timestep * unit.picoseconds
    )
    chosen = openmm.Platform.getPlatformByName(platform)
    properties = {"Threads": "1", "DeterministicForces": "true"} if platform == "CPU" else {}
    return openmm.Context(system, integrator, chosen, properties)


def _rate(system: Any, positions: np.ndarray, timestep: float, platform: str) -> float:
    """Steps per second on `platform`, 0 when it does not work here; takes about half a second."""
    try:
        context = _context(system, 300.0, timestep, 1.0, platform)
        context.setPositions(positions)
        openmm.LocalEnergyMinimizer.minimize(context, 100.0, 5)
        integrator = context.getIntegrator()
        integrator.step(2)
        steps, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < _TRIAL_SECONDS:
            integrator.step(5)
            steps += 5
        return steps / elapsed
    except openmm.OpenMMException:
        return 0.0


def _positions(state: Any) -> np.ndarray:
    return np.asarray(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer), dtype=float)


def _velocities(state: Any) -> np.ndarray:
    return np.asarray(
        state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond), dtype=float
    )


def _energy(state: Any) -> float:
    return float(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
