"""What `benchmark transfer` asks about a model: its adapted form, and how strange a molecule is to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from boltzgen.conditioning.familiarity import familiarity
from boltzgen.config.build import Model, load_model
from boltzgen.generator import Target
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress
from boltzgen.workflows.training.adapt import adapt

#: Draws by which `adapt` decides which model to keep; the benchmark judges the kept one by draws of its own.
DECIDING_SAMPLES = 5000


def adapted_model(
    model: Path,
    system: Path,
    output: Path,
    *,
    budget: float,
    temperature: float,
    seed: int,
    device: str,
    stop: StopRequest,
    progress: Progress,
) -> tuple[Model, dict[str, Any]]:
    """`model` adapted to `system` within `budget` energy evaluations, in the folder `output`; and its cost.

    A stopped adaptation goes on where it was. StoppedError when `stop` asks to end.
    """
    done = adapt(
        model,
        system,
        output,
        budget=budget,
        temperature=temperature,
        samples=DECIDING_SAMPLES,
        resume="auto",
        device=device,
        seed=seed,
        stop=stop,
        progress=progress,
    )
    keys = ("evaluations", "evaluations_to_measure", "steps", "seconds", "kept")
    return load_model(output), {"budget": budget, "adaptation": {key: getattr(done, key) for key in keys}}


def unfamiliarity(trained: Model, target: Target) -> float | None:
    """The score of `boltzgen.conditioning.familiarity`; None for a model without a record of what it saw."""
    return None if trained.seen is None else familiarity(trained.seen, target.features).score
