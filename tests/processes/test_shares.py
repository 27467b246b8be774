"""Tests of one file run on one process, in their order, however many processes there are."""

from __future__ import annotations

from pathlib import Path

import pytest
from shares import group_of

SEEN: list[str] = []


@pytest.mark.parametrize("number", range(6))
def test_a_file_stays_on_one_process(request, number):
    """Each of these finds all the former ones: its module, and so its fixtures, were made once."""
    name = test_a_file_stays_on_one_process.__name__
    mine = [
        item.name
        for item in request.session.items
        if item.path == Path(__file__) and item.originalname == name
    ]
    assert mine[: len(SEEN)] == SEEN and mine[len(SEEN)] == request.node.name
    SEEN.append(request.node.name)


def test_pages_are_alone_and_all_else_goes_by_files():
    assert group_of("tests/a/test_b.py::test_c[x::y.md]") == "tests/a/test_b.py"
    pages = [f"tests/test_docs.py::test_snippets_run[{name}.md]" for name in ("run", "questions/peptide")]
    assert [group_of(page) for page in pages] == [
        "test_snippets_run[run.md]",
        "test_snippets_run[questions/peptide.md]",
    ]
    assert group_of("tests/test_docs.py::test_links_and_pictures_exist[run.md]") == "tests/test_docs.py"
