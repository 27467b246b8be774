"""Is a folder whole? Its files are held against the sizes and hashes that its record keeps.

Sizes are compared always, hashes where the files are small enough to be read in a moment.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from boltzgen.digests import changed_files, is_as_signed
from boltzgen.files import is_there
from boltzgen.workflows.reporting.folders import Found

#: Bytes that are hashed in some twentieth of a second.
MOST_HASHED = 16 * 2**20

#: Files that a folder must hold where its record, of an older version, does not list them.
_NEEDED = {
    "SYS": ("system.xml", "topology.pdb"),
    "MODEL": ("weights.safetensors",),
    "OUT": ("samples.npz", "samples.dcd"),
}

#: What the hash of the record of samples covers, as in `boltzgen.ensemble.store`; of others all of it.
_SIGNED = ("system_fingerprint", "temperature_K", "measure", "domain", "n", "files")


def faults_of(found: Found) -> tuple[tuple[str, ...], str]:
    """What is missing or changed, a sentence each, and how the files were compared (`Shown.compared`)."""
    if found.kind == "RUN":
        model = found.record.get("model")
        return ((), "") if model is None else _compared(found.path / "model", "MODEL", model)
    if found.kind in ("SYS", "MD", "MODEL", "OUT"):
        return _compared(found.path, found.kind, found.record)
    if found.kind == "DATA":
        return _of_dataset(found.path, found.record)
    return (), ""


def _compared(folder: Path, kind: str, record: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    digests = record.get("sha256" if kind == "MD" else "files")
    listed = digests if isinstance(digests, Mapping) else {}
    names = list(listed) or list(record.get("files") or () if kind == "MD" else _NEEDED.get(kind, ()))
    faults, bytes_there = [], 0
    for name in names:
        entry = listed.get(name)
        expected = entry.get("bytes") if isinstance(entry, Mapping) else None
        if not is_there(folder / name):
            faults.append(f"{name} is missing")
            continue
        size = (folder / name).stat().st_size
        bytes_there += size
        if isinstance(expected, int) and size != expected:
            faults.append(f"{name} has {size} bytes, {expected} were written")
    if not is_as_signed(record, _SIGNED if kind == "OUT" else None):
        faults.append("the record itself was changed after it was written")
    if not listed:
        return tuple(faults), "there, without hashes to compare" if names else ""
    if bytes_there > MOST_HASHED:
        return tuple(
            faults
        ), f"sizes agree ({bytes_there / 1e6:.0f} MB were not hashed)" if not faults else ""
    sized = [fault.split()[0] for fault in faults]
    faults += [
        f"{name} is not the file that was written (its SHA-256 is another)"
        for name in changed_files(folder, listed)
        if name not in sized
    ]
    return tuple(faults), "" if faults else "sizes and SHA-256 agree"


def _of_dataset(folder: Path, record: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """Files of a data set that are missing; there are too many to hash."""
    names: Collection[str] = [name for one in record["molecules"] for name in one.get("sha256", ())]
    gone = [name for name in names if not is_there(folder / name)]
    faults = [f"{len(gone)} files are missing, the first {gone[0]}"] if gone else []
    return (
        tuple(faults),
        ""
        if faults
        else f"all {len(names)} are there; `load_dataset({str(folder)!r}, "
        "verify=True)` compares their hashes",
    )
