"""Frames of all molecules, ready to be drawn from as internal coordinates."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from boltzgen.conditioning.context import Context
from boltzgen.coordinates.base import Coordinates
from boltzgen.data.record import Trajectory
from boltzgen.errors import InputError
from boltzgen.generator import Target
from boltzgen.training.symmetry import rotor_groups, turn_rotors

ENCODE_ROWS = 4096


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The frames of one molecule that a run uses.

    Attributes
    ----------
    coordinates: how positions become internal coordinates.
    positions: (F, N, 3) float32 nm. temperature: (F,) float64 K.
    rotors: (G, 3) groups of `boltzgen.training.symmetry`, turned at random in every draw.
    held_out: frames that training never sees, with their energies.
    outside: frames left out, by reason.
    """

    coordinates: Coordinates
    positions: Tensor
    temperature: Tensor
    rotors: Tensor
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
        rows = np.concatenate(parts)
        if not len(rows):
            raise InputError(
                f"A holdout of {holdout:g} leaves none of the {len(trajectory)} frames of {target.name} to "
                "train on; lower it."
            )
        return cls._inside(target, trajectory, rows, np.concatenate(held))

    @classmethod
    def _inside(
        cls, target: Target, trajectory: Trajectory, rows: np.ndarray, held: np.ndarray
    ) -> TrainingData:
        """Keep the frames `rows` that lie in the domain and in the support of every coordinate."""
        table, names = target.coordinates.table, np.array(target.coordinates.reasons)
        lower, upper = torch.as_tensor(np.array(table.lower)), torch.as_tensor(np.array(table.upper))
        circular = torch.as_tensor(np.array(table.circular))
        kept, outside = [], Counter[str]()
        for start in range(0, len(rows), ENCODE_ROWS):
            batch = rows[start : start + ENCODE_ROWS]
            positions = torch.as_tensor(np.array(trajectory.positions[batch]), dtype=torch.float64)
            reason = target.coordinates.domain(positions)
            values, log_det = target.coordinates.encode(positions)
            supported = ((values > lower) & (values < upper) | circular).all(dim=1) & torch.isfinite(log_det)
            outside.update(str(name) for name in names[reason[reason != 0].numpy()])
            outside.update(["outside the support"] * int(((reason == 0) & ~supported).sum()))
            kept.append(batch[((reason == 0) & supported).numpy()])
        chosen = np.concatenate(kept)
        if not len(chosen):
            raise InputError(
                f"None of the {len(rows)} frames of {target.name} lies in the domain ({dict(outside)}); "
                "check that the data and the prepared system are the same isomer."
            )
        return cls(
            target.coordinates, torch.as_tensor(np.array(trajectory.positions[chosen])),
            torch.as_tensor(trajectory.temperatures[chosen], dtype=torch.float64), rotor_groups(target),
            trajectory[held], dict(outside),
        )  # fmt: skip

    def draw(self, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`rows` frames at random: coordinates (rows, D) float64 and temperatures (rows,)."""
        index = torch.randint(len(self.positions), (rows,), generator=generator)
        positions = turn_rotors(self.positions[index], self.rotors, generator)
        return self.coordinates.encode(positions.to(torch.float64))[0], self.temperature[index]


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
