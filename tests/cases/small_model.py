"""A flow with fresh weights that is quick to draw from, and the record of its model folder."""

from __future__ import annotations

from boltzgen.conditioning.features import N_FEATURES
from boltzgen.flows.coupling import CouplingSettings

FLOW = CouplingSettings(layers=2, hidden=8, bins=4, embedding=8, encoder_blocks=1)
MODEL = {
    "flow": FLOW.model_dump(mode="json"),
    "n_features": N_FEATURES,
    "isomers": "reference",
    "temperature_K": 300.0,
    "temperatures_K": [300.0],
    "systems": [],
}
