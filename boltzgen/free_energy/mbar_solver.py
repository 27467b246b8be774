"""MBAR's equations, solved by pymbar: input checked, a start that does not overflow, no noise on the way.

Arrays as in `boltzgen.free_energy.multistate`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.errors import BoltzgenError, InputError
from boltzgen.guards import numpy_stream_kept, quiet


def mbar_log_weights(u_kn: ArrayLike, N_k: ArrayLike) -> np.ndarray:
    """``ln W_nk`` (N, K): the weight of every sample in every state; arrays as in `multistate.mbar`."""
    u, n = check_samples(u_kn, N_k)
    return solve_mbar(u, n)[2]


def check_samples(u_kn: ArrayLike, N_k: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays; InputError unless they fit and each sample has a finite energy in its own state."""
    u, n = np.asarray(u_kn, dtype=np.float64), np.asarray(N_k)
    if u.ndim != 2 or n.shape != u.shape[:1] or not np.issubdtype(n.dtype, np.integer) or (n < 0).any():
        raise InputError(
            f"reduced energies {u.shape} and counts {n.shape}: expected (K, N) and K whole numbers."
        )
    if int(n.sum()) != u.shape[1]:
        raise InputError(f"N_k adds up to {int(n.sum())}, but there are {u.shape[1]} samples.")
    bad = np.flatnonzero(np.isnan(u).any(axis=0) | np.isneginf(u).any(axis=0))
    if bad.size:
        raise InputError(
            f"the reduced energy of sample {bad[0]} is NaN or -inf in some state ({bad.size} such); "
            "give +inf for a rejected sample."
        )
    own = np.repeat(np.arange(len(n)), n)
    lost = np.flatnonzero(~np.isfinite(u[own, np.arange(u.shape[1])]))
    if lost.size:
        raise InputError(f"sample {lost[0]} has no finite energy in the state that it was drawn from.")
    return u, n


def solve_mbar(u_kn: np.ndarray, N_k: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f_k (K,), their covariance (K, K) and ln W_nk (N, K); silent, and without reseeding NumPy."""
    with quiet("pymbar"):  # a banner on import
        from pymbar import MBAR
        from pymbar.utils import ParameterError

    offset_k = _offsets(u_kn, N_k)
    try:
        # pymbar gives hints on the way, and seeds NumPy's global stream
        with quiet("pymbar"), numpy_stream_kept(), np.errstate(all="ignore"):
            solved = MBAR(u_kn - offset_k[:, None], N_k)
            result = solved.compute_free_energy_differences(return_theta=True)
            log_W_nk = np.array(solved.Log_W_nk)
    except (ParameterError, np.linalg.LinAlgError, ValueError, FloatingPointError) as error:
        raise BoltzgenError(
            "MBAR found no solution; the states do not overlap, or one has no samples."
        ) from error
    f_k = np.asarray(solved.f_k, dtype=np.float64) + offset_k
    if not np.isfinite(f_k).all():
        raise BoltzgenError("MBAR found no finite free energies: some state has no weight on any sample.")
    return f_k - f_k[0], np.asarray(result["Theta"], dtype=np.float64), log_W_nk


def _offsets(u_kn: np.ndarray, N_k: np.ndarray) -> np.ndarray:
    """First guesses of f_k (K,), by exponential averaging over the samples of the state that has most.

    MBAR's solver begins at zero; where a flow gives ln Z of hundreds its exponentials overflow.
    """
    most = int(np.argmax(N_k))
    own_kn = u_kn[:, N_k[:most].sum() : N_k[: most + 1].sum()]
    with np.errstate(invalid="ignore"):
        difference_kn = np.nan_to_num(own_kn - own_kn[most], nan=np.inf, posinf=np.inf)
    offset_k = np.log(own_kn.shape[1]) - np.logaddexp.reduce(-difference_kn, axis=1)
    return np.where(np.isfinite(offset_k), offset_k, 0.0)
