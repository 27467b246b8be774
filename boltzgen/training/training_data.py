"""Frames of all molecules as internal coordinates, ready to be drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from boltzgen.conditioning.context import Context
from boltzgen.data.record import Trajectory
from boltzgen.errors import InputError
from boltzgen.generator import Target

ENCODE_ROWS = 4096


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The frames of one molecule that a run uses.

    Attributes
    ----------
    coordinates: (F, D) float64. temperature: (F,) float64 K.
    held_out: frames that training never sees, with their energies.
    outside: frames left out, by reason.
    """

    coordinates: Tensor
    temperature: Tensor
    held_out: Trajectory
    outside: dict[str, int]

    @classmethod
    def from_trajectory(
        cls, target: Target, trajectory: Trajectory, *, holdout: float, temperatures: list[float] | None
    ) -> TrainingData:
        """Split by time at each temperature, encode, and leave out frames outside the domain (counted)."""
        ladder = trajectory.temperature_ladder
        chosen = ladder if temperatures is None else np.asarray(temperatures)
        parts, held = [], []
        for temperature in chosen:
            rows = np.flatnonzero(np.abs(trajectory.temperatures - temperature) < 0.01)
            if not len(rows):
                known = ", ".join(f"{t:g}" for t in ladder)
                raise InputError(
                    f"The data of {target.name} hold no frames at {temperature:g} K; they have {known} K."
                )
            cut = len(rows) - round(holdout * len(rows))
            parts.append(rows[:cut])
            held.append(rows[cut:])
        return cls._encode(target, trajectory, np.concatenate(parts), np.concatenate(held))

    @classmethod
    def _encode(
        cls, target: Target, trajectory: Trajectory, rows: np.ndarray, held: np.ndarray
    ) -> TrainingData:
        coordinates, keep, names = [], [], np.array(target.coordinates.reasons)
        outside: dict[str, int] = {}
        for start in range(0, len(rows), ENCODE_ROWS):
            batch = rows[start : start + ENCODE_ROWS]
            positions = torch.as_tensor(np.array(trajectory.positions[batch]), dtype=torch.float64)
            reason = target.coordinates.domain(positions)
            for name in names[reason[reason != 0].numpy()]:
                outside[str(name)] = outside.get(str(name), 0) + 1
            values, log_det = target.coordinates.encode(positions)
            table = target.coordinates.table
            lower, upper = torch.as_tensor(np.array(table.lower)), torch.as_tensor(np.array(table.upper))
            inside = (values > lower) & (values < upper) | torch.as_tensor(np.array(table.circular))
            good = (reason == 0) & torch.isfinite(log_det) & inside.all(dim=1)
            coordinates.append(values[good])
            keep.append(batch[good.numpy()])
        kept = np.concatenate(keep)
        if not len(kept):
            raise InputError(
                f"None of the {len(rows)} frames of {target.name} lies in the flow's domain ({outside}); "
                "check that the data and the prepared system are the same isomer."
            )
        return cls(
            torch.cat(coordinates), torch.as_tensor(trajectory.temperatures[kept], dtype=torch.float64),
            trajectory[held], outside,
        )  # fmt: skip

    def draw(self, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`rows` frames at random: coordinates (rows, D) and temperatures (rows,)."""
        index = torch.randint(len(self.coordinates), (rows,), generator=generator)
        return self.coordinates[index], self.temperature[index]


def draw_batch(
    targets: list[Target], data: list[TrainingData], rows: int, generator: torch.Generator
) -> tuple[Tensor, Context]:
    """One padded batch (rows, D) and its context, with as many frames (up to one) of every molecule."""
    share, rest = divmod(rows, len(targets))
    width = max(target.features.dimension for target in targets)
    parts, contexts = [], []
    for number, (target, frames) in enumerate(zip(targets, data, strict=True)):
        count = share + (number < rest)
        if count:
            values, temperature = frames.draw(count, generator)
            values = values.to(target.reference.device)
            parts.append(torch.nn.functional.pad(values, (0, width - values.shape[1])))
            contexts.append(Context.of(target.features, temperature))
    return torch.cat(parts), Context.concatenate(contexts)
