"""What people call a conformation: its torsions and the puckers of its rings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from boltzgen.system.formats.pdb_text import AtomName
from boltzgen.system.graph.geometry import dihedral_angles
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.graph.puckers import pucker
from boltzgen.system.graph.ring_states import ring_name, ring_states
from boltzgen.system.graph.torsions import WITH_STATES

#: Upper ends in degrees of the size of a torsion, and its word: half-way between 0, 60, 120 and 180.
_WORDS = ((30.0, "cis"), (90.0, "gauche"), (150.0, "anticlinal"), (180.1, "trans"))


@dataclass(frozen=True)
class Labels:
    """The labels of one conformation.

    torsions: name and angle in degrees of each torsion that turns or tells isomers apart (not methyl-like
    ones, whose thirds are equal). rings: a sentence for each ring that has a shape.
    """

    torsions: tuple[tuple[str, float], ...]
    rings: tuple[str, ...]

    @property
    def words(self) -> str:
        """In one line: ``C1-C2-C3-C4 gauche+; ring C1-... as a chair``; empty where nothing turns."""
        return "; ".join([*(f"{name} {word_of(angle)}" for name, angle in self.torsions), *self.rings])


def word_of(angle: float) -> str:
    """``trans``, ``gauche+`` ... of a torsion in degrees from -180 to 180."""
    word = next(word for end, word in _WORDS if abs(angle) <= end)
    return word + ("+" if angle > 0 else "-") if word in ("gauche", "anticlinal") else word


def labels_of(graph: MolecularGraph, names: Sequence[AtomName], positions: np.ndarray) -> Labels:
    """The labels of `positions` (N, 3) nm."""
    several = len({str(name).split()[0] for name in names}) > 1
    words = [str(name) if several else str(name.atom) for name in names]
    angles = torsion_angles(graph, positions[None])[0]
    torsions = tuple(
        ("-".join(words[atom] for atom in torsion.atoms), round(float(angle), 1))
        for torsion, angle in zip(graph.torsions(WITH_STATES), angles, strict=True)
    )
    return Labels(torsions, tuple(_rings(graph, words, positions)))


def torsion_angles(graph: MolecularGraph, positions: np.ndarray) -> np.ndarray:
    """(B, torsions) degrees from -180 to 180 of `positions` (B, N, 3)."""
    atoms = np.array([torsion.atoms for torsion in graph.torsions(WITH_STATES)], dtype=int).reshape(-1, 4)
    return np.asarray(np.degrees(dihedral_angles(positions, atoms)))


def _rings(graph: MolecularGraph, words: Sequence[str], positions: np.ndarray) -> list[str]:
    """The states of rings that last, then the puckers of all other bent rings of five and six."""
    found, told = [], set()
    for ring in ring_states(graph):
        code = int(ring.classify(positions[None])[0])
        told.add(frozenset(ring.atoms))
        if code >= 0:
            found.append(ring.state(code, words))
    for atoms in graph.rings:
        shape = pucker(positions[list(atoms)])
        if frozenset(atoms) not in told and shape not in ("", "flat"):
            found.append(f"{ring_name(atoms, words)} as {'an' if shape == 'envelope' else 'a'} {shape}")
    return found
