"""One constructor for each kind of flow, and flows far from their start."""

from __future__ import annotations

import math

import torch
from helpers import randomised

from boltzgen.conditioning.context import MoleculeFeatures
from boltzgen.conditioning.features import N_FEATURES
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


def small_molecule(kinds: tuple[str, str]) -> MoleculeFeatures:
    """Two coordinates of the kinds given, with correlated features and a tilted whitening."""
    supports = {"circle": (-math.pi, math.pi), "angle": (0.0, math.pi), "bond": (0.0, math.inf)}
    circular = torch.tensor([kind == "circle" for kind in kinds])
    size = int((~circular).sum())
    whitening = torch.tensor([[0.11, 0.0], [0.05, 0.09]], dtype=torch.float64)[:size, :size]
    centres = {"angle": 0.3, "bond": -1.1}
    return MoleculeFeatures(
        fingerprint="-".join(kinds),
        tokens=torch.randn(2, N_FEATURES, generator=torch.Generator().manual_seed(2), dtype=torch.float64),
        graph_distance=torch.tensor([[0, 1], [1, 0]]),
        circular=circular,
        lower=torch.tensor([supports[kind][0] for kind in kinds], dtype=torch.float64),
        upper=torch.tensor([supports[kind][1] for kind in kinds], dtype=torch.float64),
        centre=torch.tensor([centres[kind] for kind in kinds if kind != "circle"], dtype=torch.float64),
        whitening=whitening,
        thermal_energy_unit=8.314e-3,
    )
