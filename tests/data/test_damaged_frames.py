"""Trajectories of other programs with damage that MDTraj's readers would follow."""

from __future__ import annotations

import warnings

import mdtraj
import numpy as np
import pytest
from toy_molecules import halopropane

from boltzgen.data.foreign import read_foreign
from boltzgen.errors import InputError


@pytest.fixture(scope="module")
def molecule():
    return halopropane()


@pytest.fixture
def frames(molecule):
    noise = np.random.default_rng(1).normal(size=(12, molecule.n_atoms, 3))
    return molecule.reference_positions[None] + 0.001 * noise


@pytest.fixture
def write(molecule, tmp_path):
    """Write positions as another program would."""

    def written(positions, suffix):
        path = tmp_path / f"elsewhere.{suffix}"
        mdtraj.Trajectory(np.asarray(positions, np.float32), molecule.mdtraj_topology()).save(str(path))
        return path

    return written


def read_quietly(path, system):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return read_foreign(path, system, temperature=300.0)


def test_a_damaged_xtc_cannot_end_this_process(write, molecule, frames):
    """Its decompressor follows damaged bits out of its tables: a signal, not an exception."""
    path, rng = write(frames, "xtc"), np.random.default_rng(5)
    whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    for _ in range(5):
        harmed = whole.copy()
        places = rng.integers(92, 200, size=6)  # behind the header of the first frame
        harmed[places] = rng.integers(0, 256, size=6)
        path.write_bytes(harmed.tobytes())
        try:
            read_quietly(path, molecule)
        except InputError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("count", [-1, -(2**31), 0, 2**31 - 1, 3])
@pytest.mark.parametrize(("suffix", "place"), [("xtc", 4), ("xtc", 52), ("trr", 64), ("dcd", 268)])
def test_a_number_of_atoms_in_a_header_is_not_believed(write, molecule, frames, suffix, place, count):
    path = write(frames, suffix)
    content = bytearray(path.read_bytes())
    order = "little" if suffix == "dcd" else "big"
    assert int.from_bytes(content[place : place + 4], order) == molecule.n_atoms
    content[place : place + 4] = count.to_bytes(4, order, signed=True)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"atoms|damaged|cannot be read|truncated") as caught:
        read_quietly(path, molecule)
    assert str(path) in str(caught.value)
