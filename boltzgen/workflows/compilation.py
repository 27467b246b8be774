"""Whether the energy of a run is compiled: decided before it starts, and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from boltzgen.generator import Target
from boltzgen.potentials.base import Potential
from boltzgen.potentials.fast.compiled import PAYS_FROM, can_compile
from boltzgen.training.settings import TrainingSettings, schedule_value


def decide_compilation(
    targets: Sequence[Target], evaluations: float, asked: bool | None, device: str
) -> dict[str, Any]:
    """Switch the compilation of energies on or off; returns the decision, to be recorded.

    `asked` None: on when `evaluations` of the energy will pay for it (see `PAYS_FROM`).
    `evaluations` counts those of all targets together.
    """
    return compile_or_not([target.potential for target in targets], evaluations, asked, device)


def compile_or_not(
    potentials: Sequence[Potential], evaluations: float, asked: bool | None, device: str
) -> dict[str, Any]:
    """`decide_compilation` for potentials without targets."""
    rows = max(potential.compilable_rows for potential in potentials)
    pays = evaluations * rows / len(potentials) > PAYS_FROM
    wanted = rows > 0 and (pays if asked is None else asked)
    for potential in potentials:
        potential.use_compiler(wanted)
    return {
        "asked": {None: "auto", True: "yes", False: "no"}[asked],
        "used": wanted and can_compile(device),
        "expected_energy_evaluations": round(evaluations),
    }


def evaluations_of(settings: TrainingSettings) -> float:
    """Energies that a whole training run will ask for, those of the evaluations on the way included."""
    middles = (np.arange(100) + 0.5) / 100
    a_step = 0.0
    kl, own = settings.reverse_kl, settings.reweighted
    for weight, rows in ((kl.weight, kl.batch_size), (own.weight, own.fresh * (1 + own.moves))):
        active = np.mean([schedule_value(weight, place) > 0 for place in middles])
        a_step += float(active) * rows
    every_step = a_step + settings.evaluation.samples / settings.evaluation.every
    return settings.optimizer.steps * every_step + own.first * (1 + own.moves)
