"""Overlap of the flow with the target: energies, what frames say of it, and BAR where it was made."""

from __future__ import annotations

from typing import Any

import numpy as np

from boltzgen.report.page.answer import estimates_of, named
from boltzgen.report.page.markup import (
    badge,
    bullets,
    facts,
    figures,
    joined,
    measured,
    percentage,
    prose,
    table,
    tag,
)
from boltzgen.report.page.record import Material, Picture, Section, part, several
from boltzgen.report.page.sources import drawn_by_flow
from boltzgen.report.page.svg import BLACK, BLUE, GREEN, ORANGE, Plot, linear_axis
from boltzgen.units import thermal_energy

#: Bins of a distribution, by how many samples there are.
FEWEST_BINS, MOST_BINS = 15, 60


def overlap(material: Material) -> Section | None:
    """The section ``overlap``; None without samples, or with nothing to hold them against."""
    coverage = part(material.manifest, "coverage")
    bars = [one for one in estimates_of(material) if one.get("overlap") is not None]
    pictures, energies = _energies(material)
    if material.ensemble is None:
        return None
    own = 2 if material.ensemble.walkers is None else 1
    if not (coverage or bars or len(energies) > own):
        return None
    parts: list[Any] = []
    if coverage:
        parts += _told(material, coverage)
    if bars:
        rows = [
            (named(one), one.get("estimator"), measured(part(one, "value").get(one.get("unit", "kT"))),
             one.get("unit"), one.get("overlap"))
            for one in bars
        ]  # fmt: skip
        parts.append(
            table(("free energy", "by", "value", "unit", "overlap (0 to 1)"), rows, "Overlap of ensembles")
        )
    parts.append(figures(pictures))
    keys = (
        "source",
        "n_target",
        "n_independent",
        "forward_ess",
        "forward_ess_frames",
        "missed",
        "verdict",
        "reasons",
    )
    numbers = {
        "coverage": {key: coverage.get(key) for key in keys} if coverage else None,
        "bar": [{key: one.get(key) for key in ("name", "estimator", "value", "overlap")} for one in bars],
        "energies_kT": energies,
    }
    return Section("overlap", "Overlap", joined(parts), numbers, tuple(pictures))


def _told(material: Material, coverage: Any) -> list[Any]:
    seen = coverage.get("n_target")
    many = "" if seen is None else f" ({seen} samples, which count as {coverage.get('n_independent', 0):.0f})"
    told = {
        "compared with": f"{coverage.get('source')}{many}",
        "effective sample size seen from there": percentage(coverage.get("forward_ess")),
        "of the target out of the flow's reach": percentage(coverage.get("missed")),
        "verdict": badge(coverage.get("verdict")),
    }
    return [
        tag("p", "Only samples that the flow did not draw can show that it misses nothing."),
        facts({key: value for key, value in told.items() if value != "–"}),
        bullets(prose(one, material.words) for one in several(coverage, "reasons")),
    ]


def _energies(material: Material) -> tuple[list[Picture], dict[str, Any]]:
    """Distributions of the reduced energy u, and the mean and deviation of each."""
    ensemble = material.ensemble
    if ensemble is None or not ensemble.valid.any():
        return [], {}
    rows = ensemble.valid
    flow = "flow" if drawn_by_flow(material) else "unweighted"
    found = [(flow, ORANGE, "5 3", ensemble.u[rows], np.ones(int(rows.sum())))]
    label = "reweighted" if ensemble.walkers is None else "walkers"
    found.append((label, BLUE, "", ensemble.u[rows], ensemble.weights()[rows]))
    found = found if ensemble.walkers is None else found[1:]  # nothing was drawn that is not of the target
    for label, colour, frames in (
        ("simulation", BLACK, material.frames),
        ("check frames", GREEN, material.checks),
    ):
        if frames is not None and ensemble.temperature is not None and np.isfinite(frames.energies).any():
            u = frames.energies[np.isfinite(frames.energies)] / thermal_energy(ensemble.temperature)
            found.append((label, colour, "", u, np.ones(len(u))))
    told = {label: _mean(u, w) for label, _, _, u, w in found if w.sum() > 0}
    # the flow's tail may be endless; the target's energies are what has to be covered
    ends = [_quantiles(u, w) for label, _, _, u, w in found if w.sum() > 0 and label != flow] or [
        _quantiles(found[0][3], found[0][4])
    ]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    span = max(high - low, 1e-9)
    bins = bins_for(min(len(u) for _, _, _, u, w in found if w.sum() > 0))
    edges = np.linspace(low - 0.15 * span, high + 0.35 * span, bins + 1)
    if not edges[-1] > edges[0]:
        return [], told
    centres, step = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
    curves = []
    for label, colour, dash, u, w in found:
        if w.sum() > 0:
            curves.append((label, colour, dash, np.histogram(u, bins=edges, weights=w)[0] / w.sum() / step))
    top = max(float(density.max()) for *_, density in curves)
    x = linear_axis(float(edges[0]), float(edges[-1]), "u = U/kT")
    plot = Plot(x, linear_axis(0.0, 1.08 * top, "density"), "Energies", material.subject.line(), width=440)
    plot.legend(*((label, colour, "line") for label, colour, _, _ in curves))
    for _, colour, dash, density in curves:
        plot.line(centres, density, colour, dash=dash)
    words = "Energies of the samples as drawn, by weight, and of frames. Without overlap weights are poor."
    return [Picture("energies", plot.svg, words)], told


def bins_for(n: int) -> int:
    """Bins of a distribution of n samples: twice their cube root (Rice)."""
    return int(np.clip(round(2 * n ** (1 / 3)), FEWEST_BINS, MOST_BINS))


def _quantiles(u: np.ndarray, w: np.ndarray) -> tuple[float, float]:
    order = np.argsort(u, kind="stable")
    sums = np.cumsum(w[order]) / w.sum()
    low, high = np.minimum(np.searchsorted(sums, (0.002, 0.998)), len(u) - 1)
    return float(u[order][low]), float(u[order][high])


def _mean(u: np.ndarray, w: np.ndarray) -> dict[str, float]:
    mean = float(np.average(u, weights=w))
    return {
        "mean": mean,
        "standard_deviation": float(np.sqrt(np.average((u - mean) ** 2, weights=w))),
        "n": len(u),
    }
