"""Makes the models and checkpoints of ``tests/golden/{models,checkpoints}/vN`` with the code as it is.

Run it once, before a schema number is raised, and never again for that number: what it wrote is what every
later version must read to the same numbers (`tests/config/test_upgrades.py`)::

    python tests/golden/make_versions.py v2

Each model folder keeps ``expected.json`` with positions and their log densities in the flow, each run folder
the metrics of the steps that follow its checkpoint.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import torch

from boltzgen.conditioning.context import Context
from boltzgen.conditioning.familiarity import Seen
from boltzgen.conditioning.features import FEATURES_VERSION, N_FEATURES
from boltzgen.config.build import build_flow
from boltzgen.config.model import save_model
from boltzgen.flows.settings import FlowSettings
from boltzgen.generator import read_target
from boltzgen.training.metrics import read_metrics
from boltzgen.workflows.training.train import train

HERE = Path(__file__).resolve().parent

#: Name -> system, temperature (K) and flow, as small as they can be with every tensor in them.
MODELS = {
    "coupling": (
        "example:alanine-dipeptide-sbg",
        330.0,
        {"kind": "coupling", "layers": 2, "hidden": 4, "bins": 3, "embedding": 4, "encoder_blocks": 1},
    ),
    "autoregressive": (
        "example:alanine-dipeptide-sbg",
        310.0,
        {"kind": "autoregressive", "hidden": 4, "bins": 3, "embedding": 4, "encoder_blocks": 1},
    ),
    "autoregressive-local": (
        "example:alanine-dipeptide-fab",
        370.0,
        {
            "kind": "autoregressive",
            "hidden": 4,
            "depth": 1,
            "bins": 3,
            "embedding": 4,
            "encoder_blocks": 1,
            "local": True,
            "degree": 2,
        },
    ),
}
RUN = {
    "system": "model:double-well",
    "seed": 3,
    "reverse_kl": {"weight": 0.7, "batch_size": 16},
    "reweighted": {"weight": 1.0, "batch_size": 8, "fresh": 8, "first": 8, "buffer": 16, "dispersion": 0.5},
    "optimizer": {"steps": 4, "learning_rate": 0.02, "warmup": 1},
    "evaluation": {"every": 2, "samples": 100},
    "checkpoint_every": 2,
    "workers": 1,
}
STEP = 2


def make_model(name: str, folder: Path) -> None:
    """An untrained flow, its weights far from where they begin, and what it says of three conformations."""
    source, kelvin, flow_settings = MODELS[name]
    settings = FlowSettings.model_validate(flow_settings)
    _, target = read_target(source, isomers="reference")
    flow = build_flow(settings, seed=11)
    generator = torch.Generator().manual_seed(12)
    with torch.no_grad():
        for value in flow.parameters():
            value += 0.15 * torch.randn(value.shape, generator=generator)
    record = {
        "flow": settings.model_dump(mode="json"),
        "n_features": N_FEATURES,
        "features_version": FEATURES_VERSION,
        "isomers": "reference",
        "temperature_K": kelvin,
        "temperatures_K": [300.0, kelvin],
        "systems": [
            {
                "name": target.name,
                "fingerprint": target.fingerprint,
                "graph": target.graph,
                "domain": target.domain,
            }
        ],
        "start_systems": [],
        "steps": 0,
        "energy_evaluations": 0,
        "data_evaluations": 0,
        "start_evaluations": 0,
        "evaluation": {},
        "seed": 11,
        "data_sha256": [],
    }
    save_model(folder, flow, record, Seen.of([target.features], [300.0, kelvin]))
    reference = target.reference.double()
    positions = reference + 0.004 * torch.randn(
        (3, *reference.shape[-2:]), generator=generator, dtype=torch.float64
    )
    coordinates = target.coordinates.encode(positions)[0]
    context = Context.of(target.features, torch.full((3,), kelvin, dtype=torch.float64))
    flow = flow.double()
    with torch.no_grad():
        log_prob = flow.log_prob(coordinates, flow.embed(context))
    assert bool(torch.isfinite(log_prob).all())
    expected = {
        "system": source,
        "temperature_K": kelvin,
        "positions": positions.tolist(),
        "log_prob": log_prob.tolist(),
    }
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def make_run(kind: str, folder: Path) -> None:
    """A run of four steps: the checkpoint after the second is kept, and the metrics of the others."""
    config = folder.parent / f"{kind}.config.json"
    folder.parent.mkdir(parents=True, exist_ok=True)
    small = {"kind": kind, "hidden": 4, "depth": 1, "bins": 3, "embedding": 4, "encoder_blocks": 0}
    layers = {"layers": 2} if kind == "coupling" else {}
    config.write_text(json.dumps({**RUN, "flow": {**small, **layers}}))
    train(config, [], folder)
    config.unlink()
    timed = ("seconds", "evaluations_per_second")
    rows = [
        {key: value for key, value in row.items() if key not in timed}
        for row in read_metrics(folder / "metrics.jsonl")
        if row["step"] > STEP
    ]
    kept = folder / "checkpoints" / f"step-{STEP:08d}"
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and kept not in path.parents and path.name != "config.yaml":
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    (folder / "expected.json").write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    version = sys.argv[1]
    for room in ("models", "checkpoints"):
        shutil.rmtree(HERE / room / version, ignore_errors=True)
    for name in MODELS:
        make_model(name, HERE / "models" / version / name)
    for kind in ("coupling", "autoregressive"):
        make_run(kind, HERE / "checkpoints" / version / kind)
