"""Which rows of an ensemble an export holds, in which order, and with which weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from boltzgen.ensemble.diagnostics import normalised_weights
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.errors import InputError


@dataclass(frozen=True)
class Frames:
    """Rows of one ensemble, each with its weight.

    Attributes
    ----------
    rows: (n,) int64, row of the ensemble that each frame is; resampled frames may repeat one.
    log_w: (n,) float64, natural log of the unnormalised weight, finite; 0 for resampled frames.
    resampled: the frames have equal weights, as if they were drawn from the target itself.
    drawn: rows of the ensemble. rejected: those of them without weight, which are no frames.
    """

    rows: np.ndarray
    log_w: np.ndarray
    resampled: bool
    drawn: int
    rejected: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def weights(self) -> np.ndarray:
        """(n,) float64, sum one."""
        return normalised_weights(self.log_w)

    @property
    def distinct(self) -> int:
        """How many different rows there are."""
        return int(np.unique(self.rows).size)


def weighted_frames(ensemble: Ensemble) -> Frames:
    """Every row that carries weight, in order; InputError when there is none."""
    rows = np.flatnonzero(ensemble.valid)
    if rows.size == 0:
        raise InputError("every sample was rejected, so that there is nothing to export; see summary.json.")
    return Frames(rows, ensemble.log_w[rows], False, len(ensemble), len(ensemble) - rows.size)


def equal_weight_frames(ensemble: Ensemble, number: int, seed: int) -> Frames:
    """`number` frames of equal weight, resampled; InputError when no row carries weight."""
    rows = ensemble.equal_weight_rows(number, seed=seed)
    rejected = len(ensemble) - int(ensemble.valid.sum())
    return Frames(rows, np.zeros(number), True, len(ensemble), rejected)
