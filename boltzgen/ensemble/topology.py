"""The topology stored with an ensemble, as MDTraj understands it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from boltzgen.errors import InputError
from boltzgen.files import writing

if TYPE_CHECKING:
    import mdtraj


def read_topology(topology_pdb: str, n_atoms: int | None = None) -> mdtraj.Topology:
    """The MDTraj topology of the PDB text `topology_pdb`; InputError when it is not one of `n_atoms`."""
    import mdtraj

    handle, name = tempfile.mkstemp(suffix=".pdb")
    try:
        with writing(name), os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(topology_pdb)
        topology = mdtraj.load_pdb(name).topology
    except (OSError, ValueError, IndexError, KeyError, AttributeError, AssertionError) as error:
        raise InputError("the topology stored with the samples is no readable PDB; sample again.") from error
    finally:
        Path(name).unlink(missing_ok=True)
    if n_atoms is not None and topology.n_atoms != n_atoms:
        raise InputError(
            f"the topology has {topology.n_atoms} atoms, the samples have {n_atoms}; sample again."
        )
    return topology
