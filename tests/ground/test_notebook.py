"""What people see of numbers and tables: digits that the error allows, and HTML that parses."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from boltzgen.notebook import html_table, shown, with_error


@pytest.mark.parametrize(
    ("value", "error", "unit", "expected"),
    [
        (3.93812, 0.07389, "kT", "3.938 +- 0.074 kT"),
        (-195.31234, 0.004724, "", "-195.3123 +- 0.0047"),
        (41234.5, 321.0, "kJ/mol", "41234 +- 321 kJ/mol"),
        (0.25, None, "nm", "0.25 nm"),
        (0.25, float("nan"), "1", "0.25"),
        (2.5, 0.0, "k", "2.5 k"),
        (None, 0.1, "kT", "not known"),
    ],
)
def test_a_value_has_the_digits_that_its_error_allows(value, error, unit, expected):
    assert with_error(value, error, unit) == expected


def test_cells_are_for_people():
    told = [shown(cell) for cell in (None, True, False, 0.123456, 7, "phi < 0")]
    assert told == ["-", "yes", "no", "0.1235", "7", "phi < 0"]


def test_tables_are_html_with_text_escaped():
    text = html_table(("state", "dG / kT"), [("phi < 0 & psi", 3.9381234), ("b", None)], caption="OUT <1>")
    table = ElementTree.fromstring(text)
    assert table.findtext("caption") == "OUT <1>"
    assert [cell.text for cell in table.iter("th")] == ["state", "dG / kT"]
    assert [cell.text for cell in table.iter("td")] == ["phi < 0 & psi", "3.938", "b", "-"]
    assert ElementTree.fromstring(html_table((), [(1,)])).find("thead") is None
