"""Observables as columns of the table of conformers: of each well, and the average over all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np

from boltzgen.free_energy.estimate import Estimate
from boltzgen.free_energy.observables import expectations
from boltzgen.free_energy.observed.observable import Observable
from boltzgen.free_energy.observed.registry import values_of_frames
from boltzgen.free_energy.states import read_coordinates
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.variables import Variable
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.wells.populations import Figures, without_error
from boltzgen.workflows.conformers.source import Conformations


@dataclass(frozen=True, eq=False)
class Observed:
    """The observables `names` (as `observable` takes them) of `system`; `declared`: coordinates of a file."""

    names: tuple[str, ...]
    system: MolecularSystem
    declared: dict[str, Variable]

    @classmethod
    def asked(
        cls, names: Sequence[str], coordinates: str | PathLike[str] | None, system: MolecularSystem
    ) -> Observed:
        """InputError where a name is unknown, or the molecule has no such observable."""
        declared: dict[str, Variable] = {}
        if coordinates is not None:
            topology = system.mdtraj_topology()
            declared = dict(read_coordinates(coordinates, topology, dimension=system.n_atoms))
        found = cls(tuple(names), system, declared)
        found.columns(np.asarray(system.reference_positions, dtype=float)[None])
        return found

    def columns(self, positions: np.ndarray) -> list[Observable]:
        """The columns of `positions` (n, N, 3) nm; those that are 0 in all of them may be left out."""
        return values_of_frames(self.names, positions, self.system, self.declared)

    def told(
        self, given: Conformations, codes: np.ndarray, held: Figures, statistics: Statistics
    ) -> tuple[list[Estimate], list[list[Estimate]], list[str]]:
        """The averages over all of `given`, those over each well of `held`, and notes, each once.

        codes: (n,) the well of each row. Where a well has no error bar, its averages have none.
        """
        weighted = np.flatnonzero(np.isfinite(given.log_w))
        columns = self.columns(np.asarray(given.positions[weighted], dtype=float))
        values = np.ones((len(given), len(columns)))  # rows without weight count for nothing
        for place, column in enumerate(columns):
            values[weighted, place] = column.values

        def of(log_w: np.ndarray) -> list[Estimate]:
            estimates = expectations(
                log_w,
                values,
                statistics,
                names=[column.name for column in columns],
                powers=[column.power for column in columns],
            )
            return [
                replace(estimate, unit=column.unit, further={**estimate.further, **column.further})
                for column, estimate in zip(columns, estimates, strict=True)
            ]

        wells = []
        for one in held.wells:
            estimates = of(np.where(codes == one.well, given.log_w, -np.inf))
            wells.append([without_error(each, one.population.n_effective) for each in estimates])
        return of(given.log_w), wells, list(dict.fromkeys(one.note for one in columns if one.note))

    def at(self, positions: np.ndarray) -> tuple[list[list[dict[str, Any]]], list[str]]:
        """Of structures (n, N, 3) nm without weights: entries with the values there and no error; notes."""
        columns = self.columns(np.asarray(positions, dtype=float))
        entries = [
            [
                {
                    "name": column.name,
                    "unit": column.unit,
                    "value": {column.unit: float(column.values[row])},
                    "standard_error": {column.unit: None},
                    "interval95": {column.unit: [None, None]},
                    **column.further,
                }
                for column in columns
            ]
            for row in range(len(positions))
        ]
        return entries, list(dict.fromkeys(one.note for one in columns if one.note))
