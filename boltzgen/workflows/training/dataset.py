"""A dataset as a training run sees it: molecules to learn with their frames, and molecules to measure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from boltzgen.data.dataset import Dataset, DatasetMolecule
from boltzgen.data.record import Trajectory
from boltzgen.data.trajectory import read_trajectory
from boltzgen.errors import InputError
from boltzgen.generator import Target
from boltzgen.progress import Progress
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.settings import TrainingSettings
from boltzgen.workflows.training.frames import Frames


@dataclass(frozen=True)
class Learned:
    """Targets to learn with their frames, and the validation molecules with theirs; `told` counts them."""

    targets: list[Target]
    frames: Frames
    judged: list[tuple[Target, Trajectory | None]]
    told: str


def dataset_frames(settings: TrainingSettings, device: str, folder: Path, progress: Progress) -> Learned:
    """The datasets that `settings` names, on `device`.

    Molecules of the split ``train`` are learned, those without data from energies alone; those of
    ``validation`` are measured, and nothing is learned from them. Without any, the first of the training
    molecules is measured, on its holdout. Frames beyond `settings.memory` go to `folder`.
    """
    assert settings.dataset is not None
    folders = [settings.dataset] if isinstance(settings.dataset, str) else settings.dataset
    sets = [Dataset.load(folder) for folder in folders]
    learned = [molecule for one in sets for molecule in one.of("train")]
    judged = [molecule for one in sets for molecule in one.of("validation")]
    if not learned:
        raise InputError(
            f"dataset: {', '.join(folders)}: no complete molecule to train on; run `build_dataset()`."
        )
    _require_separate(learned, [molecule for one in sets for molecule in one.molecules])
    if judged:
        settings = settings.model_copy(update={"holdout": 0.0})
    targets, frames, resident = [], Frames([], [], 0), 0
    for number, molecule in enumerate(learned, start=1):
        system, target = _target(settings, molecule, device)
        if molecule.data is None:
            frames = frames.without_data()
        else:
            frames = frames.with_those_of(settings, str(molecule.data), system, target)
            resident += frames.last_bytes
            if resident > settings.memory * 2**30:
                resident -= frames.last_bytes
                frames = frames.last_on_disk(folder / f"{number}.npy", judged=not judged and number == 1)
        targets.append(target)
        progress(number, len(learned), {"reading": molecule.name})
    chosen = judged[: settings.evaluation.molecules]
    told = f"{len(learned)} learned, {len(chosen)} measured"
    wanted = [one for part in sets for one in part.molecules if one.split != "test"]
    if missing := sum(one.status != "complete" for one in wanted):
        told += f"; {missing} of the data sets are not complete"
    return Learned(targets, frames, [_judged(settings, one, device) for one in chosen], told)


def _require_separate(learned: list[DatasetMolecule], known: list[DatasetMolecule]) -> None:
    """InputError when a molecule to learn is kept for validation or a test by another of the data sets."""
    kept = {one.graph: one for one in known if one.split != "train"}
    for molecule in learned:
        if molecule.graph in kept:
            other = kept[molecule.graph]
            raise InputError(
                f"dataset: {molecule.name} would be trained on, and {other.name}, the same molecule, is kept "
                f"for {other.split} ({other.system.parent}); leave it out of one data set."
            )


def _target(
    settings: TrainingSettings, molecule: DatasetMolecule, device: str
) -> tuple[MolecularSystem, Target]:
    system = MolecularSystem.load(molecule.system)
    return system, Target.from_system(system, isomers=settings.isomers).to(device)


def _judged(
    settings: TrainingSettings, molecule: DatasetMolecule, device: str
) -> tuple[Target, Trajectory | None]:
    system, target = _target(settings, molecule, device)
    if molecule.data is None:
        return target, None
    kelvin = settings.evaluation.temperature
    frames = read_trajectory(molecule.data, system)
    try:
        return target, frames.at(kelvin)
    except InputError as error:
        raise InputError(f"{molecule.data}: {error} Set evaluation.temperature to one of them.") from error
