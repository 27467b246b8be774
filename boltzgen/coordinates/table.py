"""From placements to the rows of the coordinate table, and each row's exact support."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from boltzgen.coordinates.base import CoordinateTable
from boltzgen.coordinates.tree import Placement
from boltzgen.system.graph.molecular_graph import MolecularGraph

#: A ring is open when one of its bonds is further from its centre than this, nm.
OPEN_RING = 0.03
#: How far an atom is put beyond its bond when its ring cannot close, nm (visibly open).
VISIBLY_OPEN = 0.1


@dataclass(frozen=True)
class Columns:
    """The coordinates in blocks of one kind, and where each block's rows stand in the table.

    Blocks come in the order bond, distance, angle, torsion (offsets and closing torsions too),
    bend x, bend y; within a block placements keep their order.

    Attributes
    ----------
    kind, atoms: as in `CoordinateTable`, in table order. sizes: rows of each block.
    to_table: block row of each table row. from_table: its inverse.
    """

    kind: tuple[str, ...]
    atoms: np.ndarray
    sizes: tuple[int, ...]
    to_table: np.ndarray
    from_table: np.ndarray


BLOCKS = ("bond", "distance", "angle", "torsion", "bend_x", "bend_y")


def build_columns(placements: tuple[Placement, ...]) -> Columns:
    """The table's rows for `placements`, atom by atom."""
    rows: list[tuple[str, str, tuple[int, int, int, int]]] = []
    for placement in placements:
        a, c, p, g = placement.atom, placement.c, placement.p, placement.g
        if placement.style != "first":
            rows.append(("bond", "bond", (a, c, -1, -1)))
        if placement.style == "closure":
            rows.append(("distance", "distance", (a, p, -1, -1)))
        if placement.style in ("third", "torsion", "offset"):
            rows.append(("angle", "angle", (a, c, p, -1)))
        if placement.style in ("torsion", "closure"):
            rows.append(("torsion", "torsion", (a, c, p, g)))
        if placement.style == "offset":
            rows.append(("torsion", "offset", (a, c, p, g)))
        if placement.style == "bend":
            rows.append(("bend_x", "bend", (a, c, p, g)))
            rows.append(("bend_y", "bend", (a, c, p, g)))
    blocks = [row[0] for row in rows]
    from_table = np.array([k for block in BLOCKS for k, b in enumerate(blocks) if b == block], dtype=int)
    to_table = np.empty(len(rows), dtype=int)
    to_table[from_table] = np.arange(len(rows))
    return Columns(
        kind=tuple(row[1] for row in rows),
        atoms=np.array([row[2] for row in rows], dtype=int).reshape(-1, 4),
        sizes=tuple(blocks.count(block) for block in BLOCKS),
        to_table=to_table,
        from_table=from_table,
    )


def build_table(
    graph: MolecularGraph, columns: Columns, isomers: str, reference: np.ndarray
) -> CoordinateTable:
    """The coordinate table.

    Parameters
    ----------
    graph, columns: of one molecule. isomers: ``"reference"`` or ``"free"``.
    reference: (dimension,) coordinates of the reference positions, angles in any period.
    """
    lower, upper = np.full(len(reference), -np.inf), np.full(len(reference), np.inf)
    circular = np.zeros(len(reference), dtype=bool)
    wrapped = np.array(reference, dtype=float)
    support = _Support(graph, isomers)
    for row, kind in enumerate(columns.kind):
        atoms = tuple(int(atom) for atom in columns.atoms[row])
        lower[row], upper[row], circular[row] = support.of(kind, atoms, float(reference[row]))
        if kind in ("torsion", "offset"):
            centre = 0.5 * (lower[row] + upper[row])
            wrapped[row] = centre + (reference[row] - centre + np.pi) % (2 * np.pi) - np.pi
    return CoordinateTable(columns.kind, columns.atoms, lower, upper, circular, wrapped)


def ring_centres(graph: MolecularGraph) -> dict[tuple[int, int], float]:
    """Equilibrium length of each ring bond (its reference length where no harmonic term gives one), nm."""
    x = graph.reference_positions
    return {(i, j): graph.centres.bond(i, j, float(np.linalg.norm(x[i] - x[j]))) for i, j in graph.ring_bonds}


class _Support:
    def __init__(self, graph: MolecularGraph, isomers: str) -> None:
        self.graph = graph
        self.rings = ring_centres(graph)
        self.hands = {(hand.centre, frozenset(hand.neighbours)) for hand in graph.hands}
        self.isomers = {}
        if isomers == "reference":
            for bond in graph.isomer_bonds:
                self.isomers[bond.a, bond.c, bond.p, bond.g] = bond.planar
                self.isomers[bond.g, bond.p, bond.c, bond.a] = bond.planar

    def of(self, kind: str, atoms: tuple[int, ...], reference: float) -> tuple[float, float, bool]:
        """(lower, upper, circular) of one coordinate."""
        if kind in ("bond", "distance"):
            centre = self.rings.get((min(atoms[:2]), max(atoms[:2])))
            return (0.0, np.inf, False) if centre is None else (centre - OPEN_RING, centre + OPEN_RING, False)
        if kind == "angle":
            return 0.0, np.pi, False
        if kind == "bend":
            return -np.inf, np.inf, False
        return self._turn(kind, atoms, reference)

    def _turn(self, kind: str, atoms: tuple[int, ...], reference: float) -> tuple[float, float, bool]:
        a, c, p, g = atoms
        around_one_centre = p in self.graph.neighbours[c] and g in self.graph.neighbours[c]
        if around_one_centre and (c, frozenset((a, p, g))) in self.hands:
            return (0.0, np.pi, False) if np.sin(reference) > 0 else (-np.pi, 0.0, False)
        if kind == "offset":
            return 0.0, 2 * np.pi, False
        if atoms in self.isomers:
            planar = self.isomers[atoms]
            return planar - np.pi / 2, planar + np.pi / 2, False
        if any({a, c, p, g} <= set(ring) for ring in self.graph.rings) or self._closes(a, c, p):
            return reference - np.pi, reference + np.pi, False
        return -np.pi, np.pi, True

    def _closes(self, a: int, c: int, p: int) -> bool:
        return p in self.graph.neighbours[a] and c in self.graph.neighbours[a]
