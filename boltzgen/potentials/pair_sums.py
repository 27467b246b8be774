"""Differences over pairs of atoms, and sums over the pairs of each atom, batch innermost.

Two ways: products with constant incidence matrices, fastest for small molecules and on accelerators, and
indices, whose cost grows with the number of pairs only. Both keep a conformation in its own column and add
in a fixed order.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

#: Atoms from which indices are faster than matrices on a processor (measured with 22, 42, 72, 138 atoms).
ATOMS_FOR_INDICES = 40


class PairSums:
    """The pairs (first, second), P of them, of N atoms; `arrays` are the constants that methods read."""

    def __init__(self, n_atoms: int, first: np.ndarray, second: np.ndarray) -> None:
        self.n_atoms, self.count = n_atoms, len(first)
        ends = np.zeros((2, n_atoms, len(first)))
        ends[0, first, np.arange(len(first))] = 1
        ends[1, second, np.arange(len(first))] = 1
        self.arrays = {
            "first": first,
            "second": second,
            "incidence": ends[0] - ends[1],
            "both_ends": ends[0] + ends[1],
            "each_end": np.concatenate([ends[0], ends[1]], axis=1),
        }

    def _by_index(self, x: Tensor) -> bool:
        return x.device.type == "cpu" and self.n_atoms >= ATOMS_FOR_INDICES

    def differences(self, c: dict[str, Tensor], x: Tensor) -> Tensor:
        """Vectors (P, 3, b) from the second atom to the first, of positions x (N, 3, b)."""
        if self._by_index(x):
            return x.index_select(0, c["first"]).sub_(x.index_select(0, c["second"]))
        return (c["incidence"].T @ x.view(self.n_atoms, -1)).view(self.count, 3, -1)

    def add_differences(self, c: dict[str, Tensor], gradient: Tensor, rows: Tensor) -> None:
        """Add `rows` (P, 3, b) to `gradient` (N, 3, b) at the first atoms, subtract them at the second."""
        if self._by_index(rows):
            gradient.index_add_(0, c["first"], rows)
            gradient.index_add_(0, c["second"], rows, alpha=-1)
        else:
            gradient.view(self.n_atoms, -1).addmm_(c["incidence"], rows.reshape(self.count, -1))

    def at_both(self, c: dict[str, Tensor], rows: Tensor) -> Tensor:
        """(N, b): the sum of `rows` (P, b) over the pairs in which an atom is."""
        if not self._by_index(rows):
            return c["both_ends"] @ rows
        total = rows.new_zeros(self.n_atoms, rows.shape[-1])
        return total.index_add_(0, c["first"], rows).index_add_(0, c["second"], rows)

    def at_each(self, c: dict[str, Tensor], rows: Tensor) -> Tensor:
        """(N, b): the sum of rows (2, P, b): ``rows[0]`` at the first atoms, ``rows[1]`` at the second."""
        if not self._by_index(rows):
            return c["each_end"] @ rows.view(2 * self.count, -1)
        total = rows.new_zeros(self.n_atoms, rows.shape[-1])
        return total.index_add_(0, c["first"], rows[0]).index_add_(0, c["second"], rows[1])
