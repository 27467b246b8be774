"""Tables of free energies: no blank cell, one error bar a number, populations in percent."""

from __future__ import annotations

import pytest

from boltzgen_cli.free_energy import tables
from boltzgen_cli.terminal import console


@pytest.fixture
def printed(monkeypatch):
    """(title, columns, rows) of each table."""
    kept = []
    monkeypatch.setattr(console, "table", lambda title, columns, rows: kept.append((title, columns, rows)))
    return kept


def test_each_row_of_a_verdict_says_whose_it_is_and_what(printed):
    entries = [
        {"name": "a -> b", "verdict": "unreliable", "reasons": ["one; x", "two; y", "overlap is null: z"]},
        {"name": "a -> c", "verdict": "unreliable", "reasons": ["one; x", "two; y"]},
        {"name": "a -> d", "verdict": "ok", "reasons": []},
    ]
    tables.verdicts(entries)
    ((_, columns, rows),) = printed
    assert columns == ("", "verdict", "why not better")
    assert rows == [
        ("a -> b\na -> c", "unreliable", "one; x"),
        ("a -> b\na -> c", "unreliable", "two; y"),
        ("a -> d", "ok", ""),
    ]


def test_an_estimate_shows_its_interval_alone(printed):
    entry = {
        "name": "a -> b",
        "value": {"kT": 2.0, "kJ/mol": 5.0, "kcal/mol": None},
        "standard_error": {"kT": 0.7, "kJ/mol": 1.7, "kcal/mol": None},
        "interval95": {"kT": [1.1, 2.9], "kJ/mol": [2.7, None], "kcal/mol": [None, None]},
    }
    tables.estimates("differences", [entry])
    ((_, columns, rows),) = printed
    assert columns == ("", "unit", "value", "95 % from", "to")
    assert rows == [("a -> b", "kT", 2.0, 1.1, 2.9), ("a -> b", "kJ/mol", 5.0, 2.7, None)]


def test_populations_are_percent_with_their_interval(printed):
    state = {"name": "a", "population": 0.25, "interval95": [0.2, 0.31], "n": 90, "n_effective": 60.5}
    bare = {"name": "b", "population": 0.001, "interval95": [None, None], "n": 1, "n_effective": 1.0}
    tables.populations([state, bare])
    ((_, columns, rows),) = printed
    assert columns[:4] == ("state", "percent", "95 % from", "to")
    assert rows[0] == ["a", 25.0, 20.0, 31.0, 90, 60.5] and rows[1] == ["b", 0.1, None, None, 1, 1.0]
