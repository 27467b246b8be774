"""Learning from the flow's own samples: drawn, weighted to the potential, kept, and learned by likelihood."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Self

import torch
from pydantic import AfterValidator, Field

from boltzgen.errors import InputError
from boltzgen.flows.base import InvertibleFlow
from boltzgen.training.losses.annealed_draws import draw_annealed
from boltzgen.training.losses.buffered import BufferedObjective
from boltzgen.training.losses.loss import Loss
from boltzgen.training.losses.objective import Draw, Given, LossSettings, Shown, Turn
from boltzgen.training.losses.replay_buffer import ReplayBuffer, draw_samples
from boltzgen.training.losses.stored_pairs import stored_pairs_loss
from boltzgen.training.schedule import Ladder, Schedule, positive, schedule_value


class ReweightedSettings(LossSettings):
    """Learning from the flow's own samples, weighted to the potential and kept in a buffer (forward KL)."""

    weight: Schedule = 0.0
    """Weight of this loss over the run; it helps once the effective sample size is some percent."""
    batch_size: int = Field(default=256, ge=2, le=2**20)
    """Samples learned from a step, all at one temperature, drawn from the buffer by their weights."""
    fresh: int = Field(default=256, ge=1, le=2**20)
    """Samples drawn at once, each one energy evaluation; they go into the buffer."""
    every: int = Field(default=1, ge=1, le=10**6)
    """Steps from one such draw to the next: few large ones cost less time than many small ones."""
    first: int = Field(default=0, ge=0, le=2**24)
    """Samples that an empty buffer is filled with, where that is more than `fresh`; as many evaluations.
    From the few of its first steps a model would unlearn what it already knows."""
    stay: int = Field(default=1, ge=1, le=10**9)
    """Draws in a row for one molecule (of several) and temperature, so that fresh samples are used fresh."""
    moves: int = Field(default=0, ge=0, le=10_000)
    """Annealed moves of each fresh sample towards p^2/q before it is kept (FAB); each an evaluation more."""
    buffer: int = Field(default=4096, ge=2, le=2**24)
    """Samples kept at each temperature; the oldest give way."""
    temperatures: Ladder = [300.0]
    """Temperatures (K), one drawn for each step."""
    heating: Annotated[Schedule, AfterValidator(positive)] = 1.0
    """Factor on the temperatures over the run: start hot, end at 1, so that no mode is lost on the way."""
    trust_region: float | None = Field(default=None, gt=0, le=1e6)
    """Largest step (nats) from what proposed the samples to what is learned; None: the target at once."""
    entropy_drop: float | None = Field(default=None, gt=0, le=1e6)
    """Largest fall of the entropy (nats) on that step; None: any."""
    largest_share: float = Field(default=0.01, gt=0, le=1)
    """Largest share of one sample in the sum of weights; in the loss alone."""
    dispersion: Schedule = 0.0
    """Log-dispersion of the same samples: weight relative to the likelihood's."""
    knee: float = Field(default=3.0, gt=0, le=1e12)
    """Deviation (nats) from which the log-dispersion grows linearly."""

    def objective(self, name: str, given: Given) -> Reweighted:
        return Reweighted(name, self, given)

    def statistics(self, name: str) -> tuple[str, ...]:
        return (name, f"{name}_dispersion")

    def shown(self, name: str) -> Shown:
        return Shown(f"{name.replace('_', ' ')} -log q", "nats/dof", change=True, a_degree=True)

    @property
    def evaluations_a_step(self) -> float:
        return self.fresh * (1 + self.moves) / self.every

    @property
    def evaluations_at_first(self) -> float:
        """The first draw is whole, however many steps its samples are for."""
        first = max(self.first, self.fresh) * (1 + self.moves) - self.evaluations_a_step
        return first * len(self.temperatures)

    def without_start(self) -> Self:
        return self.model_copy(update={"first": 0})

    @property
    def learned_temperatures(self) -> list[float]:
        return self.temperatures


class Reweighted(BufferedObjective[ReplayBuffer]):
    """Buffers of weighted samples, one for each target and temperature (`buffers`, in this order)."""

    def __init__(self, name: str, settings: ReweightedSettings, given: Given) -> None:
        super().__init__(name, settings, given)
        if settings.moves and not isinstance(given.flow, InvertibleFlow):
            raise InputError(f"{name}.moves need a flow with a latent space; set them to 0.")
        self.settings, self.stay = settings, settings.stay * settings.every
        self.buffers = [[ReplayBuffer(settings.buffer) for _ in settings.temperatures] for _ in given.targets]

    def draws(self, turn: Turn) -> list[Draw]:
        settings, (place, rung) = self.settings, self.whose_turn(turn)
        buffer, kelvin = self.buffers[place][rung], self._temperature(rung, turn.progress)
        if len(buffer) and turn.step % settings.every:
            return []
        fresh = settings.fresh if len(buffer) else max(settings.fresh, settings.first)
        flow, target, random = self.given.flow, self.given.targets[place], turn.random(1)
        if settings.moves:
            return [Draw(buffer, partial(draw_annealed, flow, target, kelvin, fresh, settings.moves, random))]
        return [Draw(buffer, partial(draw_samples, flow, target, kelvin, fresh, random))]

    def loss(self, place: int, rung: int, progress: float, rows: int, generator: torch.Generator) -> Loss:
        """On `rows` samples of the buffer of one target and temperature."""
        settings = self.settings
        pairs = self.buffers[place][rung].draw(
            self.given.targets[place],
            self._temperature(rung, progress),
            rows,
            largest_share=settings.largest_share,
            trust_region=settings.trust_region,
            entropy_drop=settings.entropy_drop,
            generator=generator,
        )
        dispersion = schedule_value(settings.dispersion, progress)
        return stored_pairs_loss(self.given.flow, pairs, self.name, dispersion, settings.knee)

    def _temperature(self, rung: int, progress: float) -> float:
        return self.settings.temperatures[rung] * schedule_value(self.settings.heating, progress)
