"""The training loop: losses with schedules, guards, averages, checkpoints, and an exact way to go on."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from boltzgen.errors import BoltzgenError, InputError, StoppedError
from boltzgen.flows.base import Flow
from boltzgen.generator import Target
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress, silent
from boltzgen.training.checkpoint import Checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint
from boltzgen.training.evaluation import Measured, evaluate
from boltzgen.training.gradients import GradientWorkers, Outcome
from boltzgen.training.metrics import MetricsFiles
from boltzgen.training.objectives import Objectives
from boltzgen.training.settings import TrainingSettings
from boltzgen.training.training_data import TrainingData

#: Consecutive steps without a finite gradient after which a run gives up.
PATIENCE = 50


@dataclass
class Counters:
    """What a run has spent so far; saved with every checkpoint.

    `energy_evaluations` begins with those that made the data; `evaluation_energies` only measure.
    """

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
    data_evaluations: energy evaluations that the data cost; they count in the budget.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        flow: Flow,
        targets: list[Target],
        data: list[TrainingData],
        folder: Path,
        *,
        data_evaluations: int = 0,
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
        self.objectives = Objectives(settings, flow, targets, data)
        self.counters = Counters(energy_evaluations=data_evaluations)
        self.data_evaluations = data_evaluations
        self.last_evaluation: Measured = {}

    def run(self, *, stop: StopRequest | None = None, progress: Progress = silent) -> None:
        """Train to the last step, or until what `settings.until` asks for is reached.

        StoppedError, after a checkpoint, when `stop` asks to end.
        """
        with self.workers.alone():
            self._run(stop or StopRequest(), progress)

    def _run(self, stop: StopRequest, progress: Progress) -> None:
        metrics = MetricsFiles(self.folder, keep_until=self.counters.step)
        counters, total = self.counters, self.settings.optimizer.steps
        started = time.monotonic() - counters.seconds
        enough = self._enough()
        while counters.step < total and not enough:
            values = self._step()
            counters.seconds = time.monotonic() - started
            step, enough = counters.step, self._enough()
            if step % self.settings.evaluation.every == 0 or step == total or enough:
                self.last_evaluation = self.evaluate()
                enough = self._enough()
                counters.seconds = time.monotonic() - started
                metrics.append({**values, **self.last_evaluation, **self._pace()})
            progress(step, total, _shown(values, self.last_evaluation, self._pace()))
            last = step == total or enough
            if step % self.settings.checkpoint_every == 0 or last or stop.requested:
                self.save()
            if stop.requested and not last:
                raise StoppedError(
                    f"{stop.reason} at step {step} of {total}; a checkpoint is in {self.folder}."
                )

    def _enough(self) -> bool:
        """Whether the effective sample size or the budget of `settings.until` is reached."""
        until, counters = self.settings.until, self.counters
        ess = self.last_evaluation.get("ess")
        return (
            (until.ess is not None and ess is not None and ess >= until.ess)
            or (until.evaluations is not None and counters.energy_evaluations >= until.evaluations)
            or (until.minutes is not None and counters.seconds >= 60 * until.minutes)
        )

    def _pace(self) -> Measured:
        """Wall time of the training so far, and evaluations a second of it."""
        counters = self.counters
        spent = counters.energy_evaluations - self.data_evaluations
        rate = spent / counters.seconds if counters.seconds > 0 else None
        return {"seconds": counters.seconds, "evaluations_per_second": rate}

    def _step(self) -> Measured:
        """One optimizer step; returns what the metrics say of it."""
        settings, counters = self.settings, self.counters
        rate = self._set_learning_rate()
        tasks, draws = self.objectives.tasks(counters.step, self.workers.workers)
        outcomes, drawn = self.workers(tasks, [draw.compute for draw in draws])
        for draw, samples in zip(draws, drawn, strict=True):
            draw.buffer.add(samples)
            counters.energy_evaluations += samples.evaluations
        norm = max((outcome.norm for outcome in outcomes if outcome.gradients), default=math.nan)
        sound = any(outcome.gradients for outcome in outcomes)
        counters.discarded_rows += sum(outcome.discarded for outcome in outcomes)
        counters.energy_evaluations += sum(outcome.energy_evaluations for outcome in outcomes)
        filling = not tasks and any(bool(torch.isfinite(samples.energy).any()) for samples in drawn)
        self._apply(sound, expected=not filling)
        counters.step += 1
        progress = counters.step / settings.optimizer.steps
        return {
            "step": counters.step, "progress": progress, "learning_rate": rate,
            **_values(outcomes), "gradient_norm": norm if sound else None,
            "discarded_rows": counters.discarded_rows, "skipped_steps": counters.skipped_steps,
            "energy_evaluations": counters.energy_evaluations,
        }  # fmt: skip

    def _set_learning_rate(self) -> float:
        """Linear warm-up, then a cosine to zero."""
        optimizer, step = self.settings.optimizer, self.counters.step
        rise = min(1.0, (step + 1) / (optimizer.warmup + 1))
        rate = optimizer.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / optimizer.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _apply(self, sound: bool, *, expected: bool) -> None:
        """Take the step and move the average, or skip when the gradient is not finite.

        A step that only put the first samples into a buffer is not `expected` to have a gradient.
        """
        counters = self.counters
        if not expected:
            return
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

    def evaluate(self) -> Measured:
        """How good the averaged flow is on the first target."""
        settings = self.settings.evaluation
        data = self.data[0] if self.data else None
        found = evaluate(self.average, self.targets[0], data, settings, self.settings.seed + 1)
        self.counters.evaluation_energies += settings.samples
        return {**found, "evaluation_energies": self.counters.evaluation_energies}

    def save(self) -> Path:
        """Write a checkpoint from which a run goes on as if it had never stopped."""
        tensors: dict[str, Tensor] = {f"flow/{k}": v for k, v in self.flow.state_dict().items()}
        tensors |= {f"average/{k}": v for k, v in self.average.state_dict().items()}
        tensors |= {f"optimizer/{k}": v for k, v in optimizer_tensors(self.optimizer).items()}
        tensors |= {f"buffer/{k}": v for k, v in self.objectives.tensors().items()}
        record: dict[str, Any] = {"counters": vars(self.counters), "last_evaluation": self.last_evaluation}
        return save_checkpoint(self.folder / "checkpoints", self.counters.step, Checkpoint(tensors, record))

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`; InputError when it is of another flow."""
        try:
            self.flow.load_state_dict(checkpoint.part("flow"))
            self.average.load_state_dict(checkpoint.part("average"))
            restore_optimizer(self.optimizer, checkpoint.part("optimizer"))
            self.objectives.restore(checkpoint.part("buffer"))
            counters = Counters(**checkpoint.record["counters"])
            evaluation = dict(checkpoint.record["last_evaluation"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"The checkpoint does not fit the configured flow ({str(error).splitlines()[0]}); "
                "resume with the configuration that the run was started with."
            ) from error
        self.counters, self.last_evaluation = counters, evaluation


def _values(outcomes: list[Outcome]) -> dict[str, float]:
    """Each term's value, the mean over its tasks; without those that no sound row gave."""
    sums: dict[str, tuple[float, float]] = {}
    for outcome in outcomes:
        for name, value in outcome.parts.items():
            if math.isfinite(value):
                total, share = sums.get(name, (0.0, 0.0))
                sums[name] = total + outcome.task.share * value, share + outcome.task.share
    return {name: total / share for name, (total, share) in sums.items()}


def _shown(values: Measured, evaluation: Measured, pace: Measured) -> dict[str, float | str]:
    """What the progress line shows."""
    shown: dict[str, float | str] = {}
    for name in ("likelihood", "reverse_kl", "reweighted"):
        value = values.get(name)
        if value is not None:
            shown[name.replace("_", " ")] = f"{value:.2f}"
    for name, title in (("ess", "ESS"), ("forward_ess", "forward ESS")):
        share = evaluation.get(name)
        if share is not None:
            shown[title] = f"{100 * share:.1f} %"
    k_hat, rate = evaluation.get("k_hat"), pace.get("evaluations_per_second")
    if k_hat is not None:
        shown["k-hat"] = f"{k_hat:.2f}"
    shown["energies"] = f"{values['energy_evaluations'] or 0:.3g}"
    if rate:
        shown["energies/s"] = f"{rate:.0f}"
    return shown
