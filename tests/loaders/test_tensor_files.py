"""Damaged safetensors files, and models whose settings and weights do not belong together."""

from __future__ import annotations

import json
import random
import tracemalloc

import pytest
import torch
from helpers import refusal
from safetensors.torch import save_file
from small_model import FLOW, MODEL

from boltzgen.config.build import MOST_NUMBERS, build_flow, tensor_shapes
from boltzgen.config.model import load_model, save_model
from boltzgen.errors import InputError
from boltzgen.flows.settings import FlowSettings
from boltzgen.loaders import tensors
from boltzgen.loaders.tensors import read_tensors


def packed(header, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(shape=(2,), span=(0, 8), dtype="F32", **more):
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": list(span), **more}}


DAMAGED = {
    "empty": b"",
    "seven bytes": b"\x02\0\0\0\0\0\0",
    "text": b"hello, this is text, and it is long enough",
    "a huge header": packed(b"{}", length=2**63),
    "a header as long as the file promises": packed(b"{}", length=2**24 + 1),
    "no header": packed(b"", length=0),
    "a header that is no JSON": packed(b"{'a': 1}"),
    "a header that is no text": packed(b"\xff\xfe" * 10),
    "a nested header": packed(b"[" * 100_000),
    "a header that is a list": packed([1]),
    "an entry that is a list": packed({"a": [1]}),
    "an entry without a type": packed({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    "an unknown type": packed(entry(dtype="F4"), bytes(8)),
    "a type that is a list": packed(entry() | {"a": {**entry()["a"], "dtype": ["F32"]}}, bytes(8)),
    "a negative shape": packed(entry(shape=(-2,)), bytes(8)),
    "a shape of truth": packed(entry(shape=(True, 2)), bytes(8)),
    "a huge shape": packed(entry(shape=(10**12,)), bytes(8)),
    "a shape that overflows": packed(entry(shape=(2**62, 4)), bytes(8)),
    "many dimensions": packed(entry(shape=(2, *[1] * 60)), bytes(8)),
    "another shape than the span": packed(entry(shape=(3,)), bytes(8)),
    "a span beyond the file": packed(entry(span=(0, 8)), bytes(7)),
    "a span before": packed(entry(span=(8, 0)), bytes(8)),
    "a gap": packed(entry(span=(8, 16)), bytes(16)),
    "bytes too many": packed(entry(), bytes(9)),
    "another key": packed(entry(more=1), bytes(8)),
    "a tensor twice": packed(
        b'{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}, "a": 1}', bytes(1)
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused_without_memory(tmp_path, name):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(DAMAGED[name])
    tracemalloc.start()
    refusal(lambda: read_tensors(path), path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_a_sound_file_is_read(tmp_path):
    path = tmp_path / "weights.safetensors"
    made = {"a": torch.tensor([[1.5, -2.5]]), "b/c": torch.tensor(3), "none": torch.zeros(0, 4)}
    save_file(made, str(path), metadata={"by": "somebody"})
    found = read_tensors(path)
    assert set(found) == set(made) and all(torch.equal(found[name], made[name]) for name in made)
    assert tensors.tensor_shapes(path, "copy it anew.") == {"a": (1, 2), "b/c": (), "none": (0, 4)}


def test_no_flipped_bytes_raise_anything_else(tmp_path):
    path, rng = tmp_path / "weights.safetensors", random.Random(7)
    save_file({"a": torch.arange(5.0), "b": torch.arange(3)}, str(path))
    base = path.read_bytes()
    for _ in range(500):
        content = bytearray(base)
        content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        try:
            read_tensors(path)
        except InputError as error:
            assert str(path) in str(error)


@pytest.fixture
def model(tmp_path):
    save_model(tmp_path / "model", build_flow(FLOW, seed=0), MODEL)
    load_model(tmp_path / "model")
    return tmp_path / "model"


def unsigned(folder, change) -> None:
    """The record of `folder` without its hashes, changed."""
    path = folder / "model.json"
    record = json.loads(path.read_text())
    for key in ("files", "content_sha256"):
        record.pop(key, None)
    change(record)
    path.write_text(json.dumps(record))


HARMED_RECORDS = {
    "another width": lambda record: record["flow"].update(hidden=2 * record["flow"]["hidden"]),
    "the largest width": lambda record: record["flow"].update(hidden=4096, embedding=4096, bins=256),
    "a width that nothing has": lambda record: record["flow"].update(hidden=10**9),
    "an unknown key of the flow": lambda record: record["flow"].update(widht=4),
    "an unknown kind": lambda record: record["flow"].update(kind="nothing"),
    "no flow": lambda record: record.pop("flow"),
    "a flow that is a list": lambda record: record.update(flow=[1]),
    "an unknown key": lambda record: record.update(temprature_K=300.0),
    "no temperature": lambda record: record.pop("temperature_K"),
    "a temperature of text": lambda record: record.update(temperature_K="300"),
    "no temperatures": lambda record: record.update(temperatures_K=[]),
    "systems of text": lambda record: record.update(systems=["a"]),
    "unknown isomers": lambda record: record.update(isomers="all"),
    "another number of features": lambda record: record.update(n_features=3),
    "another schema": lambda record: record.update(schema="other/1"),
    "a file elsewhere": lambda record: record.update(files={"../../x": {"bytes": 1, "sha256": "0"}}),
}


@pytest.mark.parametrize("name", HARMED_RECORDS)
def test_a_record_that_does_not_fit_is_refused(model, name):
    unsigned(model, HARMED_RECORDS[name])
    refusal(lambda: load_model(model), model)


@pytest.mark.parametrize("harm", ["missing", "more", "shape", "not finite"])
def test_weights_that_do_not_fit_are_refused(model, harm):
    unsigned(model, lambda record: None)
    path = model / "weights.safetensors"
    found = read_tensors(path)
    name = next(iter(found))
    if harm == "missing":
        del found[name]
    elif harm == "more":
        found["others"] = torch.zeros(3)
    elif harm == "shape":
        found[name] = found[name].reshape(-1)[:-1].clone()
    else:
        found[name] = torch.full_like(found[name], float("nan"))
    save_file(found, str(path))
    refusal(lambda: load_model(model), model)


def test_a_flow_is_measured_before_it_is_built():
    for kind in ("coupling", "autoregressive"):
        small = FlowSettings.model_validate({"kind": kind, "hidden": 4, "bins": 3})
        built = build_flow(small, seed=0).state_dict()
        assert tensor_shapes(small) == {name: tuple(value.shape) for name, value in built.items()}
    most = {"hidden": 4096, "layers": 256, "embedding": 4096, "bins": 256, "depth": 64, "encoder_blocks": 64}
    with pytest.raises(InputError, match=r"flow\.hidden=4096") as caught:
        build_flow(FlowSettings.model_validate({"kind": "coupling", **most}), seed=0)
    assert f"{MOST_NUMBERS:.0e}" in str(caught.value) and "lower" in str(caught.value)
