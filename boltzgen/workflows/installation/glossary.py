"""``glossary``: what the words of results mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from boltzgen.notebook import html_table
from boltzgen.report.glossary import meaning, words


@dataclass(frozen=True, repr=False)
class Glossary:
    """Words and what they mean."""

    entries: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Word -> meaning."""
        return dict(self.entries)

    def rows(self) -> dict[str, str]:
        """The same, for a table."""
        return dict(self.entries)

    def __repr__(self) -> str:
        return "\n".join(f"{word}: {text}" for word, text in self.entries.items())

    def _repr_html_(self) -> str:
        return html_table((), list(self.entries.items()), caption="Glossary")


def glossary(word: str | None = None) -> Glossary:
    """What `word` means, or every word of tables, figures and verdicts.

    Returns
    -------
    Glossary: ``entries``, word -> meaning.

    Raises
    ------
    InputError: there is no such word; the nearest is named.

    Example
    -------
    >>> import boltzgen as bg
    >>> print(bg.glossary("k hat"))  # doctest: +ELLIPSIS
    k-hat: Whether rare samples of huge weight may still be missing. ...
    """
    return Glossary(words() if word is None else meaning(word))
