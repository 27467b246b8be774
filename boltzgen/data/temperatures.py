"""At which temperature were the frames of a file made elsewhere? What it says, held against what was told.

HDF5 in MDTraj's conventions may say it for each frame (``temperature``), Amber's NetCDF too (``temp0``, or
``remd_values`` where a dimension of the exchange is a temperature). DCD, XTC and TRR cannot.
Sources: MDTraj's HDF5 format 1.1; AMBER NetCDF trajectory convention 1.0 revision C.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from boltzgen.data.framing import READER_FAULTS
from boltzgen.data.hdf5 import read_column
from boltzgen.errors import InputError
from boltzgen.units import same_temperature

#: The mean of kinetic temperatures may differ from the thermostat's by this share: programs count the motion
#: of the whole differently, and frames may be few. Rungs of a replica exchange are 15 to 25 % apart.
KINETIC_TOLERANCE = 0.1

HDF5_SUFFIXES, NETCDF_SUFFIXES = (".h5", ".hdf5"), (".nc", ".netcdf", ".ncdf")
_HDF5_MAGIC = b"\x89HDF"
#: ``remd_dimtype`` of a dimension in which temperatures are exchanged.
_TEMPERATURE_DIMENSION = 1


def stated_temperatures(path: Path) -> np.ndarray | None:
    """What the file at `path` says, one number (K) a frame or one for all; None where it says nothing.

    Zeros and fill values in every frame say nothing. InputError where only some frames say it.
    """
    suffix = path.suffix.lower()
    if suffix in HDF5_SUFFIXES:
        values = read_column(path, "temperature")
    elif suffix in NETCDF_SUFFIXES:
        values = _from_netcdf(path)
    else:
        return None
    if values is None or not values.size:
        return None
    says = np.isfinite(values) & (values > 0) & (values < 1e30)  # NetCDF's fill value is 9.97e36
    if not says.any():
        return None
    if not says.all():
        raise InputError(
            f"{path} says the temperature of {int(says.sum())} of its {values.size} frames, not of frame "
            f"{int(np.flatnonzero(~says)[0])}; cut out the frames that do not say it, or remove the column."
        )
    return values


def are_kinetic(stated: np.ndarray, count: int) -> bool:
    """Whether the temperatures `stated` of `count` frames are kinetic ones, another number in most frames.

    Some reporters (MDTraj's of HDF5 for OpenMM) write those instead of the thermostat's.
    """
    return len(np.unique(np.round(stated, 2))) > max(count // 2, 1)


def settled_temperatures(path: Path, stated: np.ndarray | None, told: float | None, count: int) -> np.ndarray:
    """``(count,)`` K: what the file states; what was `told` (K) where it states nothing.

    Where they are kinetic (`are_kinetic`) the thermostat's has to be told, and must agree with their mean.

    Raises InputError where neither says it, or where no frame was made at the temperature told.
    """
    if told is not None and not (np.isfinite(told) and told > 0):
        raise InputError(f"The temperature of {path} must be positive, in K; {told:g} was given.")
    if stated is None:
        if told is None:
            raise InputError(f"{path} does not say its temperature; give it in K as `temperature`.")
        return np.full(count, float(told))
    if stated.size not in (1, count):
        raise InputError(f"{path} has {count} frames and {stated.size} temperatures; copy it anew.")
    stated = np.broadcast_to(stated, (count,)).astype(np.float64)
    rungs = np.unique(np.round(stated, 2))
    if are_kinetic(stated, count):
        mean = float(stated.mean())
        if told is None:
            raise InputError(
                f"{path} gives another temperature for most frames, {mean:.1f} K in the mean: kinetic "
                "temperatures, not that of the thermostat; give that one in K as `temperature`."
            )
        if abs(mean / told - 1) > KINETIC_TOLERANCE:
            raise InputError(
                f"{path} says {mean:.1f} K (the mean of its kinetic temperatures), and {told:g} K was asked "
                "for; give the temperature of the simulation."
            )
        return np.full(count, float(told))
    if told is not None and not same_temperature(stated, told).any():
        says = ", ".join(f"{kelvin:g}" for kelvin in rungs[:8])
        raise InputError(
            f"{path} says that its frames are at {says} K, and {told:g} K was asked for; give frames of that "
            f"temperature, or ask for {rungs[0]:g} K."
        )
    return stated


def _from_netcdf(path: Path) -> np.ndarray | None:
    with open(path, "rb") as handle:
        newer = handle.read(4) == _HDF5_MAGIC
    if newer:
        return read_column(path, "temp0")
    from scipy.io import netcdf_file

    try:
        with netcdf_file(path, "r", mmap=False) as file:
            values = _column_of(file.variables)
    except READER_FAULTS as error:
        raise InputError(f"{path} cannot be read as NetCDF ({error}); it may be truncated.") from error
    return None if values is None else np.atleast_1d(np.asarray(values, dtype=np.float64)).ravel()


def _column_of(variables: Any) -> np.ndarray | None:
    if "temp0" in variables:
        return np.asarray(variables["temp0"][...])
    if "remd_values" in variables and "remd_dimtype" in variables:
        kinds = np.atleast_1d(np.asarray(variables["remd_dimtype"][...]))
        values = np.asarray(variables["remd_values"][...])
        chosen = np.flatnonzero(kinds == _TEMPERATURE_DIMENSION)
        if len(chosen) and values.ndim == 2 and chosen[0] < values.shape[1]:
            return values[:, chosen[0]]
    return None
