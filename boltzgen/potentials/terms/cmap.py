"""Correction maps: the energy of two torsions by a periodic table, as OpenMM interpolates it.

A bicubic polynomial on each cell of the table has the table's values and the derivatives of periodic
cubic splines through its rows and columns at the corners (Mackerell, Feig and Brooks, J. Comput. Chem.
25, 1400 (2004)).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from boltzgen.potentials.fast.fused import Dihedrals, Kernel
from boltzgen.potentials.records.parameters import CorrectionMaps
from boltzgen.potentials.terms.native import Term, torsion_angles

#: Powers 0..3 of a cubic on (0, 1), by row, from its values and slopes at 0 and 1.
HERMITE = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [-3, 3, -2, -1], [2, -2, 1, 1]], dtype=np.float64)


def periodic_slopes(values: np.ndarray) -> np.ndarray:
    """Derivatives by the index, along the first axis, of the periodic cubic spline through `values`."""
    identity = np.eye(len(values))
    matrix = 4 * identity + np.roll(identity, 1, axis=0) + np.roll(identity, -1, axis=0)
    return np.linalg.solve(matrix, 3 * (np.roll(values, -1, axis=0) - np.roll(values, 1, axis=0)))


def cell_coefficients(energies: np.ndarray) -> np.ndarray:
    """(size, size, 4, 4): by cell, what multiplies ``a^m b^n``; a, b in (0, 1) are the places within it."""
    first = periodic_slopes(energies)
    second = periodic_slopes(energies.T).T
    mixed = periodic_slopes(second)

    def ends(table: np.ndarray) -> np.ndarray:
        """(size, size, 2, 2): the values at the four corners of each cell."""
        ahead = np.roll(table, -1, axis=0)
        rows = [np.stack([row, np.roll(row, -1, axis=1)], axis=-1) for row in (table, ahead)]
        return np.stack(rows, axis=-2)

    corners = np.block([[ends(energies), ends(second)], [ends(first), ends(mixed)]])
    return HERMITE @ corners @ HERMITE.T


def _map_arrays(maps: CorrectionMaps) -> dict[str, np.ndarray]:
    """All cells of all maps in one table (cells, 16), and each term's first cell and size."""
    sizes = np.array([len(energies) for energies in maps.maps])
    starts = np.concatenate([[0], np.cumsum(sizes**2)[:-1]])
    return {
        "table": np.concatenate([cell_coefficients(e).reshape(-1, 16) for e in maps.maps]),
        "start": starts[maps.index][:, None],
        "size": sizes[maps.index][:, None],
        "per_cell": (sizes[maps.index] / (2 * math.pi))[:, None],
    }


def _cells(c: dict[str, Tensor], angle: Tensor) -> tuple[Tensor, Tensor]:
    """The cell of each angle along its axis, and its place (0 to 1) within it; a NaN has some cell."""
    place = torch.remainder(angle, 2 * math.pi) * c["map_per_cell"]
    cell = torch.minimum(place.detach().nan_to_num().long().clamp_min(0), c["map_size"] - 1)
    return cell, place - cell


class CorrectionMapTerm(Term):
    """``sum map(first torsion, second torsion)``."""

    name = "cmap"

    def __init__(self, maps: CorrectionMaps) -> None:
        arrays = {f"map_{name}": array for name, array in _map_arrays(maps).items()}
        super().__init__(atoms=maps.atoms, **arrays)

    def energy(self, positions: Tensor) -> Tensor:
        c = self.constants.like(positions)
        angles = [torsion_angles(positions, c["atoms"][:, k : k + 4]).T for k in (0, 4)]
        (one, a), (two, b) = (_cells(c, angle) for angle in angles)
        cell = c["map_table"][c["map_start"] + one * c["map_size"] + two]  # (C, batch, 16)
        powers_a, powers_b = (torch.stack([t**0, t, t**2, t**3], dim=-1) for t in (a, b))
        return torch.einsum("tnij,tni,tnj->n", cell.unflatten(-1, (4, 4)), powers_a, powers_b)


class CorrectionMapKernel(Kernel):
    """Correction maps with their gradient; the first torsions of the C terms, then the second ones."""

    def __init__(self, n_atoms: int, maps: CorrectionMaps) -> None:
        arrays = {f"map_{name}": array for name, array in _map_arrays(maps).items()}
        quadruples = np.concatenate([maps.atoms[:, :4], maps.atoms[:, 4:]])
        super().__init__(**Dihedrals.arrays(n_atoms, quadruples), **arrays)
        self.count = len(maps.atoms)
        self.rows = 16 * self.count

    def evaluate(self, x: Tensor, cyclic: Tensor, energy: Tensor, gradient: Tensor | None) -> None:
        c = self.constants.like(x)
        dihedrals = Dihedrals.of(c, cyclic)
        one, a = _cells(c, dihedrals.angle[: self.count])
        two, b = _cells(c, dihedrals.angle[self.count :])
        cell = c["map_start"] + one * c["map_size"] + two
        table = c["map_table"].index_select(0, cell.view(-1)).view(*cell.shape, 4, 4)
        # by Horner, from the highest power of a: rows are polynomials of b
        rows = [self._polynomial(table[:, :, m], b) for m in range(4)]
        value, by_a, by_b = torch.zeros_like(a), torch.zeros_like(a), torch.zeros_like(a)
        for row, row_by_b in reversed(rows):
            by_a = by_a * a + value
            value = value * a + row
            by_b = by_b * a + row_by_b
        energy += value.sum(0)
        if gradient is not None:
            slope = torch.cat([by_a * c["map_per_cell"], by_b * c["map_per_cell"]])
            dihedrals.add_gradient(c, slope, gradient)

    @staticmethod
    def _polynomial(coefficients: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Value and derivative of the cubics with `coefficients` (C, b, 4)."""
        c0, c1, c2, c3 = coefficients.unbind(-1)
        return ((c3 * b + c2) * b + c1) * b + c0, (3 * c3 * b + 2 * c2) * b + c1
