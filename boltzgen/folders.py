"""Owning a folder: the lock, and what processes that were killed left behind.

The lock belongs to the smallest folder with a manifest (one OUT, one MD, one RUN, one molecule of a data set)
and is held from before its first file is read until its manifest is written. A single file, which may lie in
anybody's folder, has a lock of its own while it is written (``free_energy.json`` with its ``.csv`` and
``.png``). The files of the locks and the temporary files of `boltzgen.files.atomic_path` are the program's
own: they never count as somebody's files, and whoever gets the lock removes those of the dead.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from boltzgen.disk import write_error
from boltzgen.errors import InputError
from boltzgen.files import PathLike, make_folder

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: The file that is locked.
LOCK = ".lock"

#: Names of temporary files, which `boltzgen.files.atomic_path` gives, with the stem of what they become.
_TEMPORARY = re.compile(r"\.(?P<stem>.*)\.[0-9a-f]{8}\.tmp(\..*)?", re.DOTALL)

#: What follows a dot and the stem in the lock of a single file.
_OF_A_FILE = ".boltzgen-lock"

#: Seconds between two attempts for a short lock, and how long they are made.
_PAUSE, _PATIENCE = 0.02, 60.0

#: Seconds between two looks at folders where other processes work.
_LOOK_AGAIN = 0.2

#: Locks that this process holds, and the thread that does: a verb may call another one in its folder.
_held: dict[tuple[int, int, str], int] = {}


def is_own_file(path: Path) -> bool:
    """Whether `path` is called like a lock or a temporary file of boltzgen."""
    name = path.name
    lock = name == LOCK or (name.startswith(".") and name.endswith(_OF_A_FILE))
    return lock or _TEMPORARY.fullmatch(name) is not None


def holds_other_files(folder: Path) -> bool:
    """Whether `folder` is there and holds anything but locks and temporary files of boltzgen."""
    return folder.is_dir() and any(not is_own_file(path) for path in folder.iterdir())


class BusyError(InputError):
    """Another process works in the folder."""


@contextmanager
def alone_in(path: PathLike) -> Iterator[Path]:
    """`path` as `make_folder` gives it, for this process alone; BusyError while another one works in it.

    Temporary files of dead processes in it and below are removed, but not below a folder with a lock of its
    own. The operating system lets go of the lock with the process, however that ends; where the file system
    knows no locks, nobody is refused. Folders that were made for nothing are removed again. A thread that has
    the folder may ask for it again.
    """
    with _owned(path, LOCK, patience=0.0) as folder:
        _sweep(folder, below=True)
        yield folder


def each_alone(folders: Sequence[Path], work: Callable[[int], None], *, between: Callable[[], None]) -> None:
    """Call ``work(k)`` alone in each of `folders`; those where other processes work come when these are done.

    `between` is called before each, and while there is nothing to do but wait.
    """
    left = list(range(len(folders)))
    while left:
        busy = []
        for number in left:
            between()
            try:
                with alone_in(folders[number]):
                    work(number)
            except BusyError:
                busy.append(number)
        if busy == left:
            time.sleep(_LOOK_AGAIN)
        left = busy


@contextmanager
def alone_for_a_moment_in(path: PathLike) -> Iterator[Path]:
    """The same for a file that several processes change in turn: this one waits until the others are done."""
    with _owned(path, LOCK, patience=_PATIENCE) as folder:
        _sweep(folder, below=False)
        yield folder


@contextmanager
def alone_with_file(path: PathLike) -> Iterator[Path]:
    """The file `path` and those with other endings, for this process alone while it writes them.

    This one waits until others are done, and removes the temporary files that dead ones left of these names.
    """
    file = Path(path)
    with _owned(file.parent, f".{file.stem}{_OF_A_FILE}", patience=_PATIENCE) as folder:
        _sweep_file(folder, file.stem)
        yield file


@contextmanager
def _owned(path: PathLike, name: str, *, patience: float) -> Iterator[Path]:
    """`path` while this process holds the lock `name` in it."""
    made = _missing(Path(path))
    folder = make_folder(path)
    try:
        place = (*_identity(os.stat(folder)), name)
        if _held.get(place) == threading.get_ident():
            yield folder
            return
        descriptor = _locked(folder, name, patience)
        _held[place] = threading.get_ident()
        try:
            yield folder
        finally:
            # Whoever opened this file meanwhile sees that it is no longer in the folder, and tries again.
            with suppress(OSError):
                (folder / name).unlink()
            _held.pop(place, None)
            os.close(descriptor)
    finally:
        for empty in made:
            with suppress(OSError):
                empty.rmdir()


def _missing(folder: Path) -> list[Path]:
    """`folder` and the folders above it that are not there, the deepest first."""
    return [path for path in (folder, *folder.parents) if not os.path.lexists(path)]


def _locked(folder: Path, name: str, patience: float) -> int:
    """A descriptor of the lock `name` of `folder`, now this process's; also where there are no locks."""
    lock, end = folder / name, time.monotonic() + patience
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise write_error(lock, error) from error
        if _lock(descriptor):
            with suppress(FileNotFoundError):
                if _identity(os.stat(lock)) == _identity(os.fstat(descriptor)):
                    return descriptor
            os.close(descriptor)  # of a process that is done: its file is gone
            continue
        os.close(descriptor)
        if time.monotonic() >= end:
            raise BusyError(
                f"Another boltzgen process is at work in {folder}; wait for it, or name another folder."
            )
        time.sleep(_PAUSE)


def _lock(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _sweep(folder: Path, *, below: bool) -> None:
    """Remove temporary files; nobody alive has any where this process has the lock, but for single files."""
    with suppress(OSError):
        for path in list(folder.iterdir()):
            if path.name != LOCK and is_own_file(path) and not path.is_dir():
                if not _is_written(folder, path.name):
                    path.unlink(missing_ok=True)
            elif below and path.is_dir() and not path.is_symlink() and not (path / LOCK).exists():
                _sweep(path, below=True)


def _sweep_file(folder: Path, stem: str) -> None:
    """Remove the temporary files of names that begin with `stem`, whose lock this process has."""
    with suppress(OSError):
        for path in list(folder.glob(f".{glob.escape(stem)}.*")):
            found = _TEMPORARY.fullmatch(path.name)
            if found is None or path.is_dir():
                continue
            ours = found["stem"] == stem
            if ours or (found["stem"].startswith(f"{stem}.") and not _is_written(folder, path.name)):
                path.unlink(missing_ok=True)


def _is_written(folder: Path, name: str) -> bool:
    """Whether the temporary file or lock `name` is of a single file that another process has the lock of."""
    found = _TEMPORARY.fullmatch(name)
    lock = folder / (f".{found['stem']}{_OF_A_FILE}" if found else name)
    with suppress(OSError):
        descriptor = os.open(lock, os.O_RDWR)
        try:
            return not _lock(descriptor)
        finally:
            os.close(descriptor)
    return False
