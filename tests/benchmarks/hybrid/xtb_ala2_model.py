"""Architecture and files of ``xtb-ala2-small``, for ``train_xtb_ala2_small.py``."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save
from xtb_ala2_data import ROOT, molecule

from boltzgen.files import write_atomic, write_json
from boltzgen.potentials.learned.ani_network import SCHEMA, SHIPPED, NetworkModel
from boltzgen.potentials.learned.symmetry_functions import SymmetryFunctionSettings

FOLDER = ROOT / "boltzgen" / "ml_models" / SHIPPED

SETTINGS = SymmetryFunctionSettings(
    elements=("H", "C", "N", "O"),
    radial_cutoff=0.65,
    radial_eta=1000.0,
    radial_shells=tuple(float(r) for r in np.round(np.linspace(0.08, 0.612, 20), 4)),
    angular_cutoff=0.40,
    angular_eta=600.0,
    angular_shells=(0.09, 0.145, 0.20, 0.255, 0.31),
    angular_zeta=8,
    angular_sections=tuple(float(a) for a in np.round((np.arange(4) + 0.5) * np.pi / 4, 6)),
)

HIDDEN = (64, 32)
CELU_ALPHA = 1.0

TRAINED_ON: dict[str, Any] = {
    "method": "GFN2-xTB in vacuum (tblite 0.8.0)",
    "molecule": "alanine dipeptide (ACE-ALA-NME)",
    "charge": 0,
}


def trained_on() -> dict[str, Any]:
    return {**TRAINED_ON, "atomic_numbers": [int(n) for n in molecule().atomic_numbers]}


def random_weights(seed: int) -> dict[str, np.ndarray]:
    """Fresh weights, float32."""
    rng = np.random.default_rng(seed)
    widths = [SETTINGS.length, *HIDDEN, 1]
    weights = {}
    for element in SETTINGS.elements:
        weights[f"{element}.mean"] = np.zeros(widths[0])
        weights[f"{element}.scale"] = np.ones(widths[0])
        for layer, (inputs, outputs) in enumerate(pairwise(widths)):
            weights[f"{element}.{layer}.weight"] = rng.normal(size=(outputs, inputs)) / np.sqrt(inputs)
            weights[f"{element}.{layer}.bias"] = np.zeros(outputs)
    return {name: value.astype(np.float32) for name, value in weights.items()}


def save_network(model: NetworkModel, folder: Path) -> None:
    """Write ``weights.safetensors``, then ``model.json`` with its digest."""
    payload = save({name: np.ascontiguousarray(value) for name, value in model.weights.items()})
    write_atomic(folder / "weights.safetensors", payload)
    record = {
        "schema": SCHEMA,
        "name": model.name,
        "symmetry_functions": asdict(model.settings),
        "hidden": list(HIDDEN),
        "celu_alpha": model.celu_alpha,
        "self_energy": model.self_energy,
        "trained_on": model.trained_on,
        "weights_sha256": hashlib.sha256(payload).hexdigest(),
    }
    write_json(folder / "model.json", record)
