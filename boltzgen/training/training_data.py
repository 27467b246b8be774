"""Frames of all molecules, ready to be drawn from as internal coordinates with their energies."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from boltzgen.conditioning.context import Context
from boltzgen.coordinates.base import Coordinates
from boltzgen.data.record import Trajectory
from boltzgen.errors import InputError
from boltzgen.files import atomic_path
from boltzgen.generator import Target
from boltzgen.training.losses.importance import truncated_weights
from boltzgen.training.pairs import Pairs
from boltzgen.training.symmetry import rotor_groups, turn_rotors
from boltzgen.units import GAS_CONSTANT

ENCODE_ROWS = 4096

#: Largest share of one frame among the weighted frames of its temperature.
LARGEST_SHARE = 0.01


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The frames of one molecule that a run uses.

    Attributes
    ----------
    coordinates: how positions become internal coordinates.
    positions: (F, N, 3) float32 nm. temperature: (F,) float64 K, at which the frame is learned.
    energy: (F,) float64 ``U / k`` in K, so that ``u = energy / T``; NaN where unknown.
    share: (F,) float64, how often a frame is drawn; None: all alike.
    rotors: (G, 3) groups of `boltzgen.training.symmetry`, turned at random in every draw.
    held_out: frames that training never sees, with their energies.
    weighted: whether frames were simulated with another potential, so that `held_out` does not follow the
        target.
    outside: frames left out, by reason.
    """

    coordinates: Coordinates
    positions: Tensor
    temperature: Tensor
    energy: Tensor
    share: Tensor | None
    rotors: Tensor
    held_out: Trajectory
    outside: dict[str, int]
    weighted: bool = False

    @classmethod
    def from_trajectory(
        cls,
        target: Target,
        trajectory: Trajectory,
        *,
        holdout: float,
        temperatures: list[float] | None,
        log_weights: np.ndarray | None = None,
        learned_at: float | None = None,
    ) -> TrainingData:
        """Split by time at each temperature, encode, and leave out frames outside the domain (counted).

        `log_weights` (frames,) make frames simulated with another potential follow the target's; with
        `learned_at` (K) frames of every temperature are weighted to that one.
        """
        ladder = trajectory.temperature_ladder
        chosen = ladder if temperatures is None else np.asarray(temperatures)
        parts, held = [], []
        for temperature in chosen:
            rows = np.flatnonzero(trajectory.is_at(temperature))
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
        made = cls._inside(target, trajectory, rows, np.concatenate(held), log_weights)
        return made if learned_at is None else made._learned_at(learned_at)

    @classmethod
    def _inside(
        cls,
        target: Target,
        trajectory: Trajectory,
        rows: np.ndarray,
        held: np.ndarray,
        log_weights: np.ndarray | None,
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
        temperature = torch.as_tensor(trajectory.temperatures[chosen], dtype=torch.float64)
        return cls(
            target.coordinates,
            torch.as_tensor(np.array(trajectory.positions[chosen])),
            temperature,
            torch.as_tensor(trajectory.energies[chosen] / GAS_CONSTANT),
            None if log_weights is None else _shares(torch.as_tensor(log_weights[chosen]), temperature),
            rotor_groups(target),
            trajectory[held],
            dict(outside),
            weighted=log_weights is not None,
        )

    def on_disk(self, path: Path, *, judged: bool) -> TrainingData:
        """The same frames, their positions in the file `path`, from which rows are read as they are drawn.

        The frames that training never sees are let go, unless the run is `judged` by them.
        """
        with atomic_path(path) as temporary:
            np.save(temporary, self.positions.numpy(), allow_pickle=False)
        # Copy-on-write, for torch wants arrays that could be written to.
        positions = torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
        held_out = self.held_out if judged else self.held_out[np.zeros(0, dtype=int)]
        return replace(self, positions=positions, held_out=held_out)

    @property
    def unseen(self) -> Trajectory | None:
        """Frames of the target that training never sees; None when they were simulated with another one."""
        return None if self.weighted else self.held_out

    def _learned_at(self, temperature: float) -> TrainingData:
        """The same frames weighted to `temperature` (K).

        Each temperature of the data counts by the effective number of its frames there: a hot ladder's rungs,
        whose weights rest on a few frames, hardly do.
        """
        if not bool(torch.isfinite(self.energy).all()):
            raise InputError("Frames without energies cannot be weighted to another temperature.")
        log_w = self.energy * (1 / self.temperature - 1 / temperature)
        if self.share is not None:
            log_w = log_w + self.share.log()
        share = _shares(log_w, self.temperature)
        for kelvin in self.temperature.unique():
            here = self.temperature == kelvin
            weights = torch.softmax(log_w[here], dim=0)
            share[here] = share[here] / (weights**2).sum()
        return replace(self, share=share, temperature=torch.full_like(self.temperature, temperature))

    def draw(self, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """`rows` frames at random.

        Returns coordinates (rows, D) float64, temperatures (rows,), and ``u`` less the log-determinant of
        decoding (rows,).
        """
        if self.share is None:
            index = torch.randint(len(self.positions), (rows,), generator=generator)
        else:
            index = torch.multinomial(self.share, rows, replacement=True, generator=generator)
        positions = turn_rotors(self.positions[index], self.rotors, generator)
        values, log_det = self.coordinates.encode(positions.to(torch.float64))
        temperature = self.temperature[index]
        return values, temperature, self.energy[index] / temperature + log_det


def _shares(log_w: Tensor, temperature: Tensor) -> Tensor:
    """Weights (F,), truncated, that sum to one over the frames of each temperature."""
    shares = torch.zeros_like(log_w)
    for kelvin in temperature.unique():
        here = temperature == kelvin
        shares[here] = truncated_weights(log_w[here], LARGEST_SHARE)
    return shares


def draw_pairs(target: Target, frames: TrainingData, rows: int, generator: torch.Generator) -> Pairs:
    """`rows` frames of `target`, drawn from its `frames`, on its device."""
    values, temperature, reduced = (
        drawn.to(target.reference.device) for drawn in frames.draw(rows, generator)
    )
    return Pairs(values, Context.of(target.features, temperature), reduced)


def energies_of_frames(target: Target, trajectory: Trajectory, *, known: bool) -> tuple[Trajectory, int]:
    """`trajectory` with the energies of `target` in kJ/mol, and the evaluations that took.

    Energies in the file are used when `known` says that they are the target's; only missing ones cost.
    """
    missing = np.isnan(trajectory.energies) if known else np.ones(len(trajectory), dtype=bool)
    rows = np.flatnonzero(missing)
    energies = np.array(trajectory.energies)
    at_once = target.batch_rows()
    for start in range(0, len(rows), at_once):
        batch = rows[start : start + at_once]
        positions = torch.as_tensor(np.array(trajectory.positions[batch]), dtype=torch.float64)
        with torch.no_grad():
            found = target.potential.energy(positions.to(target.reference.device))
        energies[batch] = found.cpu().numpy()
    return replace(trajectory, energies=energies), len(rows)
