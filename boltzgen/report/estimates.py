"""Figures of estimates: numbers with error bars, distributions of observables, work in two directions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from boltzgen.errors import InputError
from boltzgen.free_energy.estimate import Estimate
from boltzgen.free_energy.populations import Population
from boltzgen.report.drawing import (
    BLUE,
    GREY,
    ORANGE,
    VERDICT_COLOURS,
    new_figure,
    save,
    with_unit,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Panels of one figure at most; what is more stays in the table.
MOST_PANELS = 6

#: Estimates in one panel at most.
MOST_BARS = 24


def states_figure(
    path: str | os.PathLike[str], populations: Sequence[Population], estimates: Sequence[Estimate]
) -> Path:
    """Populations of the states as bars with errors, and the differences between them beside."""
    count = max(len(populations), len(estimates))
    figure, axes = new_figure(9.0, 2.2 + 0.3 * min(count, MOST_BARS), 1, 2)
    shown = list(populations)[:MOST_BARS]
    places = np.arange(len(shown))
    axes[0, 0].barh(
        places,
        [p.population for p in shown],
        xerr=[p.standard_error or 0.0 for p in shown],
        color=BLUE,
        alpha=0.75,
        height=0.6,
        error_kw={"ecolor": "0.2", "capsize": 3, "elinewidth": 1.0},
    )
    axes[0, 0].set_yticks(places, [p.name for p in shown])
    axes[0, 0].invert_yaxis()
    axes[0, 0].set_xlim(left=0.0)
    axes[0, 0].set_xlabel("population")
    _bars(axes[0, 1], estimates, "ΔG (kT)", [e.name for e in estimates])
    return save(figure, path)


def estimates_figure(
    path: str | os.PathLike[str], estimates: Sequence[Estimate], *, checks: Sequence[float | None] = ()
) -> Path:
    """One panel a unit, each estimate with its standard error and 95 % interval.

    `checks` are second answers to the same questions, drawn as crosses.
    """
    if not estimates:
        raise InputError("there are no estimates to draw.")
    found = list(checks) or [None] * len(estimates)
    figure, axes = new_figure(2.0 + 2.1 * len(estimates[:MOST_PANELS]), 3.2, 1, len(estimates[:MOST_PANELS]))
    for axis, estimate, check in zip(axes[0], estimates, found, strict=False):
        _column(axis, estimate, check)
    return save(figure, path)


@dataclass(frozen=True)
class Observed:
    """An observable of each sample (n,), its weights by log_w (n,), and the estimate of its mean."""

    name: str
    unit: str
    values: np.ndarray
    log_w: np.ndarray
    estimate: Estimate


def observables_figure(path: str | os.PathLike[str], observed: Sequence[Observed]) -> Path:
    """The distribution of each observable, as drawn and reweighted, with the mean and its interval."""
    if not observed:
        raise InputError("there are no observables to draw.")
    shown = list(observed)[:MOST_PANELS]
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    figure, axes = new_figure(1.0 + 3.6 * columns, 0.6 + 2.9 * rows, rows, columns)
    for axis in list(axes.flat)[len(shown) :]:
        axis.set_visible(False)
    for axis, item in zip(axes.flat, shown, strict=False):
        _distribution(axis, item)
    axes[0, 0].set_ylabel("density")
    if axes[0, 0].get_legend_handles_labels()[0]:
        axes[0, 0].legend(frameon=False, fontsize=8)
    return save(figure, path)


def work_figure(
    path: str | os.PathLike[str],
    estimates: Sequence[Estimate],
    works: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    answer: float | None,
    label: str,
) -> Path:
    """All estimates of one difference with error bars; beside them the work of each map, both ways.

    `works` maps a name to the work (n,) of samples of A and the work (m,) of samples of B. Where the
    histograms of W and of minus the reverse work cross, Crooks' relation puts the difference `answer`.
    """
    shown = list(works.items())[: MOST_PANELS - 1]
    figure, axes = new_figure(4.2 + 3.6 * len(shown), 3.4, 1, 1 + len(shown))
    _bars(axes[0, 0], estimates, label, [e.estimator for e in estimates])
    for axis, (name, (work_a, work_b)) in zip(axes[0, 1:], shown, strict=True):
        _crossing(axis, work_a, work_b, answer)
        axis.set_title(name, fontsize=9)
    return save(figure, path)


def overlap_figure(
    path: str | os.PathLike[str], estimates: Sequence[Estimate], names: Sequence[str], overlap_kk: np.ndarray
) -> Path:
    """Estimates with error bars, differences beside ``ln Z``, and the overlap matrix (K, K) of the states."""
    groups = [[e for e in estimates if (e.quantity == "ln Z") is absolute] for absolute in (False, True)]
    shown = [group for group in groups if group]
    size = 2.4 + 0.45 * min(max(len(names), *map(len, shown)), MOST_BARS)
    figure, axes = new_figure(4.4 * len(shown) + size + 1.0, size, 1, len(shown) + 1)
    for axis, group in zip(axes[0], shown, strict=False):
        label = "ln Z" if group[0].quantity == "ln Z" else "f − f of the first state (kT)"
        _bars(axis, group, label, [e.name for e in group])
    axis = axes[0, -1]
    axis.imshow(overlap_kk, cmap="Blues", vmin=0.0, vmax=1.0)
    axis.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
    axis.set_yticks(range(len(names)), names, fontsize=7)
    axis.set_title("overlap", fontsize=9)
    for i, j in np.ndindex(overlap_kk.shape) if len(names) <= 12 else ():
        dark = "white" if overlap_kk[i, j] > 0.6 else "0.2"
        axis.text(j, i, f"{overlap_kk[i, j]:.2f}", ha="center", va="center", fontsize=7, color=dark)
    return save(figure, path)


def _bars(axis: Axes, estimates: Sequence[Estimate], label: str, names: Sequence[str]) -> None:
    """Estimates as points with standard errors (thick) and 95 % intervals (thin), coloured by verdict."""
    shown = list(estimates)[:MOST_BARS]
    used = set()
    for place, estimate in enumerate(shown):
        if estimate.value is None:
            axis.text(0.5, place, "not known", transform=axis.get_yaxis_transform(), ha="center", color=GREY)
            continue
        colour = VERDICT_COLOURS[estimate.verdict]
        low, high = (estimate.value if end is None else end for end in estimate.interval95)
        axis.plot([low, high], [place, place], color=colour, linewidth=1.0)
        error = estimate.standard_error or 0.0
        axis.plot(
            [estimate.value - error, estimate.value + error],
            [place, place],
            color=colour,
            linewidth=3.5,
            alpha=0.6,
            solid_capstyle="butt",
        )
        fresh = estimate.verdict not in used
        axis.plot(
            estimate.value,
            place,
            "o",
            color=colour,
            markersize=5,
            label=estimate.verdict if fresh else None,
        )
        used.add(estimate.verdict)
    axis.set_yticks(range(len(shown)), [_wrapped(name) for name in names[: len(shown)]])
    axis.set_ylim(len(shown) - 0.4, -0.6)
    axis.locator_params(axis="x", nbins=5)
    axis.grid(axis="x", color="0.9", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.set_xlabel(label)
    if used:
        axis.legend(frameon=False, fontsize=8, loc="best")


def _column(axis: Axes, estimate: Estimate, check: float | None) -> None:
    """One number on an axis of its own: its unit is not its neighbour's."""
    axis.set_xticks([])
    axis.set_title(_wrapped(estimate.quantity), fontsize=9)
    axis.set_ylabel(with_unit(estimate.name, estimate.unit))
    axis.set_xlim(-1.0, 1.0)
    if estimate.value is None:
        axis.text(0.5, 0.5, "not known", transform=axis.transAxes, ha="center", color=GREY)
        return
    colour = VERDICT_COLOURS[estimate.verdict]
    low, high = (estimate.value if end is None else end for end in estimate.interval95)
    axis.plot([0, 0], [low, high], color=colour, linewidth=1.0)
    error = estimate.standard_error or 0.0
    axis.plot(
        [0, 0],
        [estimate.value - error, estimate.value + error],
        color=colour,
        linewidth=4,
        alpha=0.6,
        solid_capstyle="butt",
    )
    axis.plot(0, estimate.value, "o", color=colour, markersize=6, label=estimate.verdict)
    if check is not None:
        axis.plot(0.3, check, "x", color="0.3", label="by reweighting")
    axis.margins(y=0.4)
    axis.ticklabel_format(axis="y", useOffset=False)
    axis.legend(frameon=False, fontsize=7, loc="upper left")


def _distribution(axis: Axes, item: Observed) -> None:
    kept = np.isfinite(item.values) & np.isfinite(item.log_w)
    axis.set_xlabel(with_unit(item.name, item.unit))
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
