"""Models and checkpoints of older versions: read to the same numbers, or refused with what reads them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from helpers import ROOT
from safetensors.torch import load_file, save_file

from boltzgen import __version__
from boltzgen.conditioning.context import Context
from boltzgen.config.model import Model, load_model, save_model
from boltzgen.config.upgrades import MODEL, MODEL_STEPS, MODEL_VERSION, with_new_features
from boltzgen.errors import InputError
from boltzgen.generator import read_target
from boltzgen.training.checkpoint import load_checkpoint
from boltzgen.training.metrics import read_metrics
from boltzgen.training.upgrades import (
    CHECKPOINT,
    CHECKPOINT_STEPS,
    CHECKPOINT_VERSION,
    Stored,
    shaped_by_weights,
    upgraded,
)
from boltzgen.workflows.training.train import train

GOLDEN = ROOT / "tests" / "golden"
MODELS = sorted((GOLDEN / "models").glob("v*/*"))
RUNS = sorted((GOLDEN / "checkpoints").glob("v*/*"))


def named(path: Path) -> str:
    return "/".join(path.parts[-2:])


def assert_says_the_same(model: Model, expected: dict) -> None:
    """The log densities (float64) of the stored conformations are those that the writer gave."""
    _, target = read_target(expected["system"], isomers="reference")
    positions = torch.tensor(expected["positions"], dtype=torch.float64)
    flow, kelvin = model.flow.double(), torch.full((len(positions),), expected["temperature_K"])
    with torch.no_grad():
        context = Context.of(target.features, kelvin.double())
        found = flow.log_prob(target.coordinates.encode(positions)[0], flow.embed(context))
    assert found.tolist() == pytest.approx(expected["log_prob"], rel=1e-7, abs=1e-6)


@pytest.mark.parametrize("folder", MODELS, ids=named)
def test_a_model_of_each_version_says_the_same(folder, tmp_path):
    expected = json.loads((folder / "expected.json").read_text())
    model = load_model(folder)
    assert_says_the_same(model, expected)
    save_model(tmp_path / "NEW", model.flow.float(), model.record, model.seen)
    written = json.loads((tmp_path / "NEW" / "model.json").read_text())
    assert list(written)[:2] == ["schema", "boltzgen_version"]
    assert (written["schema"], written["boltzgen_version"]) == (f"{MODEL}/{MODEL_VERSION}", __version__)
    assert_says_the_same(load_model(tmp_path / "NEW"), expected)


@pytest.mark.parametrize("folder", RUNS, ids=named)
def test_a_run_of_each_version_goes_on_to_the_same_numbers(folder, tmp_path):
    """From its checkpoint after two steps of four: buffer, optimizer, average, and random streams."""
    shutil.copytree(folder, tmp_path / "RUN")
    train(tmp_path / "RUN" / "config.yaml", [], tmp_path / "RUN", resume="auto")
    rows = read_metrics(tmp_path / "RUN" / "metrics.jsonl")
    expected = json.loads((folder / "expected.json").read_text())["rows"]
    assert len(rows) == len(expected) == 1
    for key, value in expected[0].items():
        assert rows[0][key] == (value if value is None else pytest.approx(value, rel=1e-4)), key
    (last,) = (tmp_path / "RUN" / "checkpoints").glob("step-00000004")
    state = json.loads((last / "state.json").read_text())
    assert state["schema"] == f"{CHECKPOINT}/{CHECKPOINT_VERSION}"
    assert state["boltzgen_version"] == __version__


def test_the_released_models_need_not_be_rewritten():
    """What was released with this version or an older one loads as it is."""
    for path in sorted((ROOT / "models").glob("*/model.json")):
        record = json.loads(path.read_text())
        model = load_model(path.parent)
        assert model.record["schema"] == f"{MODEL}/{MODEL_VERSION}" and model.seen is not None
        assert record["schema"] in {f"{MODEL}/{n + 1}" for n in range(MODEL_VERSION)}
        assert model.record["systems"] == record["systems"]


def test_every_older_version_is_kept():
    for room, steps in (("models", MODEL_STEPS), ("checkpoints", CHECKPOINT_STEPS)):
        kept = {int(path.name[1:]) for path in (GOLDEN / room).glob("v*")}
        assert set(steps) == set(range(1, max(steps) + 1)) <= kept
    assert (MODEL_VERSION, CHECKPOINT_VERSION) == (max(MODEL_STEPS) + 1, max(CHECKPOINT_STEPS) + 1)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_steps_follow_one_another(version):
    steps = {
        n: (lambda s, n=n: Stored({**s.record, "seen": [*s.record["seen"], n]}, s.tensors)) for n in (1, 2)
    }
    first = Stored({"schema": f"boltzgen.thing/{version}", "seen": []}, {"flow/a": torch.ones(2)})
    last = upgraded(first, "boltzgen.thing", steps, Path("x.json"))
    assert last.record == {"schema": "boltzgen.thing/3", "seen": list(range(version, 3))}
    assert first.record["seen"] == [] and last.tensors is first.tensors


def test_new_features_change_nothing():
    """A layer that gets two inputs more gives the same numbers, whatever they are."""
    torch.manual_seed(4)
    weight, features = torch.randn(3, 5), torch.randn(7, 5)
    wide = torch.cat([features[:, :2], 9.0 * torch.randn(7, 4), features[:, 2:]], dim=1)
    after = with_new_features(weight, 2, 4)
    assert after.shape == (3, 9)
    torch.testing.assert_close(wide @ after.T, features @ weight.T)


def test_weights_in_rows_get_the_shape_of_the_weights():
    """Hidden width 3; the row of a token holds its weights one after the other."""
    rows = {"enter.bias": torch.arange(15.0), "leave.1.bias": torch.arange(8.0) + 2}
    rows |= {"leave.1.weight": torch.arange(16.0).reshape(8, 2), "shift.bias": torch.arange(3.0)}
    found = shaped_by_weights(rows, 3)
    assert found["enter.bias"][4, 2] == 14 and found["enter.bias"].shape == (5, 3)
    assert found["leave.1.bias"].tolist() == [[2, 3], [4, 5], [6, 7], [8, 9]]
    assert found["leave.1.weight"][3, 1].tolist() == [14, 15]
    assert found["shift.bias"] is rows["shift.bias"]
    assert all(torch.equal(shaped_by_weights(found, 3)[name], found[name]) for name in found)


def changed(folder: Path, name: str, **record) -> None:
    known = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**known, **record}))


def two_harmonics(folder: Path) -> None:
    """The first coupling layers: four inputs of each torsion, not six."""
    tensors = load_file(str(folder / "weights.safetensors"))
    for layer in (0, 1):
        for kind in ("weight", "bias"):
            name = f"layers.{layer}.enter_circular.{kind}"
            tensors[name] = tensors[name][:16].contiguous()
    save_file(tensors, str(folder / "weights.safetensors"))


def of_a_molecule(folder: Path) -> None:
    changed(folder, "model.json", systems=[{"name": "butane", "fingerprint": "0a1b", "graph": "c"}])


NEWER = {"schema": f"{MODEL}/{MODEL_VERSION + 7}", "boltzgen_version": "3.1.4"}
FLOW = {"kind": "attention", "layers": 8, "hidden": 4}
REFUSED = {
    "newer": (
        "coupling",
        lambda f: changed(f, "model.json", **NEWER),
        "install boltzgen-sampler 3.1.4 or newer",
    ),
    "newer, by nobody": (
        "coupling",
        lambda f: changed(f, "model.json", schema=f"{MODEL}/99"),
        "install a newer boltzgen-sampler",
    ),
    "foreign": (
        "coupling",
        lambda f: changed(f, "model.json", schema="other/1"),
        f"expected the schema {MODEL}/{MODEL_VERSION} (or an older one), found 'other/1'",
    ),
    "version 0": (
        "coupling",
        lambda f: changed(f, "model.json", schema=f"{MODEL}/0"),
        "found 'boltzgen.model/0'",
    ),
    "a list": ("coupling", lambda f: (f / "model.json").write_text("[1]"), "found None"),
    "no flow": ("coupling", lambda f: changed(f, "model.json", flow=None), "it is damaged"),
    "features of later": (
        "coupling",
        lambda f: changed(f, "model.json", features_version=5),
        "reads 135 features of a coordinate (version 5)",
    ),
    "attention": ("coupling", lambda f: changed(f, "model.json", flow=FLOW), "its commit 90e764f"),
    "two harmonics": ("coupling-in-rows", two_harmonics, "its commit 32c60ff"),
    "a molecule without rings": ("autoregressive-without-rings", of_a_molecule, "its commit 73adcd3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_upgraded_is_refused_in_a_sentence(case, tmp_path):
    name, harm, told = REFUSED[case]
    shutil.copytree(GOLDEN / "models" / "v1" / name, tmp_path / "MODEL")
    harm(tmp_path / "MODEL")
    with pytest.raises(InputError, match=re.escape(told)) as caught:
        load_model(tmp_path / "MODEL")
    message = str(caught.value)
    assert "MODEL" in message and "train again" not in message
    assert "\n" not in message and len(message.replace(str(tmp_path), "")) < 400


def test_runs_that_cannot_go_on_are_refused_in_a_sentence(tmp_path):
    shutil.copytree(GOLDEN / "checkpoints" / "v1" / "coupling", tmp_path / "RUN")
    place = tmp_path / "RUN" / "checkpoints" / "step-00000002"
    former = (place / "state.json").read_text()
    changed(place, "state.json", schema=f"{CHECKPOINT}/9", boltzgen_version="7.0.1")
    with pytest.raises(
        InputError, match=r"reads boltzgen.checkpoint/2 and older; install boltzgen-sampler 7\.0\.1"
    ):
        train(tmp_path / "RUN" / "config.yaml", [], tmp_path / "RUN", resume="auto")
    (place / "state.json").write_text(former)
    tensors = load_file(str(place / "state.safetensors"))
    tensors["optimizer/0/exp_avg"] = torch.ones(3)
    save_file(tensors, str(place / "state.safetensors"))
    with pytest.raises(InputError, match="its commit d0a71e3"):
        load_checkpoint(place)
