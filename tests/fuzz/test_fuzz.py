"""A little of `tests/fuzz/run.py`, and that its runner sees what it is made to see."""

from __future__ import annotations

import os
import random
import time

import numpy as np
import pytest
from fuzz import runner
from fuzz.mutations import mutate
from fuzz.target import Target
from fuzz.targets import targets

from boltzgen.errors import InputError

#: Mutations of each reader here; one after the other they take some 25 ms.
FEW = 25


@pytest.mark.parametrize("name", sorted(targets()))
def test_damaged_files_are_refused_in_a_sentence_or_understood(name):
    report = runner.Report()
    runner.run(targets()[name], range(FEW), report)
    assert report.faults == []
    assert sum(report.counts[name].values()) == FEW


@pytest.mark.parametrize("name", sorted(targets()))
def test_the_sound_file_is_accepted_and_the_other_reader_agrees(name, tmp_path):
    target = targets()[name]
    for file, data in target.files.items():
        (tmp_path / file).write_bytes(data)
    assert target.verify(tmp_path, target.read(tmp_path)) is None


def test_mutations_are_their_seeds_and_nearly_always_change_something():
    data = targets()["pdb"].files["input.pdb"]
    first = [mutate(data, random.Random(f"{k}")) for k in range(200)]
    assert first == [mutate(data, random.Random(f"{k}")) for k in range(200)]
    assert sum(one != data for one in first) > 180


def outcome(read) -> str:
    """What the runner says of a reader that does `read`, from a child of its own."""
    report = runner.Report()
    runner.run(Target("made", {"file": b"text\n"}, "file", read), range(2), report)
    assert sum(report.counts["made"].values()) == 2
    return report.faults[0][2] if report.faults else next(iter(report.counts["made"]))


def refuse(folder):
    raise InputError(f"{folder / 'file'} is damaged; write it again.")


def test_a_refusal_is_no_fault():
    assert outcome(refuse) == "refused"


def test_a_traceback_is_a_fault():
    assert "ZeroDivisionError" in outcome(lambda folder: 1 // 0)


def test_a_sentence_of_pythons_own_is_a_fault():
    def read(folder):
        raise InputError("'NoneType' object has no attribute 'x'")

    assert outcome(read).startswith("bad sentence")


def test_an_end_of_the_process_is_a_fault():
    assert "ended with 7" in outcome(lambda folder: os._exit(7))


def test_memory_without_bound_is_a_fault():
    assert outcome(lambda folder: np.ones(1 << 30, dtype=np.float64)).startswith("memory")


def test_work_without_end_is_a_fault(monkeypatch):
    monkeypatch.setattr(runner, "SECONDS", 0.5)

    def read(folder):
        while True:
            time.process_time()

    assert outcome(read).startswith("hang")


def test_another_number_is_a_fault():
    report = runner.Report()
    wrong = Target("made", {"file": b"text\n"}, "file", lambda folder: 1, lambda folder, result: "1 for 2")
    runner.run(wrong, range(1), report)
    assert report.faults == [("made", 0, "changed number: 1 for 2")]
