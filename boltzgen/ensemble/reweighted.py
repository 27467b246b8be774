"""Samples of one target as weighted samples of another: new energies, the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from boltzgen.ensemble.chains.walkers import CHAIN_FIELDS
from boltzgen.ensemble.diagnostics import kish_ess, normalised_weights
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.thinning import NOT_EVALUATED, PriorityOrder

#: The one reason that belongs to the old energy alone: another energy may well be finite there.
OLD_ENERGY = "energy not finite"


def candidates(ensemble: Ensemble) -> np.ndarray:
    """Mask (n,) of the rows that another energy could give weight."""
    return np.asarray(ensemble.valid | (ensemble.reason == OLD_ENERGY))


def at_temperature(ensemble: Ensemble, temperature: float, provenance: Mapping[str, Any]) -> Ensemble:
    """The molecular `ensemble` at `temperature` in K, for an energy U that does not depend on it.

    ``u' = U / kT' = u T / T'``, from the stored u: nothing is evaluated, nothing is rounded.
    """
    assert ensemble.temperature is not None
    return Ensemble.from_densities(
        ensemble.positions,
        ensemble.log_q,
        ensemble.u * (ensemble.temperature / temperature),
        temperature=temperature,
        measure=ensemble.measure,
        domain=ensemble.domain,
        system_fingerprint=ensemble.system_fingerprint,
        topology_pdb=ensemble.topology_pdb,
        reason=ensemble.reason,
        provenance=provenance,
        **who_made(ensemble),
    )


def with_energies(
    ensemble: Ensemble, order: PriorityOrder, u: ArrayLike, reason: ArrayLike, **target: Any
) -> Ensemble:
    """`ensemble` with the reduced energies `u` (m,) of another target at the first m rows of `order`.

    `reason` (n,) names rows outside the new domain (``""`` elsewhere). ``log_q`` of an evaluated row is its
    density after thinning, ``ln q + ln pi`` (see `boltzgen.ensemble.thinning`). `target`: the keywords
    temperature, system_fingerprint, topology_pdb and provenance of the new ensemble.
    """
    u_m = np.asarray(u, dtype=np.float64)
    chosen = order.rows[: u_m.size]
    log_q, u_n = np.array(ensemble.log_q), np.full(len(ensemble), np.nan)
    log_q[chosen] += order.log_inclusion(u_m.size)
    u_n[chosen] = u_m
    reason_n = np.where(np.asarray(reason) == "", ensemble.reason, reason).astype("U64")
    reason_n[order.rows] = NOT_EVALUATED
    reason_n[chosen] = ""
    return Ensemble.from_densities(
        ensemble.positions,
        log_q,
        u_n,
        measure=ensemble.measure,
        domain=ensemble.domain,
        reason=reason_n,
        **who_made(ensemble),
        **target,
    )


def who_made(ensemble: Ensemble) -> dict[str, Any]:
    """``walker``, ``group`` and ``step`` of samples of walkers; empty for independent ones."""
    return {name: getattr(ensemble, name) for name in CHAIN_FIELDS if name in ensemble.row_fields}


def second_stage(order: PriorityOrder, u_old: np.ndarray, u: np.ndarray) -> dict[str, Any]:
    """How the second energy differs from the first on the m evaluated rows; kT, None where not known.

    ``ess``: effective samples after the step over those before it, which tells the overlap of the two targets
    apart from that of flow and first target. Mean and standard deviation of u' - u are those over the first
    target. `u_old` (n,), `u` (m,).
    """
    chosen = order.rows[: u.size]
    with np.errstate(invalid="ignore"):
        difference = u - u_old[chosen]
        log_first = order.log_w[chosen] - order.log_inclusion(u.size)
    known = np.isfinite(difference) & np.isfinite(log_first)
    if known.sum() < 2:
        return dict.fromkeys(("ess", "mean_difference", "sd_difference"))
    w, difference = normalised_weights(log_first[known]), difference[known]
    mean = float(w @ difference)
    return {
        "ess": kish_ess(log_first[known] - difference) / kish_ess(log_first[known]),
        "mean_difference": mean,
        "sd_difference": float(np.sqrt(w @ (difference - mean) ** 2)),
    }
