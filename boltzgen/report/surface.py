"""Figures of free-energy surfaces: a curve with its error band, or a map with empty bins left blank."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import InputError
from boltzgen.free_energy.surface import Surface
from boltzgen.report.drawing import BLUE, new_figure, save, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Above this many kT a map stays blank.
HIGHEST_KT = 12.0

#: The colours of standard errors end here (kT): what bins above it show is mostly noise.
NOISY_KT = 1.0


def surface_figure(path: str | os.PathLike[str], surface: Surface, *, title: str = "") -> Path:
    """Draw `surface` (one or two variables) and save a PNG at `path`, atomically.

    One variable: the curve with the band of one standard error and the 95 % interval. Two: the map,
    beside it the map of standard errors. Raises InputError when no bin holds weight.
    """
    if not np.isfinite(surface.free_energy).any():
        raise InputError("no bin of the surface holds weight; there is nothing to draw.")
    if surface.free_energy.ndim == 1:
        figure, axes = new_figure(5.6, 3.8)
        _curve(axes[0, 0], surface)
    else:
        figure, axes = new_figure(9.6, 4.2, 1, 2)
        _map(figure, axes[0, 0], surface)
        _error_map(figure, axes[0, 1], surface)
    if title:
        figure.suptitle(title, fontsize=11)
    return save(figure, path)


def _curve(axis: Axes, surface: Surface) -> None:
    x, f = surface.centres[0], surface.free_energy
    error = surface.standard_error
    # A bin that many replicates miss has an interval without an upper end, which runs off the top. What it
    # shows itself may be one clash of hundreds of kT, so that the picture ends with the bins that are known.
    known = np.isfinite(surface.high)
    top = 1.25 * float(np.max(f[known], initial=0.0)) + 1.0
    low, high = surface.low, np.where(np.isposinf(surface.high), 2 * top, surface.high)
    axis.fill_between(x, low, high, step="mid", color=BLUE, alpha=0.15, linewidth=0, label="95 %")
    axis.fill_between(
        x, f - error, f + error, step="mid", color=BLUE, alpha=0.35, linewidth=0, label="± standard error"
    )
    axis.plot(x, f, color=BLUE, linewidth=1.4, marker="o", markersize=2.5)
    for centre in x[np.isnan(f)]:
        axis.axvspan(*_bin_around(surface.edges[0], centre), color="0.93", linewidth=0)
    axis.set_xlim(surface.edges[0][0], surface.edges[0][-1])
    axis.set_ylim(min(0.0, float(np.nanmin(f - error))) - 0.2, top)
    axis.set_xlabel(with_unit(surface.names[0], surface.units[0]))
    axis.set_ylabel("free energy (kT)")
    axis.legend(frameon=False, fontsize=8)


def _bin_around(edges: np.ndarray, centre: float) -> tuple[float, float]:
    place = int(np.searchsorted(edges, centre)) - 1
    return float(edges[place]), float(edges[place + 1])


def _map(figure: Any, axis: Axes, surface: Surface) -> None:
    f = np.ma.masked_invalid(surface.free_energy)
    top = min(HIGHEST_KT, float(np.ceil(f.max()))) or 1.0
    image = axis.pcolormesh(
        *surface.edges, np.ma.masked_greater(f, top).T, vmin=0.0, vmax=top, cmap="viridis_r"
    )
    figure.colorbar(image, ax=axis, label=f"free energy (kT), blank above {top:g}")
    _label(axis, surface)


def _error_map(figure: Any, axis: Axes, surface: Surface) -> None:
    error = np.ma.masked_invalid(surface.standard_error)
    top = min(NOISY_KT, float(error.max())) or NOISY_KT
    image = axis.pcolormesh(*surface.edges, error.T, vmin=0.0, vmax=top, cmap="magma_r")
    extend = "max" if float(error.max()) > top else "neither"
    figure.colorbar(image, ax=axis, label="standard error (kT)", extend=extend)
    _label(axis, surface)


def _label(axis: Axes, surface: Surface) -> None:
    axis.set_facecolor("0.94")
    axis.spines[["top", "right"]].set_visible(True)
    axis.set_xlabel(with_unit(surface.names[0], surface.units[0]))
    axis.set_ylabel(with_unit(surface.names[1], surface.units[1]))
