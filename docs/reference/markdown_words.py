"""Words of Markdown that all generated pages use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def code(text: object) -> str:
    """`text` in the letters of code; a bar in them parts no cells of a table."""
    return f"`{text}`"


def plain(text: str) -> str:
    """A docstring's words: double backticks become single, pages are linked, and nothing else is markup."""
    text = re.sub(r"`*\bdocs/([\w/-]+\.md)`*", r"`\1`", text)
    parts = re.split(r"(`+[^`]+`+)", text)
    return "".join(_linked(part.strip("`")) if part.startswith("`") else _escaped(part) for part in parts)


def _linked(name: str) -> str:
    """A name in the letters of code; a page of docs/ as a link, which the build follows."""
    return f"[{name}](../{name})" if re.fullmatch(r"[\w/-]+\.md", name) else f"`{name}`"


def _escaped(text: str) -> str:
    return re.sub(r"([<*_\[\]])", r"\\\1", text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = (" ".join(str(cell).split()) for cell in row)
        lines.append("| " + " | ".join(cells) + " |")
    return lines
