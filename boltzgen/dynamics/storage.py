"""The MD folder while it grows: blocks, the checkpoint, and the HDF5 files made from them.

    MD/blocks/block-000000040.npz   frames of one block and the state after it, in one atomic file
    MD/checkpoint.npz               the state after the last block that is in the HDF5 files
    MD/temperature-300K.h5          the frames of one temperature, rewritten whole at each assembly

With many independent ladders (walks) the frames of a temperature stand walk after walk, in order of time
within each. Series in that order have the autocorrelation of one walk, and a statistical inefficiency
estimated from them is that of the mean over all walks.

A killed run loses at most the block it was in; assembling twice gives the same files. Nothing is pickled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from boltzgen.data.hdf5 import REMOVE, frames_in, rows_in, write_hdf5
from boltzgen.dynamics.exchange import ExchangeRecord
from boltzgen.dynamics.openmm_engine import ReplicaState
from boltzgen.dynamics.replica_exchange import Block, RunState
from boltzgen.dynamics.settings import SimulationSettings
from boltzgen.errors import InputError
from boltzgen.files import atomic_path, writing
from boltzgen.loaders.arrays import Wanted, read_npz
from boltzgen.system.molecular_system import MolecularSystem

_READ_FRAMES = 4096

#: The arrays of a block: frames at each rung of the ladder, and the state after them.
_FRAMES = {
    "first_frame": Wanted("i", ()),
    "positions": Wanted("f", ("rungs", "saved", "atoms", 3)),
    "energies": Wanted("f", ("rungs", "saved")),
    "replicas": Wanted("i", ("rungs", "saved")),
}
_STATE = {
    "state_positions": Wanted("f", ("replicas", "atoms", 3), finite=True),
    "state_velocities": Wanted("f", ("replicas", "atoms", 3), finite=True),
    "state_temperature_index": Wanted("i", ("replicas",)),
    "exchange_attempts": Wanted("i", ("pairs",)),
    "exchange_accepted": Wanted("i", ("pairs",)),
    "exchange_last_end": Wanted("i", ("replicas",)),
    "exchange_half_trips": Wanted("i", ("replicas",)),
    "progress": Wanted("i", ("counts",)),
}
_GONE = "no such file; simulate again."
_OLDER = "delete this file to go on from the block before it."


def trajectory_name(temperature: float) -> str:
    return f"temperature-{temperature:g}K.h5"


def save_block(folder: Path, block: Block) -> Path:
    """Write `block` to ``folder/blocks`` atomically."""
    path = folder / "blocks" / f"block-{block.state.segments:012d}.npz"
    frames = {"positions": block.positions, "energies": block.energies, "replicas": block.replicas}
    _write_npz(path, {"first_frame": np.array(block.first_frame), **frames, **_state_arrays(block.state)})
    return path


def latest_state(folder: Path) -> RunState | None:
    """The state from which a run in `folder` goes on; None when there is none."""
    candidates = [p for p in (folder / "checkpoint.npz", *_block_paths(folder)[-1:]) if p.exists()]
    states = [_read_state(path) for path in candidates]
    return max(states, key=lambda state: state.segments, default=None)


def assemble(folder: Path, system: MolecularSystem, settings: SimulationSettings) -> int:
    """Move the frames of all blocks into the HDF5 files; the number of frames per temperature.

    The blocks are removed after every file is in place and the checkpoint is written.
    """
    state = latest_state(folder)
    blocks = _block_paths(folder)
    if state is None or not blocks:
        _remove_blocks(folder, [])  # a process that was killed may not have come to their folder
        return 0 if state is None else state.frames
    topology = system.mdtraj_topology()
    for rung, temperature in enumerate(settings.temperatures):
        path = folder / trajectory_name(temperature)
        if state.frames and frames_in(path) < state.frames:
            many = settings.walks > 1
            count = write_hdf5(
                path,
                _walks(path, blocks, rung, settings.walks) if many else _pieces(path, blocks, rung),
                topology=topology,
                temperature=temperature,
                save_interval=settings.save_interval,
                fingerprint=system.fingerprint,
                frames_per_walk=state.frames // settings.walks,
            )
            if count != state.frames:
                raise InputError(
                    f"{folder}: {count} frames at {temperature:g} K were found where {state.frames} were "
                    "written; a file was removed, simulate into a new folder."
                )
    _write_npz(folder / "checkpoint.npz", _state_arrays(state))
    _remove_blocks(folder, blocks)
    return state.frames


def _remove_blocks(folder: Path, blocks: list[Path]) -> None:
    """And their folder; what else lies there is in nobody's way."""
    for path in blocks:
        with writing(path):
            path.unlink()
    with suppress(OSError):
        (folder / "blocks").rmdir()


def _pieces(path: Path, blocks: list[Path], rung: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What `path` already holds, then what the blocks add, in order."""
    done = frames_in(path)
    if done:
        yield from rows_in(path, done, _READ_FRAMES)
    yield from _new_rows(path, blocks, rung, done)


def _new_rows(
    path: Path, blocks: list[Path], rung: int, done: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What the blocks hold beyond the first `done` frames of the run, in order."""
    for block in blocks:
        arrays = read_npz(block, {**_FRAMES, **_STATE}, missing=_GONE, remedy=_OLDER, strict=True)
        first = int(arrays["first_frame"])
        count = arrays["energies"].shape[1]
        if not (0 <= first <= done) or rung >= len(arrays["energies"]):
            raise InputError(f"{path.parent}: frames {done} to {first} are missing; simulate anew.")
        new = slice(done - first, count)
        if first + count > done:
            positions, energies, replicas = (arrays[k] for k in ("positions", "energies", "replicas"))
            yield positions[rung, new], energies[rung, new], replicas[rung, new]
            done = first + count


def _walks(
    path: Path, blocks: list[Path], rung: int, walks: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The frames of each walk in turn; `path` holds them so already, blocks hold (saves, walks) rows."""
    done = frames_in(path)
    columns: list[list[np.ndarray]] = [[], [], []]
    if done:
        if done % walks:
            raise InputError(f"{path}: {done} frames are not those of {walks} walks; {REMOVE}")
        for column, rows in zip(columns, next(rows_in(path, done, done)), strict=True):
            column.append(rows.reshape(walks, done // walks, *rows.shape[1:]))
    for piece in _new_rows(path, blocks, rung, done):
        for column, rows in zip(columns, piece, strict=True):
            column.append(rows.reshape(len(rows) // walks, walks, *rows.shape[1:]).swapaxes(0, 1))
    positions, energies, replicas = (np.concatenate(column, axis=1) for column in columns)
    yield from zip(positions, energies, replicas, strict=True)


def _block_paths(folder: Path) -> list[Path]:
    return sorted((folder / "blocks").glob("block-*.npz"))


def _state_arrays(state: RunState) -> dict[str, np.ndarray]:
    return {
        "state_positions": state.replicas.positions,
        "state_velocities": state.replicas.velocities,
        "state_temperature_index": state.replicas.temperature_index,
        "exchange_attempts": state.exchanges.attempts,
        "exchange_accepted": state.exchanges.accepted,
        "exchange_last_end": state.exchanges.last_end,
        "exchange_half_trips": state.exchanges.half_trips,
        "progress": np.array(
            [state.segments, state.frames, state.restarts, state.torsion_moves, state.ring_moves],
            dtype=np.int64,
        ),
    }


def _read_state(path: Path) -> RunState:
    wanted = {**{name: replace(one, optional=True) for name, one in _FRAMES.items()}, **_STATE}
    arrays = read_npz(path, wanted, missing=_GONE, remedy=_OLDER, strict=True)
    if not 2 <= len(arrays["progress"]) <= 5:
        raise InputError(f"{path}: it has {len(arrays['progress'])} counts, expected 5; {_OLDER}")
    segments, frames, *counts = (int(value) for value in arrays["progress"])
    rungs = len(arrays["exchange_attempts"]) + 1
    index = arrays["state_temperature_index"]
    if min(segments, frames, *counts, 0) < 0 or not ((index >= 0) & (index < rungs)).all():
        raise InputError(f"{path}: its counts are those of no run; {_OLDER}")
    replicas = ReplicaState(
        *(arrays[f"state_{key}"] for key in ("positions", "velocities", "temperature_index"))
    )
    exchanges = ExchangeRecord(
        *(arrays[f"exchange_{key}"] for key in ("attempts", "accepted", "last_end", "half_trips"))
    )
    return RunState(replicas, exchanges, segments, frames, *counts)


def _write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, allow_pickle=False, **arrays)
