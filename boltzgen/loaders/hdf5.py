"""HDF5 files: opened in one way, and what a dataset promises is compared with the bytes that are there.

A dataset may declare a shape without having data, name another file as its content (external and virtual
datasets) or be a link to one; none of these is followed.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import InputError
from boltzgen.files import LARGEST_TEXT, file_size, parse_json, read_error

if TYPE_CHECKING:
    import h5py

#: What h5py raises for damaged files, by turns.
_FAULTS = (
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    MemoryError,
    OverflowError,
    SystemError,
)

#: Datasets above this size that shrank more than this are no data, and no chunk is as large.
_LARGE, _MOST_SHRUNK = 512 * 2**20, 200

#: The most that deflate, HDF5's usual filter, shrinks anything, and room for what HDF5 adds.
_DEFLATE, _ROOM = 1040, 65536


class Hdf5File:
    """An open file; each method reads one thing, or raises InputError naming the file and that."""

    def __init__(self, file: h5py.File, path: Path, size: int, remedy: str) -> None:
        self._file, self._path, self._size, self._remedy = file, path, size, remedy

    def __contains__(self, name: str) -> bool:
        return name in self._file

    def attribute(self, name: str, default: str, *, of: str | None = None) -> str:
        """The text of an attribute of the file, or of the dataset `of`; `default` where there is none."""
        holder = self._file if of is None else self._dataset(of)
        return self._text(holder.attrs[name], name) if name in holder.attrs else default

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the dataset `name`, as `numbers` would give it."""
        return tuple(self._dataset(name).shape)

    def numbers(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """The numbers of the dataset `name`, or the `rows` of it."""
        dataset = self._dataset(name)
        if dataset.dtype.kind not in "fiu":
            raise self._refused(f"{name!r} holds {dataset.dtype}, expected numbers")
        return np.asarray(dataset[()] if dataset.ndim == 0 else dataset[rows])

    def json(self, name: str) -> Any:
        """The content of the dataset `name`, one JSON text."""
        dataset = self._dataset(name)
        if dataset.size != 1 or dataset.dtype.kind not in "SO" or dataset.ndim > 1:
            raise self._refused(f"{name!r} holds {dataset.dtype} {dataset.shape}, expected one text")
        value = dataset[()] if dataset.ndim == 0 else dataset[0]
        return parse_json(self._text(value, name), f"{self._path}: {name!r}", self._remedy)

    def _dataset(self, name: str) -> h5py.Dataset:
        """The dataset `name`, whose bytes are all in this file."""
        import h5py

        if name not in self._file:
            raise self._refused(f"it has no dataset {name!r}")
        if not isinstance(self._file.get(name, getlink=True), h5py.HardLink):
            raise self._refused(f"{name!r} is a link, which is not followed")
        dataset = self._file[name]
        if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
            raise self._refused(f"{name!r} is no dataset of numbers")
        if dataset.is_virtual or dataset.external:
            raise self._refused(f"{name!r} has its content in other files")
        self._check_size(dataset, name)
        return dataset

    def _check_size(self, dataset: h5py.Dataset, name: str) -> None:
        needed = math.prod(dataset.shape) * dataset.dtype.itemsize
        if not needed:
            return
        stored = int(dataset.id.get_storage_size())
        packed = dataset.id.get_create_plist().get_nfilters() > 0
        most = _DEFLATE * stored + _ROOM if packed else stored
        chunk = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
        if (
            stored > self._size
            or needed > most
            or (needed > _LARGE and needed > _MOST_SHRUNK * stored)
            or chunk > _LARGE
        ):
            raise self._refused(
                f"{name!r} promises {needed} bytes (shape {str(dataset.shape)[:80]}), and {stored} are there"
            )
        if dataset.dtype.kind in "SU" and needed > LARGEST_TEXT:
            raise self._refused(f"{name!r} holds {needed} bytes of text")

    def _text(self, value: Any, name: str) -> str:
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.reshape(-1)[0]
        if isinstance(value, bytes):
            return value.decode("utf-8")
        if not isinstance(value, str):
            raise self._refused(f"{name!r} holds {type(value).__name__}, expected text")
        return value

    def _refused(self, what: str) -> InputError:
        return InputError(f"{self._path}: {what}; {self._remedy}")


@contextmanager
def open_hdf5(
    path: Path, *, missing: str, remedy: str = "it may be truncated, copy it anew."
) -> Iterator[Hdf5File]:
    """The HDF5 file `path` for reading; whatever goes wrong inside is an InputError that ends with `remedy`.

    missing: said where there is no file. Of a file that another program writes it is said.
    """
    import h5py

    size = file_size(path, missing=missing, kind="an HDF5 file")
    try:
        with h5py.File(path, "r") as file:
            yield Hdf5File(file, path, size, remedy)
    except OSError as error:
        raise _unreadable(path, error, remedy) from error
    except _FAULTS as error:
        raise InputError(f"{path}: cannot be read as HDF5 ({_first_line(error)}); {remedy}") from error


def _unreadable(path: Path, error: OSError, remedy: str) -> InputError:
    """What is said of `error`; HDF5 words its own, with and without the system's numbers."""
    words = _first_line(error)
    if "unable to lock file" in words:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return InputError(
                f"{path}: another program has this file open for writing (HDF5 keeps a lock on it); wait "
                "until it is done, close it there, or copy the file and read the copy."
            )
        return InputError(
            f"{path}: its file system knows no locks, which HDF5 asks for; set HDF5_USE_FILE_LOCKING=FALSE "
            "in the environment, or copy the file to a local disk."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG):
        return read_error(path, error)
    return InputError(f"{path}: cannot be read as HDF5 ({words}); {remedy}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
