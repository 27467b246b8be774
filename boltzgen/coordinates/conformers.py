"""Conformers of a molecule inside its domain, from RDKit, with the labels that the reference has.

Two uses: the lowest conformer of each state of the rings (`boltzgen.trust.rings`), and conformations from
which simulations start (`boltzgen.dynamics.starts`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from boltzgen.coordinates.domain import Domain
from boltzgen.system.graph.bond_orders import lewis_structure
from boltzgen.system.graph.mirror import mirrored, placed_by_hands
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.minimise import energy_and_minimum
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.small_molecule.conformers import conformers_like
from boltzgen.system.small_molecule.rdkit_messages import rdkit_log
from boltzgen.system.terms.charges import partial_charges

#: Atoms up to which conformers are looked for; they cost 8 s of one core for 70.
MOST_ATOMS = 120
#: Steps of L-BFGS in the molecule's own force field.
_STEPS = 1000


@dataclass(frozen=True, eq=False)
class Conformers:
    """positions (K, N, 3) nm, minimised under MMFF94, and their energies (K,) kcal/mol there."""

    graph: MolecularGraph
    domain: Domain
    positions: np.ndarray
    energies: np.ndarray

    def minimised(self, system: MolecularSystem, rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Positions (R, N, 3) and energies (R,) kJ/mol of `rows`, minimised in the force field of `system`.

        What leaves the domain, or has no finite energy, is left out. A hybrid's region has no potential here.
        """
        shape = (-1, *self.positions.shape[1:])
        found = [
            energy_and_minimum(system.openmm_system(), self.positions[k], iterations=_STEPS) for k in rows
        ]
        positions = np.array([x for _, _, x in found]).reshape(shape)
        energies = np.array([energy for _, energy, _ in found], dtype=np.float64)
        sound = np.isfinite(energies) & (self.domain(torch.as_tensor(positions)) == 0).numpy()
        return positions[sound], energies[sound]


def conformers_of(system: MolecularSystem, isomers: str = "reference") -> Conformers | None:
    """Conformers of `system` inside the domain of `isomers`, and the images that its labels allow.

    None where RDKit finds no Lewis structure, or the molecule has more than `MOST_ATOMS` atoms.
    """
    if system.n_atoms > MOST_ATOMS:
        return None
    charges = partial_charges(system.openmm_system())
    molecule = lewis_structure(system, 0 if charges is None else round(float(charges.sum())))
    if molecule is None:
        return None
    graph = MolecularGraph.from_system(system)
    with rdkit_log():  # of rings that its torsions break
        embedded, energies = conformers_like(molecule)
    placed, energies = as_labelled(graph, embedded), np.concatenate([energies, energies])
    domain = Domain(graph, isomers)
    inside = (domain(torch.as_tensor(placed)) == 0).numpy()
    return Conformers(graph, domain, placed[inside], energies[inside])


def as_labelled(graph: MolecularGraph, positions: np.ndarray) -> np.ndarray:
    """Conformers (K, N, 3) and their mirror images, with equal terminal atoms in the places of the hands."""
    return placed_by_hands(graph, np.concatenate([positions, mirrored(positions)]))
