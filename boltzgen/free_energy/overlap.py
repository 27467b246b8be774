"""Free energies from samples of several systems that overlap: BAR for two, MBAR for more.

`bar` takes the work between two systems in both directions; `mbar` and `absolute_mbar` (in
`boltzgen.free_energy.multistate`) take reduced energies of all samples in all states. Frames of a
simulation are thinned by their statistical inefficiency first, never pooled as if they were independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.data.record import spaced_rows
from boltzgen.ensemble.diagnostics import NO_COVERAGE, pareto_k
from boltzgen.errors import InputError
from boltzgen.free_energy.estimate import Estimate
from boltzgen.free_energy.multistate import MultistateResult, absolute_mbar, mbar
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.work import WorkSamples, bennett

__all__ = ["MultistateResult", "absolute_mbar", "bar", "mbar"]


def bar(
    work_forward_f: ArrayLike,
    work_reverse_r: ArrayLike,
    inefficiencies: tuple[float, float],
    statistics: Statistics,
    *,
    log_w_f: ArrayLike | None = None,
    log_w_r: ArrayLike | None = None,
    A: str = "A",
    B: str = "B",
) -> Estimate:
    """``dG(A->B)`` in kT by Bennett's acceptance ratio.

    work_forward_f: ``u_B(x) - u_A(x)`` on samples of A (less the log-determinant of a map, if there is
    one); work_reverse_r: ``u_A - u_B`` on samples of B; kT, ``+inf`` where the other system has no density.
    inefficiencies: of the two series, in the order of time; 1 for independent samples. Correlated series
    are thinned by them. log_w_f, log_w_r: log-weights of flow samples, None for samples of the system
    itself. Only weighted samples need the coverage of `statistics`.

    `Estimate.overlap` is 1 minus the second eigenvalue of the overlap matrix, `Estimate.further` holds the
    one-sided estimates and their hysteresis. Without overlap the value is None, and the reason says so.
    InputError for fewer than two samples, NaN work and lengths that differ.
    """
    statistics.require_unset("BAR", "smoothed", "inefficiency", "walkers")
    coverage, sides = statistics.coverage, []
    for work, log_w, g, name in (
        (work_forward_f, log_w_f, inefficiencies[0], A),
        (work_reverse_r, log_w_r, inefficiencies[1], B),
    ):
        if not g >= 1:
            raise InputError(f"{name}: the statistical inefficiency must be at least 1, not {g}.")
        sides.append(_samples(np.asarray(work, dtype=np.float64), log_w, g, name))
    found = []
    if log_w_f is not None or log_w_r is not None:
        found = [("caution", NO_COVERAGE)] if coverage is None else _findings(coverage)
    bootstrap = replace(statistics, coverage=None)  # it is among the findings now
    forward, reverse = sides
    return bennett(forward, reverse, bootstrap, A=A, B=B, estimator="BAR", findings=found)


def _samples(work_n: np.ndarray, log_w: ArrayLike | None, g: float, name: str) -> WorkSamples:
    rows = spaced_rows(work_n.size, g)
    if log_w is None:
        return WorkSamples(work_n[rows])
    log_w_n = np.asarray(log_w, dtype=np.float64)
    if log_w_n.shape != work_n.shape:
        raise InputError(f"{name}: {log_w_n.shape} log-weights for {work_n.shape} values of work.")
    # a rejected sample has no work to speak of: with weight 0 any number will do
    work_n = np.where(np.isneginf(log_w_n) & np.isnan(work_n), np.inf, work_n)
    return WorkSamples(work_n[rows], log_w_n[rows], pareto_k(log_w_n))


def _findings(coverage: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(coverage["verdict"], reason) for reason in coverage["reasons"]]
