"""The adapted form of a model, which `benchmark transfer` measures beside the model itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from boltzgen.config.model import Model, load_model
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
