"""Partition functions: ``ln Z``, the natural logarithm of the integral of ``exp(-u)``.

The integral is over the measure and the domain of the ensemble. For molecules that is the Cartesian
shape measure: lengths in nm, overall translation and rotation integrated out (``Z_full = 8 pi^2 V Z`` for
a non-linear molecule of three or more atoms), labelled atoms, no symmetry number, no momenta, and only the
isomers of the domain. So ``ln Z`` has a meaning up to the choice of nm; differences of it between systems
with the same atoms have none to choose.

    ln Z = ln (1/N) sum_n w_n,     N every sample drawn, the rejected ones too
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.free_energy.estimate import Estimate
from boltzgen.free_energy.importance import NO_WEIGHT, WeightedSample, shifted
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.uncertainty import NOTHING, Z95, Errors, smooth_functions

#: Why there is no ln Z.
NO_LOG_Z = "walkers alone do not tell ln Z: their chains were run without a ladder or draws to compare with"

#: What `log_partition` computes, for tables and files.
SCOPE = (
    "ln Z is the log of the integral of exp(-u) over the shape measure in nm and the domain of the ensemble: "
    "labelled atoms, no symmetry number, no momenta"
)


def log_partition(log_w: ArrayLike, statistics: Statistics, *, name: str = "ln Z") -> Estimate:
    """``ln Z`` of the target from log-weights (N,) of samples of a *normalised* density.

    Unit ``1``, quantity ``ln Z``; ``-ln Z`` is the free energy in kT. A state's partition function: give
    ``-inf`` for the samples outside. See the module for measure and domain. InputError as for
    `boltzgen.free_energy.importance.expectation`.
    """
    sample = WeightedSample.of(log_w, statistics)
    errors = NOTHING
    if sample.has_weight and knows_log_z(statistics):
        rows = np.stack([np.full(sample.n, 1.0 / sample.n), sample.w_n])
        logs = smooth_functions(rows, _log_mean, statistics)[0]
        errors = with_scale(shifted(logs, sample.shift - float(np.log(sample.n))), statistics)
    why = NO_WEIGHT if knows_log_z(statistics) else NO_LOG_Z
    weighted = np.isfinite(sample.log_w_n)
    state = None if weighted.all() else weighted
    return sample.estimate(errors, name=name, quantity="ln Z", unit="1", values=state, why=why)


def knows_log_z(statistics: Statistics) -> bool:
    """Whether weights are on an absolute scale: those of walkers are where somebody told their ln Z."""
    return statistics.walkers is None or statistics.walkers.log_z is not None


def with_scale(errors: Errors, statistics: Statistics) -> Errors:
    """`errors` of a number that contains ln Z once, with the error of the walkers' ln Z added in squares."""
    walkers = statistics.walkers
    if walkers is None or errors.value is None:
        return errors
    scale = walkers.log_z_standard_error
    if scale is None or errors.asymptotic is None:
        return Errors(errors.value, None, None, (None, None))
    low, high = (
        None if end is None else errors.value + sign * float(np.hypot(end - errors.value, Z95 * scale))
        for sign, end in zip((-1.0, 1.0), errors.interval95, strict=True)
    )
    bootstrap = None if errors.bootstrap is None else float(np.hypot(errors.bootstrap, scale))
    return Errors(errors.value, float(np.hypot(errors.asymptotic, scale)), bootstrap, (low, high))


def _log_mean(sums: np.ndarray) -> np.ndarray:
    return np.log(sums[..., 1:]) - np.log(sums[..., :1])
