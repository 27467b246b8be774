"""One trajectory file in MDTraj's HDF5 conventions ("Pande" 1.1), plus what they lack.

MDTraj and everything that reads its format can open it (MDTraj itself needs the package ``tables``).
Beyond the conventions: energies are float64, ``replica`` is a dataset, and the file's attribute
``boltzgen_system_fingerprint`` says what was simulated.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.data.record import Trajectory
from boltzgen.errors import InputError
from boltzgen.system.formats.mdtraj_hdf5 import new_file, set_unit, topology_record, write_header

if TYPE_CHECKING:
    import h5py
    import mdtraj

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
    Raises InputError when the file is missing, truncated, or has no coordinates.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            if "coordinates" not in file:
                raise InputError(f"{path} has no dataset 'coordinates'; expected MDTraj's HDF5 format.")
            positions = np.asarray(file["coordinates"][()], dtype=np.float32) * _length_unit(file, path)
            count = len(positions)
            if positions.ndim != 3:
                raise InputError(f"{path}: 'coordinates' must be (frames, atoms, 3), not {positions.shape}.")

            def column(name: str, fill: float) -> np.ndarray:
                values = file[name][()] if name in file else np.full(count, fill)
                return np.broadcast_to(np.asarray(values, dtype=float), (count,))

            fingerprint = file.attrs.get("boltzgen_system_fingerprint", "")
            topology = json.loads(_text(file["topology"][0])) if "topology" in file else {}
            record = Trajectory(
                positions,
                column("potentialEnergy", np.nan),
                column("temperature", np.nan),
                column("replica", 0),
                _text(fingerprint) or None,
            )
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; expected a trajectory in HDF5.") from error
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} cannot be read as HDF5 ({_first_line(error)}); it may be truncated, copy it anew."
        ) from error
    return record, topology


def read_column(path: Path, name: str) -> np.ndarray | None:
    """The numbers of the dataset `name` in `path`, flat, float64; None where there is none."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return (
                np.atleast_1d(np.asarray(file[name][()], dtype=np.float64)).ravel() if name in file else None
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read as HDF5 ({_first_line(error)}); it may be truncated, copy it anew."
        ) from error


def frames_in(path: Path) -> int:
    """Number of frames in `path`; 0 when it does not exist."""
    import h5py

    if not path.exists():
        return 0
    try:
        with h5py.File(path, "r") as file:
            return int(file["coordinates"].shape[0])
    except (OSError, KeyError) as error:
        raise InputError(
            f"{path} cannot be read as HDF5 ({_first_line(error)}); remove the folder and simulate again."
        ) from error


def _length_unit(file: h5py.File, path: Path) -> np.float32:
    units = _text(file["coordinates"].attrs.get("units", "nanometers"))
    factors = {"nanometers": 1.0, "nanometer": 1.0, "angstroms": 0.1, "angstrom": 0.1}
    if units not in factors:
        raise InputError(f"{path}: coordinates are in {units!r}; expected nanometers or angstroms.")
    return np.float32(factors[units])


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
