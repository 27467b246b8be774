"""What a training run is asked to do. A YAML file holds only departures from these defaults."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field, SerializeAsAny, model_validator

from boltzgen.flows.settings import FlowSettings
from boltzgen.settings import Settings


def _rising(points: float | list[tuple[float, float]]) -> float | list[tuple[float, float]]:
    if isinstance(points, list):
        places = [place for place, _ in points]
        if not points or places != sorted(places) or places[0] < 0 or places[-1] > 1:
            raise ValueError("a schedule is a list of [progress, value] with progress rising from 0 to 1")
        values = [value for _, value in points]
    else:
        values = [points]
    if any(value < 0 for value in values):
        raise ValueError("a weight or rate cannot be negative")
    return points


def _positive(points: float | list[tuple[float, float]]) -> float | list[tuple[float, float]]:
    if min([v for _, v in points] if isinstance(points, list) else [points]) <= 0:
        raise ValueError("a factor on temperatures must be above zero")
    return points


#: A number, or points [progress, value] joined by straight lines; progress runs from 0 to 1.
Schedule = Annotated[float | list[tuple[float, float]], AfterValidator(_rising)]

Temperature = Annotated[float, Field(gt=0)]

#: At least one temperature.
Ladder = Annotated[list[Temperature], Field(min_length=1)]


def schedule_value(schedule: float | list[tuple[float, float]], progress: float) -> float:
    """The value of a schedule at `progress` in [0, 1]; constant beyond its first and last point."""
    if not isinstance(schedule, list):
        return float(schedule)
    before = schedule[0]
    for point in schedule:
        if point[0] >= progress:
            span = point[0] - before[0]
            share = (progress - before[0]) / span if span > 0 else 1.0
            return before[1] + min(max(share, 0.0), 1.0) * (point[1] - before[1])
        before = point
    return schedule[-1][1]


class SimulationSource(Settings):
    """Data that the run makes itself: replica exchange on the batched potential, from the reference."""

    evaluations: int = Field(default=1_000_000, ge=100)
    """Energies with gradients to spend; they count in the budget of the run."""
    temperatures: Ladder = [300.0, 370.0, 456.0, 563.0, 694.0, 856.0]
    """The ladder (K), rising."""
    ladders: int | None = Field(default=None, ge=1)
    """Independent ladders at once; chosen by the budget when not given."""
    frames: int = Field(default=5000, ge=1)
    """Frames kept at each temperature."""
    timestep: float = Field(default=0.001, gt=0, le=0.002)
    """Step (ps)."""
    hydrogen_mass: float | None = Field(default=None, ge=1, le=4)
    """Mass of hydrogens (dalton) taken from their neighbours; 3 allows a timestep of 0.002 ps."""
    torsion_moves: int = Field(default=0, ge=0)
    """Metropolis moves of each replica about a rotatable bond, after every exchange or frame."""
    equilibration: float = Field(default=5.0, ge=0)
    """Time (ps) that is thrown away, at most a quarter of the run."""
    exchange_interval: float = Field(default=0.1, gt=0)
    """Time (ps) between exchanges."""


class LikelihoodSettings(Settings):
    """Maximum likelihood on data."""

    weight: Schedule = 1.0
    """Weight of this loss over the run."""
    batch_size: int = Field(default=256, ge=1)
    """Frames a step, of all its molecules together."""
    molecules: int | None = Field(default=None, ge=1)
    """Molecules a step, in turn and each as often as any other; all when not given."""
    temperatures: Ladder | None = None
    """Temperatures (K) of the frames to use; all when not given."""
    learned_at: Temperature | None = None
    """Weight the frames of every temperature to this one (K); each is learned at its own when not given."""
    dispersion: Schedule = 0.0
    """Log-dispersion of the same frames, whose energies are labels: weight relative to the likelihood's."""
    knee: float = Field(default=3.0, gt=0)
    """Deviation (nats) from which the log-dispersion grows linearly."""


class ReverseKLSettings(Settings):
    """Reverse Kullback-Leibler divergence to the potential, on the flow's own samples."""

    weight: Schedule = 0.0
    """Weight of this loss over the run."""
    batch_size: int = Field(default=128, ge=1)
    """Samples a step."""
    temperatures: Ladder = [300.0]
    """Temperatures (K), one drawn for each sample."""
    energy_cap: float = Field(default=100.0, gt=0)
    """Energies this many kT above the reference structure's grow only logarithmically; in the loss alone."""
    path_gradient: bool = True
    """Leave out the score term of the gradient: less noise near the target, for a second pass of the flow."""


class ReweightedSettings(Settings):
    """Learning from the flow's own samples, weighted to the potential and kept in a buffer (forward KL)."""

    weight: Schedule = 0.0
    """Weight of this loss over the run; it helps once the effective sample size is some percent."""
    batch_size: int = Field(default=256, ge=2)
    """Samples learned from a step, all at one temperature, drawn from the buffer by their weights."""
    fresh: int = Field(default=256, ge=1)
    """Samples drawn a step, each one energy evaluation; they go into the buffer."""
    first: int = Field(default=0, ge=0)
    """Samples that an empty buffer is filled with, where that is more than `fresh`; as many evaluations.
    From the few of its first steps a model would unlearn what it already knows."""
    stay: int = Field(default=1, ge=1)
    """Steps in a row on one molecule (of several) and temperature, so that fresh samples are used fresh."""
    moves: int = Field(default=0, ge=0)
    """Annealed moves of each fresh sample towards p^2/q before it is kept (FAB); each an evaluation more."""
    buffer: int = Field(default=4096, ge=2)
    """Samples kept at each temperature; the oldest give way."""
    temperatures: Ladder = [300.0]
    """Temperatures (K), one drawn for each step."""
    heating: Annotated[Schedule, AfterValidator(_positive)] = 1.0
    """Factor on the temperatures over the run: start hot, end at 1, so that no mode is lost on the way."""
    trust_region: float | None = Field(default=None, gt=0)
    """Largest step (nats) from what proposed the samples to what is learned; None: the target at once."""
    entropy_drop: float | None = Field(default=None, gt=0)
    """Largest fall of the entropy (nats) on that step; None: any."""
    largest_share: float = Field(default=0.01, gt=0, le=1)
    """Largest share of one sample in the sum of weights; in the loss alone."""
    dispersion: Schedule = 0.0
    """Log-dispersion of the same samples: weight relative to the likelihood's."""
    knee: float = Field(default=3.0, gt=0)
    """Deviation (nats) from which the log-dispersion grows linearly."""


class OptimizerSettings(Settings):
    """SOAP with a warm-up, a cosine to zero, clipped gradients and averaged weights."""

    steps: int = Field(default=2000, ge=1)
    """Steps of the whole run."""
    learning_rate: float = Field(default=1e-2, gt=0)
    """Highest learning rate."""
    warmup: int = Field(default=50, ge=0)
    """Steps over which the rate rises from zero."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""
    gradient_clip: float = Field(default=10.0, gt=0)
    """Largest norm of the gradient of each loss, before its weight."""
    average: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the moving average of the weights; the average is what is saved as the model."""


class EvaluationSettings(Settings):
    """What is measured on the way."""

    every: int = Field(default=200, ge=1)
    """Steps between evaluations."""
    samples: int = Field(default=1000, ge=2)
    """Samples drawn for the effective sample size."""
    molecules: int | None = Field(default=None, ge=1)
    """Validation molecules of a dataset to measure, the first ones; all when not given."""
    temperature: Temperature = 300.0
    """Temperature (K) of the evaluation."""


class UntilSettings(Settings):
    """Ends a run before its last step; the model is the average at that point."""

    ess: float | None = Field(default=None, gt=0, le=1)
    """Raw effective sample size, as a fraction, at one evaluation; of `evaluation.samples`: ask for many."""
    evaluations: int | None = Field(default=None, ge=1)
    """Energy evaluations, those that made the data included; those that only measure or made `start` not."""
    minutes: float | None = Field(default=None, gt=0)
    """Wall time of the training, of all parts of a resumed run together."""


class TrainingSettings(Settings):
    """One training run."""

    system: str | Annotated[list[str], Field(min_length=1)] | None = None
    """Folder written by `prepare`, or `model:NAME`; a list trains one flow on several molecules."""
    dataset: str | Annotated[list[str], Field(min_length=1)] | None = None
    """Folder written by `dataset build`, or several, instead of system and data: the flow learns their
    training molecules and is measured on their validation molecules."""
    memory: float = Field(default=2.0, ge=0)
    """GiB of a dataset's frames to keep in memory; those of further molecules are read as they are drawn."""
    data: str | list[str] | None = None
    """Trajectory of each system (folder or file); none for training on energies alone."""
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
    workers: int = Field(default=2, ge=1)
    """Threads on a CPU, each with a whole loss or a share of one; part of what makes a run repeatable."""
    flow: SerializeAsAny[FlowSettings] = Field(default_factory=lambda: FlowSettings.model_validate({}))
    """The flow."""
    likelihood: LikelihoodSettings = LikelihoodSettings()
    """Maximum likelihood on data."""
    reverse_kl: ReverseKLSettings = ReverseKLSettings()
    """Reverse KL to the potential."""
    reweighted: ReweightedSettings = ReweightedSettings()
    """Likelihood on the flow's own weighted samples."""
    optimizer: OptimizerSettings = OptimizerSettings()
    """The optimizer."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """Measurements on the way."""
    until: UntilSettings = UntilSettings()
    """When to end early."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Steps between checkpoints."""

    @model_validator(mode="after")
    def _molecules_are_named_once(self) -> TrainingSettings:
        if (self.system is None) == (self.dataset is None):
            raise ValueError("give either system=SYS or dataset=DATASET")
        if self.dataset is not None and (self.data or self.simulation or self.data_system):
            raise ValueError("a dataset holds its own data: leave out data, simulation and data_system")
        return self


def evaluations_of(settings: TrainingSettings) -> float:
    """Energies that a whole training run will ask for, those of the evaluations on the way included."""
    middles = (np.arange(100) + 0.5) / 100
    a_step = 0.0
    kl, own = settings.reverse_kl, settings.reweighted
    for weight, rows in ((kl.weight, kl.batch_size), (own.weight, own.fresh * (1 + own.moves))):
        active = np.mean([schedule_value(weight, place) > 0 for place in middles])
        a_step += float(active) * rows
    every_step = a_step + settings.evaluation.samples / settings.evaluation.every
    return settings.optimizer.steps * every_step + own.first * (1 + own.moves)
