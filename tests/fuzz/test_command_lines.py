"""A few of the random command lines of `command_lines`, and that it sees what it is made to see."""

from __future__ import annotations

import pytest
from fuzz import command_lines


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return command_lines.template_of(tmp_path_factory.mktemp("template"))


def test_random_command_lines_end_in_a_result_or_a_sentence(template):
    assert command_lines.faults(range(40), template) == []


def test_lines_are_their_numbers_and_reach_every_verb():
    lines = [command_lines.line(number) for number in range(2000)]
    assert lines == [command_lines.line(number) for number in range(2000)]
    verbs = {tuple(words[: len(path)]) for words in lines for path in command_lines.OPTIONS}
    assert set(command_lines.OPTIONS) <= verbs


@pytest.mark.parametrize(
    "does, said",
    [
        (lambda words: 1 // 0, "Traceback"),
        (lambda words: 17, "exit code 17"),
        (lambda words: 2, "without a word"),
        (lambda words: print("This is a fault of boltzgen") or 1, "fault of boltzgen"),
        (lambda words: open("../elsewhere", "w").close() or 0, "outside its folder"),
    ],
)
def test_faults_are_seen(does, said, template, monkeypatch):
    monkeypatch.setattr(command_lines, "main", does)
    assert said in command_lines.run(0, template)
