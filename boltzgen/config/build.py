"""From names and numbers in a file to objects: flows, targets, models. The only place that does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from boltzgen.conditioning.familiarity import Seen
from boltzgen.conditioning.features import FEATURES_VERSION, N_FEATURES, ORDER
from boltzgen.config.shipped import find_model
from boltzgen.errors import InputError
from boltzgen.files import atomic_path, read_json, write_json
from boltzgen.flows.autoregressive import AutoregressiveFlow
from boltzgen.flows.base import Flow
from boltzgen.flows.coupling import CouplingFlow
from boltzgen.flows.settings import FlowSettings
from boltzgen.training.checkpoint import read_tensors

MODEL_SCHEMA = "boltzgen.model/1"


def build_flow(settings: FlowSettings, *, seed: int) -> Flow:
    """A flow with fresh weights; `seed` decides them."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs' streams as well
        common = settings.model_dump(include={"bins", "embedding", "encoder_blocks"})
        width, depth = settings.hidden, settings.depth
        if settings.kind == "autoregressive":
            unread = ORDER if settings.local else ()
            return AutoregressiveFlow(
                N_FEATURES,
                hidden=width,
                depth=depth,
                local=settings.local,
                degree=settings.degree,
                unread=unread,
                **common,
            )
        layers = settings.model_dump(include={"layers", "mask_seed"})
        return CouplingFlow(N_FEATURES, hidden=width, depth=depth, **layers, **common)


@dataclass(frozen=True)
class Model:
    """A trained flow, what is known of its training, and the molecules it has seen (None in older models)."""

    flow: Flow
    record: dict[str, Any]
    seen: Seen | None = None

    @property
    def isomers(self) -> str:
        return str(self.record["isomers"])

    @property
    def temperature(self) -> float:
        """The temperature (K) it was judged at, the default for sampling."""
        return float(self.record["temperature_K"])

    @property
    def all_evaluations(self) -> int:
        """Energy evaluations of its data and training, and of the model that it began from."""
        return int(self.record.get("energy_evaluations", 0)) + int(self.record.get("start_evaluations", 0))

    @property
    def all_systems(self) -> list[dict[str, Any]]:
        """The molecules it was trained on, and those of the models that it began from."""
        return [*self.record["systems"], *self.record.get("start_systems", [])]

    def was_trained_on(self, fingerprint: str, graph: str) -> bool:
        """Whether it, or a model that it began from, saw this system, or its graph in any force field."""
        return any(one["fingerprint"] == fingerprint or one.get("graph") == graph for one in self.all_systems)

    @property
    def temperatures(self) -> list[float]:
        """The temperatures (K) it was trained at."""
        return [float(t) for t in self.record["temperatures_K"]]


def save_model(folder: Path, flow: Flow, record: dict[str, Any], seen: Seen | None = None) -> None:
    """Write ``weights.safetensors``, ``model.json`` and, if given, ``seen.safetensors`` to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous() for name, value in flow.state_dict().items()}
    with atomic_path(folder / "weights.safetensors") as temporary:
        save_file(tensors, str(temporary))
    if seen is None:
        (folder / "seen.safetensors").unlink(missing_ok=True)
    else:
        with atomic_path(folder / "seen.safetensors") as temporary:
            save_file(seen.tensors(), str(temporary))
    write_json(folder / "model.json", {"schema": MODEL_SCHEMA, **record})


def load_model(path: Path) -> Model:
    """The model in `path`: a model folder, the run folder that holds it, or the name of a shipped model."""
    folder = find_model(path)
    record = read_json(folder / "model.json")
    if not isinstance(record, dict) or record.get("schema") != MODEL_SCHEMA:
        raise InputError(f"{folder / 'model.json'} does not follow the schema {MODEL_SCHEMA}; train again.")
    found = (record.get("n_features"), record.get("features_version", 1))
    if found != (N_FEATURES, FEATURES_VERSION):
        raise InputError(
            f"{folder}: the model was made for {found[0]} features a coordinate (version {found[1]}), this "
            f"version gives {N_FEATURES} (version {FEATURES_VERSION}); train again or install the version "
            "that made it."
        )
    try:
        flow = build_flow(FlowSettings.model_validate(record["flow"]), seed=0)
        flow.load_state_dict(read_tensors(folder / "weights.safetensors"))
    except (KeyError, ValidationError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise InputError(
            f"{folder}: the weights do not fit model.json ({first}); the folder is damaged."
        ) from error
    flow.eval()
    return Model(flow, record, _seen(folder / "seen.safetensors"))


def _seen(path: Path) -> Seen | None:
    """What the model in the folder of `path` was trained on; None for models of before there was a record."""
    if not path.is_file():
        return None
    tensors = read_tensors(path)
    try:
        return Seen.from_tensors(tensors)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path}: not a record of training molecules ({error}); copy the model anew."
        ) from error
