"""Mirror images of conformations that the labels of equal atoms allow: the hands are those of the reference.

A molecule without stereocentres is its own mirror image, but for labels: the two hydrogens of a CH2 have
their places. Where equal terminal atoms are interchanged, the image is a conformation of the same domain.
"""

from __future__ import annotations

import numpy as np

from boltzgen.system.graph.molecular_graph import MolecularGraph


def mirrored(positions: np.ndarray) -> np.ndarray:
    """`positions` (n, N, 3) reflected, every atom by its own name."""
    return positions * np.array([1.0, 1.0, -1.0], dtype=positions.dtype)


def placed_by_hands(graph: MolecularGraph, positions: np.ndarray) -> np.ndarray:
    """A copy of `positions` (n, N, 3), equal terminal atoms interchanged where a centre has the wrong hand.

    Centres without two such atoms keep the hand that they have.
    """
    placed = positions.copy()
    hands = {hand.centre: hand for hand in graph.hands}
    for first, second in _equal_ends(graph):
        hand = hands.get(graph.neighbours[first][0])
        if hand is None:
            continue
        about = placed[:, list(hand.neighbours)] - placed[:, [hand.centre]]
        wrong = np.flatnonzero(np.linalg.det(about) * hand.sign < 0)
        placed[wrong[:, None], [first, second]] = placed[wrong[:, None], [second, first]]
    return placed


def _equal_ends(graph: MolecularGraph) -> list[tuple[int, int]]:
    """Pairs of equal terminal atoms on one centre that cannot invert."""
    return [
        (around[i], around[k])
        for centre in sorted(graph.tetrahedral)
        for around in [graph.neighbours[centre]]
        for i in range(len(around))
        for k in range(i + 1, len(around))
        if graph.classes[around[i]] == graph.classes[around[k]]
        and len(graph.neighbours[around[i]]) == len(graph.neighbours[around[k]]) == 1
    ]
