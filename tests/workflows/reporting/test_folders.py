"""What lies at a path is recognised by its own files, whole or not; one sentence for all else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from boltzgen.errors import InputError
from boltzgen.workflows.reporting.folders import KINDS, recognise

ROOT = Path(__file__).resolve().parents[3]
SIMULATION = {
    "schema": "boltzgen.trajectory/1",
    "status": "partial",
    "reason": "stopped by a signal",
    "system": {"fingerprint": "ab", "name": "x", "n_atoms": 3},
    "temperatures_K": [310.0],
}
RUN = {"system": "SYS", "optimizer": {"steps": 40}, "until": {"ess": None, "evaluations": None}}


def written(folder: Path, name: str, content: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return folder


def run_folder(folder: Path, steps: int, **settings: object) -> Path:
    written(folder, "config.yaml", {**RUN, **settings})
    model = {"steps": steps, "energy_evaluations": 970, "evaluation": {"ess": 0.31, "seconds": 7.0}}
    return written(folder / "model", "model.json", model).parent


def test_shipped_names_and_files(tmp_path: Path) -> None:
    assert recognise("example:elil").kind == "SYS"
    assert recognise("peptides-ff14sb-obc1").kind == "MODEL"
    assert recognise("butane").kind == "CONFIG" and recognise("dataset-dipeptides").kind == "DATASET CONFIG"
    assert recognise(ROOT / "tests/golden/free_energy.json").kind == "ANSWER"
    inside = recognise(ROOT / "boltzgen/examples/elil/system.json")
    assert inside.kind == "SYS" and inside.path.name == "elil" and inside.whole
    states = written(tmp_path, "states.json", {"states": []}) / "states.json"
    assert recognise(states).kind == "STATES"
    assert {recognise(name).what for name in ("example:elil", "butane")} <= set(KINDS.values())


def test_each_shipped_configuration_is_one() -> None:
    for path in (ROOT / "configs").glob("*.yaml"):
        kind = "DATASET CONFIG" if path.stem.startswith("dataset-") else "CONFIG"
        assert recognise(path).kind == kind, path


def test_a_simulation_says_whether_it_is_whole(tmp_path: Path) -> None:
    found = recognise(written(tmp_path / "MD", "manifest.json", SIMULATION))
    assert (found.kind, found.status, found.reason) == ("MD", "partial", "stopped by a signal")
    whole = recognise(written(tmp_path / "MD", "manifest.json", {**SIMULATION, "status": "complete"}))
    assert whole.whole and whole.reason == ""


@pytest.mark.parametrize(
    ("steps", "settings", "whole"),
    [
        (40, {}, True),
        (25, {}, False),
        (25, {"until": {"ess": 0.3}}, True),
        (25, {"until": {"ess": 0.9}}, False),
        (25, {"until": {"evaluations": 1000}}, True),
        (25, {"until": {"minutes": 30.0}}, False),
    ],
)
def test_a_run_is_whole_at_its_last_step_or_its_limit(
    tmp_path: Path, steps: int, settings: dict, whole: bool
) -> None:
    found = recognise(run_folder(tmp_path / "RUN", steps, **settings))
    assert (found.kind, found.whole) == ("RUN", whole)
    assert whole or "step 25 of 40" in found.reason


def test_a_run_without_a_model_is_partial(tmp_path: Path) -> None:
    folder = written(tmp_path, "config.yaml", RUN)
    assert recognise(written(folder, "environment.json", {})).status == "partial"


def test_an_answer_and_a_benchmark(tmp_path: Path) -> None:
    answer = written(tmp_path / "DIR", "run.json", {"schema": "boltzgen.run/1", "status": "complete"})
    assert recognise(answer).kind == "DIR" and recognise(answer / "run.json").kind == "DIR"
    figures = written(tmp_path / "B" / "molecules", "AA.json", {"schema": "boltzgen.transfer_molecule/1"})
    bench = recognise(figures.parent)
    assert (bench.kind, bench.status, bench.reason) == ("BENCH", "partial", "1 molecules were measured")


@pytest.mark.parametrize("case", ["nothing", "empty", "others", "around", "broken", "list", "yaml", "text"])
def test_what_is_unknown_is_told_in_one_sentence(tmp_path: Path, case: str) -> None:
    path, words = tmp_path / case, "no such file"
    if case == "empty":
        path.mkdir()
        words = "is empty"
    elif case == "others":
        written(path, "notes.txt", {})
        words = "holds nothing that boltzgen wrote"
    elif case == "around":
        written(path / "MD7", "manifest.json", SIMULATION)
        words = "it holds MD7: name"
    elif case in ("broken", "list"):
        path.mkdir()
        (path / "run.json").write_text("{" if case == "broken" else "[]")
        words = "not valid JSON" if case == "broken" else "expected a mapping"
    elif case == "yaml":
        path = tmp_path / "x.yaml"
        path.write_text(yaml.safe_dump({"colour": "blue"}))
        words = "neither a configuration"
    elif case == "text":
        path.write_text("hello")
        words = "not a file that boltzgen can say something about"
    with pytest.raises(InputError, match=words) as found:
        recognise(path)
    assert str(path) in str(found.value) and "\n" not in str(found.value)


def test_it_loads_neither_torch_nor_openmm() -> None:
    code = (
        "import sys; from boltzgen.workflows.reporting.folders import recognise; recognise('example:elil');"
        "import boltzgen.ensemble.manifest, boltzgen.data.manifest;"
        "sys.exit(' '.join({'torch', 'openmm', 'mdtraj', 'scipy', 'h5py'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
