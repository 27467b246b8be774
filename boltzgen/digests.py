"""Hashes of what was written, compared when it is read: a flipped bit is refused, not computed with.

A manifest vouches for the files beside it (``"files": {name: {"bytes", "sha256"}}``) and for itself
(``"content_sha256"``, of its other keys, or of those that matter). What was written without hashes, by an
older boltzgen, is read without a comparison. A comparison reads each file once more, a block at a time: about
a second for a gigabyte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from boltzgen.errors import InputError
from boltzgen.files import as_written, sha256_file

#: The key under which a JSON record keeps the hash of its own content.
CONTENT = "content_sha256"


def file_digests(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of the files `names` in `folder`, as a manifest keeps them."""
    places = {name: as_written(folder / name) for name in names}
    return {
        name: {"bytes": place.stat().st_size, "sha256": sha256_file(place)} for name, place in places.items()
    }


def changed_files(folder: Path, digests: Any, names: Collection[str] | None = None) -> list[str]:
    """The files of `folder` (of those among `names`, if given) whose bytes are not those that `digests` say.

    A file that is missing is left to its reader, and so is one without a hash.
    """
    if not isinstance(digests, Mapping):
        return []
    for name in digests:
        if Path(name).name != name:
            raise InputError(f"{folder}: its manifest vouches for {name!r}, no file in it; copy it anew.")
    return [
        name
        for name, entry in digests.items()
        if (names is None or name in names)
        and isinstance(entry, Mapping)
        and isinstance(entry.get("sha256"), str)
        and (folder / name).is_file()
        and sha256_file(folder / name) != entry["sha256"]
    ]


def require_unchanged(folder: Path, digests: Any, remedy: str, names: Collection[str] | None = None) -> None:
    """InputError naming the first file of `folder` that is not the one that `digests` vouch for.

    The sentence ends with the `remedy`, which begins "copy it anew".
    """
    for name in changed_files(folder, digests, names):
        size, written = (folder / name).stat().st_size, digests[name].get("bytes")
        cut = isinstance(written, int) and size < written
        what = f"truncated, {size} of {written} bytes are there" if cut else "its SHA-256 is another"
        raise InputError(f"{folder / name}: cannot be read as the file that was written ({what}); {remedy}")


def signed(record: Mapping[str, Any], keys: Collection[str] | None = None) -> dict[str, Any]:
    """`record` with the hash of its content, or of the `keys` that nobody may edit by hand."""
    content = {key: value for key, value in record.items() if key != CONTENT}
    return {**content, CONTENT: _digest(content, keys)}


def is_as_signed(record: Mapping[str, Any], keys: Collection[str] | None = None) -> bool:
    """Whether `record`, as it was read, has the content that `signed` hashed; also when it has no hash."""
    return CONTENT not in record or record[CONTENT] == _digest(record, keys)


def require_signed(
    path: Path, record: Mapping[str, Any], remedy: str, keys: Collection[str] | None = None
) -> None:
    """InputError when the `record` read from the file `path` is not the one that was signed."""
    if not is_as_signed(record, keys):
        raise InputError(f"{path}: its content is not what was written (its SHA-256 is another); {remedy}")


def _digest(record: Mapping[str, Any], keys: Collection[str] | None) -> str:
    """SHA-256 of the canonical JSON text of `record`; spaces and the order of keys do not matter."""
    content = {
        key: value for key, value in record.items() if key != CONTENT and (keys is None or key in keys)
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
