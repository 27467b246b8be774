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
from boltzgen.free_energy.importance import WeightedSample, shifted
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.uncertainty import NOTHING, smooth_functions

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
    if sample.has_weight:
        rows = np.stack([np.full(sample.n, 1.0 / sample.n), sample.w_n])
        logs = smooth_functions(rows, _log_mean, statistics)[0]
        errors = shifted(logs, sample.shift - float(np.log(sample.n)))
    return sample.estimate(errors, name=name, quantity="ln Z", unit="1")


def _log_mean(sums: np.ndarray) -> np.ndarray:
    return np.log(sums[..., 1:]) - np.log(sums[..., :1])
