"""Atomic writes, text, JSON, CSV and hashes: a reader never meets half a file.

A file is written beside its destination, flushed to the disk and renamed into place, so that an
interrupted run leaves either the old file or the new one.
"""

from __future__ import annotations

import codecs
import csv
import errno
import hashlib
import io
import json
import math
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from boltzgen.disk import trouble_of, write_error
from boltzgen.errors import BoltzgenError, InputError

PathLike = str | os.PathLike[str]

#: Bytes of a text file that is read at once: some ten times what a large data set's record has.
LARGEST_TEXT = 64 * 2**20

#: Levels of lists and mappings in a file; what boltzgen writes has less than ten.
DEEPEST = 64

#: Characters of a path or key that a message shows.
LONGEST_SHOWN = 200

#: What the system says of a path that nothing can be at, or that nobody may look at.
NO_PATH = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EACCES, errno.EPERM)

#: Digits of a whole number in JSON, with its sign; seeds have 19.
_MOST_DIGITS = 21


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
        trouble = trouble_of(error, temporary)
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


def file_size(path: PathLike, *, missing: str, kind: str = "a file") -> int:
    """Bytes of the file `path`, links followed; InputError when it is no ordinary file that could be opened.

    missing: what is said where there is none. kind: what was expected. A pipe or a device is refused before
    it is opened, since reading from it may never end.
    """
    shown = os.fspath(path)
    try:
        found = os.stat(path)
    except FileNotFoundError as error:
        if os.path.islink(path):
            raise InputError(
                f"{shown}: a link to a file that is not there; make the link anew, or name the file."
            ) from error
        raise InputError(f"{shown}: {missing}") from error
    except (OSError, ValueError) as error:
        raise read_error(path, error) from error
    if stat.S_ISDIR(found.st_mode):
        raise InputError(f"{shown}: cannot be read as {kind}, it is a folder; name the file itself.")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(
            f"{shown}: a pipe or a device; expected {kind}. Save the content as a file, name that."
        )
    return found.st_size


def is_there(path: PathLike) -> bool:
    """Whether `path` is a file or folder that could be opened; False for what cannot be a path, too."""
    try:
        os.stat(path)
    except (OSError, ValueError):
        return False
    return True


def read_bytes(path: PathLike, *, missing: str, kind: str = "a file", largest: int = LARGEST_TEXT) -> bytes:
    """The content of the file `path`, of at most `largest` bytes; errors as in `file_size`."""
    size = file_size(path, missing=missing, kind=kind)
    if size > largest:
        raise InputError(
            f"{os.fspath(path)}: {size} bytes are too many for {kind}, which has at most {largest}; "
            "is it the right file?"
        )
    try:
        with open(path, "rb") as handle:
            return handle.read(size)
    except OSError as error:
        raise read_error(path, error) from error


def read_text(
    path: PathLike, *, missing: str, kind: str = "text", largest: int = LARGEST_TEXT, errors: str = "strict"
) -> str:
    """The UTF-8 text of `path`, line ends as ``\\n``; InputError where there is none, or it is not `kind`.

    missing: what is said where there is no file. errors: as in `bytes.decode`. A byte order mark is
    passed over.
    """
    data = read_bytes(path, missing=missing, kind=kind, largest=largest)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(f"{os.fspath(path)}: cannot be read as {kind}, it is UTF-16; save it as UTF-8.")
    try:
        text = data.decode("utf-8-sig", errors=errors)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{os.fspath(path)}: cannot be read as {kind}, it is not a text file (byte {error.start} is not "
            "UTF-8); unpack it, save it as UTF-8, or name the right file."
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_error(path: PathLike, error: OSError | ValueError) -> InputError:
    """What is raised, in one sentence, where the system refused to look at `path` with `error`."""
    shown = os.fspath(path)
    shown = shown if len(shown) < LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."
    if not isinstance(error, OSError):  # a NUL, or half of a surrogate pair
        return InputError(f"{shown!r}: no file can be called so ({error}); give another path.")
    if error.errno == errno.ENAMETOOLONG:
        return InputError(
            f"{shown}: the path is too long (a name has at most 255 bytes, a path 4096); give a shorter one."
        )
    if error.errno == errno.ENOTDIR:
        return InputError(f"{shown}: a file stands where a folder is needed; give another path.")
    if error.errno == errno.ELOOP:
        return InputError(f"{shown}: its links lead in a circle; make them anew.")
    if error.errno in (errno.EACCES, errno.EPERM):
        return InputError(f"{shown}: not readable ({error.strerror}); ask its owner, or copy it.")
    return InputError(f"{shown}: cannot be read ({error.strerror or error}); copy it anew.")


def read_json(
    path: PathLike, *, missing: str = "no such file; expected a JSON file that boltzgen wrote."
) -> Any:
    """The content of the JSON file `path`; InputError naming the file when it is missing or broken."""
    return parse_json(read_text(path, missing=missing), os.fspath(path))


def parse_json(text: str, source: str, remedy: str = "the file may be truncated, write it anew.") -> Any:
    """The content of the JSON `text`, which stands in `source`: the one place where JSON is read.

    InputError, ending with the `remedy`, for what is no JSON and for what nobody means by it: a key given
    twice, numbers that are not finite or have more than 20 digits, nesting beyond `DEEPEST`, half characters.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_not_finite,
            parse_float=_finite,
            parse_int=_whole,
        )
        _check_nested(value)
    except json.JSONDecodeError as error:
        what = "empty" if not text.strip() else f"not valid JSON (line {error.lineno}: {error.msg})"
        raise InputError(f"{source}: {what}; {remedy}") from error
    except RecursionError as error:
        raise InputError(f"{source}: not valid JSON (nested too deeply); {remedy}") from error
    except ValueError as error:
        raise InputError(f"{source}: not valid JSON ({error}); {remedy}") from error
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:LONGEST_SHOWN]!r} is given twice")
    return found


def _not_finite(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _finite(word: str) -> float:
    if not math.isfinite(value := float(word)):
        raise ValueError(f"{word[:40]} is too large for a number")
    return value


def _whole(word: str) -> int:
    if len(word) > _MOST_DIGITS or abs(value := int(word)) >= 2**64:
        raise ValueError(f"{word[:_MOST_DIGITS]} is too large for a whole number")
    return value


def _check_nested(value: Any) -> None:
    """ValueError where `value` is nested beyond `DEEPEST`, or holds text that cannot be written again."""
    level, depth = [value], 0
    while level:
        if depth > DEEPEST:
            raise ValueError("nested too deeply")
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below.extend(one.keys())
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
            elif isinstance(one, str) and not one.isascii():
                try:
                    one.encode()
                except UnicodeEncodeError as error:
                    raise ValueError("half a character (a surrogate)") from error
        level, depth = below, depth + 1


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
    file_size(path, missing="no such file; copy it anew.")
    try:
        with open(path, "rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise read_error(path, error) from error
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
