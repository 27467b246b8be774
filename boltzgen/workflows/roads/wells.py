"""States that nobody named: the wells of each torsion (and of the pucker of rings of six) that samples show.

A torsion's density is smoothed on the circle; each maximum is a well, cut from the next at the lowest density
between them. Wells that hardly stand out, and wells that hold almost nothing, are joined to a neighbour.
Where mirror images count as seen (of an achiral molecule), wells come in pairs that are images of each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boltzgen.errors import InputError
from boltzgen.free_energy.variables import READY_NAMES, Variable, read_topology, ready_torsions
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.graph.torsions import Torsion
from boltzgen.system.molecular_system import MolecularSystem

#: Bins of a circle, and the width in degrees over which the density is smoothed.
BINS, WIDTH = 72, 12.0

#: A well stands out when the density between it and the next is lower by this factor (1 kT).
STANDS_OUT = np.exp(1.0)

#: Share below which a well is none of its own, and below which a joint state is not named.
RARE, NAMED = 0.01, 0.01

#: Joint states, at most; the likeliest.
MOST_JOINT = 24


@dataclass(frozen=True)
class Wells:
    """One coordinate and its wells: ranges ``(low, high)`` in degrees, and the place of each maximum."""

    variable: Variable
    ranges: tuple[tuple[float, float], ...]
    centres: tuple[float, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.variable.name} {centre:+.0f}" for centre in self.centres)

    def declaration(self) -> dict[str, Any]:
        """Of ``coordinates`` in a states file; empty for a ready name."""
        if self.variable.name.partition(":")[0] in READY_NAMES:
            return {}
        return {self.variable.name: {self.variable.kind: list(self.variable.atoms)}}

    def where(self, well: int) -> dict[str, Any]:
        low, high = self.ranges[well]
        return {self.variable.name: [low, high]}

    def codes(self, positions: np.ndarray) -> np.ndarray:
        """(n,) the well of each conformation; -1 where the coordinate is not finite."""
        values = self.variable.evaluate(positions)
        found = np.full(len(values), -1)
        for well, (low, high) in enumerate(self.ranges):
            if self.variable.periodic:
                inside = np.remainder(values - low, 360.0) < ((high - low) % 360.0 or 360.0)
            else:
                inside = (values >= low) & (values < high)
            found[inside & np.isfinite(values)] = well
        return found


def turning(system: MolecularSystem) -> list[Variable]:
    """The torsions whose states are asked for when none are named, then the pucker of each saturated ring.

    Torsions that turn (`boltzgen.system.graph.torsions`, open ones); not those in which half a turn only
    exchanges equal atoms, as of a carboxylate or a phenyl.
    """
    graph = MolecularGraph.from_system(system)
    topology = read_topology(system.topology_pdb, n_atoms=system.n_atoms)
    ready: dict[frozenset[int], tuple[str, tuple[int, ...]]] = {}
    for base in READY_NAMES:
        try:
            found = ready_torsions(base, topology)
        except InputError:  # residue numbers that repeat: no clear names
            continue
        for number, atoms in found.items():
            name = f"{base}:{number}" if len(found) > 1 else base
            ready.setdefault(frozenset(atoms[1:3]), (name, atoms))
    variables = []
    for torsion in graph.torsions():
        if torsion.kind != "open" or _halves_alike(graph, torsion):
            continue
        b, c = torsion.axis[0], torsion.axis[-1]
        name, atoms = ready.get(frozenset((b, c)), ("", torsion.atoms))
        plain = [str(system.atom_names[atom].atom) for atom in torsion.atoms]
        variables.append(Variable(name or "-".join(plain), "torsion", tuple(int(a) for a in atoms)))
    for ring in graph.rings:
        if len(ring) == 6 and sum(len(graph.neighbours[atom]) == 4 for atom in ring) >= 3:
            lowest = str(system.atom_names[min(ring)].atom)
            variables.append(Variable(f"ring of {lowest}", "pucker", tuple(int(a) for a in ring)))
    return _named_apart(variables)


def _named_apart(variables: Sequence[Variable]) -> list[Variable]:
    """The same, with numbers behind names that occur twice."""
    names = [variable.name for variable in variables]
    return [
        Variable(f"{one.name}/{names[: k + 1].count(one.name)}", one.kind, one.atoms)
        if names.count(one.name) > 1
        else one
        for k, one in enumerate(variables)
    ]


def _halves_alike(graph: MolecularGraph, torsion: Torsion) -> bool:
    """Whether at one end hang exactly two atoms, equivalent in the graph, on an atom that is flat."""
    for end, other in ((torsion.axis[0], torsion.axis[1]), (torsion.axis[-1], torsion.axis[-2])):
        hanging = [atom for atom in graph.neighbours[end] if atom != other]
        if end in graph.planar and len(hanging) == 2:
            if graph.classes[hanging[0]] == graph.classes[hanging[1]]:
                return True
    return False


def find_wells(
    variable: Variable, positions: np.ndarray, weights: np.ndarray, opposite: np.ndarray | None = None
) -> Wells | None:
    """The wells of `variable` among `positions` (n, N, 3) nm with `weights` (n,); None for a single one.

    opposite: their mirror images, where these count as seen.
    """
    values = variable.evaluate(positions)
    kept = np.isfinite(values) & (weights > 0)
    if not kept.any():
        return None
    values, weights = values[kept], weights[kept] / weights[kept].sum()
    if not variable.periodic:
        return _on_line(variable, values, weights)
    symmetric = opposite is not None and negated(values, variable.evaluate(opposite[kept]))
    return _on_circle(variable, values, weights, symmetric)


def negated(values: np.ndarray, others: np.ndarray) -> bool:
    """Whether each of the angles `others` (n,) in degrees is one of `values` with the other sign."""
    return bool(np.all(np.abs(around(values + others)) < 1e-2))


def around(degrees: Any) -> Any:
    """The same angle from -180 on, below 180."""
    return np.remainder(np.asarray(degrees) + 180.0, 360.0) - 180.0


def _on_circle(variable: Variable, values: np.ndarray, weights: np.ndarray, symmetric: bool) -> Wells | None:
    edges = np.linspace(-180.0, 180.0, BINS + 1)
    share, _ = np.histogram(values, edges, weights=weights)
    if symmetric:
        share = 0.5 * (share + share[::-1])
    offsets = (np.arange(BINS) - BINS // 2) * (360.0 / BINS)
    kernel = np.fft.ifftshift(np.exp(-0.5 * (offsets / WIDTH) ** 2))
    smooth = np.fft.irfft(np.fft.rfft(share) * np.fft.rfft(kernel / kernel.sum()), BINS).clip(1e-12)
    tops = [k for k in range(BINS) if smooth[k] >= smooth[k - 1] and smooth[k] > smooth[(k + 1) % BINS]]
    while len(tops) > 1:
        cuts = [_lowest(smooth, top, tops[(k + 1) % len(tops)]) for k, top in enumerate(tops)]
        shares = [_between(share, cuts[k - 1], cuts[k]) for k in range(len(tops))]
        heights = [smooth[top] / max(smooth[cuts[k - 1]], smooth[cuts[k]]) for k, top in enumerate(tops)]
        weak = [k for k in range(len(tops)) if shares[k] < RARE or heights[k] < STANDS_OUT]
        if not weak:
            places = [float(edges[0] + 360.0 * cut / BINS) for cut in cuts]
            centres = [float(edges[0] + 360.0 * (top + 0.5) / BINS) for top in tops]
            if symmetric:
                places, centres = _in_pairs(places, centres)
            ranges = tuple((places[k - 1], places[k]) for k in range(len(tops)))
            return Wells(variable, ranges, tuple(centres))
        tops.pop(min(weak, key=lambda k: shares[k]))
    return None


def _in_pairs(places: list[float], centres: list[float]) -> tuple[list[float], list[float]]:
    """Cuts and maxima (degrees), each moved by less than two bins to be the other sign of its image.

    Cut k lies between the maxima k and k + 1. A maximum without an image stands for both; its place, and that
    of a cut between two images, is 0 or 180. All as they are where the cuts are no images.
    """
    count, bin_width = len(places), 360.0 / BINS
    image = [
        next((j for j in range(count) if abs(around(centres[j] + one)) <= bin_width), k)
        for k, one in enumerate(centres)
    ]
    moved = []
    for k, cut in enumerate(places):
        opposite = image[(k + 1) % count]
        if opposite == k:
            half = centres[k] + ((centres[(k + 1) % count] - centres[k]) % 360.0 or 360.0) / 2
            moved.append(_pole(half))
            continue
        apart = float(around(cut + places[opposite]))
        if image[image[k]] != k or abs(apart) > 2 * bin_width:
            return places, centres
        moved.append(float(around(cut - apart / 2)))
    paired = [
        abs(_pole(one)) if image[k] == k else float(around(one - around(one + centres[image[k]]) / 2))
        for k, one in enumerate(centres)
    ]
    return moved, paired


def _pole(degrees: float) -> float:
    """The nearer of 0 and -180."""
    return 0.0 if abs(around(degrees)) < 90.0 else -180.0


def _lowest(smooth: np.ndarray, first: int, second: int) -> int:
    """The bin of the lowest density from `first` on to `second`."""
    between = [(first + k) % BINS for k in range(1, (second - first) % BINS or BINS)]
    return min(between, key=lambda k: smooth[k]) if between else second


def _between(share: np.ndarray, low: int, high: int) -> float:
    rows = [(low + k) % BINS for k in range((high - low) % BINS or BINS)]
    return float(share[rows].sum())


def _on_line(variable: Variable, values: np.ndarray, weights: np.ndarray) -> Wells | None:
    """The thirds of theta of a ring of six: the two chairs, and what lies between them."""
    ranges = ((0.0, 60.0), (60.0, 120.0), (120.0, 180.1))
    shares = [float(weights[(values >= low) & (values < high)].sum()) for low, high in ranges]
    if max(shares[0], shares[2]) > 1 - RARE or sum(share >= RARE for share in shares) < 2:
        return None
    return Wells(variable, ranges, (0.0, 90.0, 180.0))


def joint_states(
    wells: Sequence[Wells], positions: np.ndarray, weights: np.ndarray
) -> tuple[dict[str, Any] | None, list[tuple[int, ...]]]:
    """A states file of the combinations that hold more than `NAMED`, likeliest first; None: fewer than two.

    And the wells of each state, one number a coordinate.
    """
    codes = np.stack([one.codes(positions) for one in wells], axis=1)
    kinds, rows = np.unique(codes, axis=0, return_inverse=True)
    shares = np.bincount(rows.reshape(-1), weights=weights / weights.sum(), minlength=len(kinds))
    order = [
        int(k) for k in np.argsort(-shares, kind="stable") if shares[k] > NAMED and (kinds[k] >= 0).all()
    ]
    chosen = [tuple(int(code) for code in kinds[k]) for k in order[:MOST_JOINT]]
    if len(chosen) < 2:
        return None, chosen
    states: list[dict[str, Any]] = [
        {
            "name": ", ".join(one.names[well] for one, well in zip(wells, codes_of, strict=True)),
            "where": dict(
                itertools.chain.from_iterable(
                    one.where(well).items() for one, well in zip(wells, codes_of, strict=True)
                )
            ),
        }
        for codes_of in chosen
    ]
    named = float(shares[order[:MOST_JOINT]].sum())
    if named < 1 - 1e-9:
        states.append({"name": "all other", "where": "rest"})
    return _file(wells, states, [state["name"] for state in states[: len(chosen)]]), chosen


def states_of(one: Wells, positions: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    """A states file of the wells of one coordinate; differences are from the likeliest."""
    codes = one.codes(positions)
    shares = [float(weights[codes == well].sum()) for well in range(len(one.names))]
    order = [int(k) for k in np.argsort(-np.array(shares), kind="stable")]
    states = [{"name": name, "where": one.where(k)} for k, name in enumerate(one.names)]
    return _file([one], states, [one.names[k] for k in order])


def _file(wells: Sequence[Wells], states: list[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    declared: dict[str, Any] = {}
    for one in wells:
        declared |= one.declaration()
    content: dict[str, Any] = {"coordinates": declared} if declared else {}
    return {**content, "states": states, "differences": [[names[0], name] for name in names[1:]]}
