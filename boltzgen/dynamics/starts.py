"""Conformations from which the replicas of a simulation begin.

One start leaves every replica in the well where it began, until it crosses by itself; conformers of many
wells let a short run see all of them. They decide nothing about populations: a population counts where
replicas left and came back (`boltzgen.trust.crossings`).
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from boltzgen.coordinates.conformers import conformers_of
from boltzgen.coordinates.domain import REASONS, Domain
from boltzgen.data.foreign import read_structures
from boltzgen.data.trajectory import read_trajectory
from boltzgen.errors import InputError
from boltzgen.system.graph.geometry import dihedral_angles
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.graph.puckers import cremer_pople
from boltzgen.system.graph.ring_flips import is_bent
from boltzgen.system.graph.ring_states import ring_states
from boltzgen.system.graph.torsions import Subset
from boltzgen.system.molecular_system import MolecularSystem

#: Starts at most, the lowest conformers first; and kJ/mol above the lowest from which none is taken: rings of
#: medium size survive minimisation 300 to 400 too high, and no replica comes back from there by itself.
MOST_STARTS, HIGHEST = 16, 60.0
#: What `starts` may be but a file.
WORDS = ("auto", "reference", "conformers")
#: Torsions whose thirds tell conformers apart.
_OPEN = Subset(frozenset({"open"}))


@dataclass(frozen=True, eq=False)
class Starts:
    """positions (S, N, 3) nm, and where they come from: ``reference``, ``conformers`` or a path."""

    positions: np.ndarray
    source: str

    def at_most(self, number: int) -> Starts:
        """These, or `number` of them: the first conformers, evenly spaced structures of a file."""
        if len(self.positions) <= number:
            return self
        if self.source in WORDS:
            return Starts(self.positions[:number], self.source)
        rows = np.linspace(0, len(self.positions) - 1, number).astype(int)
        return Starts(self.positions[rows], self.source)


def starts_of(system: MolecularSystem, asked: str | PathLike[str], most: int) -> Starts:
    """At most `most` starts of `system`, as `asked`.

    ``reference``: the reference structure; ``conformers``: `conformer_starts`; ``auto``: conformers of
    molecules with rings whose states last, and the reference of all others; else a file (SDF, XYZ, any
    trajectory) or an MD folder, from which they are taken evenly.

    Raises InputError where there are none, or a file is not of the molecule.
    """
    reference = Starts(np.asarray(system.reference_positions, dtype=float)[None], "reference")
    if asked == "reference" or (asked == "auto" and not has_ring_states(system)):
        return reference
    if asked in ("auto", "conformers"):
        found = conformer_starts(system)
        if found is None and asked == "conformers":
            raise InputError(
                f"No conformers of {system.name!r} can be made (RDKit finds no Lewis structure, or the "
                'molecule is too large); give a file of them as `starts=FILE`, or `starts="reference"`.'
            )
        return reference if found is None else Starts(found, "conformers").at_most(most)
    path = Path(asked)
    positions = read_trajectory(path, system).positions if path.is_dir() else read_structures(path, system)
    positions = np.asarray(positions, dtype=float)
    outside = Domain(MolecularGraph.from_system(system), "reference")(torch.as_tensor(positions))
    wrong = torch.nonzero(outside)
    if len(wrong):
        row = int(wrong[0, 0])
        raise InputError(
            f"{path}: structure {row + 1} lies outside the domain of {system.name!r} "
            f"({REASONS[outside[row]]}); take it out, or prepare that isomer."
        )
    return Starts(positions, str(path)).at_most(most)


def has_ring_states(system: MolecularSystem) -> bool:
    """Whether a ring of `system` has states that last: chairs, boats, patterns of larger rings."""
    if len(system.bonds) < system.n_atoms:
        return False
    return bool(ring_states(MolecularGraph.from_system(system)))


def conformer_starts(system: MolecularSystem, isomers: str = "reference") -> np.ndarray | None:
    """(S, N, 3) the lowest conformers of `system`, one of each combination of torsions and puckers; or None.

    Minimised in its own force field, lowest first, inside the domain of `isomers`. None where RDKit cannot
    make any (`conformers_of`).
    """
    found = conformers_of(system, isomers)
    if found is None or not len(found.positions):
        return None
    rows = _first_of_each(found.graph, found.positions, found.energies)[:MOST_STARTS]
    positions, energies = found.minimised(system, rows.tolist())
    if not len(energies):
        return None
    kept = _first_of_each(found.graph, positions, energies)
    low = energies[kept] <= energies[kept[0]] + HIGHEST
    return np.asarray(positions[kept[low]])


def _first_of_each(graph: MolecularGraph, positions: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """Rows of the lowest of each combination of torsions and puckers, the lowest of all first."""
    rising = np.argsort(energies, kind="stable")
    _, first = np.unique(_labels(graph, positions[rising]), axis=0, return_index=True)
    return np.asarray(rising[np.sort(first)])


def _labels(graph: MolecularGraph, positions: np.ndarray) -> np.ndarray:
    """(K, labels) int: thirds of open torsions, states of rings, tenths of the circle of rings of five."""
    atoms = np.array([torsion.atoms for torsion in graph.torsions(_OPEN)]).reshape(-1, 4)
    turn = np.mod(dihedral_angles(positions, atoms), 2 * np.pi)
    columns = [np.floor(turn / (2 * np.pi / 3)).astype(np.int64)]
    columns += [ring.classify(positions)[:, None] for ring in ring_states(graph)]
    for ring in graph.rings:
        if len(ring) == 5 and is_bent(graph, ring):
            phi = np.nan_to_num(cremer_pople(positions[:, list(ring)])[2])
            columns.append(np.floor(phi / (np.pi / 5)).astype(np.int64)[:, None])
    return np.concatenate(columns, axis=1)
