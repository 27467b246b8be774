"""Words of Markdown that all generated pages use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def code(text: object) -> str:
    """`text` in the letters of code, safe inside a table."""
    return f"`{text}`".replace("|", "\\|")


def plain(text: str) -> str:
    """A docstring's words: double backticks become single, and nothing else of it is markup."""
    parts = re.split(r"(`+[^`]+`+)", text)
    return "".join(
        f"`{part.strip('`')}`" if part.startswith("`") else re.sub(r"([<*_\[\]])", r"\\\1", part)
        for part in parts
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = (" ".join(str(cell).split()) for cell in row)
        lines.append("| " + " | ".join(cells) + " |")
    return lines
