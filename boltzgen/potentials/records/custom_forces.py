"""The frozen record of a custom force: an algebraic expression, atoms and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from boltzgen.potentials.records.tabulated import TabulatedFunction


@dataclass(frozen=True, eq=False)
class CustomForce:
    """Terms of one OpenMM custom force, each the value of `expression` for its own atoms and parameters.

    Words: T terms of n atoms each. A pair force (CustomNonbondedForce) has one term for each pair that
    interacts; its parameters have the suffixes 1 and 2, as in OpenMM.

    Attributes
    ----------
    kind: OpenMM's class name, which says what the expression may speak of (r, theta, x1, distance, ...).
    where: the force in messages, ``force 3 (CustomBondForce)``.
    expression: OpenMM's text; energies in kJ/mol, lengths in nm, angles in rad.
    atoms: (T, n) int64.
    parameters: by name, (T,) for the terms' own, () for global ones (their default values).
    functions: tabulated functions by name.
    bonded: whether all terms are internal: neighbours of at most three bonds (bond forces: two).
    cutoff: nm; terms at this distance or beyond are 0. switching_distance: nm, where the energy begins to
        be multiplied by ``1 - 10 t^3 + 15 t^4 - 6 t^5``. None: neither. Pair forces only.
    """

    kind: str
    where: str
    expression: str
    atoms: np.ndarray
    parameters: Mapping[str, np.ndarray]
    functions: Mapping[str, TabulatedFunction] = field(default_factory=dict)
    bonded: bool = False
    cutoff: float | None = None
    switching_distance: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "atoms", _frozen(self.atoms, np.int64))
        values = {name: _frozen(value, np.float64) for name, value in self.parameters.items()}
        object.__setattr__(self, "parameters", values)

    def part(self, rows: np.ndarray, *, bonded: bool) -> CustomForce:
        """The terms of the mask or indices `rows`."""
        parameters = {name: value[rows] if value.ndim else value for name, value in self.parameters.items()}
        return CustomForce(
            self.kind,
            self.where,
            self.expression,
            self.atoms[rows],
            parameters,
            self.functions,
            bonded,
            self.cutoff,
            self.switching_distance,
        )


def _frozen(values: np.ndarray, dtype: type) -> np.ndarray:
    array: np.ndarray = np.array(values, dtype=dtype)
    array.flags.writeable = False
    return array
