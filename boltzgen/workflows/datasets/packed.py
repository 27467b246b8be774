"""Frames of many molecules beside a packed checkpoint: written from data sets, and taken into new ones.

PACKED/frames/NAME/frames.npz, manifest.json     some frames of each temperature, as int16, with energies
"""

from __future__ import annotations

import shutil
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from boltzgen.data.dataset import DatasetMolecule
from boltzgen.data.packed_frames import pack_positions, unpack_positions
from boltzgen.data.record import Trajectory
from boltzgen.data.trajectory import evaluations_of_folder, read_trajectory, write_trajectory
from boltzgen.errors import InputError
from boltzgen.folders import alone_in
from boltzgen.generator import Target
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.training_data import energies_of_frames

#: The folder of the frames in that of a packed run.
FRAMES = "frames"


def packed_frames(packed: str | PathLike[str]) -> Path:
    """Where the frames of the packed run in `packed` are; InputError when it has none."""
    place = Path(packed) / FRAMES
    if not place.is_dir():
        raise InputError(
            f"`frames={str(packed)!r}`: expected the folder of a packed run; {place} is missing."
        )
    return place


def pack_frames(molecule: DatasetMolecule, folder: Path, count: int) -> Path:
    """Write `count` frames of `molecule`, as many of each temperature, to ``folder/NAME``.

    They lie as far from each other as they can in each temperature's own order (walk after walk, by time).
    Their energies are those of the rounded positions, so that they are labels as exact as any.
    """
    assert molecule.data is not None
    system = MolecularSystem.load(molecule.system)
    chosen = _spaced(read_trajectory(molecule.data, system), count)
    rounded = Trajectory(
        unpack_positions(*pack_positions(chosen.positions)),
        chosen.energies,
        chosen.temperatures,
        chosen.replicas,
        system.fingerprint,
        cautions=chosen.cautions,
    )
    exact, _ = energies_of_frames(Target.from_system(system), rounded, known=False)
    return write_trajectory(
        folder / molecule.name,
        exact,
        packed=True,
        energy_evaluations=evaluations_of_folder(molecule.data),
    )


def copy_frames(source: Path, folder: Path, system: MolecularSystem) -> dict[str, Any]:
    """Copy the frames of `system` in `source` to the MD folder `folder`; what a data set records of them.

    InputError when they are of another system.
    """
    trajectory = read_trajectory(source, system)
    with alone_in(folder):
        for name in ("frames.npz", "manifest.json"):  # the manifest last: it makes the folder complete
            shutil.copyfile(source / name, folder / name)
    _, counts = np.unique(trajectory.temperatures, return_counts=True)
    return {
        "frames": int(counts.min()),
        "evaluations": evaluations_of_folder(folder),
        "convergence": {"verdict": "packed", "reasons": [f"some frames of a longer run, from {source}"]},
    }


def _spaced(trajectory: Trajectory, count: int) -> Trajectory:
    """`count` frames of `trajectory` (all, if it has fewer), spread evenly over each temperature."""
    ladder = trajectory.temperature_ladder
    rows = []
    for number, kelvin in enumerate(ladder):
        here = np.flatnonzero(trajectory.is_at(kelvin))
        wanted = min(len(here), count // len(ladder) + (number < count % len(ladder)))
        rows.append(here[(np.arange(wanted) * len(here)) // max(wanted, 1)])
    return trajectory[np.concatenate(rows)]
