"""Targets of a training run and the frames they are learned from: read, or simulated as part of the run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from boltzgen.data.record import Trajectory
from boltzgen.data.trajectory import evaluations_of_folder, read_trajectory, require_temperature
from boltzgen.errors import InputError
from boltzgen.generator import Target, read_target
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.settings import TrainingSettings
from boltzgen.training.training_data import TrainingData, energies_of_frames
from boltzgen.units import thermal_energy
from boltzgen.workflows.simulation.source import simulate_source


@dataclass(frozen=True)
class Frames:
    """Data of each target, the digest of the frames at each temperature, and what the data cost."""

    data: list[TrainingData | None]
    digests: list[str]
    evaluations: int

    def with_those_of(
        self,
        settings: TrainingSettings,
        path: str,
        molecule: MolecularSystem,
        target: Target,
        other: str | None = None,
    ) -> Frames:
        """And the frames in `path` of one more target; `other`: the system that they were simulated with."""
        trajectory, log_weights, cost = _read_frames(settings, path, molecule, target, other)
        made = TrainingData.from_trajectory(
            target,
            trajectory,
            holdout=settings.holdout,
            temperatures=settings.likelihood.temperatures,
            log_weights=log_weights,
            learned_at=settings.likelihood.learned_at,
        )
        digests = [trajectory.at(float(kelvin)).digest() for kelvin in trajectory.temperature_ladder]
        cost += evaluations_of_folder(path)
        return Frames([*self.data, made], self.digests + digests, self.evaluations + cost)

    @property
    def last_bytes(self) -> int:
        """What the positions of the last target's frames take."""
        last = self.data[-1]
        return 0 if last is None else last.positions.nbytes

    def last_on_disk(self, path: Path, *, judged: bool) -> Frames:
        """The positions of the last target's frames in the file `path` instead of in memory.

        judged: whether the run is measured on the frames of this target that training never sees.
        """
        *others, last = self.data
        return self if last is None else replace(self, data=[*others, last.on_disk(path, judged=judged)])

    def without_data(self) -> Frames:
        """And one more target that has none."""
        return replace(self, data=[*self.data, None])


def targets_and_frames(
    settings: TrainingSettings, device: str, folder: Path, stop: StopRequest | None, progress: Progress
) -> tuple[list[Target], Frames]:
    """The molecules that `settings` names, on `device`, with their data.

    Data that the run makes itself go to ``folder/data`` and are read from there when it is resumed;
    StoppedError when `stop` asks to end before they are complete.
    """
    sources = _listed(settings.system)
    read = [read_target(source, isomers=settings.isomers) for source in sources]
    targets = [target.to(device) for _, target in read]
    paths: list[str] = _listed(settings.data)
    if settings.simulation is not None:
        if paths:
            raise InputError("Give data, or a simulation that makes them, not both.")
        paths = [
            _simulate(settings, molecule, target, folder / "data" / str(number), stop, progress)
            for number, ((molecule, _), target) in enumerate(zip(read, targets, strict=True))
        ]
    if not paths:
        return targets, Frames([], [], 0)
    others = _listed(settings.data_system)
    for name, values in (("data", paths), ("data_system", others)):
        if values and len(values) != len(targets):
            raise InputError(
                f"The configuration names {len(targets)} systems and {len(values)} of {name}; "
                "give one for each."
            )
    found = Frames([], [], 0)
    for number, (path, (molecule, _), target) in enumerate(zip(paths, read, targets, strict=True)):
        other = others[number] if others else None
        found = found.with_those_of(settings, path, _molecule(molecule, sources[number]), target, other)
    return targets, found


def _molecule(molecule: MolecularSystem | None, source: str) -> MolecularSystem:
    if molecule is None:
        raise InputError(
            f"data: {source} is a model system, which has no trajectory; train it on energies alone."
        )
    return molecule


def _simulate(
    settings: TrainingSettings,
    molecule: MolecularSystem | None,
    target: Target,
    folder: Path,
    stop: StopRequest | None,
    progress: Progress,
) -> str:
    """Data of one target in `folder`; goes on where it was stopped."""
    assert settings.simulation is not None
    simulate_source(
        settings.simulation,
        _molecule(molecule, target.name),
        folder,
        seed=settings.seed,
        device=str(target.reference.device),
        stop=stop,
        progress=progress,
    )
    return str(folder)


def _read_frames(
    settings: TrainingSettings, path: str, molecule: MolecularSystem, target: Target, other: str | None
) -> tuple[Trajectory, np.ndarray | None, int]:
    """The frames with the energies of `target`, their log-weights to it, and evaluations of its energy.

    Energies that are missing from the file are computed where a loss needs them; those of frames that were
    simulated with another system, always.
    """
    if other is None:
        trajectory = read_told(settings, path, molecule)
        if not any(loss.needs_energies_of_frames for loss in settings.all_losses().values()):
            return trajectory, None, 0
        whole, cost = energies_of_frames(target, trajectory, known=True)
        return whole, None, cost
    source = MolecularSystem.load(other)
    if source.n_atoms != molecule.n_atoms:
        raise InputError(
            f"data_system: {other} has {source.n_atoms} atoms, the system to learn has {molecule.n_atoms}; "
            "the atoms must be the same, in the same order."
        )
    before, _ = energies_of_frames(Target.from_system(source), read_told(settings, path, source), known=True)
    after, cost = energies_of_frames(target, before, known=False)
    with np.errstate(invalid="ignore"):
        log_weights = (before.energies - after.energies) / thermal_energy(before.temperatures)
    log_weights[~np.isfinite(log_weights)] = -np.inf
    for kelvin in before.temperature_ladder:
        if np.isneginf(log_weights[before.is_at(kelvin)]).all():
            raise InputError(
                f"data_system: no frame of {path} at {kelvin:g} K has a finite energy both with {other} and "
                "with the system to learn."
            )
    return replace(after, system_fingerprint=molecule.fingerprint), log_weights, cost


def read_told(settings: TrainingSettings, path: str, system: MolecularSystem) -> Trajectory:
    """The frames of `path`, which is told `data_temperature` where it does not say its temperature."""
    told = settings.data_temperature
    require_temperature(path, told, "give it in K under 'data_temperature', as in 'data_temperature: 300'.")
    return read_trajectory(path, system, temperature=told)


def _listed(value: str | list[str] | None) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else value
