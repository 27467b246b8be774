"""Alternate locations of atoms: of each residue of a PDB or mmCIF file, the one that is occupied most.

OpenMM's readers take the first of each atom, whatever its occupancy. So the others are taken out of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from boltzgen.system.formats.pdb_text import has_alternate_locations
from boltzgen.system.formats.sites import Site, mmcif_sites, pdb_sites

#: nm; two sites of one residue nearer than this are one atom (H and D of a neutron structure).
_ONE_ATOM = 0.05

#: Residues that a note names.
_NAMED = 3


def with_chosen_locations(text: str, kind: str) -> tuple[str, list[str]]:
    """`text`, a PDB or (`kind`) ``mmcif``, without the locations that are not chosen; and what to say of it.

    Of each residue the location of the highest mean occupancy stays, the first where two are equal, so that
    atoms of one residue fit each other.
    """
    if kind == "pdb" and not has_alternate_locations(text):
        return text, []
    sites = pdb_sites(text) if kind == "pdb" else mmcif_sites(text)[0]
    lines = text.splitlines(keepends=True)
    rows = [number for number, line in enumerate(lines) if line.startswith(("ATOM", "HETATM"))]
    dropped: set[int] = set()
    chosen = []
    for _, group in groupby(sorted(sites, key=lambda site: site.whose), key=lambda site: site.whose):
        residue = sorted(group, key=lambda site: site.row)
        location = _best(residue)
        others = {site.row for site in residue} - {site.row for site in _kept(residue, location)}
        if others:
            mean = np.mean([site.occupancy for site in residue if site.location == location])
            chosen.append(f"{residue[0].residue} {residue[0].number}: {location}, {mean:.2f}")
            dropped |= {rows[row] for row in others}
    if not chosen:
        return text, []
    shown = "; ".join(chosen[:_NAMED]) + (f"; {len(chosen) - _NAMED} more" if len(chosen) > _NAMED else "")
    return "".join(line for number, line in enumerate(lines) if number not in dropped), [
        f"alternate locations: of each residue the one with the highest occupancy is used ({shown})."
    ]


def _best(residue: Sequence[Site]) -> str:
    """The alternate location of the highest mean occupancy; "" where there is none."""
    occupancies: dict[str, list[float]] = {}
    for site in residue:
        if site.location:
            occupancies.setdefault(site.location, []).append(site.occupancy)
    return max(occupancies, key=lambda name: float(np.mean(occupancies[name])), default="")


def _kept(residue: Sequence[Site], location: str) -> list[Site]:
    """The sites in `location` or in none; an atom that has neither in the one where it is occupied most."""
    kept = [site for site in residue if site.location in ("", location)]
    forms = {site.residue for site in kept}
    names = {site.name for site in kept}
    others: dict[str, list[Site]] = {}
    for site in residue:
        if site.residue in forms and site.name not in names:
            others.setdefault(site.name, []).append(site)
    places = np.array([site.place for site in kept]).reshape(-1, 3)
    for alternatives in others.values():
        best = max(alternatives, key=lambda site: site.occupancy)
        if (np.linalg.norm(places - np.array(best.place), axis=1) > _ONE_ATOM).all():
            kept.append(best)
    return kept
