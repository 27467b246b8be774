"""Disks that take nothing more: what the operating system meant, and the sentence that says so."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from boltzgen.errors import BoltzgenError, InputError

#: How libraries in C and Rust name the number of an error in their texts: HDF5, safetensors, Python.
_NUMBER = re.compile(r"(?:os error |errno = |\[Errno )(\d+)")


def trouble_of(error: BaseException, temporary: Path | None) -> OSError | None:
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
