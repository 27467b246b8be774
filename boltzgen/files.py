"""Atomic writes, JSON, CSV and hashes: a reader never meets half a file.

A file is written beside its destination, flushed to the disk and renamed into place, so that an
interrupted run leaves either the old file or the new one.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from boltzgen.errors import BoltzgenError, InputError

PathLike = str | os.PathLike[str]


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; at a clean exit it becomes `path`.

    The temporary name keeps the suffix of `path` (writers that look at the suffix work). On an
    exception the temporary file is removed and `path` is untouched. Missing parent folders are
    made. Raises BoltzgenError in one sentence when the disk is full or the folder is read-only.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _new_file(target)
        yield temporary
        _flush(temporary)
        staged = _staged.get()
        if staged is None:
            os.replace(temporary, target)
            _flush_folder(target.parent)
        else:
            staged[target], temporary = temporary, None
    except BoltzgenError:
        raise
    except Exception as error:
        trouble = _trouble(error, temporary)
        if trouble is None:
            raise
        raise write_error(target, trouble) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


#: Files that are written and wait for the others of their set: the path that each is to have, and its own.
_staged: ContextVar[dict[Path, Path] | None] = ContextVar("_staged", default=None)


@contextmanager
def together(manifest: Path) -> Iterator[None]:
    """The files that `atomic_path` gives inside take their places when all are written, in that order.

    Where one of them fails, all that were there stay. The old `manifest` goes first, so that at no time it
    vouches for files of two sets. `as_written` finds what waits.
    """
    staged: dict[Path, Path] = {}
    token = _staged.set(staged)
    try:
        yield
        with writing(manifest):
            manifest.unlink(missing_ok=True)
            for target in list(staged):
                os.replace(staged[target], target)
                del staged[target]
        _flush_folder(manifest.parent)
    finally:
        _staged.reset(token)
        for temporary in staged.values():
            with suppress(OSError):
                temporary.unlink()


def as_written(path: Path) -> Path:
    """Where the newest file for `path` lies: there, or still beside it (`together`)."""
    return (_staged.get() or {}).get(path, path)


@contextmanager
def writing(path: PathLike) -> Iterator[None]:
    """What the operating system refuses inside (writers, renames, removals at `path`), in one sentence."""
    try:
        yield
    except OSError as error:
        raise write_error(Path(path), error) from error


def make_folder(path: PathLike) -> Path:
    """`path` as a folder that exists, made with its parents; InputError when a file stands in the way."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if folder.is_file():
            raise InputError(f"{folder} is a file; give the name of a folder.") from error
        raise write_error(folder, error) from error
    return folder


def write_atomic(path: PathLike, data: bytes | str) -> None:
    """Write `data` (text as UTF-8) to `path` atomically."""
    payload = data.encode() if isinstance(data, str) else data
    with atomic_path(path) as temporary:
        temporary.write_bytes(payload)


def write_json(path: PathLike, obj: Any) -> None:
    """Write `obj` as JSON atomically; NaN and infinity are refused (use null and a reason)."""
    try:
        text = json.dumps(obj, indent=1, allow_nan=False)
    except ValueError as error:
        raise BoltzgenError(
            f"{path}: a number to be written is not finite; write null and a reason instead."
        ) from error
    write_atomic(path, text + "\n")


def read_text(path: PathLike, *, missing: str, kind: str = "text") -> str:
    """The UTF-8 text of `path`; InputError when there is none, saying `missing`, or when it is not `kind`."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{path}: {missing}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as {kind} ({error}).") from error


def read_json(path: PathLike) -> Any:
    """The object in the JSON file `path`; InputError naming the file when it is missing or broken."""
    text = read_text(path, missing="no such file; expected a JSON file that boltzgen wrote.")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        what = "empty" if not text.strip() else f"not valid JSON (line {error.lineno}: {error.msg})"
        raise InputError(f"{path}: {what}; the file may be truncated, write it anew.") from error


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, header: bool = True) -> str:
    """`rows` as CSV with Unix line ends; a cell that is None or missing is empty, numbers read back exactly.

    Without `header` the text goes on in a file that has one. ValueError for a key that is no column.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def sha256_file(path: PathLike) -> str:
    """Hexadecimal SHA-256 of the bytes of `path`."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    return digest.hexdigest()


def _new_file(target: Path) -> Path:
    """An empty file beside `target` that nobody else has, with the permissions that the umask leaves.

    `tempfile` makes files that the owner alone can read; the umask cannot be read without setting it.
    """
    while True:
        path = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.tmp{target.suffix}")
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
            return path


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """Make the rename itself durable; not every file system allows it, and none needs it to be right."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


#: How libraries in C and Rust name the number of an error in their texts: HDF5, safetensors, Python.
_NUMBER = re.compile(r"(?:os error |errno = |\[Errno )(\d+)")


def _trouble(error: BaseException, temporary: Path | None) -> OSError | None:
    """The error of the operating system behind what a writer raised; None when it is another fault.

    Libraries in other languages raise what they like: the number may stand in a text, here or in what was
    raised before. Where nothing tells, the disk is asked.
    """
    seen: BaseException | None = error
    while seen is not None:
        found = _NUMBER.search(str(seen))
        number = seen.errno if isinstance(seen, OSError) and seen.errno else found and int(found[1])
        if number:
            return OSError(number, os.strerror(number))
        seen = seen.__cause__ or seen.__context__
    try:
        if temporary is not None:
            with open(temporary, "r+b") as file:
                file.seek(0, os.SEEK_END)
                file.write(bytes(1 << 16))
                file.flush()
                os.fsync(file.fileno())
    except OSError as refused:
        return refused
    return error if isinstance(error, OSError) else None


#: What the operating system says of a disk that takes nothing more, and what is said of it.
_FULL = {
    errno.ENOSPC: "the disk is full; nothing was overwritten. Free space and run again.",
    errno.EDQUOT: "your quota of disk space is used up; nothing was overwritten. Free space and run again.",
    errno.EFBIG: "cannot be written, for the file would be larger than this process or disk allows; nothing "
    "was overwritten. Raise the limit (ulimit -f), or choose another output folder.",
    errno.ENOENT: "its folder is gone, or was never there; make it, or choose another output folder.",
    errno.EIO: "the disk does not work as it should (input/output error); nothing was overwritten. Choose "
    "another output folder.",
}


def write_error(path: Path, error: OSError) -> BoltzgenError:
    """What is raised, in one sentence, when writing `path` ended with `error`."""
    if error.errno in _FULL:
        return BoltzgenError(f"{path}: {_FULL[error.errno]}")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InputError(f"{path}: not writable ({error.strerror}); choose another output folder.")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return InputError(f"{path}: a file stands where a folder is needed; choose another output folder.")
    if error.errno == errno.ENAMETOOLONG:
        return InputError(f"{path}: the name is too long for the disk; choose a shorter one.")
    return BoltzgenError(f"{path}: cannot be written ({error.strerror or error}).")


def is_trouble_of_the_disk(error: BaseException) -> bool:
    """Whether `error` tells of a disk that takes nothing more, whatever was being done."""
    refused = (*_FULL, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)
    return isinstance(error, OSError) and error.errno in refused and error.errno != errno.ENOENT
