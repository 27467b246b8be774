"""``simulate``: replica exchange or Langevin dynamics of a prepared molecule, into an MD folder."""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from boltzgen.contents import check_output
from boltzgen.data.manifest import SCHEMA, read_manifest
from boltzgen.data.statistics import drifts, slow_torsions, slowest_inefficiencies
from boltzgen.data.trajectory import read_trajectory
from boltzgen.digests import file_digests, require_unchanged, signed
from boltzgen.dynamics.openmm_engine import refuse_constraints
from boltzgen.dynamics.replica_exchange import RunState
from boltzgen.dynamics.settings import MOST_REPLICAS, BatchedSettings, SimulationSettings
from boltzgen.dynamics.starts import WORDS, Starts, starts_of
from boltzgen.dynamics.storage import assemble, latest_state, save_block, trajectory_name
from boltzgen.errors import BoltzgenError, InputError, StoppedError
from boltzgen.files import write_json
from boltzgen.folders import alone_in, holds_other_files
from boltzgen.guards import torch_threads
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress, silent
from boltzgen.provenance import versions
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.trust.crossings import crossings_of, judge_drift, judge_starts, replicas_of
from boltzgen.trust.rings import RingWalks, rings_of_frames
from boltzgen.workflows.options import takes
from boltzgen.workflows.simulation.asked import as_before, engines_of, settings_of
from boltzgen.workflows.simulation.engines import Engine, OpenMMEngine, TorchEngine
from boltzgen.workflows.simulation.options import SimulateKeywords, SimulateOptions
from boltzgen.workflows.simulation.record import Simulation
from boltzgen.workflows.simulation.report import exchange_summary, progress_of
from boltzgen.workflows.timing.expectation import Expect
from boltzgen.workflows.timing.simulation import expected

#: Settings that a resumed run may change.
_FREE_ON_RESUME = ("time",)

#: Seconds below which a limit of time leaves nothing for a compiler.
LEAST_TO_COMPILE = 120.0


@takes(SimulateOptions)
def simulate(
    system: MolecularSystem | str | PathLike[str],
    output: str | PathLike[str],
    *,
    resume: str = "never",
    stop: StopRequest | None = None,
    progress: Progress = silent,
    expect: Expect | None = None,
    command: Sequence[str] | None = None,
    **options: Unpack[SimulateKeywords],
) -> Simulation:
    """Simulate `system` at every temperature of a ladder, with exchanges between neighbours.

    Parameters
    ----------
    system: a molecule in memory, its SYS folder, or ``example:NAME``.
    output: the MD folder; must not hold a run unless `resume` is ``"auto"``.
    resume: ``auto`` goes on with (or lengthens) the run in `output`, if there is one.
    stop: polled every few seconds. command: recorded in the manifest.
    expect: told how long it will take before it begins.
    options: the fields of `SimulateOptions`: temperatures (K), time, timestep, friction (1/ps),
        exchange_interval, save_interval, equilibration, seed, engine, platform, starts, ring_moves, replicas,
        device, hydrogen_mass (dalton), torsion_moves, precision, compile_energies. Times are text with a unit
        or ps.

    Returns
    -------
    Simulation: the content of ``MD/manifest.json``; `boltzgen.load_trajectory` reads the frames.

    Raises
    ------
    InputError: something given cannot be used. StoppedError: `stop` was requested; the frames so
    far are readable and the run can go on. BoltzgenError: the dynamics broke down.

    Notes
    -----
    Langevin dynamics, and replica exchange after Sugita and Okamoto, Chem. Phys. Lett. 314, 141 (1999).

    Example
    -------
    >>> import boltzgen as bg
    >>> made = bg.simulate("SYS", "MD", temperatures=[300, 600], time="1ps", save_interval="20fs",
    ...                    exchange_interval="100fs", equilibration="0.1ps")
    >>> made.frames, made.temperatures
    (50, (300.0, 600.0))
    """
    asked = SimulateOptions(**options)
    for engine in engines_of(asked):
        settings_of(asked, engine)  # refused before anything is read
    if resume not in ("auto", "never"):
        raise InputError(f"`resume={resume!r}` is unknown; use auto (go on if there is a run) or never.")
    if Path(output).exists() and not Path(output).is_dir():
        raise InputError(f"{output} is a file; `output` must name a folder to be made.")
    check_output(output, "simulation")
    molecule = system if isinstance(system, MolecularSystem) else MolecularSystem.load(str(system))
    _check_molecule(molecule)
    given = starts_of(molecule, asked.starts, MOST_REPLICAS) if asked.starts not in WORDS else None
    with alone_in(output) as folder:
        former = _former_manifest(folder, resume)
        asked = asked if former is None else as_before(asked, former)
        candidates = {engine: settings_of(asked, engine) for engine in engines_of(asked, molecule)}
        if former is not None:
            _check_resume(folder, former, molecule, next(iter(candidates.values())))
        threads = None
        if len(candidates) > 1 or expect is not None:
            found = expected(molecule, candidates, asked, done=_segments_in(folder))
            if expect is not None:
                expect(found)
            candidates = {found.chosen.engine: candidates[found.chosen.engine]}
            asked, threads = found.decided(asked), found.chosen.threads
        settings = next(iter(candidates.values()))
        ends = stop or StopRequest()
        starts, told = _starts(folder, former, molecule, settings, asked, given)
        with torch_threads(threads), closing(_engine(molecule, settings, asked, ends, starts, told)) as maker:
            job = _Job.begin(folder, molecule, settings, maker, former, command, told)
            return job.run(ends, progress)


def _starts(
    folder: Path,
    former: dict[str, Any] | None,
    molecule: MolecularSystem,
    settings: SimulationSettings,
    asked: SimulateOptions,
    given: Starts | None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Where the replicas begin (S, N, 3), or began, and what the manifest says of it."""
    reference = molecule.reference_positions[None]
    if former is not None and latest_state(folder) is not None:
        return reference, former.get("starts") or {"source": "reference", "number": 1}
    most = int(getattr(settings, "replicas", len(settings.temperatures)))
    found = (given or starts_of(molecule, asked.starts, most)).at_most(most)
    return found.positions, {"source": found.source, "number": len(found.positions)}


def _engine(
    molecule: MolecularSystem,
    settings: SimulationSettings,
    asked: SimulateOptions,
    stop: StopRequest,
    starts: np.ndarray,
    told: dict[str, Any],
) -> Engine:
    if not isinstance(settings, BatchedSettings):
        return OpenMMEngine(molecule, settings, asked.platform, starts)
    compiled = asked.compile_energies
    if compiled is None and stop.left < LEAST_TO_COMPILE:
        compiled = False
    return TorchEngine(molecule, settings, asked.device or "cpu", compiled, starts, told["number"])


def _segments_in(folder: Path) -> int:
    """How far the run in `folder` is."""
    state = latest_state(folder)
    return 0 if state is None else state.segments


@dataclass
class _Job:
    """One invocation: a folder, a molecule, settings, and the manifest that is kept up to date."""

    folder: Path
    system: MolecularSystem
    settings: SimulationSettings
    engine: Engine
    manifest: dict[str, Any]

    @classmethod
    def begin(
        cls,
        folder: Path,
        system: MolecularSystem,
        settings: SimulationSettings,
        engine: Engine,
        former: dict[str, Any] | None,
        command: Sequence[str] | None,
        starts: dict[str, Any],
    ) -> _Job:
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
            "platform": engine.platform,
            "starts": starts,
            "files": [],
            "frames": {},
            "exchange": None,
            "statistical_inefficiency": {},
            "wall_seconds": 0.0,
            "sha256": {},
            "versions": versions("boltzgen", "python", "openmm", "numpy", "h5py"),
        }
        for key in ("files", "frames", "exchange", "statistical_inefficiency", "wall_seconds", "sha256"):
            if former is not None:
                manifest[key] = former.get(key, manifest[key])
        require_unchanged(folder, manifest["sha256"], "copy it anew, or simulate into another folder.")
        job = cls(folder, system, settings, engine, manifest)
        job._write()
        return job

    def _latest_state(self) -> RunState | None:
        """Where the run in the folder stands; None for a fresh one. InputError where it is of another run."""
        state = latest_state(self.folder)
        if state is not None:
            replicas, atoms, _ = state.replicas.positions.shape
            expected = getattr(self.settings, "replicas", len(self.settings.temperatures))
            pairs = len(state.exchanges.attempts)
            if (replicas, atoms, pairs + 1) != (
                expected,
                self.system.n_atoms,
                len(self.settings.temperatures),
            ):
                raise InputError(
                    f"{self.folder}: its state is that of {replicas} replicas of {atoms} atoms at "
                    f"{pairs + 1} temperatures, another run; choose another folder."
                )
        return state

    def run(self, stop: StopRequest, progress: Progress) -> Simulation:
        settings = self.settings
        state = self._latest_state()
        start, worked = clock.perf_counter(), self.manifest["wall_seconds"]
        try:
            if state is None:
                state = self.engine.start()
            first = state.segments
            for block in self.engine.blocks(state, stop):
                state = block.state
                save_block(self.folder, block)
                elapsed = clock.perf_counter() - start
                self.manifest["wall_seconds"] = worked + elapsed
                progress(*progress_of(settings, state, first, elapsed))
                if stop.requested and state.frames < settings.n_frames:
                    break
        except BoltzgenError as error:
            self.manifest.update(status="failed", reason=str(error))
            self._write()
            raise
        return self._finish(state, stop)

    def _finish(self, state: RunState, stop: StopRequest) -> Simulation:
        self.manifest["sha256"] = {}  # while the files are written anew, nothing vouches for them
        self._write()
        frames = assemble(self.folder, self.system, self.settings)
        complete = state.frames >= self.settings.n_frames
        names = [trajectory_name(t) for t in self.settings.temperatures] if frames else []
        self.manifest.update(
            status="complete" if complete else "partial",
            reason="" if complete else stop.reason,
            files=names,
            sha256=file_digests(self.folder, names),
            frames={f"{t:g}": frames for t in self.settings.temperatures} if frames else {},
            exchange=exchange_summary(self.settings, state),
            statistical_inefficiency={},
        )
        record = self.engine.record(state)
        self.manifest.update(record)
        self._write()
        if complete:
            trajectory = read_trajectory(self.folder, self.system)
            self.manifest["statistical_inefficiency"] = slowest_inefficiencies(trajectory, self.system)
            coldest = float(min(self.settings.temperatures))
            walks = self.settings.walks
            replicas = RingWalks(trajectory.positions, replicas_of(trajectory, walks).crossings)
            rings = rings_of_frames(self.system, trajectory.at(coldest).positions, coldest, replicas)
            if rings is not None:
                self.manifest["rings"] = rings
            states = crossings_of(trajectory, self.system, walks)
            cautions = judge_starts(states)
            if "torch" in record:
                found = drifts(trajectory, self.system, walks)
                record["torch"]["drift"] = found
                cautions += judge_drift(found, walks, len(slow_torsions(self.system)))
            self.manifest["crossings"] = {"states": states, "cautions": cautions}
            self._write()
            return Simulation(self.manifest, self.folder, frames)
        raise StoppedError(
            f"{stop.reason} after {frames} of {self.settings.n_frames} frames at each temperature; "
            f"everything so far is saved in {self.folder}.",
            result=Simulation(self.manifest, self.folder, frames),
        )

    def _write(self) -> None:
        self.manifest = signed(self.manifest)
        write_json(self.folder / "manifest.json", self.manifest)


def _former_manifest(folder: Path, resume: str) -> dict[str, Any] | None:
    """The manifest of the run in `folder`; None for a fresh start. InputError when it is in the way."""
    if not (folder / "manifest.json").exists():
        if holds_other_files(folder):
            raise InputError(f"{folder} holds other files and no simulation; choose another folder.")
        return None
    if resume == "never":
        raise InputError(
            f'{folder} already holds a simulation; add `resume="auto"` to go on, or choose another folder.'
        )
    manifest = read_manifest(folder, "choose another folder.")
    if manifest.get("settings") is None or not manifest.get("platform"):
        raise InputError(f"{folder / 'manifest.json'} is not of a simulation; choose another folder.")
    return manifest


def _check_molecule(system: MolecularSystem) -> None:
    if system.n_atoms < 2:
        raise InputError(f"The system {system.name!r} has {system.n_atoms} atoms; at least two are needed.")
    refuse_constraints(system.openmm_system())


def _check_resume(
    folder: Path, former: dict[str, Any], system: MolecularSystem, settings: SimulationSettings
) -> None:
    if former["system"].get("fingerprint") != system.fingerprint:
        raise InputError(
            f"{folder} was simulated with another system than {system.name!r}; "
            "resume with that one, or choose another folder."
        )
    new = settings.model_dump(mode="json")
    engines = [str(record.get("engine", "openmm")) for record in (former["settings"], new)]
    if engines[0] != engines[1]:
        raise InputError(
            f'{folder} was begun with `engine="{engines[0]}"`, now {engines[1]} is asked; resume with the '
            "first command, or choose another folder."
        )
    for key, value in former["settings"].items():
        if key not in _FREE_ON_RESUME and new.get(key) != value:
            raise InputError(
                f"{folder} was begun with {key} = {value}, now {new.get(key)} is asked; "
                "resume with the first command (only `time` may grow), or choose another folder."
            )
    if settings.time < former["settings"]["time"] and former.get("status") == "complete":
        raise InputError(
            f"{folder} already holds {former['settings']['time']:g} ps, asked are {settings.time:g} ps; "
            "give a longer time, or choose another folder."
        )
