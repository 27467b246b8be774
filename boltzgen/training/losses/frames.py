"""Losses on data: some rows of each of the molecules whose turn it is."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import ClassVar

import torch
from pydantic import Field

from boltzgen.training.losses.loss import Loss
from boltzgen.training.losses.objective import Given, LossSettings, Objective, Term, Turn, shares


class FrameLossSettings(LossSettings):
    """A loss on frames of the molecules that have any."""

    needs_frames: ClassVar[bool] = True

    batch_size: int = Field(default=256, ge=1, le=2**20)
    """Frames a step, of all its molecules together."""
    molecules: int | None = Field(default=None, ge=1, le=10**6)
    """Molecules a step, in turn and each as often as any other; all when not given."""


class FrameObjective(Objective):
    """Likelihood and its like: a term for each molecule of the step, weighted by its share of the rows."""

    def __init__(self, name: str, settings: FrameLossSettings, given: Given) -> None:
        super().__init__(name, settings, given)
        self.molecules = settings.molecules

    @abstractmethod
    def loss(self, place: int, progress: float, rows: int, generator: torch.Generator) -> Loss:
        """The loss on `rows` frames of the target at `place`, and its statistics."""

    def terms(self, turn: Turn) -> list[Term]:
        known, size = len(self.places), self.batch_size
        chosen = turn.molecules(known, min(known if self.molecules is None else self.molecules, size))
        return [
            Term(
                rows,
                partial(self.loss, self.places[number], turn.progress),
                share=rows / size,
                of=(self.places[number],),
            )
            for rows, number in zip(shares(size, len(chosen)), chosen, strict=True)
        ]
