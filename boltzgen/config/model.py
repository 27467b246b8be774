"""A trained model: the record, its folder, and how it is read and written."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from boltzgen.conditioning.familiarity import Seen
from boltzgen.conditioning.features import FEATURES_VERSION, N_FEATURES
from boltzgen.config.build import build_flow, tensor_shapes
from boltzgen.config.model_record import ModelRecord
from boltzgen.config.settings import build_settings
from boltzgen.config.shipped import NEXT, find_model
from boltzgen.config.upgrades import MODEL, MODEL_STEPS, MODEL_VERSION
from boltzgen.digests import CONTENT, file_digests, require_signed, require_unchanged, signed
from boltzgen.errors import InputError
from boltzgen.files import atomic_path, make_folder, read_json, together, write_json, writing
from boltzgen.flows.base import Flow
from boltzgen.flows.settings import FlowSettings
from boltzgen.loaders.records import checked
from boltzgen.loaders.tensors import read_tensors
from boltzgen.training.upgrades import Stored, schema_version, upgraded, written_record

#: What to do about a model that cannot be read.
REMEDY = "copy the model anew, or train it again."


@dataclass(frozen=True, repr=False)
class Model:
    """A trained flow, what is known of its training, and the molecules it has seen (None in older models)."""

    flow: Flow
    record: dict[str, Any]
    seen: Seen | None = None

    def __repr__(self) -> str:
        ladder = ", ".join(f"{kelvin:g}" for kelvin in self.temperatures)
        return f"<Model: {self.flow!r}, trained on {len(self.record['systems'])} systems at {ladder} K>"

    @property
    def isomers(self) -> str:
        return str(self.record["isomers"])

    @property
    def flow_settings(self) -> FlowSettings:
        """What its flow is made of."""
        return FlowSettings.model_validate(self.record["flow"])

    def flow_of(self, kind: FlowSettings) -> Flow:
        """Its flow as one of settings `kind`, which go on from its own: what it lacks does nothing yet."""
        if kind == self.flow_settings:
            return self.flow
        flow = build_flow(kind, seed=0).to(next(self.flow.parameters()).dtype)
        flow.load_state_dict({**flow.state_dict(), **self.flow.state_dict()})
        return flow

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
    """Write ``weights.safetensors``, ``model.json`` and, if given, ``seen.safetensors`` to `folder`.

    The present version is written, whatever `record` says of another. A model that stands there is replaced
    by a whole one: whenever the process is killed, `find_model` finds the one or the other.
    """
    following, former = folder.with_name(NEXT.format(folder.name)), folder.with_name(f".{folder.name}.former")
    with writing(folder):
        if (folder / "model.json").exists():
            shutil.rmtree(following, ignore_errors=True)
            shutil.rmtree(former, ignore_errors=True)
            _write_model(following, flow, record, seen)
            folder.rename(former)
            following.rename(folder)
        else:
            _write_model(folder, flow, record, seen)
        for left in (following, former):
            shutil.rmtree(left, ignore_errors=True)


def _write_model(folder: Path, flow: Flow, record: dict[str, Any], seen: Seen | None) -> None:
    make_folder(folder)
    tensors = {name: value.detach().cpu().contiguous() for name, value in flow.state_dict().items()}
    with together(folder / "model.json"):
        with atomic_path(folder / "weights.safetensors") as temporary:
            save_file(tensors, str(temporary))
        names = ["weights.safetensors"]
        if seen is not None:
            with atomic_path(folder / "seen.safetensors") as temporary:
                save_file(seen.tensors(), str(temporary))
            names += ["seen.safetensors"]
        whole = {**written_record(MODEL, MODEL_VERSION, record), "files": file_digests(folder, names)}
        write_json(folder / "model.json", signed(whole))
        if seen is None:
            with writing(folder):
                (folder / "seen.safetensors").unlink(missing_ok=True)


def load_model(path: Path) -> Model:
    """The model in `path`: a model folder, the run folder that holds it, or the name of a shipped model.

    Models of older versions are upgraded in memory. InputError when there is none, it is damaged, of a
    newer version, or cannot be upgraded exactly.
    """
    folder = find_model(path)
    place = folder / "model.json"
    stored = upgraded(_stored(folder), MODEL, MODEL_STEPS, place)
    record = checked(ModelRecord, stored.record, str(place), REMEDY)
    found = (record.get("n_features"), record.get("features_version", 1))
    if found != (N_FEATURES, FEATURES_VERSION):
        raise InputError(
            f"{folder}: the model reads {found[0]} features of a coordinate (version {found[1]}), this "
            f"boltzgen gives {N_FEATURES} (version {FEATURES_VERSION}) and knows no others; install the "
            f"boltzgen-sampler that wrote it ({record.get('boltzgen_version') or 'not recorded'})."
        )
    try:
        settings = build_settings(FlowSettings, record["flow"], source=str(place))  # type: ignore[type-abstract]
        shapes = tensor_shapes(settings)
    except InputError as error:
        raise InputError(
            f"{folder}: the flow of its model.json cannot be built ({error}); {REMEDY}"
        ) from error
    weights = _part(stored, "flow")
    _check_weights(folder, weights, shapes)
    try:
        flow = build_flow(settings, seed=0)
        flow.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise InputError(
            f"{folder}: the weights do not fit model.json ({first}); the folder is damaged."
        ) from error
    flow.eval()
    return Model(flow, record, _seen(folder / "seen.safetensors", _part(stored, "seen")))


def _check_weights(
    folder: Path, weights: dict[str, Tensor], shapes: dict[str, tuple[int, ...]] | None
) -> None:
    """InputError unless the `weights` are finite and have the `shapes` that model.json asks for, if known."""
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if shapes is not None and found != shapes:
        name = next(name for name in {**shapes, **found} if found.get(name) != shapes.get(name))
        raise InputError(
            f"{folder}: the weights do not fit model.json (the tensor {name[:80]!r} is {found.get(name)}, "
            f"expected {shapes.get(name)}); {REMEDY}"
        )
    for name, value in weights.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(f"{folder}: the weights {name[:80]!r} are not finite; {REMEDY}")


def model_record(folder: Path) -> dict[str, Any]:
    """``model.json`` of the model in `folder`, in its present version; InputError when it is damaged."""
    place = folder / "model.json"
    stored = upgraded(_stored(folder), MODEL, MODEL_STEPS, place)
    return checked(ModelRecord, stored.record, str(place), REMEDY)


def _stored(folder: Path) -> Stored:
    """What the files of `folder` hold, of whatever version; the version is looked at before the weights.

    Files are compared with the hashes of model.json; the record is without them.
    """
    record = read_json(folder / "model.json")
    schema_version(record, MODEL, MODEL_VERSION, folder / "model.json")
    require_unchanged(folder, record.get("files"), REMEDY)
    require_signed(folder / "model.json", record, REMEDY)
    weights = folder / "weights.safetensors"
    tensors = {f"flow/{key}": value for key, value in read_tensors(weights, REMEDY).items()}
    seen = folder / "seen.safetensors"
    if seen.is_file():
        tensors |= {f"seen/{key}": value for key, value in read_tensors(seen, REMEDY).items()}
    digests = ("files", CONTENT)
    return Stored({key: value for key, value in record.items() if key not in digests}, tensors)


def _part(stored: Stored, part: str) -> dict[str, Tensor]:
    """The tensors named ``part/name``, by name."""
    start = f"{part}/"
    return {key.removeprefix(start): value for key, value in stored.tensors.items() if key.startswith(start)}


def _seen(path: Path, tensors: dict[str, Tensor]) -> Seen | None:
    """What the model was trained on; None for models of before there was a record."""
    if not tensors:
        return None
    try:
        return Seen.from_tensors(tensors)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path}: not a record of training molecules ({error}); copy the model anew."
        ) from error
