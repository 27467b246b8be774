"""A harmonic well with a tiny flow: what the tests of losses and of mixtures share."""

from __future__ import annotations

import torch

from boltzgen.config.build import build_flow
from boltzgen.flows.coupling import CouplingSettings

WELL = "harmonic-well-0.7-3"
TINY = CouplingSettings(layers=2, hidden=8, bins=4, embedding=8, encoder_blocks=0)
#: A run of a second: `train` learns the double well from energies, two steps after each measurement.
DOUBLE_WELL = {
    "system": "model:double-well",
    "reverse_kl": {"weight": 1.0, "batch_size": 16},
    "flow": TINY.model_dump(mode="json"),
    "optimizer": {"steps": 4, "learning_rate": 0.01},
    "evaluation": {"every": 2, "samples": 50},
    "checkpoint_every": 1,
    "workers": 1,
}
#: Data that a run or a data set makes itself, in a second.
SIMULATION = {
    "evaluations": 1200,
    "temperatures": [300.0, 450.0],
    "frames": 40,
    "exchange_interval": 0.005,
    "equilibration": 0.02,
}
STIFFNESS, DIMENSION, WIDTH, TEMPERATURE = 0.7, 3, 2.0, 450.0


def tiny_flow(spread: float, seed: int = 3):
    """A float64 flow; spread 0 makes it exactly its base, a normal of width 2 sqrt(T / 300)."""
    flow = build_flow(TINY, seed=seed).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in flow.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if "output" in name:
                parameter.copy_(spread * noise)
    return flow
