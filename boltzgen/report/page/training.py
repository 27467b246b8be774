"""Training: every loss, the held-out likelihood and the effective sample sizes against the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from boltzgen.report.page.markup import facts, figures, folded, joined, table, tag
from boltzgen.report.page.record import Material, Picture, Section, part
from boltzgen.report.page.svg import BLUE, ORANGE, Plot, linear_axis
from boltzgen.report.page.torsions import safe

#: Columns of the metrics that are no curves, or stand in a plot of their own.
NO_LOSSES = (
    "step progress learning_rate gradient_norm discarded_rows skipped_steps energy_evaluations "
    "evaluations_per_second forward_ess forward_ess_frames ess k_hat log_z evaluation_energies seconds"
).split()

#: Losses whose zero means nothing (a density in nm, a divergence but for ln Z): their change is drawn.
WITHOUT_ZERO = ("likelihood", "held_out_likelihood", "reverse_kl", "reweighted")

#: What the metrics call the change of a loss since the run began, in nats a degree of freedom or in kT.
CHANGE = "_change"

#: Points of a curve at most: then every second, third, ... row.
POINTS = 400


def training(material: Material) -> Section | None:
    """The section ``training``; None where nothing was logged."""
    rows = [row for row in material.metrics if isinstance(row.get("step"), int)]
    if not rows:
        return None
    logged = dict.fromkeys(key for row in rows for key in row)
    names = [name for name in logged if name not in NO_LOSSES and name + CHANGE not in logged]
    pictures = [one for name in names if (one := _loss(material, rows, name)) is not None]
    pictures += [one for one in [_effective(material, rows)] if one is not None]
    last = rows[-1]
    shown = {
        "steps": last.get("step"),
        "energy evaluations": last.get("energy_evaluations"),
        "seconds": last.get("seconds"),
        "steps skipped": last.get("skipped_steps"),
        "flow": part(part(material.training, "config"), "flow").get("kind"),
    }
    told = [{key: value for key, value in row.items() if value is not None} for row in rows[-1:]]
    parts = [
        facts(shown),
        tag(
            "p",
            "Lower is better. Of a loss whose zero means nothing the change is drawn: 0 is where the run "
            "began. What counts is the effective sample size.",
        ),
        figures(pictures),
        folded("The last row", table(("column", "value"), list(told[0].items()))),
    ]
    numbers: dict[str, Any] = {
        "steps": last.get("step"),
        "rows": len(rows),
        "last": told[0],
        "curves": {
            name: _points(rows, name) for name in [*names, "ess", "forward_ess"] if _points(rows, name)
        },
    }
    return Section("training", "Training", joined(parts), numbers, tuple(pictures))


def _points(rows: Sequence[Mapping[str, Any]], name: str) -> list[list[float]]:
    """[step, value] of the rows that have it, thinned."""
    found = [
        [float(row["step"]), float(row[name])]
        for row in rows
        if isinstance(row.get(name), int | float) and np.isfinite(row[name])
    ]
    stride = -(-len(found) // POINTS) if found else 1
    return found[::stride] + ([found[-1]] if found and (len(found) - 1) % stride else [])


def _loss(material: Material, rows: Sequence[Mapping[str, Any]], name: str) -> Picture | None:
    points = np.array(_points(rows, name))
    if len(points) < 2:
        return None
    title, unit, points = drawn_as(name, points)
    low, high = np.quantile(points[:, 1], (0.0, 0.98 if len(points) > 50 else 1.0))
    room = 0.08 * (high - low) or 0.5
    x = linear_axis(0.0, float(points[-1, 0]), "step")
    plot = Plot(x, linear_axis(low - room, high + room, unit), title, material.subject.line(), height=240)
    plot.line(points[:, 0], points[:, 1], BLUE)
    return Picture(f"training-{safe(name)}", plot.svg, f"{title}, against the step.")


def drawn_as(name: str, points: np.ndarray) -> tuple[str, str, np.ndarray]:
    """Title, unit, and [step, value] (n, 2) as they are drawn: changes of what has no zero of its own."""
    loss = name.removesuffix(CHANGE)
    words = loss.replace("_kl", " KL").replace("_", " ")
    words = words[:1].upper() + words[1:]
    if loss != name:
        unit = "kT" if loss.startswith("reverse_kl") else "nats a degree of freedom"
        return f"{words}: change since the run began", unit, points
    if name in WITHOUT_ZERO:
        points = points - [0.0, points[0, 1]]
        return f"{words}: change since the first row", "kT" if name == "reverse_kl" else "nats", points
    return words, "nats" if "dispersion" in name else "value", points


def _effective(material: Material, rows: Sequence[Mapping[str, Any]]) -> Picture | None:
    curves = [
        ("of its own samples", BLUE, np.array(_points(rows, "ess"))),
        ("seen from held-out frames", ORANGE, np.array(_points(rows, "forward_ess"))),
    ]
    curves = [one for one in curves if len(one[2])]
    if not curves:
        return None
    x = linear_axis(0.0, max(float(points[-1, 0]) for _, _, points in curves), "step")
    top = max(float(points[:, 1].max()) for _, _, points in curves)
    y = linear_axis(0.0, min(100.0, 115 * top) or 1.0, "effective samples (%)")
    plot = Plot(x, y, "Effective sample size", material.subject.line(), height=240)
    plot.legend(*((label, colour, "line") for label, colour, _ in curves))
    for _, colour, points in curves:
        plot.line(points[:, 0], 100 * points[:, 1], colour)
        plot.points(points[:, 0], 100 * points[:, 1], colour)
    return Picture("training-ess", plot.svg, "Effective samples in percent of those drawn, against the step.")
