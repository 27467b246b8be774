"""What is measured on the way: how good the averaged flow is now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from boltzgen.data.record import Trajectory
from boltzgen.ensemble.diagnostics import FEWEST_QUOTED, diagnose, forward_ess
from boltzgen.flows.base import Flow
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.training.settings import EvaluationSettings
from boltzgen.units import thermal_energy

#: One measurement: name -> number, None where it is not known.
Measured = dict[str, float | int | None]


def evaluate(
    flow: Flow, target: Target, unseen: Trajectory | None, settings: EvaluationSettings, seed: int
) -> Measured:
    """Effective sample size of `flow` on `target` by its own samples, and how it sees `unseen` frames.

    Returns
    -------
    ``ess``, ``k_hat``, ``log_z``; ``held_out_likelihood`` (mean ``-log q``) and ``forward_ess`` of at most as
    many unseen frames at the temperature of the evaluation as samples, those outside the domain left out;
    None without them. ``forward_ess_frames``: how many of them are independent; `forward_ess` is None from
    fewer than `FEWEST_QUOTED`.
    """
    boltzmann = BoltzmannGenerator(flow, target)
    ensemble = boltzmann.sample(settings.samples, settings.temperature, seed=seed)
    found = diagnose(ensemble.log_w)
    held_out = _held_out(boltzmann, unseen, settings)
    return {"ess": found.ess, "k_hat": found.k_hat, "log_z": found.log_z, **held_out}


def mean(found: Sequence[Measured]) -> Measured:
    """Each number in the mean over several molecules; None where it is unknown for one of them."""
    names = found[0]
    values = {name: [one[name] for one in found] for name in names}
    return {
        name: None if any(v is None for v in known) else float(np.mean(np.array(known, dtype=float)))
        for name, known in values.items()
    }


def _held_out(
    boltzmann: BoltzmannGenerator, frames: Trajectory | None, settings: EvaluationSettings
) -> Measured:
    unknown: Measured = {"held_out_likelihood": None, "forward_ess": None, "forward_ess_frames": None}
    if frames is None:
        return unknown
    rows = np.flatnonzero(frames.is_at(settings.temperature))
    if not len(rows):
        return unknown
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, settings.samples).astype(int))]
    positions = torch.as_tensor(np.array(frames.positions[rows]))
    density, reasons = boltzmann.log_prob(positions, settings.temperature)
    inside = reasons == ""
    log_q, energies = density.cpu().numpy()[inside], frames.energies[rows][inside]
    found = np.isfinite(log_q)
    if not found.any():
        return unknown
    log_w = -energies / thermal_energy(settings.temperature) - log_q
    inefficiency = max([1.0, *frames.statistical_inefficiency.values()])
    independent = min(float(inside.sum()), len(frames) / inefficiency)
    known = bool(np.isfinite(energies).all()) and independent >= FEWEST_QUOTED
    return {
        "held_out_likelihood": float(-log_q[found].mean()),
        "forward_ess": forward_ess(log_w) if known else None,
        "forward_ess_frames": independent,
    }
