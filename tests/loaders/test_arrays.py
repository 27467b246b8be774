"""Damaged npz and npy files: a sentence, before anything of a size that a header invents is allocated."""

from __future__ import annotations

import io
import random
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from helpers import refusal
from numpy.lib import format as npy

from boltzgen.errors import InputError
from boltzgen.loaders.arrays import Wanted, read_npy, read_npz

WANTED = {
    "positions": Wanted("f", ("frames", "atoms", 3), finite=True),
    "energies": Wanted("f", ("frames",)),
    "replicas": Wanted("i", ("frames",), optional=True),
}
GOOD = {
    "positions": np.arange(5 * 4 * 3, dtype=np.float32).reshape(5, 4, 3) / 7,
    "energies": np.array([1.5, np.nan, -3.25, 2.0, 9.0]),
    "replicas": np.arange(5),
}


def read(path):
    return read_npz(path, WANTED, missing="no such file; simulate again.", remedy="copy it anew.")


def header(shape: str, dtype: str = "'<f8'", order: str = "False", extra: bytes = b"") -> bytes:
    """The bytes of an npy file with a header of these words, and `extra` after it."""
    text = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    text += b" " * (64 - (len(text) + 11) % 64) + b"\n"
    return npy.magic(1, 0) + len(text).to_bytes(2, "little") + text + extra


def archive(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return made.getvalue()


def of(**changes: np.ndarray | None) -> bytes:
    made = io.BytesIO()
    np.savez(made, **{k: v for k, v in {**GOOD, **changes}.items() if v is not None})
    return made.getvalue()


DAMAGED = {
    "empty": b"",
    "text": b"hello",
    "cut": of()[:400],
    "cut in its directory": of()[:-10],
    "a missing array": of(energies=None),
    "objects": of(energies=np.array([{"a": 1}] * 5, dtype=object)),
    "complex numbers": of(energies=np.zeros(5, dtype=complex)),
    "text for numbers": of(energies=np.array(["a"] * 5)),
    "whole numbers for others": of(positions=np.zeros((5, 4, 3), dtype=int)),
    "a structure": of(energies=np.zeros(5, dtype=[("a", "f8")])),
    "dates": of(energies=np.zeros(5, dtype="M8[s]")),
    "a dimension more": of(positions=np.zeros((5, 4, 3, 1))),
    "a dimension less": of(positions=np.zeros((5, 12))),
    "another length": of(energies=np.zeros(4)),
    "two columns": of(positions=np.zeros((5, 4, 2))),
    "not finite": of(positions=np.full((5, 4, 3), np.inf)),
    "a huge shape": archive(positions=header("(1000000000000, 4, 3)"), energies=header("(3,)")),
    "a shape that overflows": archive(positions=header("(9223372036854775807, 9223372036854775807, 3)")),
    "a huge shape of nothing": archive(positions=header("(9223372036854775807, 0, 3)")),
    "a negative shape": archive(positions=header("(-5, 4, 3)", extra=b"\0" * 480)),
    "a shape of text": archive(positions=header("('a', 4, 3)")),
    "a shape of many digits": archive(positions=header(f"({'9' * 5000}, 4, 3)")),
    "a nested header": archive(positions=header("(" * 300 + ")" * 300)),
    "a type that is none": archive(positions=header("(5, 4, 3)", "'<q9'")),
    "a huge item": archive(positions=header("(1,)", "'<U1000000000'")),
    "a pickle": archive(positions=header("(5,)", "'|O'", extra=b"cos\nsystem\n(S'true'\ntR.")),
    "no header": archive(positions=b"\0" * 100),
    "no header at all": archive(positions=b""),
    "another version": archive(positions=b"\x93NUMPY\x09\x00" + b"\0" * 100),
    "a longer array": archive(positions=header("(1, 4, 3)", extra=b"\0" * 960)),
    "a shorter array": archive(positions=header("(5, 4, 3)", extra=b"\0" * 100)),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_archive_is_refused_without_memory(tmp_path, name):
    path = tmp_path / "frames.npz"
    path.write_bytes(DAMAGED[name])
    tracemalloc.start()
    refusal(lambda: read(path), path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_arrays_of_either_order_and_byte_order_are_read(tmp_path):
    path = tmp_path / "frames.npz"
    odd = {
        **GOOD,
        "positions": np.asfortranarray(GOOD["positions"]),
        "energies": GOOD["energies"].astype(">f8"),
    }
    np.savez_compressed(path, **odd)
    for name, array in read(path).items():
        np.testing.assert_array_equal(array, GOOD[name])
    np.savez(path, **{**GOOD, "others": np.zeros(3)})
    assert set(read(path)) == set(GOOD)
    with pytest.raises(InputError, match="others"):
        read_npz(path, WANTED, missing="none.", remedy="copy it anew.", strict=True)


def test_archives_that_numpy_does_not_write_are_refused(tmp_path):
    path = tmp_path / "frames.npz"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as file:
        warnings.simplefilter("ignore")
        for _ in range(2):
            file.writestr("positions.npy", header("(0,)"))
    assert "twice" in refusal(lambda: read(path), path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("positions.npy", header("(0,)"))
    assert "packed" in refusal(lambda: read(path), path)
    content = bytearray(of())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # "encrypted", in the directory
    path.write_bytes(content)
    refusal(lambda: read(path), path)
    path.unlink()
    assert "simulate again" in refusal(lambda: read(path), path)


def test_a_few_kilobytes_do_not_become_gigabytes(tmp_path):
    """A header of a gigabyte of zeros, which deflate makes small, and one whose directory lies about it."""
    path = tmp_path / "frames.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("positions.npy", "w") as member:
        member.write(header("(89478485, 1, 3)", "'<f4'"))
        for _ in range(1024):
            member.write(b"\0" * 2**20)
    assert path.stat().st_size < 2**21
    assert "promises" in refusal(lambda: read(path), path)


def test_no_flipped_bytes_raise_anything_else(tmp_path):
    path, rng = tmp_path / "frames.npz", random.Random(5)
    packed = io.BytesIO()
    np.savez_compressed(packed, **GOOD)
    for base in (of(), packed.getvalue()):
        for _ in range(300):
            content = bytearray(base)
            for _ in range(rng.choice((1, 1, 2, 5))):
                content[rng.randrange(len(content))] = rng.randrange(256)
            path.write_bytes(content)
            try:
                read(path)
            except InputError as error:
                assert str(path) in str(error)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello, this is text",
        header("(1000000000000,)"),
        header("(3,)", extra=b"\0" * 23),
        header("(3,)", extra=b"\0" * 25),
        header("(3,)", "'|O'", extra=b"\0" * 24),
        header("(3,)", "[('a', '<f8')]", extra=b"\0" * 24),
        archive(a=header("(0,)")),
    ],
)
def test_a_damaged_npy_file_is_refused(tmp_path, content):
    path = tmp_path / "values.npy"
    path.write_bytes(content)
    refusal(lambda: read_npy(path, None, missing="none.", remedy="save it with numpy.save."), path)


def test_a_npy_file_is_read_and_held_against_what_is_wanted(tmp_path):
    path = tmp_path / "values.npy"
    np.save(path, np.array([2.5, -1.25]))
    read = lambda wanted: read_npy(path, wanted, missing="none.", remedy="copy it anew.")  # noqa: E731
    np.testing.assert_array_equal(read(None), [2.5, -1.25])
    np.testing.assert_array_equal(read(Wanted("f", (2,))), [2.5, -1.25])
    for wanted in (Wanted("i", (2,)), Wanted("f", (3,)), Wanted("f", (2, 1))):
        refusal(lambda wanted=wanted: read(wanted), path)
