"""Frames of a road, to train on and to check with: given, or simulated.

One trajectory that is given for both is divided by time. A simulation is made with the engine that a
measurement finds faster, as long as its share of the time allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from boltzgen.data.manifest import read_manifest
from boltzgen.data.record import Trajectory
from boltzgen.data.trajectory import read_trajectory, require_temperature, write_trajectory
from boltzgen.errors import InputError
from boltzgen.folders import alone_in
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.roads import defaults
from boltzgen.workflows.roads.measures import fastest_engine
from boltzgen.workflows.roads.road import Scene
from boltzgen.workflows.roads.walk import CHECK_SEED, Walk

#: Share of the time for the frames to check with, where nothing is trained.
CHECK_SHARE = 0.2


def simulation(scene: Scene) -> defaults.Simulated:
    """The simulation that suits the molecule, by the engine that is the faster one here."""
    kelvin = scene.walk.question.temperature
    how = defaults.simulation(scene.atoms, kelvin, scene.torsions, scene.rings)
    engine = _engine(scene, how)
    return replace(how, engine=engine["engine"], platform=engine["platform"])


def seconds_of_energies(scene: Scene, *runs: defaults.Simulated) -> float:
    """Of all energies of `runs`, which were made of `simulation`."""
    each = _engine(scene, runs[0])["seconds_an_energy"]
    return float(each * sum(run.evaluations for run in runs))


def fitted(scene: Scene, how: defaults.Simulated, part: float) -> defaults.Simulated:
    """`how`, shorter where it would take more than `part` (a fraction) of the time."""
    seconds = scene.walk.share(part)
    return how if seconds is None else how.within(seconds / _engine(scene, how)["seconds_an_energy"])


def simulated_check(scene: Scene, part: float = CHECK_SHARE) -> Path | None:
    """CHECK, simulated from another seed than anything else, within `part` (a fraction) of the time.

    None where the time was over before a frame was saved.
    """
    walk = scene.walk
    kept = walk.plan.decided("check")
    how = fitted(scene, simulation(scene), part) if kept is None else defaults.Simulated.of(kept)
    walk.plan.decide("check", how.to_json())
    walk.simulate("CHECK", how, seed=walk.seed(CHECK_SEED), part=part)
    return frames_in(walk.path("CHECK"))


def frames_in(folder: Path) -> Path | None:
    """The MD folder `folder` where it holds frames, None otherwise."""
    there = (folder / "manifest.json").is_file() and read_manifest(folder).get("files")
    return folder if there else None


def _engine(scene: Scene, how: defaults.Simulated) -> dict[str, Any]:
    """The engine, measured on `how` and said once: engine, platform, threads, seconds_an_energy, why."""
    kept = scene.walk.plan.decided("engine")
    if kept is None:
        kept = scene.walk.plan.decide("engine", fastest_engine(scene.system, how))
        scene.walk.say(f"engine: {kept['engine']} ({kept['why']}).")
    return dict(kept)


def give(walk: Walk) -> None:
    """MD and CHECK from the frames of the question."""
    question = walk.question
    assert question.frames is not None
    frames = Path(question.frames)
    if question.check_frames is None:
        _divide(walk, frames, ("MD", "CHECK"))
        return
    for name, path in (("MD", frames), ("CHECK", Path(question.check_frames))):
        if path.is_dir():
            walk.copy(name, path)
        else:
            _divide(walk, path, (name,))


def _divide(walk: Walk, frames: Path, names: tuple[str, ...]) -> None:
    """The step that writes the parts of `frames`."""
    folders, kelvin = [walk.path(name) for name in names], walk.question.data_temperature
    program = (
        f"from boltzgen.workflows.roads.frames import divide; "
        f"divide({str(frames)!r}, {str(walk.system)!r}, {[str(one) for one in folders]!r}, {kelvin!r})"
    )
    walk.step(
        names[0],
        ["python", "-c", program],
        lambda: divide(frames, walk.system, folders, kelvin),
        whole=lambda: all((folder / "manifest.json").is_file() for folder in folders),
    )


def divide(
    frames: str | Path, system: str | Path, folders: Sequence[str | Path], temperature: float | None
) -> None:
    """Write the trajectory `frames` in so many parts, by time at each temperature, into `folders` (MD).

    temperature: K, for a file that does not say it. InputError where it is not told, and where there are too
    few frames.
    """
    molecule = MolecularSystem.load(str(system))
    whole = _read(Path(frames), molecule, temperature)
    if len(whole) < 10 * len(folders):
        raise InputError(f"{frames} holds {len(whole)} frames; ten for each part are needed at least.")
    for number, folder in enumerate(folders):
        rows = [
            np.array_split(np.flatnonzero(whole.temperatures == kelvin), len(folders))[number]
            for kelvin in whole.temperature_ladder
        ]
        with alone_in(folder) as place:
            write_trajectory(place, whole[np.sort(np.concatenate(rows))], divided=str(frames))


def _read(frames: Path, molecule: MolecularSystem, temperature: float | None) -> Trajectory:
    remedy = "give it in K as `data_temperature`, for example `data_temperature=300`."
    require_temperature(frames, temperature, remedy)
    return read_trajectory(frames, molecule, temperature=temperature)
