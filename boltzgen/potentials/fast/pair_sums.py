"""Differences over pairs of atoms, and sums over the pairs of each atom, batch innermost.

On a processor by indices, whose cost grows with the number of pairs only, and which the inductor fuses with
what comes before and after (measured with 137 atoms: 1.4 times as fast as by matrices, compiled 2.8 times).
On an accelerator by constant incidence matrices, since sums by indices have no fixed order there. Both keep
a conformation in its own column.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from torch import Tensor

from boltzgen.potentials.fast.constants import Constants


class PairSums:
    """The pairs (first, second), P of them, of N atoms; `arrays` are the constants that the methods read."""

    def __init__(self, n_atoms: int, first: np.ndarray, second: np.ndarray) -> None:
        self.n_atoms, self.count = n_atoms, len(first)
        self.arrays = {"first": first, "second": second}

    @cached_property
    def _matrices(self) -> Constants:
        ends = np.zeros((2, self.n_atoms, self.count))
        ends[0, self.arrays["first"], np.arange(self.count)] = 1
        ends[1, self.arrays["second"], np.arange(self.count)] = 1
        each = np.concatenate([ends[0], ends[1]], axis=1)
        return Constants(difference=ends[0] - ends[1], both=ends[0] + ends[1], each=each)

    @staticmethod
    def _by_index(like: Tensor) -> bool:
        return like.device.type == "cpu"

    def _matrix(self, name: str, like: Tensor) -> Tensor:
        return self._matrices.like(like)[name]

    def differences(self, c: dict[str, Tensor], x: Tensor) -> Tensor:
        """Vectors (P, 3, b) from the second atom to the first, of positions x (N, 3, b)."""
        if self._by_index(x):
            return x.index_select(0, c["first"]).sub_(x.index_select(0, c["second"]))
        matrix = self._matrix("difference", x)
        return (matrix.T @ x.view(self.n_atoms, -1)).view(self.count, 3, -1)

    def add_differences(self, c: dict[str, Tensor], gradient: Tensor, rows: Tensor) -> None:
        """Add `rows` (P, 3, b) to `gradient` (N, 3, b) at the first atoms, subtract them at the second."""
        if self._by_index(rows):
            gradient.index_add_(0, c["first"], rows).index_add_(0, c["second"], rows, alpha=-1)
        else:
            matrix = self._matrix("difference", rows)
            gradient.view(self.n_atoms, -1).addmm_(matrix, rows.reshape(self.count, -1))

    def at_both(self, c: dict[str, Tensor], rows: Tensor) -> Tensor:
        """(N, b): the sum of `rows` (P, b) over the pairs in which an atom is."""
        if not self._by_index(rows):
            return self._matrix("both", rows) @ rows
        total = rows.new_zeros(self.n_atoms, rows.shape[-1])
        return total.index_add_(0, c["first"], rows).index_add_(0, c["second"], rows)

    def at_each(self, c: dict[str, Tensor], rows: Tensor) -> Tensor:
        """(N, b): the sum of rows (2, P, b): ``rows[0]`` at the first atoms, ``rows[1]`` at the second."""
        if not self._by_index(rows):
            return self._matrix("each", rows) @ rows.view(2 * self.count, -1)
        total = rows.new_zeros(self.n_atoms, rows.shape[-1])
        return total.index_add_(0, c["first"], rows[0]).index_add_(0, c["second"], rows[1])
