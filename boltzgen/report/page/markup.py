"""Pieces of HTML. Text goes through `escaped` or `prose`; what is `Html` already stands as it is."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from boltzgen.notebook import shown
from boltzgen.report.axes import symbol
from boltzgen.report.page.record import Picture

#: Signs of a cell that are kept in one line.
LONGEST_UNBROKEN = 28


class Html(str):
    """Text that is HTML, its content escaped by whoever made it."""


#: Characters that no page may hold: controls, surrogates and marks that turn the direction of a line.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def escaped(value: object) -> Html:
    """`value` for people, as `boltzgen.notebook.shown` writes it, safe in text and in attributes."""
    if isinstance(value, Html):
        return value
    return Html(html.escape(_UNSEEN.sub("\N{REPLACEMENT CHARACTER}", shown(value))))


def prose(text: object, words: Callable[[str], str] = str) -> Html:
    """A sentence of the library: arguments in the words of the caller, code between backticks set as code.

    Outside of code torsions have their Greek letters.
    """
    pieces = re.split(r"(`[^`\n]+`)", words(str(text)))
    return joined(
        tag("code", one[1:-1]) if one[:1] == one[-1:] == "`" and one else symbol(one) for one in pieces
    )


def tag(name: str, content: object = "", **attributes: object) -> Html:
    """One element; ``class_`` stands for class, and ``_`` in other names for ``-``."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value not in (None, "")
    )
    return Html(f"<{name}{told}>{escaped(content)}</{name}>")


def joined(parts: Iterable[object], between: str = "") -> Html:
    """The parts, each escaped, in a row."""
    return Html(between.join(escaped(one) for one in parts))


def bullets(items: Iterable[object]) -> Html:
    """A list; nothing where there are no items."""
    found = joined(tag("li", item) for item in items)
    return tag("ul", found) if found else Html("")


def table(columns: Sequence[object], rows: Iterable[Sequence[object]], caption: str = "") -> Html:
    """A table in a box that scrolls sideways; whole numbers to the right."""
    body = [list(row) for row in rows]
    head = tag("thead", tag("tr", joined(tag("th", one) for one in columns))) if any(columns) else ""
    lines = joined(tag("tr", joined(_cell(cell) for cell in row)) for row in body)
    said = tag("caption", caption) if caption else ""
    whole = tag("table", joined([said, head, tag("tbody", lines)]))
    return tag("div", whole, class_="scroll", tabindex="0")


def facts(rows: Mapping[str, object], caption: str = "") -> Html:
    """Names and values; those that are None are left out, large counts have thin gaps."""
    told = [(name, _counted(value)) for name, value in rows.items() if value is not None]
    return table((), told, caption)


def _counted(value: object) -> object:
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") if type(value) is int else value


def _cell(cell: object) -> Html:
    if isinstance(cell, int) and not isinstance(cell, bool):
        return tag("td", _counted(cell), class_="number")
    short = isinstance(cell, Html) or len(str(cell)) <= LONGEST_UNBROKEN
    return tag("td", cell, class_="short" if short else "")


def folded(summary: object, content: object) -> Html:
    """Content that opens at a click, and in print."""
    return Html(f"<details><summary>{escaped(summary)}</summary>{escaped(content)}</details>")


def figure(picture: Picture) -> Html:
    """The picture with its words below."""
    return Html(f"<figure>{picture.svg}<figcaption>{escaped(picture.words)}</figcaption></figure>")


def figures(pictures: Iterable[Picture]) -> Html:
    """Pictures beside each other where the page is wide enough."""
    return tag("div", joined(figure(one) for one in pictures), class_="figures")


def badge(verdict: object) -> Html:
    """The verdict, coloured."""
    known = verdict if verdict in ("ok", "caution", "unreliable") else "unknown"
    return tag("strong", verdict or "not known", class_=f"badge {known}")


def percentage(share: float | None, interval: Sequence[float | None] = (None, None)) -> str:
    """``96.3 % (95.9 to 96.7)``: decimals by the width of the 95 % `interval`; a dash where not known."""
    if share is None or not math.isfinite(share):
        return "–"
    low, high = interval
    if low is None or high is None or not 0 < high - low < math.inf:
        return f"{100 * share:.3g} %"
    decimals = min(max(0, 1 - math.floor(math.log10(100 * max(high - share, share - low)))), 6)
    told = [f"{100 * one:.{decimals}f}" for one in (share, low, high)]
    return f"{told[0]} % ({told[1]} to {told[2]})"


def measured(value: float | None, error: float | None = None, unit: str = "") -> str:
    """``3.94 ± 0.07 kT``; a dash where not known."""
    behind = f" {unit}" if unit not in ("", "1") else ""
    if value is None or not math.isfinite(value):
        return "not known"
    if error is None or not (math.isfinite(error) and error > 0):
        return f"{value:.4g}{behind}"
    return f"{value:.{_decimals(error)}f} ± {error:.{_decimals(error)}f}{behind}"


def rounded(value: float | None, error: float | None = None, unit: str = "") -> str:
    """``3.94 kT``: the digits that `error` leaves, where the error bar itself stands elsewhere."""
    if value is None or error is None or not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return measured(value, None, unit)
    return f"{value:.{_decimals(error)}f}" + (f" {unit}" if unit not in ("", "1") else "")


def _decimals(error: float) -> int:
    return min(max(0, 1 - math.floor(math.log10(error))), 9)
