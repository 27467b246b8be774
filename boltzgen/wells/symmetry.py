"""Which atoms of a molecule may change places, and the distance of two conformations whatever their labels.

A *symmetry* is a renumbering of the atoms that keeps elements and bonds. The symmetric RMSD of two
conformations is the smallest over all symmetries and proper rotations, what RDKit's ``GetBestRMS`` gives.
Molecules with many methyls have too many symmetries to try each (neopentane 31 104). So only those of the
*skeleton* are listed there, which leaves out equal terminal atoms on one centre (the hydrogens of a methyl);
these are matched after the rest is laid over, by the assignment of least squared distance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from math import factorial, prod

import numpy as np

from boltzgen.system.graph.adjacency import adjacency
from boltzgen.system.graph.canonical import refine

#: Symmetries that are tried one by one; where there are more, terminal atoms are assigned.
MOST_LISTED = 2000
#: Symmetries of a skeleton at most, and steps of the search for them: beyond, some are not tried.
MOST_OF_SKELETON, _MOST_STEPS = 2000, 200_000
#: Rounds of laying over and assigning terminal atoms.
_ROUNDS = 3


@dataclass(frozen=True, eq=False)
class Symmetry:
    """The symmetries of one molecule.

    listed: (P, N) int; row p puts atom ``listed[p, k]`` in the place of atom k. groups: equal terminal atoms
    that may change places besides; none where all symmetries are listed. complete: False where the skeleton
    has more symmetries than `MOST_OF_SKELETON`: two equal conformations may then be told apart.
    """

    listed: np.ndarray
    groups: tuple[tuple[int, ...], ...]
    complete: bool

    @classmethod
    def of(cls, colours: Sequence[object], bonds: np.ndarray) -> Symmetry:
        """The symmetries of atoms of `colours` (N,), such as elements, with `bonds` (M, 2)."""
        neighbours = adjacency(len(colours), np.asarray(bonds, dtype=int).reshape(-1, 2))
        classes = refine(list(colours), neighbours)
        groups = _terminal_groups(classes, neighbours)
        skeleton, complete = _of_skeleton(classes, neighbours, groups)
        local = prod(factorial(len(group)) for group in groups)
        if len(skeleton) * local > MOST_LISTED:
            return cls(skeleton, groups, complete)
        whole = [row[swap] for row in skeleton for swap in _swaps(len(colours), groups)]
        return cls(np.array(whole), (), complete)

    def rmsd(self, first: np.ndarray, others: np.ndarray) -> np.ndarray:
        """(B,) nm: the symmetric RMSD of `first` (N, 3) from each of `others` (B, N, 3)."""
        x = first - first.mean(axis=0)
        y = others - others.mean(axis=1, keepdims=True)
        if not self.groups and len(y) > len(self.listed):
            return np.min([laid_over(y, x[row])[1] for row in self.listed], axis=0)
        if not self.groups:
            return np.array([laid_over(x[self.listed], one)[1].min() for one in y])
        return np.array([min(self._assigned(x[row], one) for row in self.listed) for one in y])

    def number(self, positions: np.ndarray, within: float) -> int:
        """How many symmetries turn `positions` (N, 3) into themselves by a rotation, to `within` nm."""
        x = positions - positions.mean(axis=0)
        if not self.groups:
            return int((laid_over(x[self.listed], x)[1] < within).sum())
        return sum(self._assigned(x[row], x) < within for row in self.listed)

    def _assigned(self, x: np.ndarray, y: np.ndarray) -> float:
        """The RMSD of `x` from `y` (N, 3), both about the origin, with terminal atoms assigned."""
        placed = x.copy()
        for group in self.groups:
            placed[list(group)] = x[list(group)].mean(axis=0)
        target = y.copy()
        for group in self.groups:
            target[list(group)] = y[list(group)].mean(axis=0)
        turn = laid_over(placed[None], target)[0][0]
        moved, best = x.copy(), np.inf
        for _ in range(_ROUNDS):
            for group in self.groups:
                members = list(group)
                moved[members] = moved[members][_assignment(moved[members] @ turn, y[members])]
            turns, distances = laid_over(moved[None], y)
            if distances[0] >= best:
                break
            turn, best = turns[0], float(distances[0])
        return best


def laid_over(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (P, 3, 3), ``x @ rotation`` near `y`, and RMSDs (P,) of `x` (P, N, 3) from `y` (N, 3).

    Both about the origin. Kabsch, Acta Cryst. A 34, 827 (1978).
    """
    u, s, vt = np.linalg.svd(np.einsum("pni,nj->pij", x, y))
    sign = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)
    s[:, 2] *= sign
    u[:, :, 2] *= sign[:, None]
    square = (x**2).sum(axis=(1, 2)) + (y**2).sum() - 2 * s.sum(axis=1)
    return u @ vt, np.sqrt(np.maximum(square, 0.0) / len(y))


def _assignment(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which row of `x` (k, 3) goes to each row of `y`."""
    from scipy.optimize import linear_sum_assignment

    cost = ((x[None] - y[:, None]) ** 2).sum(axis=2)
    return np.asarray(linear_sum_assignment(cost)[1])


def _terminal_groups(
    classes: Sequence[int], neighbours: Sequence[Sequence[int]]
) -> tuple[tuple[int, ...], ...]:
    """Equal atoms of one bond on one centre, two or more."""
    found = []
    for around in neighbours:
        if len(around) < 2:
            continue
        ends = [atom for atom in around if len(neighbours[atom]) == 1]
        counts = Counter(classes[atom] for atom in ends)
        found += [tuple(a for a in ends if classes[a] == kind) for kind, n in sorted(counts.items()) if n > 1]
    return tuple(found)


def _swaps(size: int, groups: Sequence[Sequence[int]]) -> Iterator[np.ndarray]:
    """All renumberings (size,) that change places within `groups` alone."""
    for orders in product(*(permutations(group) for group in groups)):
        swap = np.arange(size)
        for group, order in zip(groups, orders, strict=True):
            swap[list(group)] = order
        yield swap


def _of_skeleton(
    classes: Sequence[int], neighbours: Sequence[Sequence[int]], groups: Sequence[Sequence[int]]
) -> tuple[np.ndarray, bool]:
    """Renumberings (S, N), the members of each of `groups` in order, and whether these are all."""
    hidden = {atom for group in groups for atom in group[1:]}
    kept = [atom for atom in range(len(classes)) if atom not in hidden]
    order, parent = _breadth_first(kept, neighbours, classes)
    group_of = {group[0]: group for group in groups}
    found: list[np.ndarray] = []
    image: dict[int, int] = {}
    steps = 0

    def place(depth: int) -> bool:
        """False once there are too many."""
        nonlocal steps
        if depth == len(order):
            row = np.arange(len(classes))
            for atom, other in image.items():
                row[atom] = other
                if atom in group_of:
                    row[list(group_of[atom])] = group_of[other]
            found.append(row)
            return len(found) < MOST_OF_SKELETON
        atom, before = order[depth], parent[depth]
        choices = kept if before is None else neighbours[image[before]]
        used = set(image.values())
        for other in choices:
            steps += 1
            if other in hidden or other in used or classes[other] != classes[atom]:
                continue
            if any((n in image) and image[n] not in neighbours[other] for n in neighbours[atom]):
                continue
            image[atom] = other
            going = place(depth + 1) and steps < _MOST_STEPS
            del image[atom]
            if not going:
                return False
        return True

    complete = place(0)
    return np.array(found), complete


def _breadth_first(
    kept: Sequence[int], neighbours: Sequence[Sequence[int]], classes: Sequence[int]
) -> tuple[list[int], list[int | None]]:
    """`kept` in an order in which each but the first has a neighbour before it, and that neighbour."""
    counts = Counter(classes[atom] for atom in kept)
    first = min(kept, key=lambda atom: (counts[classes[atom]], atom))
    order: list[int] = [first]
    parent: list[int | None] = [None]
    inside, seen = set(kept), {first}
    for atom in order:
        for other in neighbours[atom]:
            if other in inside and other not in seen:
                seen.add(other)
                order.append(other)
                parent.append(atom)
    return order, parent
