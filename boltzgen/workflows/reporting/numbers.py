"""Small readers of records: parts that may be missing, and numbers as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def known(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """What of `numbers` is known."""
    return {name: value for name, value in numbers.items() if value not in (None, "")}


def percent(value: Any) -> str | None:
    """A fraction as percent; None where it is no number."""
    return f"{100 * value:.3g} %" if isinstance(value, int | float) else None


def short(value: Any) -> str:
    """`value` as text of one line."""
    text = str(value)
    return text if len(text) <= 90 else f"{text[:87]}..."


def part(record: Any, key: str) -> Mapping[str, Any]:
    """A mapping in `record`; an empty one where there is none."""
    found = record.get(key) if isinstance(record, Mapping) else None
    return found if isinstance(found, Mapping) else {}
