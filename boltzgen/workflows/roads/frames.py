"""Frames that a caller gives: to train on and to check with, or one trajectory for both, divided by time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from boltzgen.data.record import Trajectory
from boltzgen.data.trajectory import read_trajectory, require_temperature, write_trajectory
from boltzgen.errors import InputError
from boltzgen.folders import alone_in
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.roads.walk import Walk


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
