"""Released models: made from a run, listed, found by name, and refused when a byte of them changed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from helpers import ROOT, assert_refused

from boltzgen.conditioning.familiarity import Seen
from boltzgen.conditioning.features import N_FEATURES
from boltzgen.config import shipped
from boltzgen.config.build import build_flow
from boltzgen.config.model import load_model, save_model
from boltzgen.errors import InputError
from boltzgen.flows.coupling import CouplingSettings
from boltzgen.generator import Target
from boltzgen.workflows.installation.models import Release, model_card, releases, write_release
from boltzgen.workflows.installation.publication import publish_run
from boltzgen.workflows.sampling.sample import sample

FLOW = CouplingSettings(layers=1, hidden=8, bins=4, embedding=8, encoder_blocks=1)
METRICS = {
    "force_field": "two bonds and a hope",
    "solvent": "none",
    "figures": {
        "ESS unseen": {"value": 0.1234, "standard_error": 0.0056},
        "ESS large": {"value": None, "standard_error": None, "reason": "not measured"},
    },
}
CARD = "# Tiny\n\nButane alone. It fails [everywhere] else.\n"


@pytest.fixture(scope="module")
def run(butane, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "RUN"
    record = {
        "flow": FLOW.model_dump(mode="json"),
        "n_features": N_FEATURES,
        "isomers": "reference",
        "temperature_K": 310.0,
        "temperatures_K": [310.0, 450.0],
        "systems": [{"name": n, "fingerprint": n, "domain": None} for n in ("one", "two", "three")],
    }
    seen = Seen.of([Target.from_system(butane).features], [310.0, 450.0])
    save_model(folder / "model", build_flow(FLOW, seed=8), record, seen)
    (folder / "config.yaml").write_text("system: SYS\n")
    return folder


@pytest.fixture
def models(run, tmp_path, monkeypatch) -> Path:
    """A folder of shipped models that holds ``tiny-1``."""
    folder = tmp_path / "models"
    write_release(run, "tiny-1", METRICS, CARD, folder)
    ship_from(folder, monkeypatch)
    return folder


def ship_from(folder: Path, monkeypatch) -> None:
    """Let `folder` stand for the package boltzgen_models."""
    files = shipped.resources.files
    monkeypatch.setattr(
        shipped.resources, "files", lambda package: folder if package == "boltzgen_models" else files(package)
    )


def test_what_is_published_tells_no_path_of_the_machine(run, tmp_path):
    """Of a run and of a release: relative to the run; files without a path are the same bytes."""
    asked = tmp_path / "runs" / "RUN"
    shutil.copytree(run, asked)
    (asked / "config.yaml").write_text(
        f"system: example:alanine-dipeptide\ndata: {tmp_path}/runs/MD\nseed: 3\n"
    )
    command = ["/opt/tools/bin/boltzgen", "train", "x", f"data={tmp_path}/runs/MD", "-o", str(asked)]
    (asked / "environment.json").write_text(json.dumps({"command": command, "torch_threads": 5}))
    (asked / "metrics.csv").write_text("step,ess\n7,0.25\n")
    public = publish_run(asked, tmp_path / "docs" / "tiny")
    write_release(asked, "tiny", METRICS, CARD, tmp_path / "models")
    for config in (public / "config.yaml", tmp_path / "models" / "tiny" / "config.yaml"):
        assert config.read_text() == "system: example:alanine-dipeptide\ndata: ../MD\nseed: 3\n"
    assert json.loads((public / "environment.json").read_text()) == {
        "command": ["boltzgen", "train", "x", "data=../MD", "-o", "."],
        "torch_threads": 5,
    }
    same = (
        "metrics.csv",
        *(f"model/{name}" for name in ("model.json", "weights.safetensors", "seen.safetensors")),
    )
    assert all((public / name).read_bytes() == (asked / name).read_bytes() for name in same)
    names = {str(path.relative_to(public)) for path in public.rglob("*") if path.is_file()}
    assert names == {"config.yaml", "environment.json", *same}
    with pytest.raises(InputError, match="is there already"):
        publish_run(asked, public)
    with pytest.raises(InputError, match=r"no config\.yaml"):
        publish_run(asked / "model", tmp_path / "docs" / "other")


def test_a_release_holds_what_others_need_and_its_checksums(run, models):
    place = models / "tiny-1"
    names = {f"{name}.safetensors" for name in ("weights", "seen")}
    names |= {"model.json", "config.yaml", "metrics.json", "README.md"}
    assert {path.name for path in place.iterdir()} == {*names, "SHA256SUMS"}
    checked = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=place, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0 and checked.stdout.count(": OK") == len(names)
    assert (place / "README.md").read_text() == CARD
    assert json.loads((place / "metrics.json").read_text()) == {
        "schema": "boltzgen.release/1",
        "name": "tiny-1",
        **METRICS,
    }
    assert [path.name for path in models.iterdir()] == ["tiny-1"]


def test_the_list_says_what_was_measured(run, models):
    (release,) = releases()
    assert (release.name, release.molecules, release.temperatures) == ("tiny-1", 3, (310.0, 450.0))
    assert release.parameters == sum(p.numel() for p in load_model(run).flow.state_dict().values())
    assert release.size == sum(path.stat().st_size for path in (models / "tiny-1").iterdir())
    row = release.summary()
    assert (row["force field"], row["temperature / K"]) == ("two bonds and a hope", "310 to 450")
    assert row["ESS unseen"] == "0.123 +- 0.0056" and row["ESS large"] == "not known (not measured)"


def test_the_command_lists_and_shows(models, capsys):
    from boltzgen_cli.main import main

    assert main(["models"]) == 0
    told = capsys.readouterr().out
    assert "tiny-1" in told and "0.123 +- 0.0056" in told
    assert main(["models", "tiny-1"]) == 0
    assert "It fails [everywhere] else." in capsys.readouterr().out
    assert_refused(["models", "tiny-2"], "tiny-2", "Did you mean 'tiny-1'?")


def test_without_a_release_the_command_says_so(monkeypatch, tmp_path, capsys):
    from boltzgen_cli.main import main

    ship_from(tmp_path, monkeypatch)
    assert main(["models"]) == 0
    assert "no model is shipped" in capsys.readouterr().err
    assert_refused(["models", "tiny-1"], "No model is shipped")
    with pytest.raises(InputError, match=r"neither a folder with .* nor a shipped model; no model is"):
        load_model(Path("tiny-1"))


def test_a_model_is_found_by_its_name(run, models, butane, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, other = (load_model(Path(name)) for name in ("tiny-1", str(run)))
    pairs = zip(one.flow.parameters(), other.flow.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs) and one.record == other.record
    butane.save(tmp_path / "SYS")
    assert sample("tiny-1", tmp_path / "SYS", tmp_path / "OUT", 30).unfamiliarity == 0.0
    with pytest.raises(InputError, match=r"tiny-7 holds no model.*the shipped models are tiny-1"):
        load_model(Path("tiny-7"))
    (tmp_path / "tiny-1").mkdir()  # a folder of that name without a model does not hide the shipped one
    assert load_model(Path("tiny-1")).record == other.record
    with pytest.raises(InputError, match="nor a shipped model"):
        load_model(Path("elsewhere/tiny-1"))


@pytest.mark.parametrize("name", ["weights.safetensors", "README.md", "metrics.json"])
def test_a_changed_byte_is_noticed(models, name):
    path = models / "tiny-1" / name
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    for use in (lambda: load_model(Path("tiny-1")), lambda: model_card("tiny-1"), releases):
        with pytest.raises(InputError, match=rf"{name}: not the file that was released"):
            use()
    path.unlink()
    with pytest.raises(InputError, match="not the file that was released"):
        load_model(Path("tiny-1"))


def test_what_cannot_be_released_is_refused(run, models, tmp_path):
    for wrong in ("Tiny", "a/b", "", ".hidden", "a b"):
        with pytest.raises(InputError, match="cannot be the name of a model"):
            write_release(run, wrong, METRICS, CARD, tmp_path)
    with pytest.raises(InputError, match="solvent missing"):
        write_release(run, "x", {k: v for k, v in METRICS.items() if k != "solvent"}, CARD, tmp_path)
    with pytest.raises(
        InputError, match=r"figures.speed.standard_error.*a figure needs a value and a standard_error"
    ):
        write_release(run, "x", {**METRICS, "figures": {"speed": {"value": 3.0}}}, CARD, tmp_path)
    with pytest.raises(InputError, match="is there already"):
        write_release(run, "tiny-1", METRICS, CARD, models)
    with pytest.raises(InputError, match=r"no config\.yaml"):
        write_release(run / "model", "x", METRICS, CARD, tmp_path)
    assert not (tmp_path / "x").exists()


def test_every_shipped_model_is_whole_and_small():
    """What models/ really holds: readable, as released, at most 25 MB in all."""
    found = [Release.read(path.parent) for path in sorted((ROOT / "models").glob("*/model.json"))]
    for release in found:
        load_model(release.folder)
        assert (release.folder / "README.md").read_text().startswith("#")
    assert sum(release.size for release in found) <= 25e6
