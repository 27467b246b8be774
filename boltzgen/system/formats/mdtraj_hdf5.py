"""MDTraj's HDF5 conventions ("Pande" 1.1): the header that names them, and the topology kept as JSON.

`new_file` is how all HDF5 files are written here.

Source: https://mdtraj.org/1.9.4/hdf5_format.html
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from boltzgen.files import PathLike, atomic_path
from boltzgen.provenance import VERSION

if TYPE_CHECKING:
    import h5py
    import mdtraj


@contextmanager
def new_file(path: PathLike) -> Iterator[h5py.File]:
    """A new HDF5 file, which stands at `path` once all is written (`boltzgen.files.atomic_path`).

    HDF5 does not outlive a disk that refuses it (what it could not write it tries again while objects are
    collected, and ends the process by SIGSEGV), so it does not hear of that: we do, and raise at the end.
    """
    import h5py

    with atomic_path(path) as temporary, open(temporary, "r+b", buffering=0) as raw:
        disk = _Disk(raw)
        with h5py.File(disk, "w") as file:
            yield file
        if disk.refused is not None:
            raise disk.refused


class _Disk(io.RawIOBase):
    """A file for HDF5 that takes everything; after the first refusal nothing of it is kept."""

    def __init__(self, raw: BinaryIO) -> None:
        super().__init__()
        self._raw = raw
        self.refused: OSError | None = None

    def write(self, data: Any, /) -> int:
        left = memoryview(data).cast("B")
        whole = len(left)
        try:
            while len(left) and self.refused is None:
                left = left[self._raw.write(left) :]
        except OSError as error:
            self.refused = error
        return whole

    def readinto(self, buffer: Any, /) -> int:
        target = memoryview(buffer).cast("B")
        done = 0
        while done < len(target):
            part = self._raw.read(len(target) - done)
            if not part:
                break
            target[done : done + len(part)] = part
            done += len(part)
        return done

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def truncate(self, size: int | None = None, /) -> int:
        try:
            return self._raw.truncate(size)
        except OSError as error:
            self.refused = self.refused or error
            return self.tell() if size is None else size

    def flush(self) -> None:
        """Nothing is held back here."""


def write_header(
    file: h5py.File, topology: Mapping[str, Any], *, title: str, own: Mapping[str, str | int]
) -> None:
    """The attributes of the conventions, our `own` ones after them as ``boltzgen_NAME``, and the topology.

    `topology` is the dictionary of `topology_record`.
    """
    attributes = {
        "conventions": "Pande",
        "conventionVersion": "1.1",
        "program": "boltzgen",
        "programVersion": VERSION,
        "application": "boltzgen",
        "title": title,
        **{f"boltzgen_{name}": value for name, value in own.items()},
    }
    for key, value in attributes.items():
        file.attrs[key] = np.bytes_(value.encode()) if isinstance(value, str) else value
    text = json.dumps(topology).encode()
    file.create_dataset("topology", data=np.array([text], dtype=f"S{len(text)}"))


def set_unit(dataset: h5py.Dataset, unit: str) -> None:
    """Say the unit of `dataset` as the conventions do: ``nanometers``, ``picoseconds``, ``kelvin`` ..."""
    dataset.attrs["units"] = np.bytes_(unit.encode())


def topology_record(topology: mdtraj.Topology) -> dict[str, Any]:
    """MDTraj's topology as the nested dictionary that its HDF5 convention stores as JSON."""
    chains = []
    for chain in topology.chains:
        residues = [
            {
                "index": int(residue.index),
                "name": str(residue.name),
                "resSeq": int(residue.resSeq),
                "segmentID": str(residue.segment_id),
                "atoms": [
                    {"index": int(a.index), "name": str(a.name), "element": _symbol(a)} for a in residue.atoms
                ],
            }
            for residue in chain.residues
        ]
        chains.append({"index": int(chain.index), "residues": residues})
    bonds = [[int(first.index), int(second.index)] for first, second in topology.bonds]
    return {"chains": chains, "bonds": bonds}


def record_elements(record: dict[str, Any]) -> list[str]:
    """Element symbols in atom order from `topology_record`'s dictionary."""
    atoms = [
        (atom["index"], atom["element"])
        for chain in record.get("chains", [])
        for residue in chain["residues"]
        for atom in residue["atoms"]
    ]
    return [symbol for _, symbol in sorted(atoms)]


def _symbol(atom: Any) -> str:
    return str(atom.element.symbol) if atom.element is not None else "VS"
