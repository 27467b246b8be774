"""The cost of growth: effective sample size, likelihood gap and time against the number of atoms."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import InputError
from boltzgen.report.axes import Subject
from boltzgen.report.drawing import BLUE, GREY, ORANGE, describe, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colour, marker and name of a stage.
_STAGES = {"zero_shot": (BLUE, "o", "zero-shot"), "adapted": (ORANGE, "s", "adapted")}


def transfer_figure(
    path: str | os.PathLike[str],
    rows: Sequence[Mapping[str, Any]],
    samples: int,
    *,
    subject: Subject | None = None,
) -> Path:
    """Draw one panel each for ESS (%), gap per atom (nats) and seconds for `samples` samples; PNG at `path`.

    A panel of which nothing is known is left out.

    `rows`: one a molecule and stage, with ``molecule``, ``stage``, ``atoms``, ``ess``,
    ``ess_standard_error``, ``gap_per_atom`` and ``seconds``, None where not known. InputError when there
    are none.
    """
    if not rows:
        raise InputError("no molecule was measured; there is nothing to draw.")
    panels = [
        panel
        for panel in (
            ("ess", 100.0, "effective sample size (%)"),
            ("gap_per_atom", 1.0, "likelihood gap (nats per atom)"),
            ("seconds", 1.0, f"seconds for {samples} samples"),
        )
        if any(row[panel[0]] is not None for row in rows)
    ]
    figure, axes = new_figure(3.6 * len(panels), 3.6, 1, len(panels))
    figure.set_layout_engine("constrained", w_pad=0.12)
    for axis, (key, unit, label) in zip(axes[0], panels, strict=True):
        _panel(axis, rows, key, unit)
        axis.set_xlabel("atoms")
        axis.set_ylabel(label)
    axes[0, 0].legend(frameon=False, fontsize=8)
    describe(figure, Subject() if subject is None else subject)
    return save(figure, path)


def _panel(axis: Axes, rows: Sequence[Mapping[str, Any]], key: str, unit: float) -> None:
    values = []
    for stage, (colour, marker, name) in _STAGES.items():
        known = [row for row in rows if row["stage"] == stage and row[key] is not None]
        if not known:
            continue
        atoms = np.array([row["atoms"] for row in known], dtype=float)
        height = unit * np.array([row[key] for row in known], dtype=float)
        errors = _errors(known, unit, height) if key == "ess" else None
        axis.errorbar(
            atoms,
            height,
            yerr=errors,
            fmt=marker,
            color=colour,
            ecolor=GREY,
            elinewidth=1.0,
            capsize=2,
            markersize=4.5,
            alpha=0.85,
            label=name,
        )
        values += height.tolist()
    if min(values, default=0.0) > 0:
        axis.set_yscale("log")
        low, high = min(values), max(values)
        axis.set_ylim(low / 1.8, min(high * 1.8, 110.0) if key == "ess" else high * 1.8)
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        if high / low < 30:
            axis.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if str(value)[0] in "25" else "")
    else:
        axis.set_ylim(bottom=min(0.0, *values))
    axis.margins(x=0.1)


def _errors(rows: Sequence[Mapping[str, Any]], unit: float, height: np.ndarray) -> np.ndarray:
    """Error bars (2, n); the lower end stays above zero, which a logarithm needs."""
    errors = unit * np.array([row["ess_standard_error"] or 0.0 for row in rows])
    return np.stack([np.minimum(errors, 0.9 * height), errors])
