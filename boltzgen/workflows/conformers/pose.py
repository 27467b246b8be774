"""What it costs to stay near a pose: the share of the samples within a symmetric RMSD of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from boltzgen.data.foreign import read_structures
from boltzgen.errors import InputError
from boltzgen.free_energy.statistics import Statistics
from boltzgen.potentials.base import Potential
from boltzgen.system.graph.adjacency import adjacency
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import energy_in_units, thermal_energy
from boltzgen.wells.minimisation import minima
from boltzgen.wells.populations import near_pose
from boltzgen.wells.symmetry import Symmetry
from boltzgen.workflows.conformers.source import NO_WEIGHTS, Conformations

#: nm that a threshold may be.
MOST_WITHIN = 1.0


@dataclass(frozen=True, eq=False)
class Pose:
    """A conformation (N, 3) nm from the file `path`, and how near it a sample must stay (nm)."""

    path: Path
    positions: np.ndarray
    within: float

    @classmethod
    def read(cls, path: Path, within: float, given: Conformations) -> Pose:
        """The one structure in `path`; InputError where there are more, or `given` has no weights."""
        if not given.weighted:
            raise InputError(f"`pose`: {given.source} cannot say what a pose costs: {NO_WEIGHTS}.")
        if not 0 < within <= MOST_WITHIN:
            raise InputError(f"`within={within:g}`: give an RMSD in nm, above 0 and at most {MOST_WITHIN:g}.")
        positions = read_structures(path, given.system)
        if len(positions) != 1:
            raise InputError(f"{path} holds {len(positions)} structures; give a pose as a file with one.")
        return cls(path, positions[0], within)

    def distances(self, system: MolecularSystem, positions: np.ndarray) -> np.ndarray:
        """(n,) nm: the symmetric RMSD of heavy atoms from each of `positions` (n, N, 3)."""
        numbers = np.asarray(system.atomic_numbers)
        neighbours = adjacency(len(numbers), np.asarray(system.bonds))
        heavy = np.flatnonzero(numbers != 1)
        place = {int(atom): k for k, atom in enumerate(heavy)}
        colours = [(int(numbers[a]), sum(numbers[n] == 1 for n in neighbours[a])) for a in heavy]
        bonds = [
            (place[a], place[b]) for a, b in np.asarray(system.bonds).tolist() if a in place and b in place
        ]
        symmetry = Symmetry.of(colours, np.array(bonds, dtype=int).reshape(-1, 2))
        return symmetry.rmsd(self.positions[heavy], np.asarray(positions, dtype=float)[:, heavy])

    def told(
        self, given: Conformations, potential: Potential, statistics: Statistics, lowest: float
    ) -> dict[str, Any]:
        """The entry ``pose``: population and free energy of staying, and the energy of its own minimum.

        lowest: kJ/mol, of the lowest well.
        """
        weighted = np.isfinite(given.log_w)
        near = np.zeros(len(given), dtype=bool)
        near[weighted] = self.distances(given.system, given.positions[weighted]) <= self.within
        about = given.statistics(statistics, near.astype(int))
        share, estimate = near_pose(given.log_w, near, about, judge=given.judge)
        found, energy, done = minima(potential, torch.as_tensor(self.positions[None]))
        strain: dict[str, float] | None = None
        if bool(done[0]):
            above = (float(energy[0]) - lowest) / thermal_energy(given.temperature)
            strain = energy_in_units(above, given.temperature)
        return {
            "file": str(self.path),
            "within_nm": self.within,
            "heavy_atom_rmsd_of_its_minimum_nm": float(self.distances(given.system, found.numpy())[0]),
            "minimum_over_lowest": strain,
            "population": share.to_json(),
            "free_energy": estimate.to_json(given.temperature),
        }
