"""Free energies along torsions: simulation, flow and reweighted samples on one scale, in common bins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from boltzgen.report.axes import (
    FEWEST_EFFECTIVE,
    HIGHEST_KT,
    cut_bin,
    three_units,
    torsion_ticks,
    turned,
    unit_factors,
)
from boltzgen.report.page.curves import Curve, angle_bins, curve, difference
from boltzgen.report.page.markup import figures, joined, table, tag
from boltzgen.report.page.record import Material, Picture, Section
from boltzgen.report.page.sources import Source, Turn, best_number_of_bins, turns
from boltzgen.report.page.svg import BLUE, Axis, Plot, linear_axis

#: Torsions on a page at most; the numbers of `boltzgen.free_energy` know all of them.
MOST = 12

#: Bins of a circle, by what the samples can fill; the ends of all are multiples of 6 or 10 degrees.
BINS = (24, 36, 60)


def torsions(material: Material, found: Sequence[Source]) -> Section | None:
    """The section ``torsions``; None without conformations, or without a torsion that turns."""
    turning = turns(material)
    if not found or not turning:
        return None
    bins = best_number_of_bins(found, 20.0, BINS)
    pictures: list[Picture] = []
    numbers, rows = [], []
    for turn in turning[:MOST]:
        curves = {
            one.key: curve(
                angle_bins(turn.variable.evaluate(one.positions), bins), one.weights, bins, one.inefficiency
            )
            for one in found
        }
        drawn, told, row = _one(material, turn, found, curves)
        pictures += drawn
        numbers.append(told)
        rows += [row] if row else []
    words = [
        tag(
            "p",
            f"Each circle has {bins} bins of {360 / bins:g}°, the same for all curves. Zero is the lowest "
            f"bin of the simulation and of the reweighted samples, curves end at {HIGHEST_KT:g} kT, and "
            f"bins of fewer than {FEWEST_EFFECTIVE:g} effective samples are blank. Bands and bars are one "
            "standard error.",
        )
    ]
    if rows:
        columns = (
            "torsion",
            "bins compared",
            "root mean square difference",
            "bins apart by more than 2 errors",
        )
        words.append(table(columns, rows, "Reweighted samples against the simulation"))
    if len(turning) > MOST:
        rest = ", ".join(turn.label for turn in turning[MOST:])
        words.append(tag("p", f"Not drawn: {rest}."))
    return Section("torsions", "Torsions", joined([*words, figures(pictures)]), numbers, tuple(pictures))


def _one(
    material: Material, turn: Turn, found: Sequence[Source], curves: dict[str, Curve]
) -> tuple[list[Picture], dict[str, Any], tuple[Any, ...]]:
    """Pictures, numbers and the row of the table of one torsion."""
    bins = len(curves[found[0].key].free_energy)
    edges = np.linspace(-180.0, 180.0, bins + 1)
    shown = {
        key: np.where(one.known(FEWEST_EFFECTIVE), one.free_energy, np.nan) for key, one in curves.items()
    }
    zero = lowest_of_target(shown)
    leading = shown.get("reweighted", shown[found[0].key])
    first = cut_bin(leading)
    x_edges, _ = turned(edges, leading, first)
    centres = (x_edges[1:] + x_edges[:-1]) / 2
    x = Axis(
        x_edges[0],
        x_edges[-1],
        f"{turn.label} (°)",
        list(zip(*torsion_ticks(x_edges[0], x_edges[-1]), strict=True)),
    )
    plot = energy_plot(material, x, turn.label)
    plot.legend(*((one.label, one.colour, "line") for one in found))
    for one in found:
        f, e = (np.roll(v, -first) for v in (shown[one.key] - zero, curves[one.key].standard_error))
        if one.key != "flow":
            plot.band(centres, f - e, f + e, one.colour)
        plot.line(centres, f, one.colour, dash=one.dash)
    name = "torsion-" + safe(turn.name)
    pictures = [Picture(name, plot.svg, f"Free energy along {turn.label} (atoms {atoms_of(turn)}).")]
    numbers: dict[str, Any] = {
        "name": turn.name,
        "atoms": list(turn.variable.atoms),
        "edges": edges.tolist(),
        "unit": "kT",
        "sources": {
            key: {
                "free_energy": known(shown[key] - zero),
                "standard_error": known(np.where(np.isfinite(shown[key]), one.standard_error, np.nan)),
                "n_effective": np.round(one.n_effective, 2).tolist(),
            }
            for key, one in curves.items()
        },
    }
    if not {"simulation", "reweighted"} <= set(curves):
        return pictures, {**numbers, "difference": None}, ()
    value, error = difference(curves["reweighted"], curves["simulation"], FEWEST_EFFECTIVE)
    low_enough = np.fmin(shown["reweighted"], shown["simulation"]) - zero <= HIGHEST_KT
    value, error = (np.where(low_enough, one, np.nan) for one in (value, error))
    pictures += _difference(material, turn, x, centres, np.roll(value, -first), np.roll(error, -first), name)
    numbers["difference"] = {
        "of": "reweighted - simulation",
        "value": known(value),
        "standard_error": known(error),
    }
    compared = np.isfinite(value)
    if not compared.any():
        return pictures, numbers, (turn.label, 0, "not known", "not known")
    apart = int((np.abs(value[compared]) > 2 * error[compared]).sum())
    rms = float(np.sqrt(np.mean(value[compared] ** 2)))
    return (
        pictures,
        numbers,
        (turn.label, int(compared.sum()), f"{rms:.2g} kT", f"{apart} of {compared.sum()}"),
    )


def _difference(
    material: Material,
    turn: Turn,
    x: Axis,
    centres: np.ndarray,
    value: np.ndarray,
    error: np.ndarray,
    name: str,
) -> list[Picture]:
    if not np.isfinite(value).any():
        return []
    top = min(3.0, max(0.5, 1.15 * float(np.nanmax(np.abs(value) + error))))
    y = linear_axis(-top, top, "difference (kT)", 4)
    plot = Plot(x, y, f"{turn.label}: reweighted − simulation", material.subject.line(), height=220)
    plot.level(0.0, "")
    plot.points(centres, value, BLUE, error)
    words = f"Difference of the free energies along {turn.label}, with the standard error of both together."
    return [Picture(f"{name}-difference", plot.svg, words)]


def energy_plot(material: Material, x: Axis, title: str) -> Plot:
    """An empty plot of free energies from 0 to `HIGHEST_KT`, with kJ/mol on the right."""
    y = linear_axis(0.0, HIGHEST_KT, "free energy (kT)")
    factor = unit_factors(material.temperature).get("kJ/mol")
    right = [] if factor is None else [(value / factor, f"{value:g}") for value in range(0, 101, 5)]
    note = "" if factor is None else three_units(1.0, material.temperature)
    subject = material.subject.line()
    return Plot(x, y, title, subject, right=right, right_label="kJ/mol" if right else "", note=note)


def lowest_of_target(shown: Mapping[str, np.ndarray]) -> float:
    """The lowest number of simulation and reweighted samples; of the flow where they have none; or 0."""
    for keys in (("simulation", "reweighted"), tuple(shown)):
        known_here = [shown[key] for key in keys if key in shown and np.isfinite(shown[key]).any()]
        if known_here:
            return min(float(np.nanmin(one)) for one in known_here)
    return 0.0


def known(values: np.ndarray) -> list[float | None]:
    """For JSON: four decimals, None where not known."""
    return [round(float(one), 4) if np.isfinite(one) else None for one in values]


def atoms_of(turn: Turn) -> str:
    return "-".join(str(atom) for atom in turn.variable.atoms)


def safe(name: str) -> str:
    """`name` as part of the name of a file."""
    return "".join(sign if sign.isalnum() and sign.isascii() else "-" for sign in name).strip("-") or "x"
