"""Replica exchange as bookkeeping: who may swap, who does, and how far each replica has walked.

Words: a *rung* is a temperature of the ladder; a *replica* is a copy of the molecule that climbs it.
Nothing here knows OpenMM; everything is tested against exact acceptance probabilities.

Source: Sugita, Okamoto, Chem. Phys. Lett. 314, 141 (1999); even and odd neighbour pairs alternate
(deterministic even-odd scheme: Syed, Bouchard-Cote, Deligiannidis, Doucet, JRSS B 84, 321 (2022)).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from boltzgen.units import GAS_CONSTANT


@dataclass(frozen=True)
class ExchangeRecord:
    """Counts of exchanges between neighbouring rungs, and the walks of the replicas.

    Attributes:
        attempts, accepted: ``(rungs - 1,)`` int, by neighbour pair, coldest first.
        last_end: ``(replicas,)`` int, the end of the ladder that each replica visited last:
            -1 cold, +1 hot, 0 neither yet.
        half_trips: ``(replicas,)`` int, journeys from one end to the other; two make a round trip.
    """

    attempts: np.ndarray
    accepted: np.ndarray
    last_end: np.ndarray
    half_trips: np.ndarray

    @classmethod
    def empty(cls, rungs: int, replicas: int | None = None) -> ExchangeRecord:
        """Nothing attempted yet; `replicas` when there are more than one for each rung."""
        pairs = np.zeros(max(rungs - 1, 0), dtype=np.int64)
        walks = np.zeros(replicas or rungs, dtype=np.int64)
        return cls(pairs, pairs.copy(), walks, walks.copy())

    @property
    def acceptance(self) -> np.ndarray:
        """Accepted fraction of each neighbour pair; NaN where nothing was attempted."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.attempts > 0, self.accepted / self.attempts, np.nan)

    @property
    def round_trips(self) -> int:
        """Completed round trips of all replicas together."""
        return int((self.half_trips // 2).sum())

    def after(
        self,
        attempted: list[int] | np.ndarray,
        accepted: list[int] | np.ndarray,
        temperature_index: np.ndarray,
    ) -> ExchangeRecord:
        """The record after one round: rungs attempted and accepted, and where each replica is now.

        A rung is named once for every ladder in which it was attempted (accepted).
        """
        attempts, accepts = self.attempts.copy(), self.accepted.copy()
        np.add.at(attempts, np.asarray(attempted, dtype=np.int64), 1)
        np.add.at(accepts, np.asarray(accepted, dtype=np.int64), 1)
        rungs = len(self.attempts) + 1
        if rungs < 2:
            return replace(self, attempts=attempts, accepted=accepts)
        end = np.where(temperature_index == 0, -1, np.where(temperature_index == rungs - 1, 1, 0))
        arrived = (end != 0) & (self.last_end != 0) & (end != self.last_end)
        return ExchangeRecord(
            attempts, accepts, np.where(end != 0, end, self.last_end), self.half_trips + arrived
        )


def log_acceptance(
    energy_low: float, energy_high: float, temperature_low: float, temperature_high: float
) -> float:
    """``min(0, (beta_low - beta_high) (U_low - U_high))``, the log probability of a swap.

    `energy_low` (kJ/mol) belongs to the configuration that is now at `temperature_low` (K).
    A non-finite energy is never exchanged (log probability -inf).
    """
    difference = (1.0 / temperature_low - 1.0 / temperature_high) / GAS_CONSTANT
    value = difference * (energy_low - energy_high)
    return min(0.0, value) if np.isfinite(value) else -np.inf


def swaps_of_round(
    round_index: int,
    energies: np.ndarray,
    temperatures: np.ndarray,
    temperature_index: np.ndarray,
    rng: np.random.Generator,
) -> tuple[list[int], list[tuple[int, int, int]]]:
    """Which pairs of rungs are attempted in this round, and which replicas swap.

    Even rounds attempt the pairs (0,1), (2,3), ..., odd ones (1,2), (3,4), ...

    Args:
        energies: ``(replicas,)`` kJ/mol. temperatures: ``(rungs,)`` K. temperature_index: ``(replicas,)``.

    Returns:
        the lower rungs attempted, and ``(lower rung, replica there, replica above)`` of each accepted swap.
    """
    rungs = len(temperatures)
    replica_on = np.argsort(temperature_index)
    attempted, accepted = [], []
    first = round_index % 2 if rungs > 2 else 0
    for low in range(first, rungs - 1, 2):
        cold, hot = int(replica_on[low]), int(replica_on[low + 1])
        attempted.append(low)
        log_p = log_acceptance(energies[cold], energies[hot], temperatures[low], temperatures[low + 1])
        if np.log1p(-rng.random()) < log_p or log_p == 0.0:
            accepted.append((low, cold, hot))
    return attempted, accepted
