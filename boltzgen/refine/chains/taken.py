"""What a group of walkers has sampled, and the arrays that it is put back from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

#: What a group is put back from: arrays, and lists of what was sampled.
State = Mapping[str, np.ndarray | list[np.ndarray]]


@dataclass
class Taken:
    """What was sampled: one entry a kept step, of all walkers of the group, W of them.

    positions: (W, N, 3) float32. u: (W,). log_w: (W, K) on every rung, the last one b = 1; where moves in
    place leave it open, only at full passes and of the last step.
    draws: ln w of fresh draws of the flow, some at a time.
    """

    positions: list[np.ndarray] = field(default_factory=list)
    u: list[np.ndarray] = field(default_factory=list)
    log_w: list[np.ndarray] = field(default_factory=list)
    draws: list[np.ndarray] = field(default_factory=list)


def arrays_of(state: State) -> dict[str, np.ndarray]:
    """`state` with its lists made arrays: a store may take its time, and lists cost nothing before."""
    found = {}
    for name, values in state.items():
        if isinstance(values, np.ndarray):
            found[name] = values
        elif not values:
            found[name] = np.zeros(0)
        else:
            found[name] = np.concatenate(values) if name == "draws" else np.stack(values)
    return found
