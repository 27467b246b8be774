"""The Ramachandran figure: free energy over φ and ψ, one panel an ensemble, on common bins and one scale."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.ensemble.diagnostics import kish_ess
from boltzgen.errors import InputError
from boltzgen.free_energy.surface import FEWEST_EFFECTIVE, HIGHEST_KT
from boltzgen.free_energy.variables import read_topology, ready_variable
from boltzgen.report.axes import Subject, cut_bin, energy_label, marginal, on_axis
from boltzgen.report.drawing import describe, new_figure, save, torsion_axis

#: Effective samples of the poorest panel from which on the circle is cut into so many bins, each way.
BINS = ((100_000, 60), (10_000, 36), (2_000, 24), (0, 18))


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
    phi: ArrayLike, psi: ArrayLike, log_w: ArrayLike | None = None, *, bins: int = 60, fewest: float = 0.0
) -> np.ma.MaskedArray:
    """``-ln p(phi, psi)`` in kT on a grid (bins, bins) [phi, psi], its minimum at 0, empty bins masked.

    Bins of fewer than `fewest` effective samples are masked, too, and the minimum is that of the others.
    Angles in degrees; rows that are NaN or carry no weight are left out. InputError when nothing is left.
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
    p_xy, square_xy = (
        np.histogram2d(phi_n[kept], psi_n[kept], bins=(edges, edges), weights=weights)[0]
        for weights in (w_n, w_n**2)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        p_xy = np.where(p_xy**2 >= fewest * square_xy, p_xy, 0.0)
        f_xy = -np.log(p_xy / p_xy.max())
    return np.ma.masked_invalid(f_xy)


def bins_for(panels: Sequence[Panel]) -> int:
    """Bins each way for all of `panels`, by the effective samples of the poorest (`BINS`)."""
    poorest = min(
        (1.0 if one.log_w is None else kish_ess(one.log_w)) * np.isfinite(one.phi).sum() for one in panels
    )
    return next(bins for enough, bins in BINS if poorest >= enough)


def ramachandran_figure(
    path: str | os.PathLike[str],
    panels: Sequence[Panel],
    *,
    bins: int | None = None,
    line_at_phi: float | None = 0.0,
    subject: Subject | None = None,
) -> Path:
    """Draw `panels` side by side with a shared colour scale in kT and save a PNG at `path`, atomically.

    All have the same bins (`bins_for`, or `bins` each way) and the same axes, cut where the free energy along
    them is highest. The dashed line at `line_at_phi` (degrees) divides two states; None draws none.
    """
    if not panels:
        raise InputError("a Ramachandran figure needs at least one panel.")
    count = bins_for(panels) if bins is None else bins
    maps = [
        free_energy_map(item.phi, item.psi, item.log_w, bins=count, fewest=FEWEST_EFFECTIVE)
        for item in panels
    ]
    highest = max((float(f_xy.max()) for f_xy in maps if f_xy.count()), default=HIGHEST_KT)
    top = min(HIGHEST_KT, float(np.ceil(highest))) or 1.0
    edges = np.linspace(-180.0, 180.0, count + 1)
    together = -np.log(np.maximum(sum(np.exp(-f_xy.filled(np.inf)) for f_xy in maps), 1e-300))
    together[together > 600] = np.nan
    first = [cut_bin(marginal(together, d)) for d in (0, 1)]
    low_phi, low_psi = (float(edges[start]) for start in first)
    of = Subject() if subject is None else subject
    figure, axes = new_figure(3.55 * len(panels) + 1.2, 4.4, 1, len(panels))
    for axis, item, f_xy in zip(axes[0], panels, maps, strict=True):
        axis.set_facecolor("0.94")
        axis.spines[["top", "right"]].set_visible(True)
        shown = np.ma.masked_greater(f_xy, HIGHEST_KT)
        image = axis.imshow(
            np.roll(shown, (-first[0], -first[1]), axis=(0, 1)).T,
            origin="lower",
            extent=(low_phi, low_phi + 360.0, low_psi, low_psi + 360.0),
            vmin=0.0,
            vmax=top,
            cmap="viridis_r",
            interpolation="nearest",
            aspect="equal",
        )
        if not shown.count():
            words = f"no bin of {FEWEST_EFFECTIVE:g} effective samples"
            axis.text(0.5, 0.5, words, transform=axis.transAxes, ha="center", color="0.4", fontsize=8)
        if line_at_phi is not None:
            axis.axvline(on_axis(line_at_phi, low_phi), color="0.25", linestyle="--", linewidth=1.0)
        axis.set_title(item.title, fontsize=11)
        torsion_axis(axis, "x", low_phi, "phi")
        torsion_axis(axis, "y", low_psi, "psi")
        if item.note:
            axis.set_xlabel(f"{axis.get_xlabel()}\n{item.note}")
    for axis in axes[0, 1:]:
        axis.set_ylabel("")
    figure.colorbar(
        image,
        ax=list(axes[0]),
        label=energy_label("free energy", of.temperature).replace("(kT; ", "\n(kT; "),
        shrink=0.82,
        pad=0.015,
    )
    describe(
        figure, of, f"blank: above {HIGHEST_KT:g} kT, or fewer than {FEWEST_EFFECTIVE:g} effective samples"
    )
    return save(figure, path)
