"""Weights: sorted, how many samples count as they are drawn, and the heaviest ones to look at."""

from __future__ import annotations

from typing import Any

import numpy as np

from boltzgen.ensemble.diagnostics import ENOUGH_EFFECTIVE, K_BAD, K_GOOD
from boltzgen.report.page.markup import Html, facts, figures, joined, measured, percentage, table, tag
from boltzgen.report.page.record import Material, Picture, Section
from boltzgen.report.page.svg import BLUE, GREY, ORANGE, Plot, log_axis

#: Samples in the table of the heaviest; the 3D view holds them.
HEAVIEST = 10

#: Points of a curve at most.
POINTS = 120


def heaviest_rows(weights: np.ndarray) -> np.ndarray:
    """Rows of the largest weights, heaviest first; of equal ones the first row."""
    order = np.argsort(-weights, kind="stable")[:HEAVIEST]
    return order[weights[order] > 0]


def weights(material: Material, *, in_3d: bool) -> Section | None:
    """The section ``weights``; None without samples, and for walkers, whose section is ``chains``.

    in_3d: whether there is a view that can show rows.
    """
    ensemble = material.ensemble
    if ensemble is None or ensemble.walkers is not None:
        return None
    found, w = material.summary, ensemble.weights()
    n, k_hat = len(w), found.get("k_hat")
    told = {
        "samples drawn": n,
        "with weight": found.get("kept"),
        **{f"rejected: {reason}": count for reason, count in ensemble.rejected().items()},
        "effective samples (Kish)": f"{found['ess'] * n:.0f} ({percentage(found['ess'])})",
        "k-hat": _judged(k_hat),
        "largest weight": percentage(found.get("largest_weight_share")),
        "ln Z (lengths in nm)": measured(found.get("log_z"), found.get("log_z_standard_error")),
    }
    rows = heaviest_rows(w)
    pictures = [_sorted_plot(material, w), _running_plot(material, w)] if w.any() else []
    running = running_ess(w)
    parts = [
        facts(told),
        tag(
            "p",
            "A weight says how much a sample counts. If few samples hold most of the weight, the answer "
            f"rests on them. k-hat measures how heavy the tail of the weights is: up to {K_GOOD} error bars "
            f"are trusted, up to {K_BAD} they are too small, above that a sample yet to be drawn could "
            "change the answer.",
        ),
        figures(pictures),
        _table(material, rows, w, in_3d),
    ]
    numbers: dict[str, Any] = {
        "samples": n,
        "kept": found.get("kept"),
        "rejected": ensemble.rejected(),
        "ess": found.get("ess"),
        "k_hat": k_hat,
        "largest_weight_share": found.get("largest_weight_share"),
        "heaviest": [
            {
                "row": int(row),
                "share": float(w[row]),
                "u": float(ensemble.u[row]),
                "log_q": float(ensemble.log_q[row]),
            }
            for row in rows
        ],
        "running_ess": [
            {"samples": int(a), "effective": round(float(b), 3)} for a, b in zip(*running, strict=True)
        ],
    }
    return Section("weights", "Weights", joined(parts), numbers, tuple(pictures))


def running_ess(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kish's effective number of the first n samples, for some n up to all of them."""
    places = np.unique(np.geomspace(1, len(w), min(POINTS, len(w))).round().astype(int))
    total, square = np.cumsum(w)[places - 1], np.cumsum(w**2)[places - 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return places, np.where(square > 0, total**2 / square, 0.0)


def _judged(k_hat: float | None) -> str:
    if k_hat is None:
        return "not known (too few samples carry weight, or all weights are equal)"
    words = "good" if k_hat <= K_GOOD else "error bars too small" if k_hat <= K_BAD else "too heavy a tail"
    return f"{k_hat:.2f} ({words})"


def _sorted_plot(material: Material, w: np.ndarray) -> Picture:
    ordered = np.sort(w[w > 0])[::-1] * len(w)
    rank = np.unique(np.geomspace(1, len(ordered), min(POINTS, len(ordered))).round().astype(int))
    shown = ordered[rank - 1]
    x = log_axis(1, max(len(ordered), 10), "rank, heaviest first")
    y = log_axis(max(float(shown.min()), 1e-5), float(shown.max()) * 1.01, "weight / mean weight")
    plot = Plot(x, y, "Sorted weights", material.subject.line())
    plot.level(1.0, "mean weight")
    plot.line(rank, shown, BLUE)
    return Picture(
        "weights-sorted", plot.svg, "Weights over their mean, heaviest first. A flat line is best."
    )


def _running_plot(material: Material, w: np.ndarray) -> Picture:
    number, effective = running_ess(w)
    x = log_axis(1, max(len(w), 10), "samples drawn")
    y = log_axis(1, max(len(w), 10), "effective samples")
    plot = Plot(x, y, "Effective samples as they were drawn", material.subject.line())
    plot.legend(("all count", GREY, "line"), ("these samples", BLUE, "line"))
    plot.line(number, number.astype(float), GREY, dash="4 3")
    plot.level(ENOUGH_EFFECTIVE, "enough", ORANGE)
    plot.line(number, effective, BLUE)
    words = (
        "Kish's effective number against samples drawn. A fall back is a sample heavier than all before it."
    )
    return Picture("weights-running", plot.svg, words)


def _table(material: Material, rows: np.ndarray, w: np.ndarray, in_3d: bool) -> Html:
    ensemble = material.ensemble
    assert ensemble is not None
    if not len(rows):
        return tag("p", "No sample carries weight.")
    lines = []
    for row in rows:
        button = tag("button", "show in 3D", type="button", data_row=int(row)) if in_3d else ""
        lines.append(
            (
                str(row),
                percentage(float(w[row])),
                f"{ensemble.u[row]:.2f}",
                f"{ensemble.log_q[row]:.2f}",
                button,
            )
        )
    columns = ("row", "share of all weight", "u (kT)", "ln q", "")
    return table(columns, lines, "The heaviest samples (row of samples.npz and samples.dcd, from 0)")
