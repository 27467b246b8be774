"""One trajectory file in MDTraj's HDF5 conventions ("Pande" 1.1), plus what they lack.

MDTraj and everything that reads its format can open it (MDTraj itself needs the package ``tables``).
Beyond the conventions: energies are float64, ``replica`` is a dataset, and the file's attribute
``boltzgen_system_fingerprint`` says what was simulated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.data.record import Trajectory
from boltzgen.errors import InputError
from boltzgen.loaders.hdf5 import Hdf5File, open_hdf5
from boltzgen.system.formats.mdtraj_hdf5 import new_file, set_unit, topology_record, write_header

if TYPE_CHECKING:
    import mdtraj

#: What to do about a file of a simulation that goes on.
REMOVE = "remove the folder and simulate again."

_COLUMNS = (
    ("time", np.float32, "picoseconds"),
    ("potentialEnergy", np.float64, "kilojoules_per_mole"),
    ("temperature", np.float64, "kelvin"),
    ("replica", np.int32, "dimensionless"),
)


def write_hdf5(
    path: Path,
    pieces: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]],
    *,
    topology: mdtraj.Topology,
    temperature: float,
    save_interval: float,
    fingerprint: str | None,
    frames_per_walk: int | None = None,
) -> int:
    """Write the frames of `pieces` to `path` atomically and return how many there were.

    Args:
        pieces: positions ``(f, atoms, 3)`` nm, energies ``(f,)`` kJ/mol and replicas ``(f,)``, in order.
        temperature: K. save_interval: ps between frames; the first one is at one interval.
        frames_per_walk: after so many frames another walk begins, and with it the time; None for one walk.
    """
    with new_file(path) as file:
        own = {"system_fingerprint": fingerprint or ""}
        write_header(file, topology_record(topology), title="boltzgen simulate", own=own)
        coordinates = file.create_dataset(
            "coordinates",
            shape=(0, topology.n_atoms, 3),
            maxshape=(None, topology.n_atoms, 3),
            chunks=(max(1, 2**18 // (topology.n_atoms * 12)), topology.n_atoms, 3),
            dtype=np.float32,
        )
        set_unit(coordinates, "nanometers")
        columns = {}
        for name, dtype, units in _COLUMNS:
            columns[name] = file.create_dataset(
                name, shape=(0,), maxshape=(None,), chunks=(4096,), dtype=dtype, compression="gzip"
            )
            set_unit(columns[name], units)
        done = 0
        for positions, energies, replicas in pieces:
            new = done + len(positions)
            numbers = np.arange(done, new) % (frames_per_walk or max(new, 1))
            values = {
                "time": (numbers + 1) * save_interval,
                "potentialEnergy": energies,
                "temperature": np.full(len(positions), temperature),
                "replica": replicas,
            }
            for dataset, rows in [(coordinates, positions), *((columns[k], v) for k, v in values.items())]:
                dataset.resize(new, axis=0)
                dataset[done:] = rows
            done = new
    return done


def read_hdf5(path: Path) -> tuple[Trajectory, dict[str, Any]]:
    """The trajectory in `path`, and its topology as the dictionary of MDTraj's conventions ({} if none).

    Energies are NaN and temperatures NaN where the file has none.
    Raises InputError when the file is missing, damaged (`boltzgen.loaders.hdf5`), or has no coordinates.
    """
    with open_hdf5(path, missing="no such file; expected a trajectory in HDF5.") as file:
        if "coordinates" not in file:
            raise InputError(f"{path} has no dataset 'coordinates'; give a file in MDTraj's HDF5 format.")
        count = _frames(file, path)
        positions = np.asarray(file.numbers("coordinates"), dtype=np.float32) * _length_unit(file, path)

        def column(name: str, fill: float) -> np.ndarray:
            if name not in file:
                return np.full(count, fill)
            values = np.asarray(file.numbers(name), dtype=np.float64)
            if values.size not in (1, count) or values.ndim > 2:
                raise InputError(
                    f"{path}: {name!r} has the shape {values.shape}, expected ({count},); copy it anew."
                )
            return np.broadcast_to(values.reshape(-1), (count,))

        replicas = column("replica", 0)
        if not (np.abs(replicas) < 2**31).all():
            raise InputError(f"{path}: 'replica' holds numbers of no replica; copy it anew.")
        topology = file.json("topology") if "topology" in file else {}
        if not isinstance(topology, dict):
            raise InputError(f"{path}: its topology is no mapping; give a file in MDTraj's HDF5 format.")
        record = Trajectory(
            positions,
            column("potentialEnergy", np.nan),
            column("temperature", np.nan),
            replicas,
            file.attribute("boltzgen_system_fingerprint", "") or None,
        )
    return record, topology


def read_column(path: Path, name: str) -> np.ndarray | None:
    """The numbers of the dataset `name` in `path`, flat, float64; None where there is none."""
    with open_hdf5(path, missing="no such file; expected a trajectory in HDF5.") as file:
        return np.asarray(file.numbers(name), dtype=np.float64).reshape(-1) if name in file else None


def frames_in(path: Path) -> int:
    """Number of frames in `path`; 0 when it does not exist."""
    if not path.exists():
        return 0
    with open_hdf5(path, missing="no such file.", remedy=REMOVE) as file:
        return _frames(file, path)


def rows_in(path: Path, count: int, at_once: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Positions, energies and replicas of the first `count` frames of `path`, `at_once` at a time."""
    with open_hdf5(path, missing="no such file; simulate again.", remedy=REMOVE) as file:
        names = ("coordinates", "potentialEnergy", "replica")
        frames = {name: file.shape(name)[:1] for name in names}
        if len(set(frames.values())) != 1 or _frames(file, path) < count:
            raise InputError(f"{path}: its columns have {frames}, expected {count} rows; {REMOVE}")
        for start in range(0, count, at_once):
            rows = slice(start, min(start + at_once, count))
            positions, energies, replicas = (file.numbers(name, rows) for name in names)
            yield positions, energies, replicas


def _frames(file: Hdf5File, path: Path) -> int:
    shape = file.shape("coordinates")
    if len(shape) != 3 or shape[2] != 3:
        raise InputError(f"{path}: 'coordinates' must be (frames, atoms, 3), not {shape}; copy it anew.")
    return shape[0]


def _length_unit(file: Hdf5File, path: Path) -> np.float32:
    units = file.attribute("units", "nanometers", of="coordinates")
    factors = {"nanometers": 1.0, "nanometer": 1.0, "angstroms": 0.1, "angstrom": 0.1}
    if units not in factors:
        raise InputError(
            f"{path}: coordinates are in {units[:40]!r}; expected nanometers or angstroms, convert them."
        )
    return np.float32(factors[units])
