"""DCD trajectories: positions in float32, the same bytes for the same positions.

The layout is CHARMM's: Fortran records, each between two 4-byte lengths. A header of 84 bytes
("CORD" and 20 integers), a title, the number of atoms, then for every frame x, y and z in Angstrom.
MDTraj's writer stamps the date into the title and its reader prints to standard output; this file
does neither. Every tool that knows DCD reads what it writes.
"""

from __future__ import annotations

import os

import numpy as np

from boltzgen.errors import InputError
from boltzgen.files import atomic_path, file_size, read_error
from boltzgen.units import NM_PER_ANGSTROM

_TITLE = b"REMARKS positions of weighted samples, in Angstrom; weights are in samples.npz".ljust(80)
_CHARMM_VERSION = 24
_FRAMES_AT_ONCE = 2_000


def write_dcd(path: str | os.PathLike[str], positions: np.ndarray, rows: np.ndarray | None = None) -> None:
    """Write `positions` (frames, atoms, 3) in nm, or those of `rows` in their order, atomically."""
    n_atoms, n_frames = positions.shape[1], len(positions) if rows is None else len(rows)
    length = np.int32(4 * n_atoms)
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        handle.write(_header(n_frames, n_atoms))
        for start in range(0, n_frames, _FRAMES_AT_ONCE):
            frames = slice(start, start + _FRAMES_AT_ONCE)
            block = positions[frames] if rows is None else positions[rows[frames]]
            records = np.empty((len(block), 3, n_atoms + 2), dtype="<i4")
            records[:, :, 0] = records[:, :, -1] = length
            angstrom = np.asarray(block / NM_PER_ANGSTROM, dtype="<f4")
            records[:, :, 1:-1] = angstrom.transpose(0, 2, 1).view("<i4")
            handle.write(records.tobytes())


def read_dcd(path: str | os.PathLike[str], into: np.ndarray | None = None) -> np.ndarray:
    """Positions (frames, atoms, 3) in nm, float32, of a little-endian DCD without unit cell.

    They are written into the array `into` where one of their shape is given. Raises InputError when
    the file is missing, truncated or something else.
    """
    n_frames, n_atoms = dcd_shape(path)
    offset = len(_header(0, 0))
    records = np.memmap(path, dtype="<f4", mode="r", offset=offset, shape=(n_frames, 3, n_atoms + 2))
    positions = np.empty((n_frames, n_atoms, 3), dtype=np.float32) if into is None else into
    if positions.shape != (n_frames, n_atoms, 3):
        raise InputError(f"{path}: holds {n_frames} frames of {n_atoms} atoms, not {positions.shape[:2]}.")
    np.multiply(records[:, :, 1:-1].transpose(0, 2, 1), np.float32(NM_PER_ANGSTROM), out=positions)
    return positions


def dcd_shape(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Frames and atoms of a DCD written by `write_dcd`, from its header; InputError as in `read_dcd`."""
    missing = "no such file; the folder is not whole, run `sample()` again."
    size = file_size(path, missing=missing, kind="a DCD file")
    try:
        with open(path, "rb") as handle:
            header = handle.read(len(_header(0, 0)))
    except OSError as error:
        raise read_error(path, error) from error
    words = np.frombuffer(header[: len(header) // 4 * 4], dtype="<i4")
    if len(header) < len(_header(0, 0)) or header[:8] != _header(0, 0)[:8] or words[12] != 0:
        raise InputError(f"{path}: truncated, or not a DCD file written by boltzgen; sample again.")
    n_frames, n_atoms = int(words[2]), int(words[-2])
    if min(n_frames, n_atoms) < 0 or size != len(header) + n_frames * 12 * (n_atoms + 2):
        raise InputError(f"{path}: truncated, {n_frames} frames of {n_atoms} atoms expected; sample again.")
    return n_frames, n_atoms


def _header(n_frames: int, n_atoms: int) -> bytes:
    control = np.zeros(20, dtype="<i4")
    control[0], control[1], control[2], control[3] = n_frames, 1, 1, n_frames
    control[9:10] = np.array([1.0], dtype="<f4").view("<i4")  # time step, unused
    control[19] = _CHARMM_VERSION
    title = np.int32(1).tobytes() + _TITLE
    records = (b"CORD" + control.tobytes(), title, np.int32(n_atoms).tobytes())
    return b"".join(np.int32(len(r)).tobytes() + r + np.int32(len(r)).tobytes() for r in records)
