"""The Ramachandran figure: free energy over phi and psi, one panel an ensemble, one colour scale."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.errors import InputError
from boltzgen.files import atomic_path
from boltzgen.free_energy.variables import read_topology, ready_variable
from boltzgen.guards import usable_caches

#: Bins above this many kT stay blank, like the empty ones.
HIGHEST_KT = 9.0


@dataclass(frozen=True)
class Panel:
    """One map: torsions (n,) in degrees, weights by log_w (n,) or None for equal weights, and a note."""

    title: str
    phi: np.ndarray
    psi: np.ndarray
    log_w: np.ndarray | None = None
    note: str = ""


def panel(
    title: str,
    positions: np.ndarray,
    topology_pdb: str,
    log_w: ArrayLike | None = None,
    *,
    phi: str = "phi",
    psi: str = "psi",
    note: str = "",
) -> Panel:
    """A `Panel` from positions (n, N, 3) nm; `phi`, `psi` are ready names (``phi:3`` in a peptide)."""
    topology = read_topology(topology_pdb, n_atoms=positions.shape[1])
    phi_n, psi_n = (ready_variable(name, topology).evaluate(positions) for name in (phi, psi))
    return Panel(title, phi_n, psi_n, None if log_w is None else np.asarray(log_w, dtype=np.float64), note)


def free_energy_map(
    phi: ArrayLike, psi: ArrayLike, log_w: ArrayLike | None = None, *, bins: int = 60
) -> np.ma.MaskedArray:
    """``-ln p(phi, psi)`` in kT on a grid (bins, bins) [phi, psi], its minimum at 0, empty bins masked.

    Angles in degrees; rows that are NaN or carry no weight are left out. Raises InputError when
    nothing is left.
    """
    phi_n, psi_n = np.asarray(phi, dtype=np.float64), np.asarray(psi, dtype=np.float64)
    log_w_n = np.zeros(phi_n.shape) if log_w is None else np.asarray(log_w, dtype=np.float64)
    if not phi_n.shape == psi_n.shape == log_w_n.shape or phi_n.ndim != 1:
        raise InputError("phi, psi and the log-weights must be vectors of one length, one entry a sample.")
    kept = np.isfinite(phi_n) & np.isfinite(psi_n) & np.isfinite(log_w_n)
    if not kept.any():
        raise InputError("no sample with finite torsions and a weight; there is no map to draw.")
    w_n = np.exp(log_w_n[kept] - log_w_n[kept].max())
    edges = np.linspace(-180.0, 180.0, bins + 1)
    p_xy, _, _ = np.histogram2d(phi_n[kept], psi_n[kept], bins=(edges, edges), weights=w_n)
    with np.errstate(divide="ignore"):
        f_xy = -np.log(p_xy / p_xy.max())
    return np.ma.masked_invalid(f_xy)


def ramachandran_figure(
    path: str | os.PathLike[str], panels: Sequence[Panel], *, bins: int = 60, line_at_phi: float | None = 0.0
) -> Path:
    """Draw `panels` side by side with a shared colour scale in kT and save a PNG at `path`, atomically.

    The dashed line at `line_at_phi` (degrees) divides the two states; None draws none.
    """
    if not panels:
        raise InputError("a Ramachandran figure needs at least one panel.")
    maps = [free_energy_map(item.phi, item.psi, item.log_w, bins=bins) for item in panels]
    top = min(HIGHEST_KT, float(np.ceil(max(f_xy.max() for f_xy in maps)))) or 1.0
    with usable_caches():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    figure = Figure(figsize=(3.55 * len(panels) + 1.0, 4.1), layout="constrained", dpi=150)
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axis, item, f_xy in zip(axes, panels, maps, strict=True):
        axis.set_facecolor("0.94")
        image = axis.imshow(
            np.ma.masked_greater(f_xy, top).T,
            origin="lower",
            extent=(-180, 180, -180, 180),
            vmin=0.0,
            vmax=top,
            cmap="viridis_r",
            interpolation="nearest",
            aspect="equal",
        )
        if line_at_phi is not None:
            axis.axvline(line_at_phi, color="0.25", linestyle="--", linewidth=1.0)
        axis.set_title(item.title, fontsize=12)
        axis.set_xlabel("φ (degrees)" + (f"\n{item.note}" if item.note else ""))
        axis.set_xticks(range(-180, 181, 90))
        axis.set_yticks(range(-180, 181, 90))
    axes[0].set_ylabel("ψ (degrees)")
    label = f"free energy (kT), blank above {top:g}"
    figure.colorbar(image, ax=list(axes), label=label, shrink=0.82, pad=0.015)
    with atomic_path(path) as temporary:
        canvas.print_png(str(temporary), metadata={"Software": None})
    return Path(path)
