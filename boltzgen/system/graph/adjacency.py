"""Who is bonded to whom, and what hangs on what: the one place where the bonds of a molecule are walked.

Words: N atoms, counted from 0; ``neighbours[i]`` holds the atoms bonded to atom i, ascending.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Neighbours = tuple[tuple[int, ...], ...]


def adjacency(n_atoms: int, bonds: Iterable[Sequence[int]]) -> Neighbours:
    """The neighbours of each of `n_atoms` atoms; `bonds` (M, 2) in any order and either direction."""
    lists: list[list[int]] = [[] for _ in range(n_atoms)]
    for first, second in bonds:
        lists[first].append(int(second))
        lists[second].append(int(first))
    return tuple(tuple(sorted(entry)) for entry in lists)


def branch(neighbours: Sequence[Sequence[int]], start: int, without: int | None = None) -> set[int]:
    """The atoms that are reached from `start`, itself among them, without passing atom `without`.

    An *atom* is closed here: where `start` and `without` share a ring, the branch is the rest of the ring and
    all that hangs on it. Where it matters whether the *bond* between two atoms is in a ring, `side` tells.
    """
    seen, stack = {start}, [start]
    while stack:
        for other in neighbours[stack.pop()]:
            if other not in seen and other != without:
                seen.add(other)
                stack.append(other)
    return seen


def side(neighbours: Sequence[Sequence[int]], first: int, second: int) -> set[int] | None:
    """The atoms on the side of `second` of the bond `first` - `second`; None when the bond is in a ring.

    All atoms that `second` reaches, itself among them, once the bond is cut: if `first` is one of them, there
    are no two sides.
    """
    found = branch(neighbours, second, without=first)
    around = any(atom in found for atom in neighbours[first] if atom != second)
    return None if around else found


def smaller_side(neighbours: Sequence[Sequence[int]], first: int, second: int) -> set[int] | None:
    """The atoms on the smaller side of a bond, that of `second` if both are equal; None in a ring."""
    found = side(neighbours, first, second)
    if found is None or 2 * len(found) <= len(neighbours):
        return found
    return set(range(len(neighbours))) - found


def connected_pieces(neighbours: Sequence[Sequence[int]]) -> list[list[int]]:
    """The connected components of the bond graph, each sorted, largest first (then by lowest atom)."""
    pieces, seen = [], set[int]()
    for atom in range(len(neighbours)):
        if atom not in seen:
            pieces.append(sorted(branch(neighbours, atom)))
            seen.update(pieces[-1])
    return sorted(pieces, key=lambda piece: (-len(piece), piece[0]))


def bond_distances(n_atoms: int, bonds: np.ndarray) -> np.ndarray:
    """(N, N) int, the number of bonds on the shortest path; N where there is none."""
    import numpy as np
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import shortest_path

    bonds = np.asarray(bonds).reshape(-1, 2)
    matrix = csr_matrix((np.ones(len(bonds)), (bonds[:, 0], bonds[:, 1])), shape=(n_atoms, n_atoms))
    paths = shortest_path(matrix, directed=False, unweighted=True)
    return np.where(np.isfinite(paths), paths, n_atoms).astype(np.int64)
