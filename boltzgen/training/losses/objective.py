"""What a loss is to a run: settings with a weight, and an object that is asked for its share of every step.

A loss is two classes in one file: its settings, found by name, and its objective. Of a `MoleculeObjective`
only one method is to be written, `loss`: it computes the loss and what the metrics say of it. A package adds
one by an entry point of the group ``boltzgen.losses``, whose name stands below ``losses`` in a configuration
and whose value is the settings class (docs/extending.md).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self

import torch
from pydantic import Field, ModelWrapValidatorHandler, model_validator
from torch import Tensor

from boltzgen.extensions import Extensions
from boltzgen.flows.base import Flow
from boltzgen.generator import Target
from boltzgen.settings import Settings
from boltzgen.streams import LOSSES_ADDED, stream
from boltzgen.training.losses.loss import Loss
from boltzgen.training.losses.replay_buffer import ReplayBuffer, Samples
from boltzgen.training.schedule import Schedule, schedule_value
from boltzgen.training.training_data import TrainingData
from boltzgen.training.turns import molecules_in_turn

LOSSES = Extensions(
    group="boltzgen.losses",
    noun="loss",
    own={
        "likelihood": "boltzgen.training.losses.likelihood:LikelihoodSettings",
        "reverse_kl": "boltzgen.training.losses.reverse_kl:ReverseKLSettings",
        "reweighted": "boltzgen.training.losses.reweighted:ReweightedSettings",
        "chains": "boltzgen.training.losses.chains:ChainsSettings",
        "log_dispersion": "boltzgen.training.losses.log_dispersion:LogDispersionSettings",
    },
)

#: Random streams that steps one after another leave to each other's tasks.
TASKS = 64


@dataclass(frozen=True, eq=False)
class Given:
    """What a run has to compute losses from; `frames` of each target that has any, by its place."""

    flow: Flow
    targets: list[Target]
    frames: dict[int, TrainingData]


@dataclass(frozen=True)
class Turn:
    """One step as an objective sees it: what is drawn and whose turn it is are functions of it alone.

    Attributes
    ----------
    step: of this process; progress: of the run, from 0 to 1.
    seed: of the run. rank, ranks: this process among those that train together.
    streams: where the objective's own random streams begin.
    """

    step: int
    progress: float
    seed: int
    rank: int = 0
    ranks: int = 1
    streams: int = 0

    @property
    def number(self) -> int:
        """Of the step among those of all processes."""
        return self.step * self.ranks + self.rank

    def every(self, steps: int) -> Turn:
        """The turn that stays for `steps` steps."""
        return replace(self, step=self.step // steps)

    def random(self, stream: int) -> torch.Generator:
        """Random stream number `stream` (below `TASKS`) of the objective at this step."""
        return random_stream(self.seed, self.number, self.streams + stream)

    def molecules(self, count: int, a_step: int) -> list[int]:
        """The `a_step` of `count` molecules that the step is about; each comes as often as any other."""
        return molecules_in_turn(count, a_step, self.number, self.seed)


@dataclass(frozen=True)
class Term:
    """What an objective computes at one step, or one molecule's `share` of it.

    `compute` takes a number of rows, at most `rows`, and a random stream. `of`: the place of the target, and
    what else its values are to be compared with alone, such as the rung of a temperature.
    """

    rows: int
    compute: Callable[[int, torch.Generator], Loss]
    share: float = 1.0
    of: tuple[int, ...] = ()


@dataclass(frozen=True)
class Draw:
    """Fresh samples to be put into one buffer once `compute` has drawn them."""

    buffer: ReplayBuffer
    compute: Callable[[], Samples]


@dataclass(frozen=True)
class Shown:
    """How people see a statistic: in `words`, with a `unit`, as it is or as its change since the run began.

    change: whether its zero means nothing, as that of ``-log q`` (a density in nm) or of ``log q + u``. What
    is shown is then the difference to the first value of the same molecule: 0 is where the run began, and
    below 0 is better. a_degree: whether that is divided by the molecule's internal degrees of freedom.
    """

    words: str
    unit: str = ""
    change: bool = False
    a_degree: bool = False


class LossSettings(Settings):
    """The settings of any loss. A subclass says what it needs and costs, and makes its objective."""

    weight: Schedule = 1.0
    """Weight of this loss over the run."""
    batch_size: int = Field(default=256, ge=1, le=2**20)
    """Rows a step."""

    needs_frames: ClassVar[bool] = False
    """Whether it is computed from data; molecules without any are then left out."""

    @abstractmethod
    def objective(self, name: str, given: Given) -> Objective:
        """The loss in a run, which calls it `name`; InputError when it cannot be had from what is `given`."""

    def statistics(self, name: str) -> tuple[str, ...]:
        """What `Loss.parts` may hold; the metrics have a column for each."""
        return (name,)

    def shown(self, name: str) -> Shown:
        """How progress shows the loss, called `name`; as it is and without a unit if a loss does not say."""
        return Shown(name.replace("_", " "))

    @property
    def needs_energies_of_frames(self) -> bool:
        """Whether energies that data lack are computed before the first step."""
        return False

    @property
    def evaluations_a_step(self) -> float:
        """Energies that a step with this loss asks for."""
        return 0

    @property
    def passes_a_step(self) -> float:
        """Passes of few rows, without gradients, that a step makes of the flow: they gain by compiling."""
        return 0

    @property
    def evaluations_at_first(self) -> float:
        """Energies beyond those, once in a run."""
        return 0

    def without_start(self) -> Self:
        """The same with the least of what `evaluations_at_first` counts: so steps are measured quickly."""
        return self

    @property
    def learned_temperatures(self) -> list[float]:
        """Temperatures (K) that a run with this loss learns, besides those of the data."""
        return []

    @classmethod
    def reader(cls, key: str, value: Any) -> type[Settings]:
        return loss_settings_of(key) if cls is LossSettings else cls

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_name(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> LossSettings:
        """The base reads a mapping by the class that the name under ``loss`` stands for."""
        if cls is not LossSettings or not isinstance(value, Mapping):
            return handler(value)
        own = dict(value)
        return loss_settings_of(str(own.pop("loss", ""))).model_validate(own)


def loss_settings_of(name: str) -> type[LossSettings]:
    """The settings class of the loss `name`; InputError when no package brings it."""
    found: type[LossSettings] = LOSSES.load_subclass(name, f"'losses' is {name!r}", LossSettings)
    return found


class Objective(ABC):
    """One loss in one run; `places` are those of the targets that it can be computed for."""

    def __init__(self, name: str, settings: LossSettings, given: Given) -> None:
        self.name, self.given = name, given
        self.weight, self.batch_size = settings.weight, settings.batch_size
        self.places = sorted(given.frames) if settings.needs_frames else list(range(len(given.targets)))

    def weight_at(self, progress: float) -> float:
        """Its weight at `progress`; 0 where it can be computed for no target."""
        return schedule_value(self.weight, progress) if self.places else 0.0

    @abstractmethod
    def terms(self, turn: Turn) -> list[Term]:
        """What is computed at a step; several threads do it at once, and may change nothing."""

    def draws(self, turn: Turn) -> list[Draw]:
        """What is drawn beside it, for the steps to come."""
        return []

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps; `restore` takes it back."""
        return {}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Inverse of `tensors`; ValueError when they are of another loss."""
        if tensors:
            raise ValueError(f"{self.name} remembers nothing, and the checkpoint holds {min(tensors)} of it")


class MoleculeObjective(Objective):
    """A loss that a step computes for one molecule, all of them in turn."""

    @abstractmethod
    def loss(self, place: int, progress: float, rows: int, generator: torch.Generator) -> Loss:
        """The loss on `rows` rows of the target at `place`, and its statistics."""

    def terms(self, turn: Turn) -> list[Term]:
        place = self.places[turn.molecules(len(self.places), 1)[0]]
        return [Term(self.batch_size, partial(self.loss, place, turn.progress), of=(place,))]


def random_stream(seed: int, step: int, task: int) -> torch.Generator:
    """The random stream of one task of a step: a function of seed, step and task alone."""
    further, task = divmod(task, TASKS)
    if further:  # of an added loss: a CPU's generator reads 32 bits of a seed, too few to tell these apart
        return stream(seed, LOSSES_ADDED, step, task, abs(further), int(further > 0))
    return torch.Generator().manual_seed(((seed * 1_000_003 + step) * TASKS + task) % 2**63)


def shares(size: int, parts: int) -> list[int]:
    """`size` rows in `parts` shares that differ by at most one; none is empty."""
    return [share for n in range(parts) if (share := size // parts + (n < size % parts))]
