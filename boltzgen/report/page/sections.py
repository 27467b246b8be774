"""Which sections a page has, and in which order: those that its material gives."""

from __future__ import annotations

from typing import Any

from boltzgen.report.page.answer import answer
from boltzgen.report.page.chains import chains
from boltzgen.report.page.geometry import geometry
from boltzgen.report.page.molecule import molecule
from boltzgen.report.page.origin import literature, origin, unchecked
from boltzgen.report.page.overlap import overlap
from boltzgen.report.page.ramachandran import ramachandran
from boltzgen.report.page.record import Material, Section
from boltzgen.report.page.sources import sources
from boltzgen.report.page.states import states
from boltzgen.report.page.torsions import torsions
from boltzgen.report.page.training import training
from boltzgen.report.page.viewer import view
from boltzgen.report.page.weights import weights


def sections(material: Material) -> tuple[list[Section], dict[str, Any] | None]:
    """The sections in order, and what the 3D view shows (None without one).

    A section that a later method brings is one file here and one line below.
    """
    compared, seen = sources(material), view(material)
    found = [
        answer(material),
        molecule(material),
        seen[0] if seen else None,
        states(material, compared),
        ramachandran(material, compared),
        torsions(material, compared),
        chains(material),
        weights(material, in_3d=seen is not None and len(seen[1]["rows"]) > 1),
        overlap(material),
        geometry(material, compared),
        training(material),
        unchecked(material),
        origin(material),
        literature(material),
    ]
    return [one for one in found if one is not None], seen[1] if seen else None
