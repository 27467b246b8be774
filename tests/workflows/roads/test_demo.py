"""The demo's road on tiny settings, from a PDB file to a figure, and each command that it prints."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from demo_cases import write_shipped

from boltzgen.ensemble.store import load_ensemble
from boltzgen.errors import InputError
from boltzgen.workflows.installation.demo import demo

CONFIG = """\
# A flow far too small, for tests.
# Seconds.
system: SYS
flow: {kind: coupling, layers: 2, hidden: 8}
likelihood: {batch_size: 32}
reverse_kl: {weight: 0.1, batch_size: 16}
optimizer: {steps: 4}
evaluation: {every: 4, samples: 20}
"""


@pytest.fixture(scope="module")
def road(tmp_path_factory, alanine_dipeptide):
    """(folder, result, what was said)."""
    base = tmp_path_factory.mktemp("road")
    write_shipped(base / "shipped", alanine_dipeptide)
    (base / "tiny.yaml").write_text(CONFIG)
    said: list[str] = []
    result = demo(
        base / "demo",
        config=base / "tiny.yaml",
        samples=200,
        shipped=base / "shipped",
        seed=4,
        say=said.append,
    )
    return base, result, said


def test_everything_is_there(road):
    base, result, _ = road
    found = sorted(path.name for path in (base / "demo").iterdir())
    assert found == sorted(
        [
            "SYS",
            "MD",
            "CHECK",
            "RUN",
            "OUT",
            "states.yaml",
            "free_energy.json",
            "free_energy.csv",
            "free_energy.png",
            "ramachandran.png",
            "answer.json",
            "run.json",
            "report.html",
            "report_files",
        ]
    )
    assert load_ensemble(base / "demo" / "OUT").log_w.shape == (200,)
    assert result.to_json()["samples"] == 200 and result.status == "complete"
    assert (base / "demo" / "ramachandran.png").read_bytes().startswith(b"\x89PNG")
    answer = json.loads((base / "demo" / "free_energy.json").read_text())
    (estimate,) = answer["estimates"]
    assert (estimate["A"], estimate["B"]) == ("phi < 0", "phi > 0")


def test_each_printed_command_is_one(road):
    """Every announced line parses as a command of boltzgen, with existing paths."""
    from boltzgen_cli import main

    base, _, said = road
    lines = [line.partition("$ boltzgen ")[2] for line in said if "$ boltzgen " in line]
    verbs = [shlex.split(line)[0] for line in lines]
    assert verbs == ["prepare", "train", "sample", "free-energy"]
    copied = [shlex.split(line.partition("$ ")[2]) for line in said if "$ cp " in line]
    assert [words[:2] for words in copied] == [["cp", "-r"]] * 2
    assert [Path(words[3]).name for words in copied] == ["MD", "CHECK"]
    assert set(verbs) - {"free-energy"} <= set(main.VERBS)
    answer = base / "again.json"
    words = shlex.split(lines[-1])
    words[words.index("-o") + 1] = str(answer)
    assert main.main(words) == 0
    first, again = (
        json.loads((base / "demo" / "free_energy.json").read_text()),
        json.loads(answer.read_text()),
    )
    assert first["estimates"][0]["n"] == again["estimates"][0]["n"]
    assert first["estimates"][0]["value"] == again["estimates"][0]["value"]


def test_it_goes_on_and_leaves_the_files_of_others_alone(road, tmp_path):
    base, result, _ = road
    before = (base / "demo" / "OUT" / "samples.npz").read_bytes()
    words = {"config": base / "tiny.yaml", "samples": 200, "shipped": base / "shipped", "seed": 4}
    again = demo(base / "demo", say=lambda text: None, **words)
    assert (base / "demo" / "OUT" / "samples.npz").read_bytes() == before
    assert again.populations == result.populations
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match=r"thesis\.tex"):
        demo(tmp_path)
    assert (tmp_path / "thesis.tex").exists()
