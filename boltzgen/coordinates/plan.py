"""Index tensors that let encode and decode treat many atoms at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from boltzgen.coordinates.base import CoordinateTable
from boltzgen.coordinates.table import VISIBLY_OPEN, Columns, ring_centres
from boltzgen.coordinates.tree import Placement, decode_reference, levels
from boltzgen.system.graph.molecular_graph import MolecularGraph


@dataclass(frozen=True)
class Level:
    """Atoms that are placed together; those that close rings come last.

    Attributes
    ----------
    references: (3 * frames,) where the atoms c, then p, then g of each distinct set of axes stand
        among the placed atoms.
    frames: (atoms,) set of axes of each atom. rows: (atoms,) its local vector.
    distances, closing_frames: (closures,) second distance and axes of each closing atom.
    open_length: (closures, 1) nm.
    """

    references: Tensor
    frames: Tensor
    rows: Tensor
    distances: Tensor
    closing_frames: Tensor
    open_length: Tensor


class Plan:
    """All index tensors of one tree, handed out on the device and in the dtype of a tensor."""

    def __init__(self, graph: MolecularGraph, placements: tuple[Placement, ...], columns: Columns) -> None:
        self._indices = _indices(placements, columns)
        self._indices["by_atom"], self._levels = _levels(graph, placements)
        closures = {k for k, placement in enumerate(placements) if placement.style == "closure"}
        self._floats = {
            "bond_power": np.array(
                [[1.0 if k in closures else 2.0] for k in range(1, len(placements))]
            ).reshape(-1, 1),
            "turn_centre": np.zeros((columns.sizes[3], 1)),
        }
        self._from_table = columns.from_table
        self._torsions = slice(sum(columns.sizes[:3]), sum(columns.sizes[:4]))
        self._cache: dict = {}

    def set_turn_centres(self, table: CoordinateTable) -> None:
        """Wrap torsions and offsets into the supports of `table` from now on."""
        rows = self._from_table[self._torsions]
        self._floats["turn_centre"] = 0.5 * (table.lower[rows] + table.upper[rows])[:, None]
        self._cache.clear()

    def on(self, like: Tensor) -> dict:
        """Name -> tensor, for the device and dtype of `like`; ``levels`` -> list of `Level`."""
        key = (like.device, like.dtype)
        if key not in self._cache:
            entry: dict = {
                name: torch.as_tensor(value, dtype=torch.long, device=like.device)
                for name, value in self._indices.items()
            }
            entry |= {
                name: torch.as_tensor(value, dtype=like.dtype, device=like.device)
                for name, value in self._floats.items()
            }
            entry["levels"] = [_level_on(level, like) for level in self._levels]
            self._cache[key] = entry
        return self._cache[key]


def _level_on(level: dict, like: Tensor) -> Level:
    return Level(
        **{
            name: torch.as_tensor(
                value, device=like.device, dtype=like.dtype if name == "open_length" else torch.long
            )
            for name, value in level.items()
        }
    )


def _indices(placements: tuple[Placement, ...], columns: Columns) -> dict[str, np.ndarray]:
    """Atoms of each coordinate, and rows of each placement's coordinates, by block."""
    rows: dict[str, list] = {
        name: []
        for name in (
            "bond_a",
            "bond_c",
            "distance_a",
            "distance_c",
            "distance_p",
            "angle_a",
            "angle_c",
            "angle_p",
            "torsion_a",
            "torsion_c",
            "torsion_p",
            "torsion_g",
            "bend_a",
            "bend_c",
            "bend_p",
            "bend_g",
            "torsion_base",
            "open_bond",
            "open_torsion",
            "bend_bond",
            "closure_bond",
            "closure_torsion",
        )
    }
    torsion_row: dict[int, int] = {}
    parts: dict[str, list[int]] = {"open": [], "bend": [], "closure": []}

    def add(kind: str, placement: Placement, names: str) -> None:
        for name in names:
            rows[f"{kind}_{name}"].append(placement.atom if name == "a" else getattr(placement, name))

    for k, (placement, (_, base)) in enumerate(zip(placements, decode_reference(placements), strict=True)):
        style = placement.style
        if style == "first":
            continue
        add("bond", placement, "ac")
        if style in ("third", "torsion", "offset"):
            add("angle", placement, "acp")
        if style == "closure":
            add("distance", placement, "acp")
        if style == "bend":
            add("bend", placement, "acpg")
        if style in ("torsion", "offset", "closure"):
            torsion_row[placement.atom] = len(torsion_row)
            add("torsion", placement, "acpg")
            rows["torsion_base"].append(base)
        if k >= 3:
            part = style if style in ("bend", "closure") else "open"
            parts[part].append(k - 3)
            rows[f"{part}_bond"].append(k - 1)
            if part != "bend":
                rows[f"{part}_torsion"].append(torsion_row[placement.atom])
    none = len(torsion_row)
    rows["torsion_base"] = [torsion_row.get(base, none) for base in rows["torsion_base"]]
    indices = {name: np.array(value, dtype=int) for name, value in rows.items()}
    order = [*parts["open"], *parts["bend"], *parts["closure"]]
    indices["to_placement"] = np.argsort(np.array(order, dtype=int))
    return indices | {"to_table": columns.to_table, "from_table": columns.from_table}


def _levels(graph: MolecularGraph, placements: tuple[Placement, ...]) -> tuple[np.ndarray, list[dict]]:
    """Where each atom stands among the placed atoms, and the levels."""
    references = decode_reference(placements)
    slot = {placement.atom: k for k, placement in enumerate(placements[:3])}
    closures = [k for k, placement in enumerate(placements) if placement.style == "closure"]
    centres = ring_centres(graph)
    result = []
    for members in levels(placements):
        members = sorted(members, key=lambda k: (k in closures, k))
        frames = [(placements[k].c, placements[k].p, references[k][0]) for k in members]
        unique = list(dict.fromkeys(frames))
        closing = [k for k in members if k in closures]
        ends = [(placements[k].atom, placements[k].c) for k in closing]
        result.append(
            {
                "references": [slot[frame[k]] for k in range(3) for frame in unique],
                "frames": [unique.index(frame) for frame in frames],
                "rows": [k - 3 for k in members],
                "distances": [closures.index(k) for k in closing],
                "closing_frames": [unique.index(frames[members.index(k)]) for k in closing],
                "open_length": np.array(
                    [[centres[min(i, j), max(i, j)] + VISIBLY_OPEN] for i, j in ends]
                ).reshape(-1, 1),
            }
        )
        for k in members:
            slot[placements[k].atom] = len(slot)
    return np.array([slot[atom] for atom in range(graph.n_atoms)], dtype=int), result
