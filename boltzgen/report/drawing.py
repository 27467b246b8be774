"""What all figures share: a canvas without a display, colours, and saving whole or not at all."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from boltzgen.files import atomic_path
from boltzgen.guards import usable_caches
from boltzgen.report.axes import Subject, label, torsion_ticks, unit_factors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours that people who see colours differently can tell apart (Okabe and Ito).
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "0.55"

#: Letters of a figure's heading that fit into an inch.
LETTERS_AN_INCH = 13.0

#: Colour of a verdict.
VERDICT_COLOURS = {"ok": BLUE, "caution": ORANGE, "unreliable": GREY}


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """A figure of `width` by `height` inches and its axes as an array (rows, columns)."""
    with usable_caches():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write `figure` as PNG to `path`, atomically; the same figure gives the same bytes."""
    with atomic_path(path) as temporary:
        figure.savefig(str(temporary), format="png", metadata={"Software": None})
    return Path(path)


def describe(figure: Figure, subject: Subject, *more: str) -> None:
    """Write above the figure what it is of: molecule, force field, temperature, and `more` of its own."""
    if line := subject.line(*more):
        room = int(LETTERS_AN_INCH * figure.get_figwidth())
        figure.suptitle("\n".join(textwrap.wrap(line, room)), fontsize=9.5)


def energy_scales(axis: Axes, along: Literal["x", "y"], temperature: float | None) -> None:
    """Beside the scale of `axis` in kT (``x`` or ``y``, its limits settled) those in kJ/mol and kcal/mol."""
    for number, (unit, factor) in enumerate(unit_factors(temperature).items()):
        other = axis.twiny() if along == "x" else axis.twinx()
        side = "top" if along == "x" else "right"
        low, high = axis.get_xlim() if along == "x" else axis.get_ylim()
        if along == "x":
            other.set_xlim(low * factor, high * factor)
            other.set_xlabel(unit, fontsize=8, labelpad=2)
        else:
            other.set_ylim(low * factor, high * factor)
            other.set_ylabel(unit, fontsize=8, labelpad=2)
        other.spines[[name for name in ("top", "right", "left", "bottom") if name != side]].set_visible(False)
        other.spines[side].set_position(("outward", number * (30 if along == "x" else 42)))
        other.spines[side].set_visible(True)
        other.tick_params(axis=along, labelsize=7)
        other.locator_params(axis=along, nbins=5)


def torsion_axis(axis: Axes, along: str, low: float, name: str, unit: str = "degrees") -> None:
    """A circle that begins at `low` degrees along ``x`` or ``y``: ticks every 60 degrees, and its label."""
    places, words = torsion_ticks(low, low + 360.0)
    if along == "x":
        axis.set_xlim(low, low + 360.0)
        axis.set_xticks(places, words)
        axis.set_xlabel(label(name, unit))
    else:
        axis.set_ylim(low, low + 360.0)
        axis.set_yticks(places, words)
        axis.set_ylabel(label(name, unit))
