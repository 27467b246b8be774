"""Figures of estimates: numbers with error bars, distributions of observables, work in two directions.

The one error bar of a number is its 95 % interval, as in tables and files. What has none is an open circle.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import InputError
from boltzgen.free_energy.estimate import Estimate, in_units
from boltzgen.free_energy.populations import Population
from boltzgen.report.axes import Subject, label, shares_need_logarithm, symbol
from boltzgen.report.drawing import (
    BLUE,
    GREY,
    ORANGE,
    VERDICT_COLOURS,
    describe,
    energy_scales,
    new_figure,
    save,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Panels of one figure at most; what is more stays in the table.
MOST_PANELS = 6

#: Estimates in one panel at most.
MOST_BARS = 24


def states_figure(
    path: str | os.PathLike[str],
    populations: Sequence[Population],
    estimates: Sequence[Estimate],
    *,
    subject: Subject | None = None,
) -> Path:
    """Populations of the states in percent with 95 % intervals, and the differences between them beside.

    The scale is logarithmic where one of them is below one percent.
    """
    of = Subject() if subject is None else subject
    count = max(len(populations), len(estimates))
    figure, axes = new_figure(9.0, 3.0 + 0.34 * min(count, MOST_BARS), 1, 2)
    _shares(axes[0, 0], list(populations)[:MOST_BARS])
    _bars(axes[0, 1], estimates, "ΔG (kT)", [e.name for e in estimates])
    energy_scales(axes[0, 1], "x", of.temperature)
    describe(figure, of, "bars: 95 % interval")
    return save(figure, path)


def _shares(axis: Axes, shown: Sequence[Population]) -> None:
    """Populations (percent) as points with their intervals; what was not seen has none on a logarithm."""
    logarithm = shares_need_logarithm([p.population for p in shown])
    for place, one in enumerate(shown):
        share = 100 * one.population
        if logarithm and share <= 0:
            axis.text(0.5, place, "not seen", transform=axis.get_yaxis_transform(), ha="center", color=GREY)
            continue
        low, high = one.interval95
        if low is not None and high is not None:
            axis.plot([100 * low, 100 * high], [place, place], color=BLUE, linewidth=2.0)
        filled = BLUE if low is not None else "white"
        axis.plot(share, place, "o", color=BLUE, markerfacecolor=filled, markersize=6)
    axis.set_yticks(range(len(shown)), [symbol(p.name) for p in shown])
    axis.set_ylim(len(shown) - 0.4, -0.6)
    if logarithm:
        axis.set_xscale("log")
        axis.set_xlim(right=130.0)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        axis.set_xlim(0.0, 100.0)
    axis.grid(axis="x", color="0.9", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.set_xlabel("population (%)")


def estimates_figure(
    path: str | os.PathLike[str],
    estimates: Sequence[Estimate],
    *,
    checks: Sequence[float | None] = (),
    subject: Subject | None = None,
) -> Path:
    """One panel a unit, each estimate with its 95 % interval, and its value in the other units below.

    `checks` are second answers to the same questions, drawn as crosses.
    """
    if not estimates:
        raise InputError("there are no estimates to draw.")
    of = Subject() if subject is None else subject
    found = list(checks) or [None] * len(estimates)
    shown = estimates[:MOST_PANELS]
    figure, axes = new_figure(2.0 + 2.1 * len(shown), 3.6, 1, len(shown))
    for axis, estimate, check in zip(axes[0], estimates, found, strict=False):
        _column(axis, estimate, check, of.temperature)
    describe(figure, of, "bars: 95 % interval")
    return save(figure, path)


@dataclass(frozen=True)
class Observed:
    """An observable of each sample (n,), its weights by log_w (n,), and the estimate of its mean."""

    name: str
    unit: str
    values: np.ndarray
    log_w: np.ndarray
    estimate: Estimate


def observables_figure(
    path: str | os.PathLike[str], observed: Sequence[Observed], *, subject: Subject | None = None
) -> Path:
    """The distribution of each observable, as drawn and reweighted, with the mean and its interval."""
    if not observed:
        raise InputError("there are no observables to draw.")
    shown = list(observed)[:MOST_PANELS]
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    figure, axes = new_figure(1.0 + 3.6 * columns, 0.6 + 2.9 * rows, rows, columns)
    for axis in list(axes.flat)[len(shown) :]:
        axis.set_visible(False)
    of = Subject() if subject is None else subject
    for axis, item in zip(axes.flat, shown, strict=False):
        _distribution(axis, item)
        if item.unit == "kT":
            energy_scales(axis, "x", of.temperature)
    axes[0, 0].set_ylabel("density")
    if axes[0, 0].get_legend_handles_labels()[0]:
        axes[0, 0].legend(frameon=False, fontsize=8)
    describe(figure, of)
    return save(figure, path)


def work_figure(
    path: str | os.PathLike[str],
    estimates: Sequence[Estimate],
    works: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    answer: float | None,
    label: str,
    subject: Subject | None = None,
) -> Path:
    """All estimates of one difference with error bars; beside them the work of each map, both ways.

    `works` maps a name to the work (n,) of samples of A and the work (m,) of samples of B. Where the
    histograms of W and of minus the reverse work cross, Crooks' relation puts the difference `answer`.
    """
    shown = list(works.items())[: MOST_PANELS - 1]
    of = Subject() if subject is None else subject
    figure, axes = new_figure(4.6 + 3.6 * len(shown), 4.0, 1, 1 + len(shown))
    _bars(axes[0, 0], estimates, label, [e.estimator for e in estimates])
    energy_scales(axes[0, 0], "x", of.temperature)
    for axis, (name, (work_a, work_b)) in zip(axes[0, 1:], shown, strict=True):
        _crossing(axis, work_a, work_b, answer)
        energy_scales(axis, "x", of.temperature)
        axis.set_title(name, fontsize=9)
    describe(figure, of, "bars: 95 % interval")
    return save(figure, path)


def overlap_figure(
    path: str | os.PathLike[str],
    estimates: Sequence[Estimate],
    names: Sequence[str],
    overlap_kk: np.ndarray,
    *,
    subject: Subject | None = None,
) -> Path:
    """Estimates with error bars, differences beside ``ln Z``, and the overlap matrix (K, K) of the states."""
    of = Subject() if subject is None else subject
    groups = [[e for e in estimates if (e.quantity == "ln Z") is absolute] for absolute in (False, True)]
    shown = [group for group in groups if group]
    size = 2.4 + 0.45 * min(max(len(names), *map(len, shown)), MOST_BARS)
    figure, axes = new_figure(4.4 * len(shown) + size + 1.0, size, 1, len(shown) + 1)
    for axis, group in zip(axes[0], shown, strict=False):
        label = "ln Z" if group[0].quantity == "ln Z" else "f − f of the first state (kT)"
        _bars(axis, group, label, [e.name for e in group])
        if label != "ln Z" and all(e.unit == "kT" for e in group):
            energy_scales(axis, "x", of.temperature)
    axis = axes[0, -1]
    axis.imshow(overlap_kk, cmap="Blues", vmin=0.0, vmax=1.0)
    axis.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
    axis.set_yticks(range(len(names)), names, fontsize=7)
    axis.set_title("overlap", fontsize=9)
    for i, j in np.ndindex(overlap_kk.shape) if len(names) <= 12 else ():
        dark = "white" if overlap_kk[i, j] > 0.6 else "0.2"
        axis.text(j, i, f"{overlap_kk[i, j]:.2f}", ha="center", va="center", fontsize=7, color=dark)
    describe(figure, of, "bars: 95 % interval")
    return save(figure, path)


def _bars(axis: Axes, estimates: Sequence[Estimate], label: str, names: Sequence[str]) -> None:
    """Estimates as points with 95 % intervals, coloured by verdict."""
    shown = list(estimates)[:MOST_BARS]
    reach = _reach(shown)
    used = set()
    for place, estimate in enumerate(shown):
        if estimate.value is None:
            axis.text(0.5, place, "not known", transform=axis.get_yaxis_transform(), ha="center", color=GREY)
            continue
        colour = VERDICT_COLOURS[estimate.verdict]
        for end, (mark, sign) in zip(estimate.interval95, (("<", -1), (">", 1)), strict=True):
            if end is not None:
                axis.plot([estimate.value, end], [place, place], color=colour, linewidth=2.0)
            elif estimate.interval95 != (None, None):  # without a bound on this side
                far = estimate.value + sign * reach
                axis.plot([estimate.value, far], [place, place], color=colour, linewidth=1.2, linestyle=":")
                axis.plot(far, place, mark, color=colour, markersize=5)
        name = estimate.verdict if estimate.verdict not in used else None
        axis.plot(estimate.value, place, "o", color=colour, label=name, **_circle(estimate, colour))
        used.add(estimate.verdict)
    axis.set_yticks(range(len(shown)), [_wrapped(symbol(name)) for name in names[: len(shown)]])
    axis.set_ylim(len(shown) - 0.4, -0.6)
    axis.locator_params(axis="x", nbins=5)
    axis.grid(axis="x", color="0.9", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.set_xlabel(label)
    if used:
        axis.legend(frameon=False, fontsize=7, loc="best")


def _reach(estimates: Sequence[Estimate]) -> float:
    """How far an interval without a bound is drawn: as far as the longest of those that have one."""
    known = [
        abs(x - e.value) for e in estimates if e.value is not None for x in e.interval95 if x is not None
    ]
    return max(known, default=1.0) or 1.0


def _circle(estimate: Estimate, colour: str) -> dict[str, Any]:
    """An open circle for a number without an error bar."""
    bare = estimate.interval95 == (None, None)
    return {"markersize": 6, "markerfacecolor": "white" if bare else colour}


def _column(axis: Axes, estimate: Estimate, check: float | None, temperature: float | None) -> None:
    """One estimate as a point with its interval, in a panel of its own; a second answer as a cross."""
    axis.set_xlim(-1.0, 1.0)
    axis.set_xticks([])
    unit = "" if estimate.unit == "1" else f" ({estimate.unit})"
    axis.set_title(f"{symbol(estimate.name)}{unit}", fontsize=10)
    if estimate.value is None:
        axis.text(0.0, 0.5, "not known", ha="center", color=GREY)
        return
    colour = VERDICT_COLOURS[estimate.verdict]
    ends = [estimate.value if end is None else end for end in estimate.interval95]
    axis.plot([0, 0], ends, color=colour, linewidth=2.0)
    axis.plot(0, estimate.value, "o", color=colour, label=estimate.verdict, **_circle(estimate, colour))
    if check is not None:
        axis.plot(0.3, check, "x", color="0.3", label="by reweighting")
    units = in_units(estimate.value, temperature, estimate.unit)
    told = [f"{value:.4g} {name}" for name, value in units.items() if value is not None and name != "1"]
    axis.set_xlabel("\n".join(told), fontsize=8)
    axis.margins(y=0.4)
    axis.ticklabel_format(axis="y", useOffset=False)
    axis.legend(frameon=False, fontsize=7, loc="upper left")


def _distribution(axis: Axes, item: Observed) -> None:
    kept = np.isfinite(item.values) & np.isfinite(item.log_w)
    axis.set_xlabel(label(item.name, item.unit))
    if not kept.any():
        axis.text(0.5, 0.5, "no weight", transform=axis.transAxes, ha="center", color=GREY)
        return
    values, log_w = item.values[kept], item.log_w[kept]
    w = np.exp(log_w - log_w.max())
    low, high = np.quantile(values, (0.001, 0.999))
    low, high = (low, high) if high > low else (low - 0.5, low + 0.5)
    edges = np.linspace(low, high, 51).tolist()
    axis.hist(values, bins=edges, density=True, histtype="step", color=GREY, label="as drawn")
    axis.hist(values, bins=edges, weights=w, density=True, color=BLUE, alpha=0.45, label="reweighted")
    estimate = item.estimate
    if estimate.value is not None:
        low, high = (estimate.value if end is None else end for end in estimate.interval95)
        axis.axvspan(low, high, color=ORANGE, alpha=0.35, linewidth=0)
        axis.axvline(estimate.value, color=ORANGE, linewidth=1.2, label="mean, 95 %")


def _crossing(axis: Axes, work_a: np.ndarray, work_b: np.ndarray, value: float | None) -> None:
    forward, backward = work_a[np.isfinite(work_a)], -work_b[np.isfinite(work_b)]
    both = np.concatenate([forward, backward])
    axis.set_xlabel("work (kT)")
    axis.set_ylabel("density")
    if both.size == 0:
        axis.text(0.5, 0.5, "no finite work", transform=axis.transAxes, ha="center", color=GREY)
        return
    low, high = np.quantile(both, (0.01, 0.99))
    edges = np.linspace(low - 0.1 * (high - low) - 1e-6, high + 0.1 * (high - low) + 1e-6, 61).tolist()
    for sample, colour, name in ((forward, BLUE, "A → B"), (backward, ORANGE, "−(B → A)")):
        if sample.size:
            axis.hist(sample, bins=edges, density=True, color=colour, alpha=0.45, label=name)
    if value is not None:
        axis.axvline(value, color="0.2", linestyle="--", linewidth=1.0, label="answer")
    axis.legend(frameon=False, fontsize=8)


def _wrapped(text: str, width: int = 30) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width)) or text
