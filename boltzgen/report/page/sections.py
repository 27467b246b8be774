"""Which sections a page has, and in which order: those that its material gives."""

from __future__ import annotations

from typing import Any

from boltzgen.report.page.answer import answer
from boltzgen.report.page.record import Material, Section


def sections(material: Material) -> tuple[list[Section], dict[str, Any] | None]:
    """The sections in order, and what the 3D view shows (None without one)."""
    return [answer(material)], None
