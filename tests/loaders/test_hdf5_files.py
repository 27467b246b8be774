"""Damaged, truncated and hostile HDF5 files, and such as another program has open."""

from __future__ import annotations

import random
import subprocess
import sys
import tracemalloc

import h5py
import numpy as np
import pytest
from helpers import refusal

from boltzgen.data.hdf5 import frames_in, read_column, read_hdf5, rows_in
from boltzgen.data.trajectory import read_trajectory
from boltzgen.errors import InputError

FRAMES, ATOMS = 6, 4
POSITIONS = np.arange(FRAMES * ATOMS * 3, dtype=np.float32).reshape(FRAMES, ATOMS, 3) / 7


def write(path, change=lambda file: None) -> None:
    with h5py.File(path, "w") as file:
        file["coordinates"] = POSITIONS
        file["coordinates"].attrs["units"] = np.bytes_(b"nanometers")
        file["potentialEnergy"] = np.arange(FRAMES) * 1.5
        file["temperature"] = np.full(FRAMES, 310.0)
        file["replica"] = np.arange(FRAMES, dtype=np.int32)
        file["topology"] = np.array([b'{"chains": []}'])
        file.attrs["boltzgen_system_fingerprint"] = np.bytes_(b"f00d")
        change(file)


def replaced(name, value):
    def change(file):
        del file[name]
        file[name] = value

    return change


def made_anew(name, *words, **keywords):
    def change(file):
        del file[name]
        file.create_dataset(name, *words, **keywords)

    return change


def unit(value):
    def change(file):
        del file["coordinates"].attrs["units"]
        file["coordinates"].attrs["units"] = value

    return change


def virtual(file):
    del file["coordinates"]
    layout = h5py.VirtualLayout(shape=(FRAMES, ATOMS, 3), dtype="f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "coordinates", shape=(FRAMES, ATOMS, 3))
    file.create_virtual_dataset("coordinates", layout)


HARMED = {
    "no coordinates": lambda file: file.__delitem__("coordinates"),
    "an external link": replaced("coordinates", h5py.ExternalLink("elsewhere.h5", "/coordinates")),
    "a soft link": replaced("coordinates", h5py.SoftLink("/potentialEnergy")),
    "a link to nothing": replaced("coordinates", h5py.SoftLink("/nowhere")),
    "a link in a circle": replaced("coordinates", h5py.SoftLink("/coordinates")),
    "data in another file": made_anew(
        "coordinates", (FRAMES, ATOMS, 3), "f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
    ),
    "a virtual dataset": virtual,
    "a huge shape without data": made_anew("coordinates", (10**12, ATOMS, 3), "f4", chunks=(64, ATOMS, 3)),
    "a huge packed shape without data": made_anew(
        "coordinates", (10**12, ATOMS, 3), "f4", chunks=(64, ATOMS, 3), compression="gzip"
    ),
    "a huge chunk": made_anew(
        "coordinates", (1, ATOMS, 3), "f4", chunks=(2**27, 1, 1), maxshape=(None, ATOMS, 3)
    ),
    "no data": made_anew("coordinates", (FRAMES, ATOMS, 3), "f4"),
    "a group": lambda file: (file.__delitem__("coordinates"), file.create_group("coordinates")),
    "nothing in it": replaced("coordinates", h5py.Empty("f4")),
    "text": replaced("coordinates", np.array([[[b"a"] * 3] * ATOMS] * FRAMES)),
    "complex numbers": replaced("coordinates", POSITIONS.astype(complex)),
    "a structure": replaced("coordinates", np.zeros(3, dtype=[("a", "f4")])),
    "two dimensions": replaced("coordinates", POSITIONS[0]),
    "two columns": replaced("coordinates", POSITIONS[..., :2]),
    "a number": replaced("coordinates", 3.0),
    "energies of fewer frames": replaced("potentialEnergy", np.zeros(FRAMES - 1)),
    "energies of text": replaced("potentialEnergy", np.array([b"a"] * FRAMES)),
    "energies of many dimensions": replaced("potentialEnergy", np.zeros((FRAMES, 1, 1))),
    "huge replicas": replaced("replica", np.full(FRAMES, 1e300)),
    "replicas that are not numbers": replaced("replica", np.full(FRAMES, np.nan)),
    "inches": unit(np.bytes_(b"inches")),
    "a unit that is a number": unit(3.5),
    "units of a list": unit(np.array([1, 2, 3])),
    "a unit that is no text": unit(np.bytes_(b"\xff\xfe")),
    "no unit in it": unit(h5py.Empty("S4")),
    "a topology that is no JSON": replaced("topology", np.array([b"{"])),
    "a nested topology": replaced("topology", np.array([b"[" * 5000])),
    "a topology that is a list": replaced("topology", np.array([b"[]"])),
    "a topology of numbers": replaced("topology", np.zeros(3)),
    "two topologies": replaced("topology", np.array([b"{}", b"{}"])),
    "a topology that is no text": replaced("topology", np.array([b"\xff"])),
    "a fingerprint that is a number": lambda file: file.attrs.__setitem__("boltzgen_system_fingerprint", 3),
}


@pytest.mark.parametrize("name", HARMED)
def test_a_harmed_file_is_refused_without_memory(tmp_path, name):
    path = tmp_path / "frames.h5"
    write(path, HARMED[name])
    tracemalloc.start()
    refusal(lambda: read_trajectory(path), path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_sound_file_is_read_with_units_of_either_kind(tmp_path):
    path = tmp_path / "frames.h5"
    for value, factor in ((np.bytes_(b"nanometers"), 1), ("angstroms", 0.1), (np.array([b"angstrom"]), 0.1)):
        write(path, unit(value))
        found, topology = read_hdf5(path)
        np.testing.assert_array_equal(found.positions, POSITIONS * np.float32(factor))
        np.testing.assert_array_equal(found.energies, np.arange(FRAMES) * 1.5)
        assert (found.system_fingerprint, topology) == ("f00d", {"chains": []})
    assert frames_in(path) == FRAMES and frames_in(tmp_path / "none.h5") == 0
    np.testing.assert_array_equal(read_column(path, "temperature"), [310.0] * FRAMES)
    assert read_column(path, "others") is None
    pieces = list(rows_in(path, FRAMES, 4))
    assert [len(piece[0]) for piece in pieces] == [4, 2]
    np.testing.assert_array_equal(np.concatenate([piece[2] for piece in pieces]), np.arange(FRAMES))


@pytest.mark.parametrize("kept", [0, 1, 8, 100, 700, 0.5, 0.9])
def test_a_cut_file_is_refused(tmp_path, kept):
    path = tmp_path / "frames.h5"
    write(path)
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    for read in (read_hdf5, frames_in, lambda file: read_column(file, "temperature")):
        refusal(lambda read=read: read(path), path)


def test_no_flipped_bytes_raise_anything_else(tmp_path):
    path, rng = tmp_path / "frames.h5", random.Random(3)
    write(path)
    base = path.read_bytes()
    for _ in range(200):
        content = bytearray(base)
        for _ in range(rng.choice((1, 2, 5))):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        try:
            read_hdf5(path)
        except InputError as error:
            assert str(path) in str(error)


def test_a_file_that_another_program_writes_is_called_that(tmp_path):
    """HDF5's own words are "unable to lock file, errno = 11"."""
    path = tmp_path / "frames.h5"
    write(path)
    words = "import h5py, sys; f = h5py.File(sys.argv[1], 'a'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", words, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"open\n"
        told = refusal(lambda: read_hdf5(path), path)
        other.stdin.close()
        other.wait()
    assert "another program" in told and "copy the file" in told
    assert len(read_hdf5(path)[0]) == FRAMES


def test_a_file_system_without_locks_is_called_that(tmp_path, monkeypatch):
    path = tmp_path / "frames.h5"
    write(path)

    def refuse(*words, **keywords):
        raise OSError(37, "Unable to synchronously open file (unable to lock file, errno = 37)")

    monkeypatch.setattr(h5py, "File", refuse)
    assert "HDF5_USE_FILE_LOCKING=FALSE" in refusal(lambda: read_hdf5(path), path)
