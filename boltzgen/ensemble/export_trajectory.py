"""Trajectories for other programs: MDTraj's HDF5, DCD, XTC, PDB, and what holds the weights.

Frames are the rows that carry weight (a rejected sample may have no position at all); each knows its
row in the OUT folder. Formats without a place for weights get a table of them beside the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.ensemble.chains.walkers import CHAIN_FIELDS
from boltzgen.ensemble.dcd import write_dcd
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.export_table import write_fields
from boltzgen.ensemble.frames import Frames, weighted_frames
from boltzgen.ensemble.topology import read_topology
from boltzgen.errors import InputError
from boltzgen.files import atomic_path
from boltzgen.system.formats.mdtraj_hdf5 import new_file, set_unit, write_header
from boltzgen.system.formats.pdb_text import format_models
from boltzgen.units import thermal_energy

if TYPE_CHECKING:
    import mdtraj

#: What the grid of a format does to an energy, measured on alanine dipeptide.
XTC_WARNING = (
    "XTC keeps 0.001 nm: energies of its frames scatter by about 0.8 kT (alanine dipeptide), so never "
    "compute energies or weights from it; the weights beside it were made before rounding"
)
PDB_WARNING = "PDB keeps 0.0001 nm: energies of its frames scatter by about 0.1 kT (alanine dipeptide)"

_AT_ONCE = 2_000


def mdtraj_trajectory(ensemble: Ensemble) -> tuple[mdtraj.Trajectory, np.ndarray]:
    """The valid rows as an MDTraj trajectory (time: the row number), and their weights, sum one."""
    import mdtraj

    _need_atoms(ensemble)
    frames = weighted_frames(ensemble)
    topology = read_topology(ensemble.topology_pdb, n_atoms=ensemble.positions.shape[1])
    xyz = np.asarray(ensemble.positions[frames.rows], dtype=np.float32)
    return mdtraj.Trajectory(xyz, topology, time=frames.rows.astype(np.float64)), frames.weights


def write_hdf5(
    ensemble: Ensemble, frames: Frames, path: str | os.PathLike[str], topology: dict[str, Any]
) -> None:
    """MDTraj's HDF5 conventions ("Pande" 1.1), with ``weight``, ``log_weight``, ``log_q``, ``u``, ``row``.

    Samples of walkers have ``walker``, ``group`` and ``step``, too.

    `topology` is the dictionary of `boltzgen.system.formats.mdtraj_hdf5.topology_record`. Weights sum to one;
    ``log_weight`` is unnormalised.
    """
    _need_atoms(ensemble)
    with new_file(path) as file:
        own: dict[str, str | int] = {
            "system_fingerprint": ensemble.system_fingerprint,
            "measure": ensemble.measure,
            "domain": ensemble.domain,
            "samples_drawn": frames.drawn,
            "samples_rejected": frames.rejected,
            "equal_weight": int(frames.resampled),
        }
        write_header(file, topology, title="boltzgen export", own=own)
        coordinates = file.create_dataset(
            "coordinates", shape=(len(frames), *ensemble.positions.shape[1:]), dtype=np.float32
        )
        set_unit(coordinates, "nanometers")
        done = 0
        for block in _blocks(ensemble, frames):
            coordinates[done : done + len(block)] = block
            done += len(block)
        for name, units, values in _columns(ensemble, frames):
            column = file.create_dataset(name, data=values, compression="gzip")
            set_unit(column, units)


def write_frames_dcd(ensemble: Ensemble, frames: Frames, path: str | os.PathLike[str]) -> None:
    """Positions in float32, and the table of weights beside them."""
    _need_atoms(ensemble)
    write_dcd(path, ensemble.positions, frames.rows)
    write_weights(frames, path)


def write_xtc(ensemble: Ensemble, frames: Frames, path: str | os.PathLike[str]) -> None:
    """Positions on XTC's grid of 0.001 nm (time: the number of the frame), and the table of weights."""
    from mdtraj.formats import XTCTrajectoryFile

    _need_atoms(ensemble)
    with atomic_path(path) as temporary, XTCTrajectoryFile(str(temporary), "w") as file:
        done = 0
        for block in _blocks(ensemble, frames):
            steps = np.arange(done, done + len(block), dtype=np.int32)
            file.write(block, time=steps.astype(np.float32), step=steps)
            done += len(block)
    write_weights(frames, path)


def write_pdb(ensemble: Ensemble, frames: Frames, path: str | os.PathLike[str]) -> None:
    """One MODEL a frame, on the lines of the stored topology, and the table of weights."""
    _need_atoms(ensemble)
    models = chain.from_iterable(_blocks(ensemble, frames))
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.writelines(format_models(ensemble.topology_pdb, models))
    write_weights(frames, path)


def weights_path(path: str | os.PathLike[str]) -> Path:
    """Where the weights of the frames in `path` are: ``NAME.weights.csv``."""
    return Path(path).with_name(Path(path).name + ".weights.csv")


def write_weights(frames: Frames, path: str | os.PathLike[str]) -> None:
    """``frame,row,log_w,weight`` for each frame of `path`, in `weights_path`; weights sum to one."""
    weights, numbers = frames.weights, np.arange(len(frames))
    write_fields(
        weights_path(path),
        ("frame", "row", "log_w", "weight"),
        len(frames),
        lambda at: [numbers[at], frames.rows[at], frames.log_w[at], weights[at]],
    )


def _need_atoms(ensemble: Ensemble) -> None:
    if not ensemble.is_molecular:
        raise InputError("a model system has no atoms for a trajectory; export csv, colvar or u_nk.")


def _blocks(ensemble: Ensemble, frames: Frames) -> Iterator[np.ndarray]:
    for start in range(0, len(frames), _AT_ONCE):
        rows = frames.rows[start : start + _AT_ONCE]
        yield np.ascontiguousarray(ensemble.positions[rows], dtype=np.float32)


def _columns(ensemble: Ensemble, frames: Frames) -> list[tuple[str, str, np.ndarray]]:
    """(name, unit, values) of what HDF5 keeps beside the positions."""
    columns = [
        ("time", "picoseconds", np.arange(len(frames), dtype=np.float32)),
        ("row", "dimensionless", frames.rows.astype(np.int64)),
        ("weight", "dimensionless", frames.weights),
        ("log_weight", "dimensionless", frames.log_w),
        ("log_q", "dimensionless", ensemble.log_q[frames.rows]),
        ("u", "dimensionless", ensemble.u[frames.rows]),
    ]
    columns += [
        (name, "dimensionless", getattr(ensemble, name)[frames.rows])
        for name in CHAIN_FIELDS
        if name in ensemble.row_fields
    ]
    if ensemble.temperature is not None:
        energies = ensemble.u[frames.rows] * thermal_energy(ensemble.temperature)
        columns += [
            ("potentialEnergy", "kilojoules_per_mole", energies),
            ("temperature", "kelvin", np.full(len(frames), ensemble.temperature)),
        ]
    return columns
