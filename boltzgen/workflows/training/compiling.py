"""Passes of the flow without gradients, compiled in a training run that makes many of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from boltzgen.errors import StoppedError
from boltzgen.flows.base import Flow
from boltzgen.flows.compiled_steps import compile_steps, decide_compilation_of_draws, steps_of
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.interrupts import StopRequest
from boltzgen.refine.chains.walkers import pass_of_every_move
from boltzgen.training.settings import TrainingSettings, active_share

#: Share of the time that is left, under a limit of it, that compiling may take.
_SHARE = 0.25


def compile_passes(
    settings: TrainingSettings,
    flow: Flow,
    targets: Sequence[Target],
    asked: bool | None,
    stop: StopRequest | None,
) -> bool:
    """Compile what `flow` draws by, where the losses move walkers, and it pays; whether that was done.

    Under a limit of time it is begun only where it takes little of what is left. StoppedError where `stop`
    comes before it is done.
    """
    losses = settings.all_losses().values()
    a_step = sum(active_share(loss) * loss.passes_a_step for loss in losses)
    if not a_step or asked is False:
        return False
    passes = a_step * settings.optimizer.steps / len(targets)
    molecules = [target.features for target in targets]
    if not any(decide_compilation_of_draws(flow, one, passes, asked) for one in molecules):
        return False
    kelvin = settings.evaluation.temperature
    found = [
        steps_of(flow, partial(pass_of_every_move, BoltzmannGenerator(flow, one), kelvin)) for one in targets
    ]
    steps = {step.key: step for part in found for step in part}.values()
    if asked is None and stop is not None and sum(step.seconds for step in steps) > _SHARE * stop.left:
        return flow.use_compiler(False)
    if not compile_steps(list(steps), stop):
        assert stop is not None
        raise StoppedError(f"{stop.reason} while passes of the flow were compiled, before the first step.")
    return flow.use_compiler()
