"""The molecule: a drawing with the number of each atom, and its atoms as a table."""

from __future__ import annotations

import re

from boltzgen.errors import BoltzgenError
from boltzgen.report.page.markup import facts, figures, folded, joined, table, tag
from boltzgen.report.page.record import Material, Picture, Section, part
from boltzgen.report.structure import structure_svg
from boltzgen.system.graph.elements import symbol_of

#: Rows of the table at most.
MOST_ATOMS = 400


def molecule(material: Material) -> Section | None:
    """The section ``molecule``; None without a prepared molecule."""
    system = material.molecule
    if system is None:
        return None
    pictures = []
    try:
        drawing = re.sub(r"^.*?(?=<svg)", "", structure_svg(system), flags=re.DOTALL).strip()
        words = (
            "Numbers are those of the atoms, from 0, as in a states file; hydrogens on carbon are not drawn."
        )
        pictures.append(Picture("molecule", drawing, f"{system.name}. {words}"))
        trouble = ""
    except (BoltzgenError, ValueError, RuntimeError) as error:  # RDKit's, of a molecule it cannot lay out
        trouble = f"It could not be drawn ({error})."
    rows = [
        (index, str(name), symbol_of(int(number)), f"{float(mass):.3f}")
        for index, (name, number, mass) in enumerate(
            zip(system.atom_names, system.atomic_numbers, system.masses, strict=True)
        )
    ]
    warnings = [str(one) for one in system.provenance.get("warnings", ())]
    told = {
        "atoms": system.n_atoms,
        "bonds": len(system.bonds),
        "mass": f"{system.masses.sum():.2f} Da",
        "force field": material.subject.force_field or "not recorded",
        "made from": part(system.provenance, "input").get("file")
        or part(system.provenance, "input").get("kind"),
        "fingerprint": system.fingerprint[:16],
    }
    parts = [
        figures(pictures),
        tag("p", trouble) if trouble else "",
        facts(told),
        folded(
            f"All {system.n_atoms} atoms",
            table(("number", "name", "element", "mass (Da)"), rows[:MOST_ATOMS]),
        ),
    ]
    numbers = {
        "name": system.name,
        "atoms": system.n_atoms,
        "bonds": len(system.bonds),
        "mass_dalton": round(float(system.masses.sum()), 4),
        "fingerprint": system.fingerprint,
        "warnings": warnings,
    }
    return Section("molecule", "Molecule", joined(parts), numbers, tuple(pictures))
