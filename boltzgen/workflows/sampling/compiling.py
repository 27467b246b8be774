"""What of a task is compiled, within the time that is left, and what that does to the time it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from boltzgen.errors import StoppedError
from boltzgen.flows.compiled_steps import (
    Step,
    compile_steps,
    decide_compilation_of_draws,
    seconds_saved,
    steps_of,
    steps_to_draw,
)
from boltzgen.generator import BoltzmannGenerator
from boltzgen.interrupts import StopRequest
from boltzgen.potentials.fast.compiled import decide_compilation
from boltzgen.refine.chains.settings import ChainSettings
from boltzgen.refine.chains.walkers import pass_of_every_move
from boltzgen.workflows.sampling.options import SampleOptions
from boltzgen.workflows.timing.expectation import Expectation

#: What compiled chains take at least of the time of others.
_LEAST = 0.3


@dataclass(frozen=True)
class Passes:
    """Whether passes of the flow are compiled, which `steps` are for that yet, and the seconds it `saves`."""

    compiled: bool
    steps: Sequence[Step]
    saves: float

    @property
    def takes(self) -> float:
        """Seconds of compiling, before the first walker moves."""
        return sum(step.seconds for step in self.steps) if self.compiled else 0.0

    def told(self, plain: Expectation) -> Expectation:
        """What to expect with it, where `plain` is what there was to expect without."""
        if not self.compiled:
            return plain
        seconds = max(_LEAST * plain.seconds, plain.seconds - self.saves) + self.takes
        further = f"Compiling its passes takes {self.takes:.0f} s of it." if self.steps else plain.further
        return replace(plain, seconds=seconds, further=further)

    def compile(self, stop: StopRequest | None) -> None:
        """Do it; StoppedError where `stop` comes before the end."""
        if self.compiled and not compile_steps(self.steps, stop):
            assert stop is not None
            raise StoppedError(f"{stop.reason} while passes of the flow were compiled, before any sample.")


def share_within(stop: StopRequest | None, seconds: float) -> float | None:
    """What of something that takes `seconds` there is time for, at most 1; None without a limit of time."""
    if stop is None or stop.max_time is None:
        return None
    return min(1.0, stop.left / max(seconds, 1e-9))


def decided(
    generator: BoltzmannGenerator,
    temperature: float,
    energies: float,
    asked: SampleOptions,
    settings: ChainSettings | None,
    before: Mapping[str, bool] | None,
    share: float | None,
) -> tuple[dict[str, Any], Passes]:
    """Switch compiled energies and passes on or off; the decision, to be recorded, and the passes.

    temperature: K. energies: of the whole task. settings: of chains, None for independent draws, whose passes
    are compiled only when `asked`, so that draws of one seed round alike however many there are. before: what
    chains that go on here do. share: of the task, what a limit of time leaves room for; None without one.
    """
    target, flow, wanted = generator.target, generator.flow, asked.compile_energies
    kept = {"used": wanted, "draws": wanted} if before is None else before
    record = decide_compilation([target.potential], energies, wanted, asked.device)
    used = decide_compilation(
        [target.potential], energies * (1.0 if share is None else share), kept["used"], asked.device
    )["used"]
    draws = kept["draws"] if settings is not None else wanted is True
    passes = 0.0 if settings is None else energies / settings.walkers_a_group  # an energy follows a pass
    compiled, steps = decide_compilation_of_draws(flow, target.features, passes, draws), list[Step]()
    if compiled:  # listing takes a pass of every kind, a second or two
        if settings is None:
            steps = steps_to_draw(flow, target.features, temperature)
        else:
            steps = steps_of(flow, partial(pass_of_every_move, generator, temperature))
        compiled = decide_compilation_of_draws(flow, target.features, passes, draws, share=share, steps=steps)
    saves = seconds_saved(target.features, passes) if compiled else 0.0
    return {**record, "used": used, "draws": compiled}, Passes(compiled, steps, saves)
