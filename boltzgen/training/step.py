"""The losses of a run together: what a step consists of.

A step is a list of tasks, computed side by side, and of draws for the steps to come. Each task has a random
stream of its own, and what it adds is added in the order of the list, so that a run repeats bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from torch import Tensor

from boltzgen.errors import InputError
from boltzgen.flows.base import Flow
from boltzgen.generator import Target
from boltzgen.training.losses.objective import (
    TASKS,
    Draw,
    Given,
    Term,
    Turn,
    random_stream,
    shares,
)
from boltzgen.training.optimizer.gradients import Task
from boltzgen.training.settings import TrainingSettings
from boltzgen.training.training_data import TrainingData

#: Random streams 0 and 1 of a step are those of the losses with keys of their own; tasks have the next ones.
FIRST_OF_TASKS = 2


class Objectives:
    """Makes the tasks of each step for one flow, its targets and their data.

    Parameters
    ----------
    data: of each target, None for one that is learned from energies alone; or empty.
    rank, ranks: this process among those that train together; each takes molecules and draws of its own.

    `losses` holds the objective of each loss by its name.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        flow: Flow,
        targets: list[Target],
        data: Sequence[TrainingData | None],
        *,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.settings, self.rank, self.ranks = settings, rank, ranks
        frames = {place: part for place, part in enumerate(data) if part is not None}
        given = Given(flow, targets, frames)
        self.losses = {name: one.objective(name, given) for name, one in settings.all_losses().items()}
        self._check()

    def tasks(self, step: int, workers: int) -> tuple[list[Task], list[Draw]]:
        """What step number `step` consists of; a lone task is split among the `workers`."""
        done = step / self.settings.optimizer.steps
        terms: list[tuple[float, Term]] = []
        draws: list[Draw] = []
        for name, loss in self.losses.items():
            if (weight := loss.weight_at(done)) > 0:
                turn = Turn(step, done, self.settings.seed, self.rank, self.ranks, self._streams(name))
                terms += [(weight, term) for term in loss.terms(turn)]
                draws += loss.draws(turn)
        parts = workers if len(terms) == 1 and not draws else 1
        random = partial(random_stream, self.settings.seed, step * self.ranks + self.rank)
        tasks: list[Task] = []
        for weight, term in terms:
            for rows in shares(term.rows, parts):
                call = partial(term.compute, rows, random(FIRST_OF_TASKS + len(tasks)))
                tasks.append(Task(weight, term.share * rows / term.rows, call, term.of))
        return tasks, draws

    def _streams(self, name: str) -> int:
        """Where the random streams of a loss begin: far from the tasks' where it stands below `losses`."""
        further = list(self.settings.losses)
        return -TASKS * (further.index(name) + 1) if name in further else 0

    def tensors(self) -> dict[str, Tensor]:
        """What the losses remember, for a checkpoint."""
        return {
            f"{name}/{key}": value
            for name, loss in self.losses.items()
            for key, value in loss.tensors().items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Inverse of `tensors`."""
        for name, loss in self.losses.items():
            start = f"{name}/"
            loss.restore({k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)})

    def _check(self) -> None:
        """InputError when at some point of the run no loss that can be computed has a weight above zero."""
        inner = np.linspace(0, 1, 101)[1:-1]
        idle = [p for p in inner if not any(loss.weight_at(p) > 0 for loss in self.losses.values())]
        if len(idle) == len(inner):
            able = [f"{name}.weight" for name, loss in self.losses.items() if loss.places]
            missing = "there are no data, and " if len(able) < len(self.losses) else ""
            raise InputError(
                f"Nothing to train on: {missing}{' and '.join(able)} are 0. "
                f"Give data=MD or simulation={{}}, or {able[0]}=1."
            )
        if idle:
            raise InputError(
                f"From progress {idle[0]:.2f} to {idle[-1]:.2f} no loss that can be computed has a weight "
                "above 0; change the schedules of the weights, or give data."
            )
