"""Arrays of NumPy's files (npz, npy): type, shape and size are checked before anything is allocated.

A header says a shape and a type; what they need is compared with the bytes that are there. Nothing is
unpickled. Names of lengths stand for equal numbers in all arrays of a file.
"""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from boltzgen.errors import InputError
from boltzgen.files import file_size, read_error

#: What NumPy, zipfile and zlib raise for damaged files.
_FAULTS = (
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    SyntaxError,
    RuntimeError,  # encrypted; nested (RecursionError); an unknown compression (NotImplementedError)
    MemoryError,
    OverflowError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)

#: Arrays above this size that shrank more than this are no data: some megabytes would become gigabytes.
_LARGE, _MOST_SHRUNK = 512 * 2**20, 200

#: The most that deflate shrinks anything, about.
_DEFLATE = 1040

_KINDS = {"f": "floating-point numbers", "i": "whole numbers", "b": "true or false", "U": "text", "S": "text"}


@dataclass(frozen=True)
class Wanted:
    """An array that a file should hold.

    kinds: NumPy's letters of its type (``f``, ``i`` with ``u``, ``b``, text ``U`` and ``S``).
    shape: numbers, or names of lengths that all arrays of the file share. finite: no NaN or infinity.
    optional: it may be missing.
    """

    kinds: str
    shape: tuple[int | str, ...]
    finite: bool = False
    optional: bool = False


def read_npz(
    path: Path, wanted: Mapping[str, Wanted] | None, *, missing: str, remedy: str, strict: bool = False
) -> dict[str, np.ndarray]:
    """The arrays `wanted` in the npz file `path`, all where it is None; optional ones may be left out.

    missing: said where there is no file. remedy: ends every other sentence. strict: the file holds nothing
    else. InputError names file and array.
    """
    file_size(path, missing=missing, kind="an npz file")
    lengths: dict[str, int] = {}
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, path, remedy)
            if wanted is None:
                said = {name: f"{path}: the array {name!r}" for name in members}
                return {name: _read_member(archive, members[name], said[name], remedy) for name in members}
            if strict and (others := sorted(set(members) - set(wanted))):
                raise InputError(f"{path}: holds the array {others[0]!r}, which is not expected; {remedy}")
            for name, one in wanted.items():
                if name in members:
                    array = _read_member(archive, members[name], f"{path}: the array {name!r}", remedy)
                    _check(array, one, lengths, f"{path}: the array {name!r}", remedy)
                    found[name] = array
                elif not one.optional:
                    raise InputError(f"{path}: the array {name!r} is missing; {remedy}")
    except OSError as error:
        raise _unreadable(path, error, remedy) from error
    except _FAULTS as error:
        raise InputError(f"{path}: cannot be read as npz ({_first_line(error)}); {remedy}") from error
    return found


def read_npy(path: Path, wanted: Wanted | None, *, missing: str, remedy: str) -> np.ndarray:
    """The one array of the npy file `path`, as `wanted` if given; errors as in `read_npz`."""
    size = file_size(path, missing=missing, kind="a npy file")
    try:
        with open(path, "rb") as handle:
            _check_header(handle, size, str(path), remedy)
            handle.seek(0)
            array = npy.read_array(handle, allow_pickle=False)
    except OSError as error:
        raise _unreadable(path, error, remedy) from error
    except _FAULTS as error:
        raise InputError(f"{path}: cannot be read as npy ({_first_line(error)}); {remedy}") from error
    if wanted is not None:
        _check(array, wanted, {}, f"{path}: the array", remedy)
    return np.asarray(array)


def _members(archive: zipfile.ZipFile, path: Path, remedy: str) -> dict[str, zipfile.ZipInfo]:
    """The arrays of `archive` by name."""
    found = archive.infolist()
    twice = [name for name, count in Counter(one.filename for one in found).items() if count > 1]
    if twice:
        raise InputError(f"{path}: holds {twice[0]!r} twice; {remedy}")
    return {one.filename.removesuffix(".npy"): one for one in found}


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, what: str, remedy: str) -> np.ndarray:
    size, stored = member.file_size, member.compress_size
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
        raise InputError(f"{what} is packed in a way that NumPy does not write; {remedy}")
    most = stored if member.compress_type == zipfile.ZIP_STORED else _DEFLATE * stored
    if size > most or (size > _LARGE and size > _MOST_SHRUNK * stored):
        raise InputError(f"{what} promises {size} bytes and {stored} are there; {remedy}")
    with archive.open(member) as handle:
        _check_header(handle, size, what, remedy)  # type: ignore[arg-type]
    with archive.open(member) as handle:
        array = np.asarray(npy.read_array(handle, allow_pickle=False))
        if handle.read(1):
            raise InputError(f"{what} is longer than its header says; {remedy}")
    return array


def _check_header(handle: BinaryIO, size: int, what: str, remedy: str) -> None:
    """InputError unless the header of an npy file of `size` bytes, at which `handle` is, promises as many."""
    version = npy.read_magic(handle)
    if version == (1, 0):
        shape, _, dtype = npy.read_array_header_1_0(handle)
    elif version == (2, 0):
        shape, _, dtype = npy.read_array_header_2_0(handle)
    else:
        raise InputError(f"{what} has version {version} of NumPy's format; save it again with numpy.save.")
    if dtype.hasobject or dtype.names is not None or dtype.subdtype is not None:
        raise InputError(f"{what} holds {dtype}, which is not read; {remedy}")
    if any(length < 0 for length in shape):
        raise InputError(f"{what} has the shape {_shown(shape)}; {remedy}")
    needed = math.prod(shape) * dtype.itemsize + handle.tell()
    if needed != size or any(length > size for length in shape):
        raise InputError(
            f"{what} promises {needed} bytes (shape {_shown(shape)}), and {size} are there; {remedy}"
        )


def _check(array: np.ndarray, wanted: Wanted, lengths: dict[str, int], what: str, remedy: str) -> None:
    """InputError unless `array` is as `wanted`; the lengths that it gives names go into `lengths`."""
    kind = "i" if array.dtype.kind == "u" else array.dtype.kind
    if kind not in wanted.kinds:
        raise InputError(f"{what} holds {array.dtype}, expected {_KINDS[wanted.kinds[0]]}; {remedy}")
    known = [lengths.get(one, one) if isinstance(one, str) else one for one in wanted.shape]
    fits = array.ndim == len(known) and all(
        isinstance(one, str) or one == length for one, length in zip(known, array.shape, strict=True)
    )
    if not fits:
        expected = f"({', '.join(map(str, known))}{',' if len(known) == 1 else ''})"
        raise InputError(f"{what} has the shape {_shown(array.shape)}, expected {expected}; {remedy}")
    for one, length in zip(wanted.shape, array.shape, strict=True):
        if isinstance(one, str):
            if lengths.setdefault(one, length) != length:
                raise InputError(f"{what} has the shape {_shown(array.shape)}, two {one} differ; {remedy}")
    if wanted.finite and kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{what} holds numbers that are not finite; {remedy}")


def _unreadable(path: Path, error: OSError, remedy: str) -> InputError:
    """zipfile raises OSError without a number for damaged offsets."""
    if error.errno is not None:
        return read_error(path, error)
    return InputError(f"{path}: cannot be read ({_first_line(error)}); {remedy}")


def _shown(shape: tuple[int, ...]) -> str:
    return str(shape) if len(str(shape)) < 80 else f"{str(shape)[:80]}..."


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
