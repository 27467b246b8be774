"""``config``: what is shipped, keys in one line each, and a file held against its molecule and frames."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import verbs
import yaml
from helpers import assert_refused

import boltzgen as bg
from boltzgen.config.settings import load_settings
from boltzgen.config.shipped import shipped_configs
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.settings import TrainingSettings
from boltzgen.workflows.configurations.check import check_config
from boltzgen.workflows.configurations.listing import configuration_keys, configuration_text, configurations
from boltzgen_cli.main import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, butane: MolecularSystem) -> Path:
    return verbs.make_inputs(tmp_path_factory.mktemp("inputs"), butane)


def printed(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def test_all_that_is_shipped_is_listed_with_a_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    found = {one.name: one for one in configurations()}
    assert set(found) == set(shipped_configs()) and all(one.purpose for one in found.values())
    assert found["dataset-dipeptides"].verb == "build_dataset" and found["butane"].verb == "train"
    listed = json.loads(printed(capsys, "config", "list", "--json"))
    assert {one["name"] for one in listed["configurations"]} == set(found)
    assert "alanine-dipeptide-demo" in printed(capsys, "config", "list")
    assert {one.verb for one in configurations("dataset-")} == {"build_dataset"}


def test_one_is_shown_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    text = shipped_configs()["butane"].read_text()
    assert printed(capsys, "config", "show", "butane") == text == configuration_text("butane")
    assert_refused(["config", "show", "butan"], "Did you mean 'butane'")


def test_keys_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "config", "keys", "optimizer").splitlines()
    assert len(lines) == len(TrainingSettings.model_fields["optimizer"].annotation.model_fields)
    assert lines[0].startswith("optimizer.steps: whole number >= 1 <= 1e+09; default 2000. Steps of the")
    every = printed(capsys, "config", "keys").splitlines()
    assert all(line.count(": ") >= 1 and "; " in line for line in every) and len(every) > 60
    assert "simulation.evaluations: whole number" in printed(
        capsys, "config", "keys", "simulation", "--dataset"
    )
    assert "flow.layers" in printed(capsys, "config", "keys", "flow", "--of", "butane")
    assert [key.name for key in configuration_keys("steps")] == ["optimizer.steps"]
    content = json.loads(printed(capsys, "config", "keys", "isomers", "--json"))
    (key,) = content["keys"]
    assert key["default"] == "reference" and key["type"] == "reference or free"
    assert_refused(["config", "keys", "colour"], "'colour': no key begins so", "optimizer")


def test_a_good_configuration_says_what_it_will_do(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The numbers are those of the configuration, counted by hand."""
    data = yaml.safe_load((folder / "data.yaml").read_text())
    path = folder / "absolute.yaml"
    path.write_text(json.dumps({**data, "system": str(folder / "SYS"), "data": str(folder / "MD300")}))
    found = check_config(path)
    assert found.settings == load_settings(TrainingSettings, path) and not found.chosen
    assert found.does["frames"] == "54 at 300 K" and found.does["frames held out"] == 6
    assert found.does["steps"] == 4 and found.does["energies to learn from"] == 4 * 16
    assert found.does["energies to measure"] == 2 * 50 and found.does["internal coordinates"] == "6"
    table = printed(capsys, "config", "check", path)
    assert "54 at 300 K" in table and "chosen for" not in table
    content = json.loads(printed(capsys, "config", "check", path, "optimizer.steps=6", "--json"))
    assert content["does"]["steps"] == 6 and content["settings"]["optimizer"]["steps"] == 6


def test_what_is_left_open_is_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(f"system: {folder / 'SYS'}\ndata: {folder / 'MD300'}\n")
    found = bg.check_config(path)
    assert found.chosen["optimizer.steps"] == 200 and "system" not in found.chosen
    assert "optimizer.steps" in printed(capsys, "config", "check", path)
    resolved = json.loads(printed(capsys, "config", "check", path, "--json"))["settings"]
    assert resolved["optimizer"]["steps"] == 200 and resolved["evaluation"]["temperature"] == 300.0
    assert repr(found).startswith("<CheckedConfiguration") and "<table>" in found._repr_html_()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["steps=3"], "unknown key 'steps'. Did you mean 'optimizer.steps'?"),
        (["optimizer.steps=0"], "'optimizer.steps' is 0: input should be greater than or equal to 1"),
        (["system=NOWHERE"], "NOWHERE is not a prepared system"),
        (["data=NOWHERE"], "NOWHERE: no such trajectory"),
        (["likelihood.temperatures=[350]"], "no frames at 350 K; they have 300 K"),
        (["flow.kind=unknown"], "'flow.kind' is 'unknown'"),
        (["start=NOWHERE"], "NOWHERE holds no model"),
        (["dataset=DATASET"], "give either system=SYS or dataset=DATASET"),
    ],
)
def test_what_is_wrong_is_said_as_train_says_it(
    words: list[str], expected: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    told = assert_refused(["config", "check", "data.yaml", *words], expected)
    if "optimizer.steps=0" not in words:
        assert_refused(["train", "data.yaml", *words, "-o", "NEVER"], told.removeprefix("boltzgen: "))
    assert not (folder / "NEVER").exists()


def test_a_data_set_is_counted(folder: Path, tmp_path: Path) -> None:
    found = check_config(folder / "dataset.yaml")
    assert found.verb == "build_dataset" and found.does["train molecules"] == 1
    assert found.does["energies in all"] == 200
    assert_refused(["config", "check", folder / "dataset.yaml", "evaluations=3"], "'simulation.evaluations'")


def test_nothing_is_written(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(folder / "SYS", tmp_path / "SYS")
    monkeypatch.chdir(tmp_path)
    check_config("butane", ["system=SYS"])
    assert [path.name for path in tmp_path.iterdir()] == ["SYS"]
