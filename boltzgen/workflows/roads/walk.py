"""The steps of every road: each is one other verb (or `cp`, `mv`), said as the command that does the same.

A step that is whole is not done again; one that was cut goes on where its verb can.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boltzgen.checks import SEEDS
from boltzgen.errors import PartialError, StoppedError
from boltzgen.files import writing
from boltzgen.guards import torch_threads
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress
from boltzgen.workflows.roads.defaults import Simulated
from boltzgen.workflows.roads.plan import COMPLETE, PARTIAL, RUNNING, Plan
from boltzgen.workflows.roads.question import Question
from boltzgen.workflows.sampling.merge import merge
from boltzgen.workflows.sampling.sample import sample
from boltzgen.workflows.simulation.simulate import simulate
from boltzgen.workflows.training.adapt import adapt
from boltzgen.workflows.training.train import train

Listen = Callable[[str], AbstractContextManager[Progress]]

#: What is added to the seed, so that no two draws are of one stream.
CHECK_SEED, PART_SEED, PILOT_SEED = 1, 100, 1000

#: Share of the time that is kept for the answer itself: free energies, figures, the page; and for the draws,
#: when the training takes longer than it should.
RESERVE, DRAWS = 0.08, 0.15


#: Folders of what a model draws, besides pilots and parts; and what is decided by draws.
_DRAWN, _OF_DRAWS = (
    ("OUT", "FIRST", "TORSIONS", "CONFORMERS"),
    ("draws", "states", "conformers", "walking"),
)

#: Seconds below which a simulation or an adaption is not begun: to set it up takes as long.
LEAST = 1.0


class Share(StopRequest):
    """A request to stop that comes after some `seconds` (None: never), or when `outer` has one."""

    def __init__(self, outer: StopRequest, seconds: float | None) -> None:
        super().__init__(None if seconds is None else max(seconds, 1e-3))
        self._outer = outer

    @property
    def requested(self) -> bool:
        return self._outer.requested or super().requested

    @property
    def reason(self) -> str:
        return self._outer.reason or super().reason


@dataclass
class Walk:
    """One call of `run`: its folder, plan and question, how much time it has, and who is told.

    limit: seconds from `started`, None for as long as it takes. stop: a signal, or the caller.
    """

    folder: Path
    plan: Plan
    question: Question
    limit: float | None
    stop: StopRequest
    say: Callable[[str], None]
    listen: Listen
    words: Callable[[str], str] = str
    started: float = field(default_factory=time.monotonic)

    def path(self, name: str) -> Path:
        return self.folder / name

    @property
    def system(self) -> Path:
        return self.path("SYS")

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def left(self) -> float | None:
        """Seconds left before those kept for the answer; None without a limit."""
        return None if self.limit is None else max((1 - RESERVE) * self.limit - self.elapsed, 0.0)

    def share(self, part: float) -> float | None:
        """Seconds of `part` (a fraction) of the time, at most what is left; None without a limit."""
        left = self.left()
        return None if self.limit is None or left is None else min(part * self.limit, left)

    def seed(self, offset: int = 0) -> int:
        return (self.question.seed + offset) % SEEDS

    def step(
        self,
        name: str,
        words: Sequence[object],
        work: Callable[[], Any],
        *,
        whole: Callable[[], bool] = lambda: True,
        again: bool = False,
        within: float | None = None,
    ) -> Any:
        """Do one step, unless it is whole (and not wanted `again`); what `work` gives, None for one not done.

        words: the command, its program first. within: seconds that it may take; with hardly any it is not
        begun. A step whose time is over is partial, and the road goes on with what there is; a signal ends
        the road.
        """
        command = shlex.join(str(word) for word in words)
        done = self.plan.step(name)
        if not again and done is not None and done["status"] == COMPLETE and whole():
            return None
        if self.stop.requested:
            raise StoppedError(f"{self.stop.reason} before the step {name!r}; what is done is kept.")
        self.say(f"\n[{self.elapsed:3.0f} s] $ {command}")
        if within is not None and within < LEAST:
            self.plan.record(name, command, PARTIAL, 0.0)
            self.say("        not begun: the time is over")
            return None
        self.plan.record(name, command, RUNNING, 0.0)
        begin = time.monotonic()
        try:
            found = work()
        except (StoppedError, PartialError) as error:
            self.plan.record(name, command, PARTIAL, time.monotonic() - begin)
            if self.stop.requested:
                raise
            self.say(f"        {error}")
            return None
        self.plan.record(name, command, COMPLETE, time.monotonic() - begin)
        return found

    def is_partial(self, name: str) -> bool:
        """Whether the step was begun and is not whole."""
        found = self.plan.step(name)
        return found is not None and found["status"] != COMPLETE

    def copy(self, name: str, source: Path) -> None:
        """A folder of the caller's, copied into the run's, so that it lacks nothing."""
        target = self.path(name)

        def work() -> None:
            with writing(target):
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(source, target)

        self.step(name, ["cp", "-r", source, target], work, whole=target.is_dir)

    def simulate(self, name: str, how: Simulated, *, seed: int, part: float) -> None:
        """Simulate into `name`, within `part` (a fraction) of the time and somewhat more."""
        target, options = self.path(name), how.options()
        words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", value)]
        seconds = self.share(1.5 * part)
        threads = (self.plan.decided("engine") or {}).get("threads")

        def work() -> None:
            title = f"simulate {name}, ps of each replica"
            with torch_threads(threads), self.listen(title) as progress:
                simulate(
                    self.system,
                    target,
                    resume="auto",
                    stop=Share(self.stop, seconds),
                    progress=progress,
                    seed=seed,
                    **options,  # type: ignore[arg-type]
                )

        words = ["boltzgen", "simulate", self.system, "-o", target, *words, "--seed", seed]
        self.step(name, words, work, whole=(target / "manifest.json").is_file, within=seconds)

    def learning(self) -> float | None:
        """Seconds that a training may take, those for the draws left out; None without a limit."""
        left = self.left()
        return None if left is None or self.limit is None else max(left - DRAWS * self.limit, 0.0)

    def train(self, config: str, overrides: Sequence[str]) -> None:
        """Train into RUN with `config` and `overrides`, and stop in time for the draws."""
        target = self.path("RUN")
        settings = [f"system={self.system}", f"data={self.path('MD')}", *overrides]
        seed, seconds = self.seed(), self.learning()

        def work() -> None:
            with self.listen("train") as progress:
                stop = Share(self.stop, seconds)
                train(config, settings, target, resume="auto", seed=seed, stop=stop, progress=progress)

        words = ["boltzgen", "train", config, "-o", target, *settings, "--seed", seed]
        self.step("RUN", words, work, whole=(target / "model" / "model.json").is_file)

    def adapt(self, model: str, budget: int) -> None:
        """Adapt the shipped `model` into RUN with so many energies, and stop in time for the draws."""
        target, kelvin, seed = self.path("RUN"), self.question.temperature, self.seed()
        seconds = self.learning()

        def work() -> None:
            with self.listen("adapt") as progress:
                adapt(
                    model,
                    self.system,
                    target,
                    budget=budget,
                    temperature=kelvin,
                    seed=seed,
                    resume="auto",
                    stop=Share(self.stop, seconds),
                    progress=progress,
                )

        words = ["boltzgen", "adapt", model, self.system, "-o", target, "--budget", budget]
        words += ["--temperature", f"{kelvin:g}", "--seed", seed]
        self.step("RUN", words, work, whole=(target / "model" / "model.json").is_file, within=seconds)

    def draw(
        self,
        name: str,
        model: str | Path,
        number: int,
        *,
        seed: int,
        data: Path | None,
        walkers: int | None = None,
        moved: Path | None = None,
    ) -> None:
        """Draw samples into `name`, or have `walkers` make them, unless they are there, or were `moved`."""
        target, kelvin = self.path(name), self.question.temperature
        left = self.left()

        def work() -> None:
            with self.listen(f"sample {name}") as progress:
                sample(
                    model,
                    self.system,
                    target,
                    number,
                    temperature=kelvin,
                    data=data,
                    chains=walkers is not None,
                    walkers=walkers,
                    seed=seed,
                    overwrite=True,
                    stop=Share(self.stop, None if left is None else max(left, 1.0)),
                    progress=progress,
                )

        words: list[object] = ["boltzgen", "sample", model, self.system, "-o", target, "-n", number]
        words += ["--chains", "--walkers", walkers] if walkers is not None else []
        words += ["--temperature", f"{kelvin:g}", *(["--data", data] if data else []), "--seed", seed]
        places = [target] if moved is None else [target, moved]
        whole = any((place / "manifest.json").is_file() for place in places)
        self.step(name, words, work, whole=lambda: whole)

    def draw_part(
        self, model: str | Path, number: int, part: int, data: Path | None, walkers: int | None = None
    ) -> None:
        """Part 0 of the answer's samples goes into OUT; others into MORE1, ..., and all together into OUT."""
        out, first = self.path("OUT"), self.path("FIRST")
        number = int(self.plan.decide(f"part {part}", number))
        if part == 0:
            self.draw("OUT", model, number, seed=self.seed(), data=data, walkers=walkers, moved=first)
            return
        seed = self.seed(PART_SEED + part)
        self.draw(f"MORE{part}", model, number, seed=seed, data=data, walkers=walkers)

        def move() -> None:
            if not first.exists():
                with writing(first):
                    os.rename(out, first)

        self.step("FIRST", ["mv", out, first], move, whole=first.is_dir)
        folders = [first, *(self.path(f"MORE{k + 1}") for k in range(part))]
        words: list[object] = ["boltzgen", "merge", *folders, "-o", out]
        self.step(f"OUT of {part + 1} parts", words, lambda: merge(folders, out), whole=out.is_dir)

    def renew(self, model: str | Path, pilot: str) -> None:
        """Throw away what was drawn from another model than `model` is now (one that was trained further).

        pilot: the folder of its pilot; those without an underscore are else of shipped models.
        """
        digest = model_digest(model)
        if self.plan.decided("drawn from") not in (None, digest):

            def stale(name: str) -> bool:
                return name in (pilot, *_DRAWN) or name.startswith(("PILOT_", "MORE"))

            for entry in sorted(self.folder.iterdir()):
                if stale(entry.name):
                    with writing(entry):
                        shutil.rmtree(entry)
            names = [step["name"] for step in self.plan.content["steps"]]
            looks = [name for name in names if name.startswith("PILOT") and not stale(name)]
            self.plan.forget(*(name for name in names if name not in ("SYS", "MD", "CHECK", "RUN", *looks)))
            for name in self.plan.content["decided"]:
                own = name.removeprefix("hardly in ")
                if name in _OF_DRAWS or name.startswith("part ") or (own != name and stale(own)):
                    self.plan.redecide(name, None)
        self.plan.redecide("drawn from", digest)


def model_digest(model: str | Path) -> str:
    """SHA-256 of the weights of a run's model, or the name of a shipped one."""
    weights = Path(model) / "model" / "weights.safetensors"
    return hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else str(model)
