"""States: populations asked for, and those of each torsion, in the simulation, the draws and by weight."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from boltzgen.free_energy.populations import Population, populations
from boltzgen.report.axes import symbol
from boltzgen.report.page.answer import populations_of, shares_told
from boltzgen.report.page.markup import joined, percentage, table, tag
from boltzgen.report.page.record import Material, Section, part, several
from boltzgen.report.page.sources import Source, turns
from boltzgen.shares import wilson_interval

#: Thirds of the circle, degrees.
THIRDS = ((0, 120), (120, 240), (240, 360))
_NAMES = ("0° to 120°", "120° to −120°", "−120° to 0°")

#: Torsions in the table at most.
MOST = 30


def states(material: Material, found: Sequence[Source]) -> Section | None:
    """The section ``states``; None where nothing has states."""
    asked = shares_told(populations_of(material))
    turning, told = turns(material)[:MOST], []
    for turn in turning if found else []:
        told.append((turn, {one.key: thirds(turn.variable.evaluate(one.positions), one) for one in found}))
    compared = several(part(material.manifest, "coverage"), "states")
    if not asked and not told and not compared:
        return None
    parts: list[Any] = []
    if asked:
        parts.append(table(("state", "by weight (95 % interval)"), asked, "States asked for"))
    if told:
        rows = [
            (turn.label, name, *(_share(shares[one.key][third]) for one in found))
            for turn, shares in told
            for third, name in enumerate(_NAMES)
        ]
        columns = ("torsion", "between", *(one.label for one in found))
        parts.append(table(columns, rows, "Thirds of each torsion's circle"))
        parts.append(
            tag(
                "p",
                "In brackets: 95 % intervals (Wilson's); none stands where one or two effective samples lie.",
            )
        )
    if compared:
        source = part(material.manifest, "coverage").get("source")
        rows = [
            (
                symbol(str(one.get("name"))),
                *(
                    percentage(one.get(key), wilson_interval(one.get(key), one.get(f"{key}_error")))
                    for key in ("reweighted", "target")
                ),
            )
            for one in compared
        ]
        caption = "Against samples that the flow did not draw"
        parts.append(table(("state", "by weight", f"in {source}"), rows, caption))
        if any(re.match(r"torsion \d+-\d+", row[0]) for row in rows):
            told_from_1 = "The numbers of atoms in these names count from 1, all others on this page from 0."
            parts.append(tag("p", told_from_1))
    numbers = {
        "asked_for": populations_of(material),
        "torsions": [
            {
                "name": turn.name,
                "thirds_degrees": [list(one) for one in THIRDS],
                **{
                    key: [
                        {
                            "population": third.population,
                            "standard_error": third.standard_error,
                            "interval95": list(third.interval95),
                        }
                        for third in one
                    ]
                    for key, one in shares.items()
                },
            }
            for turn, shares in told
        ],
        "coverage": compared,
    }
    return Section("states", "States", joined(parts), numbers)


def thirds(angles: np.ndarray, source: Source) -> list[Population]:
    """The shares of `source` in each of `THIRDS`, of the values (n,) of a torsion in degrees."""
    turned = np.remainder(angles, 360.0)
    masks = {
        name: (turned >= low) & (turned < high) for name, (low, high) in zip(_NAMES, THIRDS, strict=True)
    }
    with np.errstate(divide="ignore"):
        log_w = np.log(source.weights)
    return populations(log_w, masks, inefficiency=source.inefficiency)


def _share(one: Population) -> str:
    return percentage(one.population, one.interval95)
