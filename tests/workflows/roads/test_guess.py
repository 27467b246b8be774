"""The first guess of `run`: told before anything is prepared or measured, from the size alone."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

import boltzgen as bg
from boltzgen.errors import InputError
from boltzgen.system.options import PrepareOptions
from boltzgen.system.size import Size, size_of
from boltzgen.workflows.roads import guess, run
from boltzgen.workflows.roads.guess import first_guess
from boltzgen.workflows.roads.question import Question
from boltzgen_cli.main import main

UNSET = dict.fromkeys(("frames", "check_frames", "data_temperature", "config", "samples"))


def a_question(**words) -> Question:
    given = {"temperature": 310.0, "precision": 0.3, "states": "auto", "seed": 3, "overrides": (), **UNSET}
    return Question.of("molecule", **(given | words))


def seconds_in(text: str) -> list[float]:
    """The times of a guess, in s."""
    found = re.findall(r"(\d+):(\d\d) h|(\d+) s\b", text)
    return [float(s) if s else 3600.0 * float(h) + 60.0 * float(m) for h, m, s in found]


def guessed(options: PrepareOptions, question: Question, limit: float | None) -> str:
    return first_guess(None, options, question, limit).sentence


@pytest.fixture(autouse=True)
def steady(monkeypatch):
    """The machine on which the laws were measured."""
    monkeypatch.setattr(guess, "pace", lambda: 1.0)


@pytest.mark.parametrize(
    "words",
    [
        {"sequence": "KWR", "implicit": "obc1"},
        {"smiles": "ClCCCl"},
        {"source": "example:alanine-dipeptide-sbg"},
    ],
)
def test_it_is_told_before_the_first_step_begins(words, tmp_path, monkeypatch):
    """Preparing, copying and measuring all fail here: what was said was said before them."""

    def never(*_, **__):
        raise InputError("the first step")

    monkeypatch.setattr(run, "prepare", never)
    monkeypatch.setattr(run.Walk, "copy", never)
    said: list[str] = []
    with pytest.raises(InputError, match="the first step"):
        bg.run(output=tmp_path / "DIR", say=said.append, time="5m", **words)
    assert said[0].startswith("run: prepares") and said[1].startswith("first guess: about ")
    assert seconds_in(said[1])


def test_it_is_not_told_again_when_the_road_is_known(tmp_path, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(run, "first_guess", lambda *_: SimpleNamespace(sentence="first guess"))
    plan = run.Plan.begin(tmp_path, a_question())
    walk = run.Walk(tmp_path, plan, a_question(), 300.0, run.StopRequest(), said.append, lambda title: None)
    run._guess(walk, None, PrepareOptions(smiles="CCO"))
    plan.take({"name": "draw", "reason": "", "expected_seconds": 1.0})
    run._guess(walk, None, PrepareOptions(smiles="CCO"))
    assert said == ["first guess"]


def test_a_dry_run_writes_nothing_and_says_it_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--sequence", "GA", "-o", "DIR", "--dry-run"]) == 0
    assert main(["demo", "-o", "DIR", "--dry-run"]) == 0
    told = capsys.readouterr()
    assert told.err.count("first guess: about 20 atoms") == 1 and told.err.count("about 22 atoms") == 1
    assert told.out == "" and list(tmp_path.iterdir()) == []


def test_it_grows_with_the_molecule_and_says_what_will_not_do():
    small, large = (guessed(PrepareOptions(sequence=text), a_question(), 300.0) for text in ("GA", "KWR"))
    assert "hardly suffice" in large and "hardly suffice" not in small
    assert all(a < b for a, b in zip(seconds_in(small)[:2], seconds_in(large)[:2], strict=True))
    enough = guessed(PrepareOptions(sequence="KWR"), a_question(), 36_000.0)
    assert "hardly" not in enough and "Cut to" not in enough


def test_it_says_which_roads_are_open(tmp_path):
    """No shipped model where data or a configuration are given, or for a molecule given by its graph."""
    peptide, drug = PrepareOptions(sequence="GA"), PrepareOptions(smiles="ClCCCl")
    assert "shipped model" in guessed(peptide, a_question(), None)
    assert "shipped model" not in guessed(drug, a_question(), None)
    given = guessed(peptide, a_question(frames="MD"), None)
    assert given.endswith("(to train and draw).") and "simulate" not in given
    steps = [
        guessed(peptide, a_question(config="alanine-dipeptide-demo", overrides=words), None)
        for words in (("optimizer.steps=200",), ("optimizer.steps=2000",))
    ]
    assert seconds_in(steps[1])[0] > 3 * seconds_in(steps[0])[0]


def test_a_slower_machine_takes_longer(monkeypatch):
    text = [guessed(PrepareOptions(sequence="AGS"), a_question(), None)]
    monkeypatch.setattr(guess, "pace", lambda: 3.0)
    text.append(guessed(PrepareOptions(sequence="AGS"), a_question(), None))
    assert seconds_in(text[1])[1] == pytest.approx(3 * seconds_in(text[0])[1], rel=0.2)


def test_what_cannot_be_counted_is_left_to_prepare(tmp_path):
    unreadable = tmp_path / "molecule.pdb"
    unreadable.write_bytes(b"\xff\x00nothing\n")
    assert size_of(unreadable, PrepareOptions()) is None and size_of(None, PrepareOptions()) is None
    assert size_of(None, PrepareOptions(smiles="C((")) is None
    unknown = first_guess(unreadable, PrepareOptions(), a_question(), None).sentence
    assert "no size before the molecule is read; about unknown" in unknown
    with pytest.raises(InputError, match="no such file"):
        size_of(tmp_path / "nowhere.pdb", PrepareOptions())


FILES = {
    "m.pdb": "ATOM      1  C1  BUT\nHETATM    2  C2  BUT\nENDMDL\nATOM      1  C1  BUT\n",
    "m.cif": "data_x\nATOM 1 C\nHETATM 2 C\n",
    "m.prmtop": "%VERSION\n%FLAG POINTERS\n%COMMENT x\n%FORMAT(10I8)\n       2       1\n",
    "m.xml": '<System><Particles><Particle mass="1"/><Particle mass="2"/></Particles></System>',
    "m.mol2": "@<TRIPOS>MOLECULE\nname\n 2 1 0\n",
    "m.sdf": "name\n\n\n  2  1  0  0  0  0            999 V2000\n",
    "v3.sdf": "name\n\n\n  0  0  0     0  0            999 V3000\nM  V30 BEGIN CTAB\nM  V30 COUNTS 2 1 0\n",
}


@pytest.mark.parametrize("name", FILES)
def test_atoms_are_counted_in_the_text_of_a_file(name, tmp_path):
    (tmp_path / name).write_text(FILES[name])
    found = size_of(tmp_path / name, PrepareOptions())
    assert found is not None and found.atoms == 2
    assert found.small == (name.endswith(("mol2", "sdf")))


@pytest.mark.parametrize(("name", "text"), [("m.gro", "title\n    2\n"), ("m.pdb", FILES["m.pdb"])])
def test_gromacs_atoms_are_those_of_the_coordinates(name, text, tmp_path):
    (tmp_path / "m.top").write_text("[ moleculetype ]\n")
    (tmp_path / name).write_text(text)
    found = size_of(tmp_path / "m.top", PrepareOptions(coordinates=tmp_path / name))
    assert found is not None and found.atoms == 2


@pytest.mark.parametrize(
    ("text", "capped"), [("ACE-ALA-NME", False), ("A", True), ("GS", False), ("ACE-GLY-SER", False)]
)
def test_a_sequence_has_the_atoms_that_are_built(text, capped):
    built = bg.prepare(sequence=text, capped=capped, minimize=False, check=True)
    found = size_of(None, PrepareOptions(sequence=text, capped=capped))
    assert isinstance(found, Size) and found.atoms == built.system.n_atoms
