"""The training loop: losses with schedules, guards, averages, checkpoints, and an exact way to go on."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from boltzgen.data.record import Trajectory
from boltzgen.errors import BoltzgenError, InputError, StoppedError
from boltzgen.flows.base import Flow
from boltzgen.generator import Target
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress, silent
from boltzgen.training.changes import Changes
from boltzgen.training.checkpoint import Checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint
from boltzgen.training.evaluation import Measured, evaluate, mean
from boltzgen.training.metrics import MetricsFiles, append_molecules
from boltzgen.training.optimizer.gradients import GradientWorkers, Outcome
from boltzgen.training.optimizer.ranks import Ranks
from boltzgen.training.optimizer.soap import Soap
from boltzgen.training.settings import TrainingSettings
from boltzgen.training.step import Objectives
from boltzgen.training.training_data import TrainingData

#: Consecutive steps without a finite gradient after which a run gives up.
PATIENCE = 50

#: Most steps that only draw, before a step is measured.
FILLING = 10


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
    data: frames of each target in the same order, None for one without; or empty, for energies alone.
    folder: the run folder; checkpoints and metrics go there.
    data_evaluations: energy evaluations that the data cost; they count in the budget.
    judged: molecules to measure on, with frames that training never sees; the first target when not given.
    ranks: the processes that train together. kept: called after each checkpoint.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        flow: Flow,
        targets: list[Target],
        data: Sequence[TrainingData | None],
        folder: Path,
        *,
        data_evaluations: int = 0,
        judged: Sequence[tuple[Target, Trajectory | None]] = (),
        ranks: Ranks | None = None,
        kept: Callable[[], None] | None = None,
    ) -> None:
        self.settings, self.targets, self.folder, self.ranks = settings, targets, folder, ranks or Ranks()
        first = data[0] if data else None
        self.judged = list(judged) or [(targets[0], None if first is None else first.unseen)]
        self.flow, self.average = flow, copy.deepcopy(flow)
        self.average.requires_grad_(False)
        optimizer = settings.optimizer
        self.optimizer = Soap(
            flow.parameters(), lr=optimizer.learning_rate, weight_decay=optimizer.weight_decay
        )
        on_cpu = targets[0].reference.device.type == "cpu"
        self.workers = GradientWorkers(flow, settings.workers if on_cpu else 1, optimizer.gradient_clip)
        self.objectives = Objectives(
            settings, flow, targets, data, rank=self.ranks.rank, ranks=self.ranks.size
        )
        shown = {name: one.shown(name) for name, one in settings.all_losses().items()}
        self.changes = Changes(shown, [target.features.dimension for target in targets])
        self.counters = Counters(energy_evaluations=data_evaluations)
        self.data_evaluations, self._kept = data_evaluations, kept
        self.last_evaluation: Measured = {}
        self._last_energies = 0

    def run(self, *, stop: StopRequest | None = None, progress: Progress = silent) -> None:
        """Train to the last step, or until what `settings.until` asks for is reached.

        StoppedError, after a checkpoint, when `stop` asks to end.
        """
        with self.workers.alone():
            self._run(stop or StopRequest(), progress)

    def _run(self, stop: StopRequest, progress: Progress) -> None:
        metrics = self._metrics() if self.ranks.leads else None
        counters, total = self.counters, self.settings.optimizer.steps
        started, measuring = time.monotonic() - counters.seconds, 0.0
        enough = self._enough()
        while counters.step < total and not enough:
            begin = time.monotonic()
            values = self._step()
            spent = time.monotonic() - begin
            counters.seconds = time.monotonic() - started
            step, enough = counters.step, self._agreed(self._enough())
            if step % self.settings.evaluation.every == 0 or step == total or enough:
                if metrics is not None:
                    self.last_evaluation = self.evaluate()
                    measuring = time.monotonic() - started - counters.seconds
                    counters.seconds += measuring
                    metrics.append({**values, **self.last_evaluation, **self._pace()})
                enough = self._agreed(self._enough())
            progress(step, total, self._shown(values))
            due = (step + 1) % self.settings.evaluation.every == 0
            ahead = spent / 2 + (measuring if due else 0.0)
            last, stopped = step == total or enough, self._agreed(not stop.leaves(ahead))
            if self.ranks.leads and (step % self.settings.checkpoint_every == 0 or last or stopped):
                self.save()
            if stopped and not last:
                raise StoppedError(
                    f"{stop.reason or 'Another rank stopped'} at step {step} of {total}; "
                    f"a checkpoint is in {self.folder}."
                )

    def seconds_of_steps(
        self, places: Sequence[float], timed: Callable[[Callable[[], object]], float]
    ) -> list[float]:
        """Wall seconds of a step at each of `places` of the run (0 to 1), as `timed` measures a call.

        The flow moves and nothing is written: for a trainer that is thrown away. Steps that only draw, as the
        first ones of some losses, are made before.
        """
        found = []
        with self.workers.alone():
            for place in places:
                self.counters.step = int(place * self.settings.optimizer.steps)
                for _ in range(FILLING):
                    if self.objectives.tasks(self.counters.step, self.workers.workers)[0]:
                        break
                    self._step()
                found.append(timed(self._step))
        return found

    def _metrics(self) -> MetricsFiles:
        """The run's metrics, with a column for each statistic of each loss."""
        losses = self.settings.all_losses()
        statistics = [column for name, loss in losses.items() for column in loss.statistics(name)]
        columns = [*statistics, *self.changes.columns]
        return MetricsFiles(self.folder, columns, keep_until=self.counters.step)

    def _agreed(self, wish: bool) -> bool:
        """Whether any rank wishes it; all ranks go on or stop together."""
        return self.ranks.total([float(wish)])[0] > 0

    def _enough(self) -> bool:
        """Whether `settings.until` is reached: a further step like the last would pass its evaluations."""
        until, counters = self.settings.until, self.counters
        ess = self.last_evaluation.get("ess")
        return (
            (until.ess is not None and ess is not None and ess >= until.ess)
            or (until.evaluations is not None and self._next_total() > until.evaluations)
            or (until.minutes is not None and counters.seconds >= 60 * until.minutes)
        )

    def _next_total(self) -> int:
        """Evaluations after a further step that costs what the last one did, at least one."""
        return self.counters.energy_evaluations + max(self._last_energies, 1)

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
        norm = max((outcome.norm for outcome in outcomes if outcome.gradients), default=math.nan)
        filling = not tasks and any(bool(torch.isfinite(samples.energy).any()) for samples in drawn)
        sound, waiting, discarded, energies = self.ranks.total(
            [
                any(outcome.gradients for outcome in outcomes),
                filling,
                sum(outcome.discarded for outcome in outcomes),
                sum(outcome.energy_evaluations for outcome in outcomes)
                + sum(samples.evaluations for samples in drawn),
            ]
        )
        counters.discarded_rows += int(discarded)
        self._last_energies = int(energies)
        counters.energy_evaluations += self._last_energies
        self.ranks.average_gradients(self.flow)
        self._apply(sound > 0, expected=sound > 0 or waiting == 0)
        counters.step += 1
        progress = counters.step / settings.optimizer.steps
        return {
            "step": counters.step,
            "progress": progress,
            "learning_rate": rate,
            **_values(outcomes),
            **self.changes.of(outcomes),
            "gradient_norm": None if math.isnan(norm) else norm,
            "discarded_rows": counters.discarded_rows,
            "skipped_steps": counters.skipped_steps,
            "energy_evaluations": counters.energy_evaluations,
        }

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
                    "optimizer.learning_rate or the energy_cap of a loss and go on from the last checkpoint."
                )
            return
        counters.failures_in_a_row = 0
        self.optimizer.step()
        decay = min(self.settings.optimizer.average, (1 + counters.step) / (10 + counters.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.flow.parameters()), 1 - decay)

    def evaluate(self) -> Measured:
        """How good the averaged flow is, in the mean over the molecules it is judged on."""
        settings, seed = self.settings.evaluation, self.settings.seed + 1
        found = [evaluate(self.average, target, unseen, settings, seed) for target, unseen in self.judged]
        self.counters.evaluation_energies += settings.samples * len(found)
        if len(found) > 1:
            names = [target.name for target, _ in self.judged]
            append_molecules(self.folder, self.counters.step, names, found)
        return {**mean(found), "evaluation_energies": self.counters.evaluation_energies}

    def save(self) -> Path:
        """Write a checkpoint from which a run goes on as if it had never stopped."""
        tensors: dict[str, Tensor] = {f"flow/{k}": v for k, v in self.flow.state_dict().items()}
        tensors |= {f"average/{k}": v for k, v in self.average.state_dict().items()}
        tensors |= {f"optimizer/{k}": v for k, v in optimizer_tensors(self.optimizer).items()}
        tensors |= {f"buffer/{k}": v for k, v in self.objectives.tensors().items()}
        first = self.changes.first
        tensors |= {f"first/{k}": torch.tensor(v, dtype=torch.float64) for k, v in first.items()}
        record: dict[str, Any] = {
            "counters": vars(self.counters),
            "last_evaluation": self.last_evaluation,
            "systems": self._fingerprints(),
        }
        place = save_checkpoint(self.folder / "checkpoints", self.counters.step, Checkpoint(tensors, record))
        if self._kept is not None:
            self._kept()
        return place

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`; InputError when it is of another flow or of other molecules."""
        if checkpoint.record.get("systems", self._fingerprints()) != self._fingerprints():
            raise InputError(
                "The checkpoint is of other molecules, or of the same in another order (a data set grew?); "
                "give those of the run, or begin a new run."
            )
        try:
            self.flow.load_state_dict(checkpoint.part("flow"))
            self.average.load_state_dict(checkpoint.part("average"))
            restore_optimizer(self.optimizer, checkpoint.part("optimizer"))
            self.objectives.restore(checkpoint.part("buffer"))
            # a run of an older version has none of them, and counts changes from where it goes on
            self.changes.first = {key: float(value) for key, value in checkpoint.part("first").items()}
            counters = Counters(**checkpoint.record["counters"])
            evaluation = dict(checkpoint.record["last_evaluation"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"The checkpoint does not fit the configured flow ({str(error).splitlines()[0]}); "
                "resume with the configuration that the run was started with."
            ) from error
        if checkpoint.record.get("packed"):  # those that made the data are not counted in it
            counters.energy_evaluations += self.data_evaluations
        self.counters, self.last_evaluation = counters, evaluation

    def _shown(self, values: Measured) -> dict[str, float | str]:
        """What the progress line shows."""
        shown: dict[str, float | str] = dict(self.changes.told(values))
        ess, forward = self.last_evaluation.get("ess"), self.last_evaluation.get("forward_ess")
        if ess is not None:
            shown["ESS"] = f"{100 * ess:.1f} %"
        if forward is not None:
            frames = self.last_evaluation.get("forward_ess_frames") or 0
            shown["forward ESS"] = f"{100 * forward:.1f} % (of {frames:.0f} frames)"
        k_hat, rate = self.last_evaluation.get("k_hat"), self._pace().get("evaluations_per_second")
        if k_hat is not None:
            shown["k-hat"] = f"{k_hat:.2f}"
        shown["energies"] = f"{values['energy_evaluations'] or 0:.3g}"
        if rate:
            shown["energies/s"] = f"{rate:.0f}"
        return shown

    def _fingerprints(self) -> list[str]:
        """Of the targets, in the order of the buffers."""
        return [target.fingerprint for target in self.targets]


def _values(outcomes: list[Outcome]) -> dict[str, float]:
    """Each term's value, the mean over its tasks; without those that no sound row gave."""
    sums: dict[str, tuple[float, float]] = {}
    for outcome in outcomes:
        for name, value in outcome.parts.items():
            if math.isfinite(value):
                total, share = sums.get(name, (0.0, 0.0))
                sums[name] = total + outcome.task.share * value, share + outcome.task.share
    return {name: total / share for name, (total, share) in sums.items()}
