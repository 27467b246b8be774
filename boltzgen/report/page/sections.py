"""Which sections a page has, and in which order: those that its material gives."""

from __future__ import annotations

from typing import Any

from boltzgen.report.page.answer import answer
from boltzgen.report.page.ramachandran import ramachandran
from boltzgen.report.page.record import Material, Section
from boltzgen.report.page.sources import sources
from boltzgen.report.page.torsions import torsions


def sections(material: Material) -> tuple[list[Section], dict[str, Any] | None]:
    """The sections in order, and what the 3D view shows (None without one)."""
    compared = sources(material)
    found = [answer(material), ramachandran(material, compared), torsions(material, compared)]
    return [one for one in found if one is not None], None
