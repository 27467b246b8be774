"""ln Z from draws of the flow, rungs and chains, by MBAR; of two states, the flow and the target, it is BAR.

Only ln w of each state counts: rung b has the reduced energy ``-ln q - b ln w``, and ``-ln q`` is common to
all. Draws of the flow outside the domain have ln w = -inf: they count in N, with u = +inf on every rung.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from boltzgen.errors import BoltzgenError
from boltzgen.free_energy.mbar_solver import solve_mbar

#: Blocks of the jackknife; samples of all states that are used, evenly over their time.
BLOCKS, MOST_SAMPLES = 10, 20_000

#: Largest error, in kT, of an answer: beyond, the states hardly meet, and there is none.
LARGEST_ERROR = 1.0


def log_partition(drawn: np.ndarray, log_w: Mapping[float, np.ndarray]) -> tuple[float | None, float | None]:
    """ln Z and its standard error; None where the states do not meet.

    drawn: (n,) ln w of independent draws of the flow. log_w: exponent b -> (steps, walkers) of chains there.

    The error is the jackknife's over blocks of whole walkers (each with all its rungs) and draws, or MBAR's
    own where that is larger. Walkers count as independent of each other, not states of one walker.
    """
    states = sorted(log_w)
    if not states or states[-1] != 1.0 or min(values.size for values in log_w.values()) < BLOCKS:
        return None, None
    blocks = min(BLOCKS, *(values.shape[1] for values in log_w.values()))
    most = MOST_SAMPLES // (blocks * (len(states) + 1))
    parts = [
        [
            _spaced(values, most)
            for values in (drawn[block::blocks], *(log_w[b][:, block::blocks] for b in states))
        ]
        for block in range(blocks)
    ]
    exponents = np.array([0.0, *states])
    try:
        value, error = _solved(exponents, parts)
        if blocks < 2:
            return None, None
        left_out = np.array(
            [_solved(exponents, parts[:block] + parts[block + 1 :])[0] for block in range(blocks)]
        )
    except BoltzgenError:
        return None, None
    scatter = float(np.sqrt((blocks - 1) / blocks * ((left_out - left_out.mean()) ** 2).sum()))
    error = max(error, scatter)
    return (value, error) if error <= LARGEST_ERROR else (None, None)


def _solved(exponents: np.ndarray, parts: list[list[np.ndarray]]) -> tuple[float, float]:
    """ln Z and MBAR's error from blocks of ln w, each with one array for every exponent."""
    samples = [np.concatenate(values) for values in zip(*parts, strict=True)]
    together = np.concatenate(samples)
    with np.errstate(invalid="ignore"):
        u_kn = np.where(exponents[:, None] == 0, 0.0, -exponents[:, None] * together)
    f_k, covariance, _ = solve_mbar(u_kn, np.array([len(values) for values in samples]))
    variance = covariance[0, 0] + covariance[-1, -1] - 2 * covariance[0, -1]
    return -float(f_k[-1]), float(np.sqrt(max(variance, 0.0)))


def _spaced(values: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of `values`, evenly spaced."""
    flat = values.ravel()
    return flat[np.linspace(0, len(flat) - 1, min(len(flat), most)).astype(int)]
