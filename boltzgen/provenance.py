"""What made a file: the versions of the programs at work, and paths that mean something elsewhere.

Nothing here imports a foundation, so that asking for its version costs no second of start-up.
"""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import PurePosixPath
from typing import Any

#: The version of the library that runs; `boltzgen.__version__` and the distribution's are this one.
VERSION = "0.1.0"

#: Both names mean the library at work, whatever is installed beside it.
_OURS = ("boltzgen", "boltzgen-sampler")

#: An absolute path, alone or inside a word such as ``data=/runs/MD`` or ``[/a,/b]``; no part of a URL.
_PATH = re.compile(r"(?<![^\s=,(\[\"'])/[^\s,)\]\"'/][^\s,)\]\"']*")


def versions(*names: str) -> dict[str, str | None]:
    """Name -> version, in the order asked: ``"python"``, ``"boltzgen"`` or any distribution (``"torch"``).

    None where the distribution is not installed. Read from what was installed, without an import.
    """
    return {name: _version(name) for name in names}


def relative_to_run(record: Any, run: str | os.PathLike[str]) -> Any:
    """The JSON value `record` of the folder `run`, fit to be published: it tells no path of this machine.

    Absolute paths in its strings become relative to `run`. What shares no folder with it but the root keeps
    its name alone, and so does the program that a ``command`` begins with.
    """
    if isinstance(record, dict):
        return {key: relative_to_run(_program_by_name(key, value), run) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [relative_to_run(value, run) for value in record]
    if not isinstance(record, str):
        return record
    base = os.path.abspath(run)
    if record.startswith("/"):  # one path, perhaps with spaces
        return _relative(record, base)
    return _PATH.sub(lambda found: _relative(found[0], base), record)


def _version(name: str) -> str | None:
    if name == "python":
        return platform.python_version()
    if name in _OURS:
        return VERSION
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _program_by_name(key: str, value: Any) -> Any:
    if key == "command" and isinstance(value, list) and value and str(value[0]).startswith("/"):
        return [PurePosixPath(value[0]).name, *value[1:]]
    return value


def _relative(path: str, base: str) -> str:
    if os.path.commonpath([path, base]) == "/":
        return PurePosixPath(path).name or path
    return os.path.relpath(path, base)
