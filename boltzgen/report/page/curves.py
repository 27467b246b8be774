"""Free energies of weighted and unweighted samples in common bins, which can be compared bin by bin.

For weights w_n (sum one) and bins b of the share ``v_b`` of all space,

    F_b = -ln(p_b / v_b),   p_b = sum of w_n in b,

in kT, zero for the uniform density, so that two of them need no common zero. With the inefficiency g

    var F_b = g sum_n w_n^2 (h_bn / p_b - 1)^2                    (delta method; h_bn: sample n lies in b),

for equal weights ``g (1 - p_b) / (N p_b)``, the binomial.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Curve:
    """Free energies (B,) in kT with standard errors, NaN without weight; effective samples in each bin."""

    free_energy: np.ndarray
    standard_error: np.ndarray
    n_effective: np.ndarray

    def reshaped(self, *shape: int) -> Curve:
        """The same on a grid."""
        return Curve(
            *(one.reshape(shape) for one in (self.free_energy, self.standard_error, self.n_effective))
        )

    def known(self, fewest: float) -> np.ndarray:
        """Which bins rest on `fewest` effective samples at least."""
        return np.asarray(self.n_effective >= fewest) & np.isfinite(self.free_energy)


def curve(bin_n: np.ndarray, w_n: np.ndarray, bins: int, inefficiency: float = 1.0) -> Curve:
    """From the bin (N,) int of each sample, -1 for none, and its weight (N,), not normalised.

    Bins are equally wide. All is NaN where no sample carries weight.
    """
    inside = bin_n >= 0
    b, w = bin_n[inside], np.asarray(w_n, dtype=np.float64)[inside]
    total = float(np.asarray(w_n).sum())
    if not total > 0:
        empty = np.full(bins, np.nan)
        return Curve(empty, empty, np.zeros(bins))
    w = w / total
    p = np.bincount(b, weights=w, minlength=bins)
    square = np.bincount(b, weights=w**2, minlength=bins)
    all_squares = float(np.sum((np.asarray(w_n) / total) ** 2))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # of bins with hardly any weight
        f = np.where(p > 0, -np.log(p * bins), np.nan)
        # sum w^2 (h/p - 1)^2 = square (1/p - 1)^2 + (all - square)
        variance = inefficiency * (square * (1 / p - 1) ** 2 + all_squares - square)
        effective = np.where(square > 0, p**2 / square, 0.0) / inefficiency
    return Curve(f, np.where(p > 0, np.sqrt(variance), np.nan), effective)


def difference(one: Curve, other: Curve, fewest: float) -> tuple[np.ndarray, np.ndarray]:
    """``one - other`` in kT and its standard error, NaN where either rests on less than `fewest` samples."""
    both = one.known(fewest) & other.known(fewest)
    value = np.where(both, one.free_energy - other.free_energy, np.nan)
    error = np.where(both, np.hypot(one.standard_error, other.standard_error), np.nan)
    return value, error


def angle_bins(angles: np.ndarray, bins: int) -> np.ndarray:
    """The bin (N,) of angles in degrees, bins of equal width from -180; -1 where not finite."""
    turn = np.remainder(angles + 180.0, 360.0) / 360.0
    finite = np.isfinite(turn)
    return np.where(finite, np.minimum((np.nan_to_num(turn) * bins).astype(int), bins - 1), -1)
