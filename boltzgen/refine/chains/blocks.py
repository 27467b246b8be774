"""Which coordinates are moved together: chosen from the molecular graph, never from names.

Words: an *axis* is the bond that a circular coordinate turns about; cut at all axes, the molecule falls into
*fragments*. The *path* is the longest chain of bonds between heavy atoms; what hangs on it are *branches*.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from boltzgen.coordinates.base import Coordinates
from boltzgen.coordinates.internal import InternalCoordinates
from boltzgen.system.graph.adjacency import bond_distances, branch
from boltzgen.system.graph.molecular_graph import MolecularGraph

#: Lengths of runs: of torsions that follow each other, and of fragments along the path.
TORSIONS_A_RUN, FRAGMENTS_A_RUN = (2, 3, 4), (2, 3, 4)

#: Parts of the coordinates, in order of placement, that are ends.
ENDS = (2, 4, 8)

#: Kinds of blocks, the finer ones first: of equal blocks the first kind counts.
KINDS = ("torsion", "torsion pair", "torsion run", "fragment", "side chain", "residue", "end")

#: Kind and rows of the coordinates, ascending.
Block = tuple[str, tuple[int, ...]]


def blocks_of(coordinates: Coordinates) -> list[Block]:
    """The blocks of a molecule (or model system), each set of rows once; the last one is all of them."""
    size = coordinates.dimension
    if isinstance(coordinates, InternalCoordinates):
        found = _of_molecule(coordinates)
    else:
        found = [("fragment", (row,)) for row in range(size)]
        found += [("fragment", pair) for pair in pairwise(range(size))]
    found += [("end", tuple(range(size - size // part, size))) for part in ENDS if size // part]
    whole = tuple(range(size))
    unique: dict[tuple[int, ...], str] = {}
    for kind in KINDS:
        for name, rows in found:
            if name == kind and rows not in ((), whole):
                unique.setdefault(rows, kind)
    return [*((kind, rows) for rows, kind in unique.items()), ("all", whole)]


def _of_molecule(coordinates: InternalCoordinates) -> list[Block]:
    graph, table = coordinates.graph, coordinates.table
    placed = table.atoms[:, 0]

    def rows(atoms: Iterable[int]) -> tuple[int, ...]:
        return tuple(np.flatnonzero(np.isin(placed, sorted(atoms))).tolist())

    axes = {int(row): tuple(sorted(table.atoms[row, 1:3].tolist())) for row in np.flatnonzero(table.circular)}
    found: list[Block] = [("torsion", (row,)) for row in axes]
    for length in TORSIONS_A_RUN:
        name = "torsion pair" if length == 2 else "torsion run"
        found += [(name, run) for run in _torsion_runs(graph, axes, length)]
    fragments = _fragments(graph, set(axes.values()))
    found += [("fragment", rows(atoms)) for atoms in fragments]
    path = longest_path(graph)
    branches = _branches(graph, path)
    found += [("side chain", rows(atoms)) for atoms in branches if len(atoms) > 1]
    units = _units(graph, fragments, path, branches)
    for length in FRAGMENTS_A_RUN:
        for start in range(len(units) - length + 1):
            found.append(("residue", rows(set().union(*units[start : start + length]))))
    for part in ENDS:
        size = len(units) // part
        found += [("end", rows(set().union(*end))) for end in (units[:size], units[-size:]) if size]
    return found


def _torsion_runs(
    graph: MolecularGraph, axes: dict[int, tuple[int, ...]], length: int
) -> list[tuple[int, ...]]:
    """Sets of `length` circular coordinates that follow each other along a chain.

    Their axes share an atom, or one bond that is no axis lies between them (the amide of a peptide).
    """
    turned = set(axes.values())

    def follow(axis: tuple[int, ...], ends: tuple[int, ...]) -> bool:
        between = [sorted((a, b)) for a in axis for b in ends if b in graph.neighbours[a]]
        return bool(set(axis) & set(ends)) or any(tuple(pair) not in turned for pair in between)

    near = {
        row: [other for other, ends in axes.items() if other != row and follow(axis, ends)]
        for row, axis in axes.items()
    }
    runs: set[tuple[int, ...]] = {(row,) for row in axes}
    for _ in range(length - 1):
        runs = {(*run, row) for run in runs for row in near[run[-1]] if _goes_on(near, run, row)}
    return sorted({tuple(sorted(run)) for run in runs})


def _goes_on(near: dict[int, list[int]], run: tuple[int, ...], row: int) -> bool:
    """Whether `row` is new to `run` and next to none of it but the last: three on one atom are no chain."""
    return row not in run and all(row not in near[before] for before in run[:-1])


def _fragments(graph: MolecularGraph, axes: set[tuple[int, ...]]) -> list[set[int]]:
    """The pieces that are left when the bonds `axes` are cut."""
    neighbours = [
        [other for other in around if tuple(sorted((atom, other))) not in axes]
        for atom, around in enumerate(graph.neighbours)
    ]
    pieces, seen = [], set[int]()
    for atom in range(graph.n_atoms):
        if atom not in seen:
            pieces.append(branch(neighbours, atom))
            seen |= pieces[-1]
    return pieces


def longest_path(graph: MolecularGraph) -> list[int]:
    """The atoms of the longest shortest path between heavy atoms; of equal ones the canonical first."""
    heavy = [int(atom) for atom in graph.canonical if graph.atomic_numbers[atom] != 1]
    if not heavy:
        return []
    bonds = [(i, j) for i, j in np.asarray(graph.bonds).reshape(-1, 2).tolist() if {i, j} <= set(heavy)]
    apart = bond_distances(graph.n_atoms, np.array(bonds, dtype=int).reshape(-1, 2))
    among = apart[np.ix_(heavy, heavy)]
    among = np.where(among < graph.n_atoms, among, -1)
    start, end = (heavy[k] for k in np.unravel_index(int(among.argmax()), among.shape))
    path = [start]
    while path[-1] != end:
        here = path[-1]
        ahead = [
            atom for atom in heavy if apart[atom, end] == apart[here, end] - 1 and apart[atom, here] == 1
        ]
        path.append(ahead[0])
    return path


def _branches(graph: MolecularGraph, path: Sequence[int]) -> list[set[int]]:
    """What hangs on the path: each piece of the rest of the molecule."""
    on_path = set(path)
    rest = [[n for n in around if n not in on_path] for around in graph.neighbours]
    pieces, seen = [], set(on_path)
    for atom in range(graph.n_atoms):
        if atom not in seen:
            pieces.append(branch(rest, atom))
            seen |= pieces[-1]
    return pieces


def _units(
    graph: MolecularGraph, fragments: list[set[int]], path: list[int], branches: list[set[int]]
) -> list[set[int]]:
    """Fragments along the path, each with the branches that touch it, in the order of the path."""
    units: list[set[int]] = []
    used: list[set[int]] = []
    for atom in path:
        fragment = next(piece for piece in fragments if atom in piece)
        if fragment in used:
            continue
        used.append(fragment)
        units.append(set(fragment))
    for piece in branches:
        around = {other for atom in piece for other in graph.neighbours[atom]} - piece
        for unit, fragment in zip(units, used, strict=True):
            if around & fragment:
                unit |= piece
                break
    return units
