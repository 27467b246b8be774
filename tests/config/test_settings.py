"""Configuration files: what is refused, and in which words."""

from __future__ import annotations

import json

import pytest
from pydantic import Field

from boltzgen.config.keys import keys_of
from boltzgen.config.settings import (
    Settings,
    apply_overrides,
    build_settings,
    dump_yaml,
    load_settings,
    parse_yaml,
)
from boltzgen.errors import InputError
from boltzgen.training.settings import TrainingSettings
from boltzgen.workflows.datasets.settings import DatasetSettings


class Optimizer(Settings):
    learning_rate: float = Field(3e-3, gt=0)
    """Step size."""
    betas: tuple[float, float] = (0.85, 0.97)
    """Decay rates."""


class Example(Settings):
    steps: int = Field(7, ge=1)
    """Steps."""
    name: str = "x"
    """A name."""
    optimizer: Optimizer = Optimizer()
    """How to step."""
    maybe: Optimizer | None = None
    """Another."""


def load(tmp_path, text, overrides=()):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return load_settings(Example, path, overrides)


def test_file_and_overrides_meet(tmp_path):
    got = load(
        tmp_path,
        "steps: 12\noptimizer:\n  learning_rate: 2e-4\n",
        ["optimizer.betas=[0.5, 0.6]", "name=abc", "maybe.learning_rate=5e-1"],
    )
    assert got.steps == 12 and got.name == "abc"
    assert got.optimizer.learning_rate == 2e-4 and got.optimizer.betas == (0.5, 0.6)
    assert got.maybe is not None and got.maybe.learning_rate == 0.5


def test_dumped_settings_come_back_equal(tmp_path):
    got = load(tmp_path, "steps: 5\n", ["optimizer.learning_rate=1.25e-7"])
    assert load(tmp_path, dump_yaml(got)) == got


@pytest.mark.parametrize(
    ("text", "overrides", "words"),
    [
        ("stpes: 3\n", [], ["unknown key 'stpes'", "Did you mean 'steps'"]),
        ("optimizer: {learning_rte: 1}\n", [], ["optimizer.learning_rte", "Did you mean 'learning_rate'"]),
        ("maybe: {learning_rte: 1}\n", [], ["Did you mean 'learning_rate'"]),
        ("steps: many\n", [], ["'steps' is 'many'", "integer"]),
        ("steps: 0\n", [], ["'steps' is 0", "greater than or equal to 1"]),
        ("optimizer: {learning_rate: .nan}\n", [], ["learning_rate", "finite"]),
        ("steps: 1\nsteps: 2\n", [], ["given twice", "line 2"]),
        ("", [], ["empty"]),
        ("- 1\n- 2\n", [], ["found a list"]),
        ("steps: [1, 2\n", [], ["not valid YAML", "line"]),
        ("a: !!python/object:os.system x\n", [], ["not valid YAML"]),
        ("? [1, 2]\n: 3\n", [], ["plain word"]),
        ("steps: 3\n", ["steps"], ["'steps' is not an override"]),
        ("steps: 3\n", ["steps.deep=4"], ["holds a single value"]),
        ("steps: 3\n", ["=4"], ["is not an override"]),
        ("steps: 3\n", ["nmae=4"], ["Did you mean 'name'"]),
    ],
)
def test_faults_are_sentences(tmp_path, text, overrides, words):
    with pytest.raises(InputError) as caught:
        load(tmp_path, text, overrides)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(InputError, match="no such configuration file"):
        load_settings(Example, tmp_path / "absent.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="cannot be read"):
        load_settings(Example, tmp_path / "b.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        load_settings(Example, tmp_path)


def test_overrides_leave_the_original_alone():
    original = {"a": {"b": 2}}
    assert apply_overrides(original, ["a.b=3"]) == {"a": {"b": 3}}
    assert original == {"a": {"b": 2}}


@pytest.mark.parametrize("text", ["1e-3", "1E5", "-2.5e+1", ".5e2", "3."])
def test_numbers_that_yaml_reads_as_text(text):
    assert parse_yaml(text, source="x") == float(text)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("likelihood.weight=much", "'likelihood.weight' is 'much': input should be a valid number, unable"),
        ("likelihood.weight=[[0, x]]", "'likelihood.weight.0.1' is 'x': input should be a valid number,"),
        ("likelihood.weight=-1", "'likelihood.weight' is -1: a weight or rate cannot be negative."),
        ("dataset=3", "'dataset' is 3: input should be a valid string."),
        ("dataset=[3]", "'dataset.0' is 3: input should be a valid string."),
        ("system=[]", "'system' is []: list should have at least 1 item"),
    ],
)
def test_a_key_of_two_kinds_is_judged_as_the_one_that_was_meant(override, words):
    with pytest.raises(InputError) as caught:
        build_settings(TrainingSettings, {}, [override])
    assert str(caught.value).startswith(f"settings: {words}")
    assert str(caught.value).count(" is ") == 1


@pytest.mark.parametrize(
    ("flow", "words"),
    [
        ({"kind": "autoregressive", "layers": 4}, "only flows of kind coupling have this key; leave it at 8"),
        ({"mask_seed": 1}, "only flows of kind coupling have this key; leave it at 0"),
        ({"kind": "coupling", "local": True}, "only flows of kind autoregressive have this key"),
        ({"kind": "coupling", "degree": 2}, "only flows of kind autoregressive have this key"),
        ({"kind": "attention"}, "'flow.kind' is 'attention'"),
    ],
)
def test_a_key_of_another_kind_of_flow_is_refused(flow, words):
    with pytest.raises(InputError) as caught:
        build_settings(TrainingSettings, {"system": "SYS", "flow": flow}, [])
    assert words in str(caught.value)
    plain = {"system": "SYS", "flow": {"kind": "coupling", "layers": 8, "local": False}}
    assert build_settings(TrainingSettings, plain, []).flow.layers == 8


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("steps=3", "unknown key 'steps'. Did you mean 'optimizer.steps'?"),
        ("flow.steps=3", "unknown key 'flow.steps'. Did you mean 'optimizer.steps'?"),
        ("stpes=3", "Did you mean 'optimizer.steps'?"),
        ("learning_rte=3", "Did you mean 'optimizer.learning_rate'?"),
        ("hidden=3", "Did you mean 'flow.hidden'?"),
        ("optimizer.holdout=0.1", "Did you mean 'holdout' at the top level?"),
        ("temperature=310", "Did you mean 'evaluation.temperature' or 'data_temperature'?"),
        ("fresh=64", "Did you mean 'reweighted.fresh'?"),
        ("batch_size=64", "'likelihood.batch_size', 'reverse_kl.batch_size' or 'reweighted.batch_size'?"),
        ("flow.layres=3", "Did you mean 'layers'?"),
        ("optimizer=3", "'optimizer' is 3: expected keys below it, steps, learning_rate,"),
    ],
)
def test_a_key_in_the_wrong_place_is_told_the_right_one(override, expected):
    given = {"system": "SYS", "flow": {"kind": "coupling"}}
    for values, overrides in ((given, [override]), (apply_overrides(given, [override]), [])):
        with pytest.raises(InputError) as caught:
            build_settings(TrainingSettings, values, overrides)
        assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("evaluations=3", "Did you mean 'simulation.evaluations'?"),
        ("simulation.forcefield=3", "Did you mean 'forcefield' at the top level?"),
        ("per_split={test: {evaluatons: 3}}", "per_split.test: unknown key 'evaluatons'. Did you mean 'eval"),
        ("test=[{smile: CO, name: m}]", "unknown key 'test.0.smile'. Did you mean 'smiles'?"),
    ],
)
def test_so_it_is_in_a_data_set(override, expected):
    with pytest.raises(InputError) as caught:
        build_settings(DatasetSettings, {"train": ["AA"]}, [override])
    assert expected in str(caught.value)


def test_every_key_is_listed_with_type_default_and_meaning():
    keys = {key.name: key for key in keys_of(TrainingSettings)}
    assert keys["optimizer.steps"].type == "whole number >= 1 <= 1e+09"
    assert keys["isomers"].type == "reference or free" and keys["isomers"].default == "reference"
    assert keys["data"].type == "text or list of text" and keys["data"].default is None
    assert all(key.meaning for key in keys.values())
    assert "flow.hidden" in keys and "flow.layers" not in keys
    coupling = {key.name for key in keys_of(TrainingSettings, {"flow": {"kind": "coupling"}})}
    assert "flow.layers" in coupling
    every = {key.name for key in keys_of(DatasetSettings)}
    assert "simulation.evaluations" in every and "forcefield" in every
    for name, key in keys.items():  # each stands where it says, and its default is one
        if key.default not in (None, "(needed)") and not name.startswith(("flow.", "simulation.")):
            written = {"system": "SYS", **apply_overrides({}, [f"{name}={json.dumps(key.default)}"])}
            build_settings(TrainingSettings, written)
