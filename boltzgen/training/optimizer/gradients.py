"""Gradients of several losses side by side, one thread each.

The operations of a flow are too small for a processor's cores to share one of them; whole losses (or halves
of one) are not. Tasks are fixed by the settings and summed in their order, so a run repeats bit for bit with
the same number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from boltzgen.guards import pool_of_single_threads
from boltzgen.training.losses.loss import Loss

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """One `share` of a loss; ``weight * loss`` is differentiated. The loss itself says what it is called.

    `of`: the molecule, as in `boltzgen.training.losses.objective.Term`.
    """

    weight: float
    share: float
    compute: Callable[[], Loss]
    of: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a task; `gradients` is empty when no row was sound or the gradient was not finite.

    `parts` are the values of the terms of its loss.
    """

    task: Task
    parts: Mapping[str, float]
    norm: float
    discarded: int
    energy_evaluations: int
    gradients: tuple[Tensor | None, ...]


class GradientWorkers:
    """A pool that differentiates tasks with respect to the parameters of one module.

    Parameters
    ----------
    workers: threads; 1 computes in the calling thread, with torch's own parallelism.
    clip: largest norm of the gradient of each task before its weight, so that the rare huge gradient of
        one loss does not drown the others.
    """

    def __init__(self, module: nn.Module, workers: int, clip: float) -> None:
        self.parameters = list(module.parameters())
        self.workers, self.clip = workers, clip
        self._pool = None
        if workers > 1:
            self._pool = pool_of_single_threads(workers, "gradients")

    def __call__(
        self, tasks: list[Task], others: Sequence[Callable[[], T]] = ()
    ) -> tuple[list[Outcome], list[T]]:
        """Differentiate `tasks`, and beside them call `others`; their results come second.

        The sum of the gradients is left in ``.grad`` of the parameters.
        """
        if self._pool is None:
            outcomes, results = [self._differentiate(task) for task in tasks], [call() for call in others]
        else:
            first = [self._pool.submit(self._differentiate, task) for task in tasks]
            second = [self._pool.submit(call) for call in others]
            outcomes, results = [f.result() for f in first], [f.result() for f in second]
        for index, parameter in enumerate(self.parameters):
            parts = [g for o in outcomes if o.gradients and (g := o.gradients[index]) is not None]
            parameter.grad = torch.stack(parts).sum(dim=0) if parts else None
        return outcomes, results

    def _differentiate(self, task: Task) -> Outcome:
        loss = task.compute()
        if loss.value is None:
            return Outcome(task, {}, math.nan, loss.discarded, loss.energy_evaluations, ())
        gradients = torch.autograd.grad(loss.value, self.parameters, allow_unused=True)
        norm = float(nn.utils.get_total_norm([g for g in gradients if g is not None]))
        found: tuple[Tensor | None, ...] = ()
        if math.isfinite(norm):
            factor = task.weight * task.share * min(1.0, self.clip / max(norm, 1e-12))
            found = tuple(None if gradient is None else gradient * factor for gradient in gradients)
        return Outcome(task, loss.parts, norm, loss.discarded, loss.energy_evaluations, found)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While it lasts PyTorch keeps to one thread beside the workers; more would spin on their cores."""
        before = torch.get_num_threads()
        if self._pool is not None:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
            if self._pool is not None:
                self._pool.shutdown()
