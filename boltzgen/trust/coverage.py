"""Coverage by frames that training never saw: read, compared with an ensemble, recorded.

The rule itself, two sets of weights compared, is `boltzgen.ensemble.coverage.check_coverage`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from boltzgen.data.trajectory import Trajectory, read_trajectory_at
from boltzgen.ensemble.coverage import check_coverage
from boltzgen.ensemble.diagnostics import worst
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.errors import InputError
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.remedies import OTHER_FRAMES
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.trust.independence import with_inefficiency
from boltzgen.trust.rotamers import rotamer_comparison

#: What is said of a comparison with frames that the flow was trained on.
TRAINED_ON = f"training saw these frames, so that the flow knows them too well; {OTHER_FRAMES}"


def read_check_frames(
    molecule: MolecularSystem | None,
    data: Any,
    temperature: float,
    target: Target,
    told: float | None = None,
) -> Trajectory:
    """The frames of `data` at `temperature`, with a statistical inefficiency; `target` is of `molecule`.

    told: the temperature (K) of frames of a file that does not say it.
    """
    if molecule is None:
        raise InputError(
            "`data` is for molecules; a model system's coverage is known from its exact reference."
        )
    return with_inefficiency(read_trajectory_at(data, molecule, temperature, told=told), molecule, target)


def coverage_of_frames(
    generator: BoltzmannGenerator,
    ensemble: Ensemble,
    flow_log_w: np.ndarray | None,
    frames: Trajectory,
    source: str,
    temperature: float,
    trained: Mapping[str, Any],
) -> dict[str, Any]:
    """The coverage record from those of `frames` that lie inside the flow's domain.

    `flow_log_w` (n,) belongs to draws of the flow, which those of a refined `ensemble` no longer are; None
    for walkers, which are judged by what they visit.
    `trained`: the record of the model (``model.json``), by which frames of its training are known.
    """
    positions = torch.as_tensor(np.array(frames.positions), dtype=torch.float64)
    inside = generator.target.coordinates.inside(positions)
    if not bool(inside.any()):
        raise InputError(f"{source}: no frame at {temperature:g} K lies in the flow's domain.")
    positions = positions[inside]
    u = generator.target.reduced_energy(positions, temperature)
    inefficiency = max([1.0, *frames.statistical_inefficiency.values()])
    record = check_coverage(
        flow_log_w,
        generator.target_log_weights(positions, u, temperature),
        source=source,
        statistical_inefficiency=inefficiency,
        states=rotamer_comparison(generator.target, ensemble, positions, inefficiency),
    )
    return with_findings(record, seen_in_training(trained, frames.digest()))


def seen_in_training(trained: Mapping[str, Any], digest: str) -> list[tuple[str, str]]:
    """The finding that the model of the record `trained`, or one it began from, was trained on these frames.

    `digest`: of the frames, ``Trajectory.digest``. Empty when training did not see them.
    """
    return [("caution", TRAINED_ON)] if digest in trained.get("data_sha256", ()) else []


def with_findings(record: dict[str, Any], found: list[tuple[str, str]]) -> dict[str, Any]:
    """The coverage `record` with what else was `found`: (verdict, reason) each."""
    findings = [(record["verdict"], known) for known in record["reasons"]]
    verdict, reasons = worst([*findings, *found])
    return {**record, "verdict": verdict, "reasons": reasons} if found else record
