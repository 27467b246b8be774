"""The objectives of a run: which losses a step consists of, and the buffers that feed them.

A step is a list of tasks, computed side by side: likelihood (and log-dispersion) on data, reverse KL on fresh
draws, likelihood (and log-dispersion) on the flow's own weighted samples, and the draws that go into the
buffer for the steps to come. Each task has a random stream of its own, and what it adds is added in the
order of the list, so that a run repeats bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from boltzgen.errors import InputError
from boltzgen.flows.base import Flow, InvertibleFlow
from boltzgen.generator import Target
from boltzgen.training.losses.annealed_draws import draw_annealed
from boltzgen.training.losses.likelihood import negative_log_likelihood
from boltzgen.training.losses.log_dispersion import log_dispersion
from boltzgen.training.losses.loss import Loss
from boltzgen.training.losses.replay_buffer import ReplayBuffer, Samples, draw_samples
from boltzgen.training.losses.reverse_kl import reverse_kl
from boltzgen.training.optimizer.gradients import Task
from boltzgen.training.pairs import Pairs
from boltzgen.training.settings import TrainingSettings, schedule_value
from boltzgen.training.training_data import TrainingData, draw_pairs
from boltzgen.training.turns import molecules_in_turn

#: Random streams that steps one after another leave to each other's tasks.
TASKS = 64


@dataclass(frozen=True)
class Draw:
    """Fresh samples to be put into one buffer once `compute` has drawn them."""

    buffer: ReplayBuffer
    compute: Callable[[], Samples]


@dataclass(frozen=True)
class _Term:
    """One objective at one step, or one molecule's `share` of it: its weight, rows, and what computes it."""

    weight: float
    rows: int
    compute: Callable[[int, torch.Generator], Loss]
    share: float = 1.0


class Objectives:
    """Makes the tasks of each step for one flow, its targets and their data.

    Parameters
    ----------
    data: of each target, None for one that is learned from energies alone; or empty.
    rank, ranks: this process among those that train together; each takes molecules and draws of its own.
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
        self.settings, self.flow, self.targets, self.rank, self.ranks = settings, flow, targets, rank, ranks
        self.data = {place: frames for place, frames in enumerate(data) if frames is not None}
        own = settings.reweighted
        self.buffers = [[ReplayBuffer(own.buffer) for _ in own.temperatures] for _ in targets]
        self._check()

    def tasks(self, step: int, workers: int) -> tuple[list[Task], list[Draw]]:
        """What step number `step` consists of; a lone task is split among the `workers`."""
        done = step / self.settings.optimizer.steps
        stay = step // self.settings.reweighted.stay * self.ranks + self.rank
        step = step * self.ranks + self.rank
        random = partial(_stream, self.settings.seed, step)
        terms, draws = self._terms(step, stay, done, random)
        parts = workers if len(terms) == 1 and not draws else 1
        tasks: list[Task] = []
        for term in terms:
            for rows in _shares(term.rows, parts):
                call = partial(term.compute, rows, random(2 + len(tasks)))
                tasks.append(Task(term.weight, term.share * rows / term.rows, call))
        return tasks, draws

    def _terms(
        self, step: int, stay: int, done: float, random: Callable[[int], torch.Generator]
    ) -> tuple[list[_Term], list[Draw]]:
        """The objectives with a weight above zero at `step`, and the samples to be drawn for later steps.

        `stay` numbers the stays of all ranks on a molecule and temperature.
        """
        data, kl, own = self.settings.likelihood, self.settings.reverse_kl, self.settings.reweighted
        terms: list[_Term] = []
        if self.data and (weight := schedule_value(data.weight, done)) > 0:
            terms += self._data_terms(weight, step, done)
        if (weight := schedule_value(kl.weight, done)) > 0:
            terms.append(_Term(weight, kl.batch_size, partial(self._reverse_kl, self._alone(step))))
        if (weight := schedule_value(own.weight, done)) <= 0:
            return terms, []
        rung = int(torch.randint(len(own.temperatures), (1,), generator=_stream(self.settings.seed, stay, 0)))
        temperature = own.temperatures[rung] * schedule_value(own.heating, done)
        place = self._alone(stay)
        target, buffer = self.targets[place], self.buffers[place][rung]
        if len(buffer):
            compute = partial(self._own, done, target, buffer, temperature)
            terms.append(_Term(weight, own.batch_size, compute))
        fresh = own.fresh if len(buffer) else max(own.fresh, own.first)
        if own.moves:
            draw = partial(draw_annealed, self.flow, target, temperature, fresh, own.moves, random(1))
        else:
            draw = partial(draw_samples, self.flow, target, temperature, fresh, random(1))
        return terms, [Draw(buffer, draw)]

    def _alone(self, turn: int) -> int:
        """The molecule of an objective that is about one at a time."""
        return molecules_in_turn(len(self.targets), 1, turn, self.settings.seed)[0]

    def _data_terms(self, weight: float, step: int, done: float) -> list[_Term]:
        """Likelihood of frames of the molecules whose turn it is, one term a molecule."""
        settings = self.settings.likelihood
        known = sorted(self.data)
        a_step = len(known) if settings.molecules is None else settings.molecules
        chosen = molecules_in_turn(len(known), min(a_step, settings.batch_size), step, self.settings.seed)
        terms = []
        for rows, number in zip(_shares(settings.batch_size, len(chosen)), chosen, strict=True):
            compute = partial(self._data, done, known[number])
            terms.append(_Term(weight, rows, compute, share=rows / settings.batch_size))
        return terms

    def _data(self, done: float, place: int, rows: int, generator: torch.Generator) -> Loss:
        settings, target = self.settings.likelihood, self.targets[place]
        pairs = draw_pairs(target, self.data[place], rows, generator)
        return stored_pairs_loss(
            self.flow, pairs, "likelihood", schedule_value(settings.dispersion, done), settings.knee
        )

    def _own(
        self,
        done: float,
        target: Target,
        buffer: ReplayBuffer,
        temperature: float,
        rows: int,
        generator: torch.Generator,
    ) -> Loss:
        settings = self.settings.reweighted
        pairs = buffer.draw(
            target,
            temperature,
            rows,
            largest_share=settings.largest_share,
            trust_region=settings.trust_region,
            entropy_drop=settings.entropy_drop,
            generator=generator,
        )
        return stored_pairs_loss(
            self.flow, pairs, "reweighted", schedule_value(settings.dispersion, done), settings.knee
        )

    def _reverse_kl(self, place: int, rows: int, generator: torch.Generator) -> Loss:
        target, settings = self.targets[place], self.settings.reverse_kl
        ladder = torch.tensor(settings.temperatures, dtype=torch.float64)
        temperature = ladder[torch.randint(len(ladder), (rows,), generator=generator)]
        return reverse_kl(
            self.flow,
            target,
            temperature.to(target.reference.device),
            energy_cap=settings.energy_cap,
            generator=generator,
            path_gradient=settings.path_gradient,
        )

    def tensors(self) -> dict[str, Tensor]:
        """The buffers, for a checkpoint."""
        return {
            f"{molecule}/{rung}/{name}": value
            for molecule, ladder in enumerate(self.buffers)
            for rung, buffer in enumerate(ladder)
            for name, value in buffer.tensors().items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Inverse of `tensors`."""
        for molecule, ladder in enumerate(self.buffers):
            for rung, buffer in enumerate(ladder):
                start = f"{molecule}/{rung}/"
                own = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
                device = self.targets[molecule].reference.device
                buffer.restore({name: value.to(device) for name, value in own.items()})

    def _check(self) -> None:
        """InputError when at some point of the run no loss has a weight above zero, or one cannot be had."""
        settings = self.settings
        if settings.reweighted.moves and not isinstance(self.flow, InvertibleFlow):
            raise InputError("reweighted.moves need a flow with a latent space; set them to 0.")
        schedules = [settings.reverse_kl.weight, settings.reweighted.weight]
        if self.data:
            schedules.append(settings.likelihood.weight)
        inner = np.linspace(0, 1, 101)[1:-1]
        idle = [p for p in inner if not any(schedule_value(schedule, p) > 0 for schedule in schedules)]
        if len(idle) == len(inner):
            raise InputError(
                "Nothing to train on: there are no data, and reverse_kl.weight and reweighted.weight are 0. "
                "Give data=MD or simulation={}, or reverse_kl.weight=1."
            )
        if idle:
            raise InputError(
                f"From progress {idle[0]:.2f} to {idle[-1]:.2f} no loss that can be computed has a weight "
                "above 0; change the schedules of the weights, or give data."
            )


def stored_pairs_loss(flow: Flow, pairs: Pairs, name: str, dispersion: float, knee: float) -> Loss:
    """Likelihood and `dispersion` times log-dispersion of `pairs`, from one pass of the flow.

    Rows without density, or without energy where it is needed, are discarded and counted. The likelihood
    goes by `name` in the metrics, the log-dispersion by ``dispersion``.
    """
    density = flow.log_prob(pairs.coordinates, flow.embed(pairs.context))
    sound = torch.isfinite(density)
    if dispersion > 0:
        sound = sound & torch.isfinite(pairs.reduced)
    kept = density[sound]
    if not len(kept):
        return Loss(None, 0, len(density))
    value = negative_log_likelihood(kept)
    parts = {name: float(value.detach())}
    if dispersion > 0:
        spread = log_dispersion(kept + pairs.reduced[sound], pairs.groups[sound], knee)
        parts[f"{name}_dispersion"] = float(spread.detach())
        value = value + dispersion * spread
    return Loss(value, len(kept), len(density) - len(kept), parts=parts)


def _stream(seed: int, step: int, task: int) -> torch.Generator:
    """The random stream of one task of a step: a function of seed, step and task alone."""
    more, task = divmod(task, TASKS)
    return torch.Generator().manual_seed(((seed * 1_000_003 + step) * TASKS + task + more * 2**55) % 2**63)


def _shares(size: int, parts: int) -> list[int]:
    """`size` rows in `parts` shares that differ by at most one; none is empty."""
    return [share for n in range(parts) if (share := size // parts + (n < size % parts))]
