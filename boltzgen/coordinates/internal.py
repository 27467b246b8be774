"""Internal coordinates of any connected molecule: a torch map with analytic log-determinants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from boltzgen.coordinates.base import Coordinates, wrap_angle
from boltzgen.coordinates.domain import REASONS, Domain
from boltzgen.coordinates.geometry import axes, cross, dihedral, dot, norm
from boltzgen.coordinates.plan import Plan
from boltzgen.coordinates.table import build_columns, build_table
from boltzgen.coordinates.tree import build_tree
from boltzgen.errors import InputError
from boltzgen.system.graph.molecular_graph import MolecularGraph

if TYPE_CHECKING:
    from boltzgen.system.molecular_system import MolecularSystem


#: Tilt of an atom whose ring cannot close, from the line of its two centres, rad.
OPEN_TILT = np.pi / 3


class InternalCoordinates(Coordinates):
    """Bonds, angles, torsions, offsets, bends and ring closures on a tree of the molecular graph.

    Parameters
    ----------
    system: a connected molecule.
    isomers: ``"reference"`` keeps amides and double bonds in the isomer of the reference positions;
        ``"free"`` opens them.
    root: atom placed first; by default one near the middle. The density of a conformation with
        respect to the shape measure does not depend on it.

    Attributes
    ----------
    graph: `MolecularGraph` of the system. placements: how each atom is placed, in order.
    table: one row a coordinate, grouped atom by atom in the order of placement.

    Raises
    ------
    InputError: the reference positions lie outside their own domain (an open ring, say).
    UnsupportedError: a straight molecule of more than three atoms.
    """

    measure = "shape"
    reasons = REASONS

    def __init__(
        self, system: MolecularSystem, *, isomers: str = "reference", root: int | None = None
    ) -> None:
        if isomers not in ("reference", "free"):
            raise InputError(f"isomers = {isomers!r} is not known; use 'reference' or 'free'.")
        self.isomers = isomers
        self.graph = MolecularGraph.from_system(system)
        self.placements = build_tree(self.graph, root)
        self._domain = Domain(self.graph, isomers)
        self.domain_label = self._domain.label
        columns = build_columns(self.placements)
        self._sizes = columns.sizes
        self._plan = Plan(self.graph, self.placements, columns)
        reference = torch.tensor(self.graph.reference_positions)[None]
        self.table = build_table(self.graph, columns, isomers, self.encode(reference)[0][0].numpy())
        self._plan.set_turn_centres(self.table)
        reason = REASONS[int(self.domain(reference)[0])]
        if reason:
            raise InputError(
                f"{system.name}: the reference positions are outside the domain ({reason}); "
                "minimise the energy of the reference structure and prepare again."
            )

    def domain(self, positions: Tensor) -> Tensor:
        """See `Coordinates.domain`; depends on the positions and the molecule, not on the tree."""
        return self._domain(positions)

    def encode(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, atoms, 3) nm -> coordinates (batch, dimension) and log_det (batch,).

        Torsions and offsets come wrapped into (or, outside the domain, next to) their support.
        """
        plan = self._plan.on(positions)
        x = positions.permute(2, 1, 0).contiguous()
        bond = norm(x.index_select(1, plan["bond_a"]) - x.index_select(1, plan["bond_c"]))
        distance = norm(x.index_select(1, plan["distance_a"]) - x.index_select(1, plan["distance_p"]))
        closing = norm(x.index_select(1, plan["distance_c"]) - x.index_select(1, plan["distance_p"]))
        vertex = x.index_select(1, plan["angle_c"])
        u, v = x.index_select(1, plan["angle_a"]) - vertex, x.index_select(1, plan["angle_p"]) - vertex
        normal = norm(cross(u, v))
        angle = torch.atan2(normal, dot(u, v))
        torsion = dihedral(*(x.index_select(1, plan["torsion_" + name]) for name in "acpg"))
        torsion = plan["turn_centre"] + wrap_angle(torsion - plan["turn_centre"])
        bend_x, bend_y = self._encode_bends(x, plan)
        blocks = torch.cat([bond, distance, angle, torsion, bend_x, bend_y])
        log_volume = _log_volume(plan, bond, distance, closing, normal / (norm(u) * norm(v)), bend_x, bend_y)
        return blocks.index_select(0, plan["to_table"]).T, -log_volume

    def decode(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """coordinates (batch, dimension) -> positions (batch, atoms, 3) nm and log_det (batch,).

        The molecule comes in a standard frame: the first atom at the origin, the second on the
        x axis, the third in the x-y plane. A ring that cannot close comes out visibly open.
        """
        plan = self._plan.on(coordinates)
        blocks = coordinates.T.index_select(0, plan["from_table"])
        bond, distance, angle, torsion, bend_x, bend_y = blocks.split(self._sizes)
        sine, cosine = angle.sin(), angle.cos()
        local = _local_vectors(plan, bond, sine, cosine, torsion, bend_x, bend_y)
        placed = self._start(bond, sine, cosine, coordinates)
        closing = [distance[:0]]
        for level in plan["levels"]:
            c, p, g = placed.index_select(1, level.references).chunk(3, dim=1)
            vectors = local.index_select(1, level.rows)
            if len(level.distances):
                length = norm(c - p).index_select(0, level.closing_frames)
                closing.append(length)
                second = distance.index_select(0, level.distances)
                vectors = _close(vectors, length, second, level.open_length)
            frames = torch.stack([*axes(c, p, g), c]).index_select(2, level.frames)
            e1, e2, e3, origin = frames.unbind(0)
            x, y, z = vectors.unbind(0)
            fresh = origin + x * e1 + y * e2 + z * e3
            placed = torch.cat([placed, fresh], dim=1)
        positions = placed.index_select(1, plan["by_atom"]).permute(2, 1, 0)
        return positions, _log_volume(plan, bond, distance, torch.cat(closing), sine, bend_x, bend_y)

    def _encode_bends(self, x: Tensor, plan: dict) -> tuple[Tensor, Tensor]:
        a, c, p, g = (x.index_select(1, plan["bend_" + name]) for name in "acpg")
        direction = (a - c) / norm(a - c)
        forward, first, second = (dot(direction, axis) for axis in axes(c, p, g))
        return 2 * first / (1 + forward), 2 * second / (1 + forward)

    def _start(self, bond: Tensor, sine: Tensor, cosine: Tensor, like: Tensor) -> Tensor:
        """The first three atoms in the standard frame, (3, up to 3, batch)."""
        zero = like.new_zeros(like.shape[0])
        atoms = [torch.stack([zero, zero, zero])]
        if len(self.placements) > 1:
            atoms.append(torch.stack([bond[0], zero, zero]))
        if len(self.placements) > 2:
            on_second = self.placements[2].c == self.placements[1].atom
            along = bond[0] - bond[1] * cosine[0] if on_second else bond[1] * cosine[0]
            atoms.append(torch.stack([along, bond[1] * sine[0], zero]))
        return torch.stack(atoms, dim=1)


def _local_vectors(
    plan: dict, bond: Tensor, sine: Tensor, cosine: Tensor, torsion: Tensor, bend_x: Tensor, bend_y: Tensor
) -> Tensor:
    """Each further atom seen from its centre's axes, (3, atoms - 3, batch), in order of placement.

    Atoms that close rings hold (d1, cos(phi), sin(phi)) until the distance of their centres is known.
    """
    if len(bond) < 3:
        return bond.new_zeros(3, 0, bond.shape[1])
    with_zero = torch.cat([torsion, torch.zeros_like(torsion[:1]) if len(torsion) else bond[:1] * 0])
    turn = torsion + with_zero.index_select(0, plan["torsion_base"])
    c, s = turn.cos(), turn.sin()
    length = bond.index_select(0, plan["open_bond"])
    radius = length * sine[1:]
    parts = [
        torch.stack(
            [
                -length * cosine[1:],
                radius * c.index_select(0, plan["open_torsion"]),
                radius * s.index_select(0, plan["open_torsion"]),
            ]
        )
    ]
    if len(bend_x):
        length = bond.index_select(0, plan["bend_bond"])
        square = 0.25 * (bend_x**2 + bend_y**2)
        parts.append(torch.stack([1 - square, bend_x, bend_y]) * (length / (1 + square)))
    if len(plan["closure_bond"]):
        index = plan["closure_torsion"]
        parts.append(
            torch.stack(
                [
                    bond.index_select(0, plan["closure_bond"]),
                    c.index_select(0, index),
                    s.index_select(0, index),
                ]
            )
        )
    if len(parts) == 1:
        return parts[0]
    return torch.cat(parts, dim=1).index_select(1, plan["to_placement"])


def _close(vectors: Tensor, length: Tensor, second: Tensor, open_length: Tensor) -> Tensor:
    """`vectors` of one level with its last rows, the closing atoms, put at both their distances.

    length: (k, batch) distance of the two centres. second: (k, batch) distance from the second one.
    open_length: (k, 1) how far from the first centre an atom is put at least, pointing away from the
    second, when no triangle exists: further than any closed ring allows, and not on the line of both.
    """
    others, closures = vectors.split([vectors.shape[1] - len(length), len(length)], dim=1)
    first, c, s = closures.unbind(0)
    far = (length + first - second) * (length + first + second)
    near = (second - length + first) * (second + length - first)
    closes = (far > 0) & (near > 0)
    area = torch.where(closes, far * near, torch.ones_like(far)).sqrt()
    along = (second**2 - first**2 - length**2) / (2 * length)
    beyond = torch.maximum(first, open_length.expand_as(first))
    radius = torch.where(closes, area / (2 * length), np.sin(OPEN_TILT) * beyond)
    along = torch.where(closes, along, np.cos(OPEN_TILT) * beyond)
    return torch.cat([others, torch.stack([along, radius * c, radius * s])], dim=1)


def _log_volume(
    plan: dict, bond: Tensor, distance: Tensor, closing: Tensor, sine: Tensor, bend_x: Tensor, bend_y: Tensor
) -> Tensor:
    """log of the shape measure per unit volume of the coordinates, (batch,)."""
    log_volume = (plan["bond_power"] * bond.log()).sum(0) + sine.log().sum(0)
    if len(distance):
        log_volume = log_volume + distance.log().sum(0) - closing.log().sum(0)
    if len(bend_x):
        log_volume = log_volume - 2 * (0.25 * (bend_x**2 + bend_y**2)).log1p().sum(0)
    return log_volume
