"""What all figures share: a canvas without a display, colours, and saving whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boltzgen.files import atomic_path
from boltzgen.guards import usable_caches

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colours that people who see colours differently can tell apart (Okabe and Ito).
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "0.55"

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


def with_unit(name: str, unit: str) -> str:
    """``name (unit)``, or the name alone where there is no unit."""
    return f"{name} ({unit})" if unit not in ("", "1") else name
