"""Ramachandran maps of each residue: simulation, flow, reweighted samples, their difference and its error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from boltzgen.errors import InputError
from boltzgen.free_energy.ramachandran import torsion_pairs
from boltzgen.report.axes import (
    FEWEST_EFFECTIVE,
    HIGHEST_KT,
    cut_bin,
    marginal,
    symbol,
    torsion_ticks,
    turned,
)
from boltzgen.report.page.curves import Curve, angle_bins, curve, difference
from boltzgen.report.page.markup import figures, joined, tag
from boltzgen.report.page.record import Material, Picture, Section
from boltzgen.report.page.sources import Source, best_number_of_bins, topology_pdb
from boltzgen.report.page.svg import DIVERGING, MAGMA, VIRIDIS, Axis, Plot
from boltzgen.report.page.torsions import lowest_of_target, safe

#: Residues on a page at most.
MOST = 8

#: Bins of phi and of psi, by what the samples can fill.
BINS = (20, 24, 30, 36, 45, 60)

#: Ends of the scales of differences and of errors, kT.
MOST_APART, LARGEST_ERROR = 2.0, 1.0


def ramachandran(material: Material, found: Sequence[Source]) -> Section | None:
    """The section ``ramachandran``; None for what is no peptide, and without conformations."""
    text = topology_pdb(material)
    try:
        pairs = torsion_pairs(text) if text and found else []
    except InputError:  # residue numbers that repeat: nothing tells one map from another
        return None
    if not pairs:
        return None
    bins = round(np.sqrt(best_number_of_bins(found, 2.0, [number**2 for number in BINS])))
    parts, pictures, numbers = [], [], []
    for number, phi, psi in pairs[:MOST]:
        curves = {}
        for one in found:
            first, second = (angle_bins(v.evaluate(one.positions), bins) for v in (phi, psi))
            flat = np.where((first < 0) | (second < 0), -1, first * bins + second)
            curves[one.key] = curve(flat, one.weights, bins * bins, one.inefficiency).reshaped(bins, bins)
        names = (symbol(phi.name), symbol(psi.name)) if len(pairs) > 1 else ("φ", "ψ")
        drawn, told, blank = _maps(material, found, curves, names, number)
        parts += [tag("h3", f"Residue {number}") if len(pairs) > 1 else "", figures(drawn)]
        if blank:
            parts.append(tag("p", f"Not drawn, for no bin rests on enough samples: {', '.join(blank)}."))
        pictures += drawn
        numbers.append({"residue": number, "bins": bins, **told})
    words = (
        f"Free energy over φ and ψ in {bins} × {bins} bins, the same for all maps, on one scale; blank above "
        f"{HIGHEST_KT:g} kT and where a bin rests on fewer than {FEWEST_EFFECTIVE:g} effective samples. The "
        "axes are cut where the free energy is highest."
    )
    more = (
        [tag("p", f"Not drawn: residues {', '.join(str(n) for n, _, _ in pairs[MOST:])}.")]
        if pairs[MOST:]
        else []
    )
    return Section(
        "ramachandran", "Ramachandran", joined([tag("p", words), *parts, *more]), numbers, tuple(pictures)
    )


def _maps(
    material: Material,
    found: Sequence[Source],
    curves: dict[str, Curve],
    names: tuple[str, str],
    residue: int,
) -> tuple[list[Picture], dict[str, Any], list[str]]:
    """Pictures, numbers, and the titles of those maps that would be blank."""
    shown = {
        key: np.where(one.known(FEWEST_EFFECTIVE), one.free_energy, np.nan) for key, one in curves.items()
    }
    zero = lowest_of_target(shown)
    leading = curves.get("reweighted", curves[found[0].key]).free_energy
    cuts = [cut_bin(marginal(leading, axis)) for axis in (0, 1)]
    bins = leading.shape[0]
    edges = [turned(np.linspace(-180, 180, bins + 1), np.zeros(bins), cut)[0] for cut in cuts]
    x, y = (
        Axis(edge[0], edge[-1], f"{name} (°)", list(zip(*torsion_ticks(edge[0], edge[-1]), strict=True)))
        for edge, name in zip(edges, names, strict=True)
    )
    line = material.subject.line(f"residue {residue}")
    pictures: list[Picture] = []
    told: dict[str, Any] = {}
    blank: list[str] = []

    def draw(
        key: str, title: str, f: np.ndarray, ends: tuple[float, float], colours: list[str], unit: str
    ) -> None:
        plot = Plot(x, y, title, line, width=330, height=350, background="#efefef")
        plot.scale(*ends, colours, unit)
        if not np.isfinite(f).any():
            blank.append(title)
            return
        turned_f = np.roll(f, (-cuts[0], -cuts[1]), axis=(0, 1))
        plot.cells(edges[0], edges[1], turned_f, *ends, colours)
        words = f"{title}, {names[0]} and {names[1]} of residue {residue}."
        pictures.append(Picture(f"ramachandran-{residue}-{safe(key)}", plot.svg, words))

    for one in found:
        f = shown[one.key] - zero
        draw(one.key, one.label.capitalize(), np.where(f <= HIGHEST_KT, np.maximum(f, 0.0), np.nan),
             (0.0, HIGHEST_KT), VIRIDIS, "kT")  # fmt: skip
        told[one.key] = {
            "bins_shown": int(np.isfinite(f).sum()),
            "share_shown": _share(curves[one.key], np.isfinite(f)),
        }
    if {"simulation", "reweighted"} <= set(curves):
        value, error = difference(curves["reweighted"], curves["simulation"], FEWEST_EFFECTIVE)
        draw("difference", "Reweighted − simulation", value, (-MOST_APART, MOST_APART), DIVERGING, "kT")
        draw("error", "Standard error of the difference", error, (0.0, LARGEST_ERROR), MAGMA, "kT")
        both = np.isfinite(value)
        told["difference"] = {
            "bins": int(both.sum()),
            "root_mean_square_kT": float(np.sqrt(np.mean(value[both] ** 2))) if both.any() else None,
            "beyond_two_errors": int((np.abs(value[both]) > 2 * error[both]).sum()),
        }
    return pictures, told, blank


def _share(one: Curve, shown: np.ndarray) -> float:
    """Share of the weight in the bins that are `shown`."""
    with np.errstate(invalid="ignore"):
        p = np.exp(-one.free_energy) / one.free_energy.size
    return float(np.nansum(np.where(shown, p, 0.0)))
