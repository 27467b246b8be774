"""What verbs return: frozen records of the JSON files that they wrote, with a name for each number.

The file is the truth: a record holds its content, `Record.to_json` gives it back, and the properties read it.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from boltzgen.notebook import html_table


@dataclass(frozen=True, repr=False)
class Record(ABC):
    """The content of one JSON file; equal to another record when that is equal."""

    _content: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """What the file holds, JSON types only; changing it changes nothing here."""
        return copy.deepcopy(dict(self._content))

    @abstractmethod
    def rows(self) -> dict[str, Any]:
        """Name and value of what people look at first."""

    @abstractmethod
    def __repr__(self) -> str: ...

    def _repr_html_(self) -> str:
        return html_table((), list(self.rows().items()), caption=type(self).__name__)


def number(value: Any) -> float | None:
    """A number of the file; None where it is not known."""
    return None if value is None else float(value)


def whole_number(value: Any) -> int | None:
    """A whole number of the file; None where it is not known."""
    return None if value is None else int(value)
