"""What a folder is told to be, and where results may not go."""

from __future__ import annotations

import json

import pytest
from helpers import assert_refused

from boltzgen.contents import KINDS, check_output, kind_of_folder, what_it_is
from boltzgen.errors import InputError

MARKS = {
    "dataset": ("dataset.json", "{}"),
    "model": ("model.json", "{}"),
    "run": ("config.yaml", "system: SYS"),
    "system": ("system.json", "{}"),
    "ensemble": ("manifest.json", json.dumps({"schema": "boltzgen.manifest/1"})),
    "simulation": ("manifest.json", json.dumps({"schema": "boltzgen.trajectory/1"})),
}


@pytest.fixture
def folders(tmp_path):
    """A folder of each kind, by the file that marks it."""
    for kind, (name, text) in MARKS.items():
        (tmp_path / kind).mkdir()
        (tmp_path / kind / name).write_text(text)
    (tmp_path / "run" / "checkpoints").mkdir()
    return tmp_path


def test_each_kind_is_known_and_nothing_else(folders):
    assert [kind_of_folder(folders / kind) for kind in KINDS] == list(KINDS) == list(MARKS)
    (folders / "manifest.json").write_text("[" * 50_000)
    assert kind_of_folder(folders) == kind_of_folder(folders / "none") == kind_of_folder("a\0b") == ""
    assert kind_of_folder(folders / "system" / "system.json") == what_it_is(folders) == ""


def test_results_go_into_folders_of_their_own(folders):
    for kind in KINDS:
        check_output(folders / kind, kind)  # to go on, or to overwrite: the verb decides
        check_output(folders / "dataset" / "molecules" / "A", kind)
        check_output(folders / "new", kind)
        for other in set(KINDS) - {kind, "dataset"}:
            with pytest.raises(InputError, match=f"holds {KINDS[other].what}; name another folder"):
                check_output(folders / other, kind)
        with pytest.raises(InputError, match=r"lies inside .*which holds a prepared system"):
            check_output(folders / "system" / "a" / "b", kind)


CONFIG = "system: model:double-well\noptimizer: {steps: 1}\nreverse_kl: {weight: 1}\n"


@pytest.mark.parametrize(
    "words, kinds",
    [
        (("train", "train.yaml", "-o", "@"), ("system", "ensemble", "simulation", "model")),
        (("prepare", "--smiles", "CC", "-o", "@"), ("run", "ensemble", "simulation", "model")),
        (("sample", "run", "system", "-n", "5", "-o", "@"), ("run", "system", "simulation", "model")),
        (("simulate", "system", "-o", "@"), ("run", "system", "ensemble", "model")),
        (("adapt", "run", "system", "-o", "@"), ("system", "ensemble", "simulation", "model")),
    ],
    ids=lambda value: value[0],
)
def test_every_verb_refuses_the_folder_of_another(words, kinds, folders, monkeypatch):
    monkeypatch.chdir(folders)
    (folders / "train.yaml").write_text(CONFIG)
    for kind in kinds:
        before = sorted(path.name for path in (folders / kind).iterdir())
        for out in (kind, f"{kind}/inside"):
            assert_refused(
                [out if word == "@" else word for word in words], KINDS[kind].what, "another folder"
            )
        assert sorted(path.name for path in (folders / kind).iterdir()) == before


@pytest.mark.parametrize("kind", ["run", "simulation", "ensemble"])
def test_a_folder_that_is_no_system_is_named(kind, folders):
    words = ["simulate", folders / kind, "-o", folders / "MD"]
    assert_refused(words, "not a prepared system", f"It is {KINDS[kind].what}")
    if kind != "ensemble":
        assert_refused(["check", folders / kind], "holds no samples", f"It is {KINDS[kind].what}")
