"""Figures of free-energy surfaces: a curve with its 95 % band, or a map beside that of its uncertainty.

A surface ends at `HIGHEST_KT`, bins of fewer than ten effective samples stay blank, and a torsion's axis is
cut at its highest point (`boltzgen.report.axes`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import InputError
from boltzgen.free_energy.surface import FEWEST_EFFECTIVE, HIGHEST_KT, Surface
from boltzgen.report.axes import Subject, cut_bin, energy_label, is_circle, label, marginal, turned
from boltzgen.report.drawing import BLUE, GREY, describe, energy_scales, new_figure, save, torsion_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The colours of uncertainties end here (kT): what bins above it show is mostly noise.
NOISY_KT = 1.0

BLANK = f"blank: above {HIGHEST_KT:g} kT, or fewer than {FEWEST_EFFECTIVE:g} effective samples"


def surface_figure(path: str | os.PathLike[str], surface: Surface, *, subject: Subject | None = None) -> Path:
    """Draw `surface` (one or two variables) and save a PNG at `path`, atomically.

    One variable: the curve with its 95 % band. Two: the map, beside it half the width of the 95 % interval.
    Raises InputError when no bin holds weight.
    """
    if not np.isfinite(surface.free_energy).any():
        raise InputError("no bin of the surface holds weight; there is nothing to draw.")
    of = Subject() if subject is None else subject
    if surface.free_energy.ndim == 1:
        figure, axes = new_figure(6.4, 4.2)
        _curve(axes[0, 0], surface, of)
    else:
        figure, axes = new_figure(10.4, 4.6, 1, 2)
        grid = _Grid.of(surface)
        _map(figure, axes[0, 0], surface, grid, of)
        _uncertainty(figure, axes[0, 1], surface, grid)
    describe(figure, of, *([BLANK] if surface.free_energy.ndim == 2 else []))
    return save(figure, path)


@dataclass(frozen=True)
class _Grid:
    """How the arrays of a surface are turned: for each variable the bin that its axis begins with."""

    edges: tuple[np.ndarray, ...]
    first: tuple[int, ...]

    @classmethod
    def of(cls, surface: Surface) -> _Grid:
        """Circles begin at the highest point of the free energy along them."""
        first = tuple(
            cut_bin(marginal(surface.free_energy, d)) if is_circle(edges, unit) else 0
            for d, (edges, unit) in enumerate(zip(surface.edges, surface.units, strict=True))
        )
        edges = tuple(
            turned(ends, np.empty(len(ends) - 1), start)[0] if start else ends
            for ends, start in zip(surface.edges, first, strict=True)
        )
        return cls(edges, first)

    def turn(self, values: np.ndarray) -> np.ndarray:
        """`values`, one a bin, in the order of the axes."""
        return np.roll(values, [-start for start in self.first], axis=tuple(range(len(self.first))))


def _curve(axis: Axes, surface: Surface, subject: Subject) -> None:
    grid = _Grid.of(surface)
    edges = grid.edges[0]
    x, f, low, high = (
        (edges[1:] + edges[:-1]) / 2,
        *map(grid.turn, (surface.shown, surface.low, surface.high)),
    )
    seen = np.isfinite(f)
    top = min(HIGHEST_KT, 1.25 * float(np.max(f[seen], initial=0.0)) + 1.0)
    # a bin that many replicates miss has an interval without an upper end, which runs off the top
    low, high = (
        np.where(seen, low, np.nan),
        np.where(seen, np.where(np.isposinf(high), 2 * top, high), np.nan),
    )
    axis.fill_between(x, low, high, step="mid", color=BLUE, alpha=0.25, linewidth=0, label="95 %")
    axis.plot(x, f, color=BLUE, linewidth=1.4, marker="o", markersize=2.5)
    for place in np.flatnonzero(~seen):
        axis.axvspan(edges[place], edges[place + 1], color="0.93", linewidth=0)
    if not seen.all():
        axis.plot([], [], color="0.85", linewidth=6, label=BLANK.removeprefix("blank: "))
    if not seen.any():
        axis.text(0.5, 0.5, "no bin to show", transform=axis.transAxes, ha="center", color=GREY)
    _axis(axis, "x", edges, surface, 0)
    axis.set_ylim(min(0.0, float(np.min(low[seen & np.isfinite(low)], initial=0.0))) - 0.2, top)
    axis.set_ylabel("free energy (kT)")
    axis.legend(frameon=False, fontsize=8)
    energy_scales(axis, "y", subject.temperature)


def _map(figure: Any, axis: Axes, surface: Surface, grid: _Grid, subject: Subject) -> None:
    f = np.ma.masked_invalid(grid.turn(surface.shown))
    top = min(HIGHEST_KT, float(np.ceil(f.max()))) if f.count() else HIGHEST_KT
    image = axis.pcolormesh(*grid.edges, f.T, vmin=0.0, vmax=top or 1.0, cmap="viridis_r")
    figure.colorbar(image, ax=axis, label=energy_label("free energy", subject.temperature))
    _axes_of_map(axis, surface, grid)


def _uncertainty(figure: Any, axis: Axes, surface: Surface, grid: _Grid) -> None:
    half = np.where(np.isfinite(surface.shown), (surface.high - surface.low) / 2, np.nan)
    error = np.ma.masked_invalid(grid.turn(half))
    highest = float(error.max()) if error.count() else NOISY_KT
    top = min(NOISY_KT, highest) or NOISY_KT
    image = axis.pcolormesh(*grid.edges, error.T, vmin=0.0, vmax=top, cmap="magma_r")
    extend = "max" if highest > top else "neither"
    figure.colorbar(image, ax=axis, label="half of the 95 % interval (kT)", extend=extend)
    _axes_of_map(axis, surface, grid)


def _axes_of_map(axis: Axes, surface: Surface, grid: _Grid) -> None:
    axis.set_facecolor("0.94")
    axis.spines[["top", "right"]].set_visible(True)
    for d, along in enumerate("xy"):
        _axis(axis, along, grid.edges[d], surface, d)


def _axis(axis: Axes, along: str, edges: np.ndarray, surface: Surface, d: int) -> None:
    """Limits, ticks and label of variable number `d`."""
    name, unit = surface.names[d], surface.units[d]
    if is_circle(edges, unit):
        torsion_axis(axis, along, float(edges[0]), name, unit)
    elif along == "x":
        axis.set_xlim(edges[0], edges[-1])
        axis.set_xlabel(label(name, unit))
    else:
        axis.set_ylim(edges[0], edges[-1])
        axis.set_ylabel(label(name, unit))
