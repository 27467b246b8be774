"""Maximum likelihood on conformations that follow the target, with the log-dispersion of the same ones."""

from __future__ import annotations

import torch
from pydantic import Field

from boltzgen.training.losses.frames import FrameLossSettings, FrameObjective
from boltzgen.training.losses.loss import Loss
from boltzgen.training.losses.objective import Given, Shown
from boltzgen.training.losses.stored_pairs import stored_pairs_loss
from boltzgen.training.schedule import Ladder, Schedule, Temperature, schedule_value
from boltzgen.training.training_data import draw_pairs


class LikelihoodSettings(FrameLossSettings):
    """Maximum likelihood on data."""

    temperatures: Ladder | None = None
    """Temperatures (K) of the frames to use; all when not given."""
    learned_at: Temperature | None = None
    """Weight the frames of every temperature to this one (K); each is learned at its own when not given."""
    dispersion: Schedule = 0.0
    """Log-dispersion of the same frames, whose energies are labels: weight relative to the likelihood's."""
    knee: float = Field(default=3.0, gt=0, le=1e12)
    """Deviation (nats) from which the log-dispersion grows linearly."""

    def objective(self, name: str, given: Given) -> Likelihood:
        return Likelihood(name, self, given)

    def statistics(self, name: str) -> tuple[str, ...]:
        return (name, f"{name}_dispersion")

    def shown(self, name: str) -> Shown:
        return Shown(f"{name.replace('_', ' ')} -log q", "nats/dof", change=True, a_degree=True)

    @property
    def needs_energies_of_frames(self) -> bool:
        return self.dispersion != 0 or self.learned_at is not None


class Likelihood(FrameObjective):
    """Likelihood of frames drawn from the data."""

    def __init__(self, name: str, settings: LikelihoodSettings, given: Given) -> None:
        super().__init__(name, settings, given)
        self.settings = settings

    def loss(self, place: int, progress: float, rows: int, generator: torch.Generator) -> Loss:
        pairs = draw_pairs(self.given.targets[place], self.given.frames[place], rows, generator)
        dispersion = schedule_value(self.settings.dispersion, progress)
        return stored_pairs_loss(self.given.flow, pairs, self.name, dispersion, self.settings.knee)
