"""``load_trajectory``: frames of a simulation, made here or elsewhere."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from boltzgen.data.record import Trajectory
from boltzgen.data.trajectory import read_trajectory
from boltzgen.system.molecular_system import MolecularSystem


def load_trajectory(
    path: str | PathLike[str],
    system: str | PathLike[str] | MolecularSystem | None = None,
    *,
    temperature: float | None = None,
) -> Trajectory:
    """The frames in an MD folder, or in one file made here or elsewhere (DCD, XTC, HDF5, NetCDF, ...).

    Parameters
    ----------
    path: MD, or a file.
    system: the molecule that they are of: SYS, ``example:NAME`` or in memory. The frames are checked against
        it; files made elsewhere cannot be read without it.
    temperature: K, for files made elsewhere that do not say it; one that says another is refused.

    Returns
    -------
    Trajectory: positions (frames, N, 3) float32 in nm, energies (frames,) in kJ/mol, temperatures in K.

    Raises
    ------
    InputError: the trajectory is missing, truncated, of another molecule, or at an unknown temperature.

    Example
    -------
    >>> import boltzgen as bg
    >>> frames = bg.load_trajectory("MD", "SYS").at(300.0)
    >>> frames.positions.shape
    (50, 9, 3)
    """
    molecule = system if isinstance(system, MolecularSystem | None) else MolecularSystem.load(str(system))
    return read_trajectory(Path(path), molecule, temperature=temperature)
