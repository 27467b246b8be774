"""What a training run is asked to do. A YAML file holds only departures from these defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, SerializeAsAny, field_validator, model_validator

from boltzgen.flows.settings import FlowSettings
from boltzgen.settings import Settings
from boltzgen.training.losses.likelihood import LikelihoodSettings
from boltzgen.training.losses.objective import LossSettings
from boltzgen.training.losses.reverse_kl import ReverseKLSettings
from boltzgen.training.losses.reweighted import ReweightedSettings
from boltzgen.training.schedule import Ladder, Temperature, schedule_value


class SimulationSource(Settings):
    """Data that the run makes itself: replica exchange on the batched potential, from the reference."""

    evaluations: int = Field(default=1_000_000, ge=100, le=10**13)
    """Energies with gradients to spend; they count in the budget of the run."""
    temperatures: Ladder = [300.0, 370.0, 456.0, 563.0, 694.0, 856.0]
    """The ladder (K), rising."""
    ladders: int | None = Field(default=None, ge=1, le=65536)
    """Independent ladders at once; chosen by the budget when not given."""
    frames: int = Field(default=5000, ge=1, le=10**7)
    """Frames kept at each temperature."""
    timestep: float = Field(default=0.001, gt=0, le=0.002)
    """Step (ps)."""
    hydrogen_mass: float | None = Field(default=None, ge=1, le=4)
    """Mass of hydrogens (dalton) taken from their neighbours; 3 allows a timestep of 0.002 ps."""
    torsion_moves: int = Field(default=0, ge=0, le=10_000)
    """Metropolis moves of each replica about a rotatable bond, after every exchange or frame."""
    ring_moves: int = Field(default=1, ge=0, le=10_000)
    """Metropolis moves of each replica that turn a ring over, after every exchange or frame."""
    equilibration: float = Field(default=5.0, ge=0, le=1e9)
    """Time (ps) that is thrown away, at most a quarter of the run."""
    exchange_interval: float = Field(default=0.1, gt=0, le=1e9)
    """Time (ps) between exchanges."""


class OptimizerSettings(Settings):
    """SOAP with a warm-up, a cosine to zero, clipped gradients and averaged weights."""

    steps: int = Field(default=2000, ge=1, le=10**9)
    """Steps of the whole run."""
    learning_rate: float = Field(default=1e-2, gt=0, le=10)
    """Highest learning rate."""
    warmup: int = Field(default=50, ge=0, le=10**9)
    """Steps over which the rate rises from zero."""
    weight_decay: float = Field(default=0.0, ge=0, le=10)
    """Decoupled weight decay."""
    gradient_clip: float = Field(default=10.0, gt=0, le=1e12)
    """Largest norm of the gradient of each loss, before its weight."""
    average: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the moving average of the weights; the average is what is saved as the model."""


class EvaluationSettings(Settings):
    """What is measured on the way."""

    every: int = Field(default=200, ge=1, le=10**9)
    """Steps between evaluations."""
    samples: int = Field(default=1000, ge=2, le=10**7)
    """Samples drawn for the effective sample size."""
    molecules: int | None = Field(default=None, ge=1, le=10**6)
    """Validation molecules of a dataset to measure, the first ones; all when not given."""
    temperature: Temperature = 300.0
    """Temperature (K) of the evaluation."""


class UntilSettings(Settings):
    """Ends a run before its last step; the model is the average at that point."""

    ess: float | None = Field(default=None, gt=0, le=1)
    """Raw effective sample size, as a fraction, at one evaluation; of `evaluation.samples`: ask for many."""
    evaluations: int | None = Field(default=None, ge=1, le=10**15)
    """Energy evaluations, those that made the data included; those that only measure or made `start` not."""
    minutes: float | None = Field(default=None, gt=0, le=1e7)
    """Wall time of the training, of all parts of a resumed run together."""


class TrainingSettings(Settings):
    """One training run."""

    system: str | Annotated[list[str], Field(min_length=1)] | None = None
    """Folder written by `prepare`, or `model:NAME`; a list trains one flow on several molecules."""
    dataset: str | Annotated[list[str], Field(min_length=1)] | None = None
    """Folder written by `dataset build`, or several, instead of system and data: the flow learns their
    training molecules and is measured on their validation molecules."""
    memory: float = Field(default=2.0, ge=0, le=1e6)
    """GiB of a dataset's frames to keep in memory; those of further molecules are read as they are drawn."""
    data: str | list[str] | None = None
    """Trajectory of each system (folder or file); none for training on energies alone."""
    data_temperature: Temperature | None = None
    """Temperature (K) at which the data were simulated, for files that do not say it (DCD, XTC)."""
    simulation: SimulationSource | None = None
    """Makes the data instead of `data`."""
    data_system: str | list[str] | None = None
    """System that the data were simulated with, where it is another potential: frames are then weighted."""
    holdout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the frames of each temperature, the last ones, that training never sees."""
    start: str | None = None
    """Model to begin from (a run or model folder), to fine-tune it; the flow is then the model's."""
    isomers: Literal["reference", "free"] = "reference"
    """Keep amides and double bonds as in the reference structure, or open them."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of weights and draws."""
    workers: int = Field(default=2, ge=1, le=1024)
    """Threads on a CPU, each with a whole loss or a share of one; part of what makes a run repeatable."""
    flow: SerializeAsAny[FlowSettings] = Field(default_factory=lambda: FlowSettings.model_validate({}))
    """The flow."""
    likelihood: LikelihoodSettings = LikelihoodSettings()
    """Maximum likelihood on data."""
    reverse_kl: ReverseKLSettings = ReverseKLSettings()
    """Reverse KL to the potential."""
    reweighted: ReweightedSettings = ReweightedSettings()
    """Likelihood on the flow's own weighted samples."""
    losses: dict[str, SerializeAsAny[LossSettings]] = {}
    """Further losses by name, those that other packages bring among them; see docs/extending.md."""
    optimizer: OptimizerSettings = OptimizerSettings()
    """The optimizer."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """Measurements on the way."""
    until: UntilSettings = UntilSettings()
    """When to end early."""
    checkpoint_every: int = Field(default=500, ge=1, le=10**9)
    """Steps between checkpoints."""

    @model_validator(mode="after")
    def _molecules_are_named_once(self) -> TrainingSettings:
        if (self.system is None) == (self.dataset is None):
            raise ValueError("give either system=SYS or dataset=DATASET")
        if self.dataset is not None and (self.data or self.simulation or self.data_system):
            raise ValueError("a dataset holds its own data: leave out data, simulation and data_system")
        return self

    @field_validator("losses", mode="before")
    @classmethod
    def _each_is_read_by_its_name(cls, losses: Any) -> Any:
        if not isinstance(losses, Mapping):
            return losses
        if own := sorted({*losses} & {*cls.model_fields}):
            raise ValueError(f"{own[0]} is a key of its own: write it beside losses, not below")
        return {
            name: {**one, "loss": name} if isinstance(one, Mapping) else one for name, one in losses.items()
        }

    def all_losses(self) -> dict[str, LossSettings]:
        """Every loss by name, in the order in which a step computes them."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: one for name, one in fields.items() if isinstance(one, LossSettings)} | self.losses


def active_share(loss: LossSettings) -> float:
    """The share of a run's steps at which `loss` has a weight above zero."""
    middles = (np.arange(100) + 0.5) / 100
    return float(np.mean([schedule_value(loss.weight, place) > 0 for place in middles]))


def evaluations_of(settings: TrainingSettings) -> float:
    """Energies that a whole training run will ask for, those of the evaluations on the way included."""
    losses = settings.all_losses().values()
    a_step = sum(active_share(loss) * loss.evaluations_a_step for loss in losses)
    every_step = a_step + settings.evaluation.samples / settings.evaluation.every
    return settings.optimizer.steps * every_step + sum(loss.evaluations_at_first for loss in losses)
