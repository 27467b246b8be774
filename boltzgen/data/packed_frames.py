"""Positions as whole numbers of 16 bits: a quarter of the bytes of float64 and half of those of float32.

Each frame is moved so that it lies around the origin, which changes no conformation; then one unit, the same
for all frames, makes the largest coordinate 32 767. A molecule of 2 nm is rounded by 1.5e-5 nm at most, a
third of what a PDB file does; energies move by hundredths of kT, and are computed anew where they are labels.
"""

from __future__ import annotations

import numpy as np

#: The largest whole number used.
LARGEST = 32767


def pack_positions(positions: np.ndarray) -> tuple[np.ndarray, float]:
    """`positions` (F, N, 3) nm as int16 (F, N, 3), and the unit in nm; the error is at most half of it."""
    wide = np.asarray(positions, dtype=np.float64)
    centred = wide - (wide.min(axis=1, keepdims=True) + wide.max(axis=1, keepdims=True)) / 2
    unit = float(np.abs(centred).max(initial=0.0)) / LARGEST or 1.0
    return np.rint(centred / unit).astype(np.int16), unit


def unpack_positions(whole: np.ndarray, unit: float) -> np.ndarray:
    """Inverse of `pack_positions`: positions (F, N, 3) in nm, float32, about the origin."""
    return (whole.astype(np.float64) * unit).astype(np.float32)
