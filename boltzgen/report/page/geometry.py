"""Bonds and angles: their distributions against the simulation's, the worst of them drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from boltzgen.report.page.markup import Html, figures, folded, joined, table, tag
from boltzgen.report.page.overlap import bins_for
from boltzgen.report.page.record import Material, Picture, Section
from boltzgen.report.page.sources import Source
from boltzgen.report.page.svg import Plot, linear_axis
from boltzgen.system.graph.adjacency import adjacency

#: Distributions that are drawn at most, of bonds and of angles.
DRAWN = 3

#: Conformations of each source that are looked at: evenly spaced ones of more.
MOST_ROWS = 20_000


@dataclass(frozen=True, eq=False)
class Distribution:
    """One bond (Å) or angle (degrees) in each source: values (n,) by key; how far the weighted one is off."""

    kind: str
    atoms: tuple[int, ...]
    label: str
    unit: str
    values: dict[str, np.ndarray]
    apart: float | None


def geometry(material: Material, found: Sequence[Source]) -> Section | None:
    """The section ``geometry``; None without a prepared molecule or conformations."""
    system = material.molecule
    if system is None or not found or not len(system.bonds):
        return None
    picked = [_thinned(one) for one in found]
    neighbours = adjacency(system.n_atoms, system.bonds)
    bonds = [tuple(int(atom) for atom in pair) for pair in system.bonds]
    angles = [(a, b, c) for b, ends in enumerate(neighbours) for a, c in combinations(sorted(ends), 2)]
    names = [name.atom for name in system.atom_names]
    measured = [_distribution("bond", atoms, names, picked) for atoms in bonds]
    measured += [_distribution("angle", atoms, names, picked) for atoms in angles]
    compared = {"simulation", "reweighted"} <= {one.key for one in found}
    pictures = []
    for kind in ("bond", "angle"):
        ordered = [one for one in measured if one.kind == kind]
        if compared:
            ordered = sorted(ordered, key=lambda one: -(one.apart or 0.0))
        pictures += [one for item in ordered[:DRAWN] if (one := _plot(material, item, picked)) is not None]
    words = (
        "Drawn are those that differ most from the simulation; the distance is the largest difference of the "
        "two cumulative distributions (Kolmogorov and Smirnov), 0 for equal ones."
        if compared
        else "The first of each kind are drawn; there is nothing to compare them with."
    )
    numbers = [_numbers(one, picked) for one in measured]
    parts = [tag("p", words), figures(pictures), folded("All bonds and angles", _table(measured, picked))]
    return Section("geometry", "Bonds and angles", joined(parts), numbers, tuple(pictures))


def _thinned(one: Source) -> Source:
    if len(one.weights) <= MOST_ROWS:
        return one
    rows = np.linspace(0, len(one.weights) - 1, MOST_ROWS).astype(int)
    return Source(
        one.key, one.label, one.colour, one.positions[rows], one.weights[rows], one.inefficiency, one.dash
    )


def _distribution(
    kind: str, atoms: tuple[int, ...], names: Sequence[str], found: Sequence[Source]
) -> Distribution:
    values = {
        one.key: (bond_lengths if kind == "bond" else bond_angles)(one.positions, atoms) for one in found
    }
    by_key = {one.key: one for one in found}
    apart = None
    if {"simulation", "reweighted"} <= set(values):
        apart = distance(
            values["simulation"],
            by_key["simulation"].weights,
            values["reweighted"],
            by_key["reweighted"].weights,
        )
    label = f"{'–'.join(names[atom] for atom in atoms)} ({'-'.join(map(str, atoms))})"
    return Distribution(kind, atoms, label, "Å" if kind == "bond" else "°", values, apart)


def bond_lengths(positions: np.ndarray, atoms: Sequence[int]) -> np.ndarray:
    """Å (n,) on positions (n, N, 3) in nm."""
    a, b = (positions[:, atom].astype(np.float64) for atom in atoms)
    return np.asarray(10.0 * np.linalg.norm(a - b, axis=1))


def bond_angles(positions: np.ndarray, atoms: Sequence[int]) -> np.ndarray:
    """Degrees (n,) on positions (n, N, 3); the middle atom is the corner."""
    a, b, c = (positions[:, atom].astype(np.float64) for atom in atoms)
    one, other = a - b, c - b
    cross = np.linalg.norm(np.cross(one, other), axis=1)
    return np.asarray(np.degrees(np.arctan2(cross, np.sum(one * other, axis=1))))


def distance(x: np.ndarray, w_x: np.ndarray, y: np.ndarray, w_y: np.ndarray) -> float | None:
    """The largest difference of the weighted cumulative distributions of x and y; None without weight."""
    if not (w_x.sum() > 0 and w_y.sum() > 0):
        return None
    both = np.concatenate([x, y])
    order = np.argsort(both, kind="stable")
    step = np.concatenate([w_x / w_x.sum(), -w_y / w_y.sum()])[order]
    sums = np.cumsum(step)
    last = np.append(np.diff(both[order]) > 0, True)  # equal values count together
    return float(np.abs(sums[last]).max())


def _moments(values: np.ndarray, weights: np.ndarray) -> tuple[float, float] | None:
    if not weights.sum() > 0:
        return None
    mean = float(np.average(values, weights=weights))
    return mean, float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))


def _plot(material: Material, item: Distribution, found: Sequence[Source]) -> Picture | None:
    ends = [np.quantile(item.values[one.key], (0.001, 0.999)) for one in found]
    low, high = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
    if not high > low:
        return None
    bins = bins_for(min(len(one.weights) for one in found))
    edges = np.linspace(low, high, bins + 1)
    centres = (edges[1:] + edges[:-1]) / 2
    curves = []
    for one in found:
        total = float(one.weights.sum())
        if total > 0:
            counts, _ = np.histogram(item.values[one.key], bins=edges, weights=one.weights)
            curves.append((one, counts / total / (edges[1] - edges[0])))
    top = max(float(density.max()) for _, density in curves)
    title = f"{item.kind.capitalize()} {item.label}"
    x = linear_axis(low, high, f"{item.kind} ({item.unit})", 4)
    plot = Plot(x, linear_axis(0.0, 1.08 * top, f"density (1/{item.unit})"), title, material.subject.line(),
                width=330, height=240)  # fmt: skip
    plot.legend(*((one.label, one.colour, "line") for one, _ in curves))
    for one, density in curves:
        plot.line(centres, density, one.colour, dash=one.dash)
    name = f"{item.kind}-{'-'.join(map(str, item.atoms))}"
    return Picture(name, plot.svg, f"{title}: distributions.")


def _table(measured: Sequence[Distribution], found: Sequence[Source]) -> Html:
    rows: list[tuple[Any, ...]] = []
    for item in measured:
        moments = [_moments(item.values[one.key], one.weights) for one in found]
        digits = 4 if item.unit == "Å" else 2
        shown = ["–" if m is None else f"{m[0]:.{digits}f} ({m[1]:.{digits}f})" for m in moments]
        rows.append(
            (
                item.kind,
                f"{item.label}",
                item.unit,
                *shown,
                None if item.apart is None else round(item.apart, 3),
            )
        )
    columns = ("", "atoms", "unit", *(f"{one.label}: mean (deviation)" for one in found), "distance")
    return table(columns, rows)


def _numbers(item: Distribution, found: Sequence[Source]) -> dict[str, Any]:
    told: dict[str, Any] = {"kind": item.kind, "atoms": list(item.atoms), "unit": item.unit}
    for one in found:
        moments = _moments(item.values[one.key], one.weights)
        told[one.key] = None if moments is None else {"mean": moments[0], "standard_deviation": moments[1]}
    return {**told, "distance": item.apart}
