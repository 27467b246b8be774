"""One constructor for each kind of flow, and flows far from their start."""

from __future__ import annotations

import torch
from helpers import randomised

from boltzgen.config.build import build_flow
from boltzgen.flows.autoregressive import AutoregressiveSettings
from boltzgen.flows.coupling import CouplingSettings

#: Spread of the random weights: far from the start, short of saturating the links.
SPREAD = {"alanine": 0.025, "butane": 0.065, "small": 0.03}
#: The one network of an autoregressive flow moves the density less than a stack of layers does.
FACTOR = {"autoregressive": 3.0}

FLOWS = {
    "coupling": CouplingSettings(layers=4, hidden=24, bins=6, embedding=16, encoder_blocks=1),
    "coupling-deep": CouplingSettings(layers=3, hidden=16, depth=3, bins=4, embedding=8, encoder_blocks=0),
    "autoregressive": AutoregressiveSettings(hidden=24, bins=6, embedding=16, encoder_blocks=1),
}


def random_flow(name: str, molecule: str = "alanine", dtype: torch.dtype = torch.float64) -> torch.nn.Module:
    """A flow whose weights are far from where training starts."""
    spread = SPREAD[molecule] * FACTOR.get(name, 1.0)
    flow = build_flow(FLOWS[name], seed=5).to(dtype)
    randomised(flow, spread)
    return flow
