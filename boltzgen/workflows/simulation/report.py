"""What a simulation tells: its progress and its exchanges."""

from __future__ import annotations

import math
from typing import Any

from boltzgen.dynamics.replica_exchange import RunState
from boltzgen.dynamics.settings import SimulationSettings


def progress_of(
    settings: SimulationSettings, state: RunState, first: int, elapsed: float
) -> tuple[int, int, dict[str, float | str]]:
    """Done and total ps of each replica, and what is worth watching."""
    length = settings.segment_steps * settings.timestep
    total = settings.total_segments * length
    done = state.segments * length
    rate = (state.segments - first) * length / max(elapsed, 1e-9)
    values: dict[str, float | str] = {"ns/day": rate * 86.4}
    acceptance = [a for a in state.exchanges.acceptance if math.isfinite(a)]
    if acceptance:
        values["lowest exchange rate"] = f"{min(acceptance):.2f}"
    return int(done), int(total), values


def exchange_summary(settings: SimulationSettings, state: RunState) -> dict[str, Any] | None:
    """Acceptance by neighbour pair (None where nothing was attempted), round trips; None for one rung."""
    ladder, record = settings.temperatures, state.exchanges
    if len(ladder) < 2:
        return None
    pairs = [
        {
            "low_K": low,
            "high_K": high,
            "attempts": int(attempts),
            "accepted": int(accepted),
            "acceptance": float(accepted / attempts) if attempts else None,
        }
        for low, high, attempts, accepted in zip(
            ladder[:-1], ladder[1:], record.attempts, record.accepted, strict=True
        )
    ]
    return {
        "pairs": pairs,
        "round_trips": record.round_trips,
        "half_trips_of_replicas": record.half_trips.tolist(),
    }
