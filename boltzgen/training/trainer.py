"""The training loop: losses with schedules, guards, averages, checkpoints, and an exact way to go on."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from boltzgen.ensemble.diagnostics import diagnose
from boltzgen.errors import BoltzgenError, InputError, StoppedError
from boltzgen.flows.base import Flow
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress, silent
from boltzgen.training.checkpoint import Checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint
from boltzgen.training.gradients import GradientWorkers, Outcome, Task
from boltzgen.training.metrics import MetricsFiles
from boltzgen.training.objectives import Loss, negative_log_likelihood, reverse_kl, reweighted_likelihood
from boltzgen.training.settings import Schedule, TrainingSettings, schedule_value
from boltzgen.training.training_data import TrainingData, draw_batch

#: Consecutive steps without a finite gradient after which a run gives up.
PATIENCE = 50


@dataclass
class Counters:
    """What a run has spent so far; saved with every checkpoint."""

    step: int = 0
    skipped_steps: int = 0
    discarded_rows: int = 0
    energy_evaluations: int = 0
    evaluation_energies: int = 0
    seconds: float = 0.0
    failures_in_a_row: int = field(default=0)


class Trainer:
    """Trains one flow on one or several targets.

    Parameters
    ----------
    settings: the run's. flow: freshly built, on the device of the targets.
    data: frames of each target in the same order, or an empty list for energies alone.
    folder: the run folder; checkpoints and metrics go there.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        flow: Flow,
        targets: list[Target],
        data: list[TrainingData],
        folder: Path,
    ) -> None:
        self.settings, self.targets, self.data, self.folder = settings, targets, data, folder
        self.flow, self.average = flow, copy.deepcopy(flow)
        self.average.requires_grad_(False)
        optimizer = settings.optimizer
        self.optimizer = torch.optim.AdamW(
            flow.parameters(), lr=optimizer.learning_rate, weight_decay=optimizer.weight_decay
        )
        on_cpu = targets[0].reference.device.type == "cpu"
        self.workers = GradientWorkers(flow, settings.workers if on_cpu else 1, optimizer.gradient_clip)
        self.counters = Counters()
        self.last_evaluation: dict[str, float | int | None] = {}
        self._check_losses()

    def run(self, *, stop: StopRequest | None = None, progress: Progress = silent) -> None:
        """Train to the last step; StoppedError, after a checkpoint, when `stop` asks for it."""
        with self.workers.alone():
            self._run(stop or StopRequest(), progress)

    def _run(self, stop: StopRequest, progress: Progress) -> None:
        metrics = MetricsFiles(self.folder, keep_until=self.counters.step)
        total = self.settings.optimizer.steps
        started = time.monotonic() - self.counters.seconds
        while self.counters.step < total:
            values = self._step()
            self.counters.seconds = time.monotonic() - started
            step = self.counters.step
            if step % self.settings.evaluation.every == 0 or step == total:
                self.last_evaluation = self.evaluate()
                self.counters.seconds = time.monotonic() - started
                metrics.append({**values, **self.last_evaluation, "seconds": self.counters.seconds})
            progress(step, total, _shown(values, self.last_evaluation))
            if step % self.settings.checkpoint_every == 0 or step == total:
                self.save()
            elif stop.requested:
                self.save()
            if stop.requested and step < total:
                raise StoppedError(
                    f"{stop.reason} at step {step} of {total}; a checkpoint is in {self.folder}."
                )

    def _step(self) -> dict[str, float | int | None]:
        """One optimizer step; returns what the metrics say of it."""
        settings, counters = self.settings, self.counters
        rate = self._set_learning_rate()
        outcomes = self.workers(self._tasks(counters.step / settings.optimizer.steps))
        norm = max((outcome.norm for outcome in outcomes if outcome.gradients), default=math.nan)
        sound = any(outcome.gradients for outcome in outcomes)
        counters.discarded_rows += sum(outcome.discarded for outcome in outcomes)
        counters.energy_evaluations += sum(outcome.energy_evaluations for outcome in outcomes)
        self._apply(sound)
        counters.step += 1
        progress = counters.step / settings.optimizer.steps
        return {
            "step": counters.step, "progress": progress, "learning_rate": rate,
            **_values(outcomes), "gradient_norm": norm if sound else None,
            "discarded_rows": counters.discarded_rows, "skipped_steps": counters.skipped_steps,
            "energy_evaluations": counters.energy_evaluations,
        }  # fmt: skip

    def _tasks(self, done: float) -> list[Task]:
        """The losses with a weight above zero at this point; a lone one is split among the workers."""
        settings = self.settings
        objectives: dict[str, tuple[Schedule, int, Callable[[int, torch.Generator], Loss]]] = {
            "reverse_kl": (settings.reverse_kl.weight, settings.reverse_kl.batch_size, self._reverse_kl),
            "reweighted": (settings.reweighted.weight, settings.reweighted.batch_size, self._reweighted),
        }
        if self.data:
            own = settings.likelihood
            objectives = {"likelihood": (own.weight, own.batch_size, self._likelihood), **objectives}
        active = {k: v for k, v in objectives.items() if schedule_value(v[0], done) > 0}
        parts = 1 if len(active) > 1 else self.workers.workers
        tasks: list[Task] = []
        for name, (schedule, size, compute) in active.items():
            for rows in _shares(size, parts):
                call = partial(compute, rows, self._generator(len(tasks)))
                tasks.append(Task(name, schedule_value(schedule, done), rows / size, call))
        return tasks

    def _generator(self, task: int) -> torch.Generator:
        """The random stream of one task of this step: a function of seed, step and task alone."""
        stream = (self.settings.seed * 1_000_003 + self.counters.step) * 64 + task
        return torch.Generator().manual_seed(stream % 2**63)

    def _likelihood(self, rows: int, generator: torch.Generator) -> Loss:
        batch, context = draw_batch(self.targets, self.data, rows, generator)
        return negative_log_likelihood(self.flow, batch, context)

    def _reverse_kl(self, rows: int, generator: torch.Generator) -> Loss:
        """On the targets in turn, a step each."""
        target, settings = self.targets[self.counters.step % len(self.targets)], self.settings.reverse_kl
        ladder = torch.tensor(settings.temperatures, dtype=torch.float64)
        temperature = ladder[torch.randint(len(ladder), (rows,), generator=generator)].to(
            target.reference.device
        )
        return reverse_kl(self.flow, target, temperature, energy_cap=settings.energy_cap, generator=generator)

    def _reweighted(self, rows: int, generator: torch.Generator) -> Loss:
        """On the targets in turn, a step each, at one of the temperatures."""
        target, settings = self.targets[self.counters.step % len(self.targets)], self.settings.reweighted
        place = int(torch.randint(len(settings.temperatures), (1,), generator=generator))
        temperature = torch.full((rows,), settings.temperatures[place], dtype=torch.float64)
        return reweighted_likelihood(
            self.flow, target, temperature.to(target.reference.device), largest_share=settings.largest_share,
            generator=generator,
        )  # fmt: skip

    def _set_learning_rate(self) -> float:
        """Linear warm-up, then a cosine to zero."""
        optimizer, step = self.settings.optimizer, self.counters.step
        rise = min(1.0, (step + 1) / (optimizer.warmup + 1))
        rate = optimizer.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / optimizer.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _apply(self, sound: bool) -> None:
        """Take the step and move the average, or skip when the gradient is not finite."""
        counters = self.counters
        if not sound:
            counters.skipped_steps += 1
            counters.failures_in_a_row += 1
            if counters.failures_in_a_row >= PATIENCE:
                raise BoltzgenError(
                    f"{PATIENCE} steps in a row gave no finite gradient (last step {counters.step}); lower "
                    "optimizer.learning_rate or reverse_kl.energy_cap and go on from the last checkpoint."
                )
            return
        counters.failures_in_a_row = 0
        self.optimizer.step()
        decay = min(self.settings.optimizer.average, (1 + counters.step) / (10 + counters.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.flow.parameters()), 1 - decay)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float | int | None]:
        """Effective sample size of the averaged flow on the first target; likelihood of held-out frames."""
        evaluation, target = self.settings.evaluation, self.targets[0]
        boltzmann = BoltzmannGenerator(self.average, target)
        ensemble = boltzmann.sample(evaluation.samples, evaluation.temperature, seed=self.settings.seed + 1)
        self.counters.evaluation_energies += evaluation.samples
        found = diagnose(ensemble.log_w)
        return {
            "ess": found.ess, "k_hat": found.k_hat, "log_z": found.log_z,
            "held_out_likelihood": self._held_out(boltzmann),
            "evaluation_energies": self.counters.evaluation_energies,
        }  # fmt: skip

    def _held_out(self, boltzmann: BoltzmannGenerator) -> float | None:
        """Mean -log q of at most as many held-out frames as samples, at the evaluation's temperature."""
        if not self.data:
            return None
        evaluation, frames = self.settings.evaluation, self.data[0].held_out
        rows = np.flatnonzero(np.abs(frames.temperatures - evaluation.temperature) < 0.01)
        if not len(rows):
            return None
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, evaluation.samples).astype(int))]
        positions = torch.as_tensor(np.array(frames.positions[rows]))
        density, _ = boltzmann.log_prob(positions, evaluation.temperature)
        density = density[torch.isfinite(density)]
        return float(-density.mean()) if len(density) else None

    def save(self) -> Path:
        """Write a checkpoint from which a run goes on as if it had never stopped."""
        tensors: dict[str, Tensor] = {f"flow/{k}": v for k, v in self.flow.state_dict().items()}
        tensors |= {f"average/{k}": v for k, v in self.average.state_dict().items()}
        tensors |= {f"optimizer/{k}": v for k, v in optimizer_tensors(self.optimizer).items()}
        record: dict[str, Any] = {"counters": vars(self.counters), "last_evaluation": self.last_evaluation}
        return save_checkpoint(self.folder / "checkpoints", self.counters.step, Checkpoint(tensors, record))

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`; InputError when it is of another flow."""
        try:
            self.flow.load_state_dict(checkpoint.part("flow"))
            self.average.load_state_dict(checkpoint.part("average"))
            restore_optimizer(self.optimizer, checkpoint.part("optimizer"))
            counters = Counters(**checkpoint.record["counters"])
            evaluation = dict(checkpoint.record["last_evaluation"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"The checkpoint does not fit the configured flow ({str(error).splitlines()[0]}); "
                "resume with the configuration that the run was started with."
            ) from error
        self.counters, self.last_evaluation = counters, evaluation

    def _check_losses(self) -> None:
        """InputError when at some point of the run no loss has a weight above zero."""
        settings = self.settings
        schedules = [settings.reverse_kl.weight, settings.reweighted.weight]
        if self.data:
            schedules.append(settings.likelihood.weight)
        inner = np.linspace(0, 1, 101)[1:-1]
        idle = [p for p in inner if not any(schedule_value(schedule, p) > 0 for schedule in schedules)]
        if len(idle) == len(inner):
            raise InputError(
                "Nothing to train on: there are no data, and reverse_kl.weight is 0. "
                "Give data=MD or reverse_kl.weight=1."
            )
        if idle:
            raise InputError(
                f"From progress {idle[0]:.2f} to {idle[-1]:.2f} no loss that can be computed has a weight "
                "above 0; change the schedules of the weights, or give data."
            )


def _shares(size: int, parts: int) -> list[int]:
    """`size` rows in `parts` shares that differ by at most one; none is empty."""
    return [share for n in range(parts) if (share := size // parts + (n < size % parts))]


def _values(outcomes: list[Outcome]) -> dict[str, float]:
    """Each loss's value, the mean over its tasks; without those that no sound row gave."""
    values: dict[str, float] = {}
    for name in {outcome.task.name for outcome in outcomes}:
        own = [(o.task.share, o.value) for o in outcomes if o.task.name == name and o.value is not None]
        finite = [(share, value) for share, value in own if math.isfinite(value)]
        if finite:
            values[name] = sum(share * value for share, value in finite) / sum(share for share, _ in finite)
    return values


def _shown(
    values: dict[str, float | int | None], evaluation: dict[str, float | int | None]
) -> dict[str, float | str]:
    """What the progress line shows."""
    shown: dict[str, float | str] = {}
    for name in ("likelihood", "reverse_kl", "reweighted"):
        value = values.get(name)
        if value is not None:
            shown[name.replace("_", " ")] = f"{value:.2f}"
    ess = evaluation.get("ess")
    if ess is not None:
        shown["ESS"] = f"{100 * ess:.1f} %"
    return shown
