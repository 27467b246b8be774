"""What is measured on the way: how good the averaged flow is now."""

from __future__ import annotations

import numpy as np
import torch

from boltzgen.ensemble.diagnostics import diagnose, forward_ess
from boltzgen.flows.base import Flow
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.training.settings import EvaluationSettings
from boltzgen.training.training_data import TrainingData
from boltzgen.units import GAS_CONSTANT

#: One measurement: name -> number, None where it is not known.
Measured = dict[str, float | int | None]


def evaluate(
    flow: Flow, target: Target, data: TrainingData | None, settings: EvaluationSettings, seed: int
) -> Measured:
    """Effective sample size of `flow` on `target` by its own samples, and how it sees held-out frames.

    Returns
    -------
    ``ess``, ``k_hat``, ``log_z``; ``held_out_likelihood`` (mean ``-log q``) and ``forward_ess`` of at most as
    many held-out frames at the temperature of the evaluation as samples, those outside the domain left out;
    None without them, or when they were simulated with another potential.
    """
    boltzmann = BoltzmannGenerator(flow, target)
    ensemble = boltzmann.sample(settings.samples, settings.temperature, seed=seed)
    found = diagnose(ensemble.log_w)
    held_out = _held_out(boltzmann, data, settings)
    return {"ess": found.ess, "k_hat": found.k_hat, "log_z": found.log_z, **held_out}


def _held_out(
    boltzmann: BoltzmannGenerator, data: TrainingData | None, settings: EvaluationSettings
) -> Measured:
    unknown: Measured = {"held_out_likelihood": None, "forward_ess": None}
    if data is None or data.weighted:
        return unknown
    frames = data.held_out
    rows = np.flatnonzero(np.abs(frames.temperatures - settings.temperature) < 0.01)
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
    log_w = -energies / (GAS_CONSTANT * settings.temperature) - log_q
    forward = forward_ess(log_w) if np.isfinite(energies).all() else None
    return {"held_out_likelihood": float(-log_q[found].mean()), "forward_ess": forward}
