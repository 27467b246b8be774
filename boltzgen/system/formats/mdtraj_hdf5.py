"""MDTraj's HDF5 conventions ("Pande" 1.1): the header that names them, and the topology kept as JSON.

Source: https://mdtraj.org/1.9.4/hdf5_format.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.provenance import VERSION

if TYPE_CHECKING:
    import h5py
    import mdtraj


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
