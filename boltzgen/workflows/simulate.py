"""`boltzgen simulate`: replica exchange or Langevin dynamics of a prepared molecule, into an MD folder."""

from __future__ import annotations

import math
import re
import sys
import time as clock
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boltzgen.data.statistics import slowest_inefficiencies
from boltzgen.data.trajectory import SCHEMA, read_trajectory
from boltzgen.dynamics.openmm_engine import (
    ReplicaEngine,
    choose_platform,
    openmm_version,
    refuse_constraints,
)
from boltzgen.dynamics.replica_exchange import RunState, initial_state, run_blocks
from boltzgen.dynamics.settings import SimulationSettings
from boltzgen.dynamics.storage import assemble, latest_state, save_block, trajectory_name
from boltzgen.errors import BoltzgenError, InputError, StoppedError, UnsupportedError
from boltzgen.files import read_json, write_json
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress, silent
from boltzgen.system.molecular_system import MolecularSystem

#: What a time may be followed by, and how many ps it is.
_PICOSECONDS = {"fs": 1e-3, "ps": 1.0, "ns": 1e3, "us": 1e6}

#: Settings that a resumed run may change.
_FREE_ON_RESUME = ("time",)


@dataclass(frozen=True)
class SimulationResult:
    """What a finished run tells.

    Attributes:
        folder: the MD folder. frames: per temperature. manifest: what ``manifest.json`` holds.
    """

    folder: Path
    frames: int
    manifest: dict[str, Any]


def parse_time(value: str | float, option: str) -> float:
    """Picoseconds in ``"2ns"``, ``"500 ps"`` or ``"1fs"``; a bare number is refused, a float is in ps."""
    if isinstance(value, int | float):
        return float(value)
    match = re.fullmatch(r"\s*([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([a-zA-Z]*)\s*", value)
    if match is None or match[2].lower() not in _PICOSECONDS:
        raise InputError(
            f"{option} {value!r} is not a time with a unit; write, for example, 2ns, 500ps or 1fs."
        )
    return float(match[1]) * _PICOSECONDS[match[2].lower()]


def parse_temperatures(value: str | float | Sequence[float]) -> tuple[float, ...]:
    """The ladder in ``"300,366,446"`` (K), in a number or in a sequence of them."""
    if isinstance(value, int | float):
        return (float(value),)
    if not isinstance(value, str):
        return tuple(float(v) for v in value)
    try:
        return tuple(float(word.strip().removesuffix("K")) for word in value.split(","))
    except ValueError:
        raise InputError(
            f"--temperatures {value!r} is not a list of numbers; write kelvin, such as 300,366,446."
        ) from None


def simulate(
    system: MolecularSystem | str | Path,
    output: str | Path,
    *,
    temperatures: str | float | Sequence[float] = 300.0,
    time: str | float = "1ns",
    timestep: str | float = "1fs",
    friction: float = 2.0,
    exchange_interval: str | float = "0.5ps",
    save_interval: str | float = "0.5ps",
    equilibration: str | float = "10ps",
    seed: int = 0,
    platform: str = "auto",
    resume: str = "never",
    stop: StopRequest | None = None,
    progress: Progress = silent,
    command: Sequence[str] | None = None,
) -> SimulationResult:
    """Simulate `system` at every temperature of the ladder, with exchanges between neighbours.

    Args:
        system: a `MolecularSystem`, or the SYS folder of one.
        output: the MD folder; must not hold a run unless `resume` is ``"auto"``.
        temperatures: K, rising; one alone is Langevin dynamics.
        time: sampling time of each replica; times are strings with a unit, or floats in ps.
        friction: 1/ps.
        platform: an OpenMM platform, or ``auto`` to measure and take the fastest.
        resume: ``auto`` goes on with (or lengthens) the run in `output`, if there is one.
        stop: polled between blocks (a few seconds each).
        command: recorded in the manifest.

    Raises:
        InputError: something given cannot be used. StoppedError: `stop` was requested; the frames so
        far are readable and the run can go on. BoltzgenError: the dynamics broke down.
    """
    settings = SimulationSettings(
        temperatures=parse_temperatures(temperatures),
        time=parse_time(time, "--time"),
        timestep=parse_time(timestep, "--timestep"),
        friction=friction,
        exchange_interval=parse_time(exchange_interval, "--exchange-interval"),
        save_interval=parse_time(save_interval, "--save-interval"),
        equilibration=parse_time(equilibration, "--equilibration"),
        seed=seed,
    ).checked()
    if resume not in ("auto", "never"):
        raise InputError(f"--resume {resume!r} is unknown; use auto (go on if there is a run) or never.")
    folder = Path(output)
    former = _former_manifest(folder, resume)
    molecule = system if isinstance(system, MolecularSystem) else MolecularSystem.load(system)
    _check_molecule(molecule)
    if former is not None:
        _check_resume(folder, former, molecule, settings)
    job = _Job.begin(folder, molecule, settings, platform, former, command)
    return job.run(stop or StopRequest(), progress)


@dataclass
class _Job:
    """One invocation: a folder, a molecule, settings, and the manifest that is kept up to date."""

    folder: Path
    system: MolecularSystem
    settings: SimulationSettings
    manifest: dict[str, Any]

    @classmethod
    def begin(
        cls,
        folder: Path,
        system: MolecularSystem,
        settings: SimulationSettings,
        platform: str,
        former: dict[str, Any] | None,
        command: Sequence[str] | None,
    ) -> _Job:
        if former is not None and platform == "auto":
            platform = str(former["platform"])
        chosen = choose_platform(
            system.openmm_system(), system.reference_positions, name=platform, timestep=settings.timestep
        )
        manifest = {
            "schema": SCHEMA,
            "status": "partial",
            "reason": "running",
            "command": list(command) if command is not None else None,
            "seed": settings.seed,
            "system": {
                "name": system.name,
                "fingerprint": system.fingerprint,
                "n_atoms": system.n_atoms,
            },
            "settings": settings.model_dump(mode="json"),
            "temperatures_K": list(settings.temperatures),
            "platform": chosen,
            "files": [],
            "frames": {},
            "exchange": None,
            "statistical_inefficiency": {},
            "wall_seconds": 0.0,
            "versions": _versions(),
        }
        for key in ("files", "frames", "exchange", "statistical_inefficiency", "wall_seconds"):
            if former is not None:
                manifest[key] = former.get(key, manifest[key])
        job = cls(folder, system, settings, manifest)
        job._write()
        return job

    def run(self, stop: StopRequest, progress: Progress) -> SimulationResult:
        settings = self.settings
        state = latest_state(self.folder)
        engine = ReplicaEngine(
            self.system.openmm_system(),
            settings.temperatures,
            timestep=settings.timestep,
            friction=settings.friction,
            platform=self.manifest["platform"],
        )
        start, worked = clock.perf_counter(), self.manifest["wall_seconds"]
        try:
            if state is None:
                state = initial_state(engine, self.system.reference_positions, settings)
            first = state.segments
            for block in run_blocks(engine, state, settings):
                state = block.state
                save_block(self.folder, block)
                elapsed = clock.perf_counter() - start
                self.manifest["wall_seconds"] = worked + elapsed
                progress(*_progress(settings, state, first, elapsed))
                if stop.requested and state.frames < settings.n_frames:
                    break
        except BoltzgenError as error:
            self.manifest.update(status="failed", reason=str(error))
            self._write()
            raise
        return self._finish(state, stop)

    def _finish(self, state: RunState, stop: StopRequest) -> SimulationResult:
        frames = assemble(self.folder, self.system, self.settings)
        complete = state.frames >= self.settings.n_frames
        names = [trajectory_name(t) for t in self.settings.temperatures] if frames else []
        self.manifest.update(
            status="complete" if complete else "partial",
            reason="" if complete else stop.reason,
            files=names,
            frames={f"{t:g}": frames for t in self.settings.temperatures} if frames else {},
            exchange=_exchange_summary(self.settings, state),
            statistical_inefficiency={},
        )
        self._write()
        if complete:
            trajectory = read_trajectory(self.folder, self.system)
            self.manifest["statistical_inefficiency"] = slowest_inefficiencies(trajectory, self.system)
            self._write()
            return SimulationResult(self.folder, frames, self.manifest)
        raise StoppedError(
            f"{stop.reason} after {frames} of {self.settings.n_frames} frames at each temperature; "
            f"everything so far is saved in {self.folder}."
        )

    def _write(self) -> None:
        write_json(self.folder / "manifest.json", self.manifest)


def _former_manifest(folder: Path, resume: str) -> dict[str, Any] | None:
    """The manifest of the run in `folder`; None for a fresh start. InputError when it is in the way."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; -o must name a folder to be made.")
    if not (folder / "manifest.json").exists():
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder} holds other files and no simulation; choose another folder for -o.")
        return None
    if resume == "never":
        raise InputError(
            f"{folder} already holds a simulation; add --resume auto to go on, or choose another folder."
        )
    manifest = read_json(folder / "manifest.json")
    needed = ("system", "settings", "platform")
    if (
        not isinstance(manifest, dict)
        or manifest.get("schema") != SCHEMA
        or any(key not in manifest for key in needed)
    ):
        raise InputError(f"{folder / 'manifest.json'} is not of a simulation; choose another folder.")
    return manifest


def _check_molecule(system: MolecularSystem) -> None:
    if system.n_atoms < 2:
        raise InputError(f"The system {system.name!r} has {system.n_atoms} atoms; at least two are needed.")
    refuse_constraints(system.openmm_system())
    if system.energy_model.region is not None:
        raise UnsupportedError(
            f"The energy of {system.name!r} is a hybrid with {system.energy_model.region.backend}, which "
            "OpenMM alone cannot simulate. Prepare the molecule without --ml too, simulate and train on that "
            "one, then give this to `boltzgen sample RUN SYS`, which weights samples by the hybrid energy."
        )


def _check_resume(
    folder: Path, former: dict[str, Any], system: MolecularSystem, settings: SimulationSettings
) -> None:
    if former["system"].get("fingerprint") != system.fingerprint:
        raise InputError(
            f"{folder} was simulated with another system than {system.name!r}; "
            "resume with that one, or choose another folder."
        )
    new = settings.model_dump(mode="json")
    for key, value in former["settings"].items():
        if key not in _FREE_ON_RESUME and new.get(key) != value:
            raise InputError(
                f"{folder} was begun with {key} = {value}, now {new.get(key)} is asked; "
                "resume with the first command (only --time may grow), or choose another folder."
            )
    if settings.time < former["settings"]["time"] and former.get("status") == "complete":
        raise InputError(
            f"{folder} already holds {former['settings']['time']:g} ps, asked are {settings.time:g} ps; "
            "give a longer time, or choose another folder."
        )


def _progress(
    settings: SimulationSettings, state: RunState, first: int, elapsed: float
) -> tuple[int, int, dict[str, float | str]]:
    """Done and total ps of each replica, and what is worth watching."""
    length = settings.segment_steps * settings.timestep
    total = (settings.equilibration_segments + settings.n_frames * settings.segments_per_save) * length
    done = state.segments * length
    rate = (state.segments - first) * length / max(elapsed, 1e-9)
    values: dict[str, float | str] = {
        "ns/day": rate * 86.4,
        "left": f"{(total - done) / max(rate, 1e-12):.0f} s",
    }
    acceptance = [a for a in state.exchanges.acceptance if math.isfinite(a)]
    if acceptance:
        values["lowest exchange rate"] = f"{min(acceptance):.2f}"
    return int(done), int(total), values


def _exchange_summary(settings: SimulationSettings, state: RunState) -> dict[str, Any] | None:
    """Acceptance by neighbour pair (None where nothing was attempted), round trips; None for one rung."""
    ladder, record = settings.temperatures, state.exchanges
    if len(ladder) < 2:
        return None
    pairs = [
        {
            "low_K": low,
            "high_K": high,
            "attempts": int(attempts),
            "accepted": int(accepted),
            "acceptance": float(accepted / attempts) if attempts else None,
        }
        for low, high, attempts, accepted in zip(
            ladder[:-1], ladder[1:], record.attempts, record.accepted, strict=True
        )
    ]
    return {
        "pairs": pairs,
        "round_trips": record.round_trips,
        "half_trips_of_replicas": record.half_trips.tolist(),
    }


def _versions() -> dict[str, str]:
    import h5py
    import numpy

    from boltzgen import __version__

    return {
        "boltzgen": __version__,
        "python": sys.version.split()[0],
        "openmm": openmm_version(),
        "numpy": numpy.__version__,
        "h5py": h5py.__version__,
    }
