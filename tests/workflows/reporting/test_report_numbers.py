"""The numbers of a page are a file that others read: keys, their order, types and values are kept.

`python -m pytest tests/workflows/reporting/test_report_numbers.py` says where they differ. What is meant to
differ is written anew by ``BOLTZGEN_WRITE_GOLDEN=1`` before the same words; then read the difference.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from helpers import ROOT, different
from report_cases import write_whole_run

from boltzgen_cli import main

GOLDEN = ROOT / "tests" / "golden" / "report.json"

#: Keys whose values are of the machine, of the day, or words that may change.
FREE = {"version", "source", "commands", "versions", "files", "bibtex", "sentences", "reasons", "next"}
FREE |= {"notes", "keys", "methods", "unchecked", "fingerprint", "warnings"}

#: A list of as many numbers is kept by a few of them and their sum.
LONG = 12


def kept(value: Any) -> Any:
    """What of the page's `value` stands in the golden file."""
    if isinstance(value, dict):
        return {key: type(one).__name__ if key in FREE else kept(one) for key, one in value.items()}
    if isinstance(value, list) and len(value) > LONG:
        numbers = [one for one in value if isinstance(one, int | float)]
        few = {
            "length": len(value),
            "known": len(numbers),
            "some": [kept(one) for one in value[:: len(value) // 4]],
        }
        return {**few, "sum": float(sum(numbers))}
    if isinstance(value, list):
        return [kept(one) for one in value]
    return value


def test_the_numbers_are_those_of_the_golden_file(tmp_path, alanine_dipeptide, capsys):
    whole = write_whole_run(tmp_path / "DIR", alanine_dipeptide, rows=400)
    capsys.readouterr()
    assert main.main(["report", str(whole), "-o", str(tmp_path / "r.html"), "--no-figures", "--json"]) == 0
    found = kept(json.loads(capsys.readouterr().out))
    if os.environ.get("BOLTZGEN_WRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert different(found, golden) == [], "docs/files.md describes these numbers"


@pytest.mark.parametrize(
    ("found", "places"),
    [
        ({"a": 1.0 + 1e-9, "b": [1, None]}, []),
        ({"b": [1, None], "a": 1.0}, [""]),
        ({"a": 1.01, "b": [1, 2]}, ["/a", "/b/1"]),
        ({"a": 1, "b": [1]}, ["/a", "/b"]),
    ],
)
def test_a_difference_is_named(found, places):
    """The comparison itself; an integer in the place of a number is a change, too."""
    told = different(found, {"a": 1.0, "b": [1, None]})
    assert [one.partition(":")[0] for one in told] == places
