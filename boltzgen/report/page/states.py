"""States: populations asked for, and those of each torsion, in the simulation, the draws and by weight."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from boltzgen.report.axes import symbol
from boltzgen.report.page.answer import populations_of, share_told
from boltzgen.report.page.markup import joined, percentage, table, tag
from boltzgen.report.page.record import Material, Section, part, several
from boltzgen.report.page.sources import Source, turns

#: Thirds of the circle, degrees.
THIRDS = ((0, 120), (120, 240), (240, 360))
_NAMES = ("0° to 120°", "120° to −120°", "−120° to 0°")

#: Effective samples that an error bar needs: one or two show no scatter.
FEWEST = 3.0

#: Torsions in the table at most.
MOST = 30


def states(material: Material, found: Sequence[Source]) -> Section | None:
    """The section ``states``; None where nothing has states."""
    asked = [
        (symbol(one["name"]), share_told(one))
        for one in populations_of(material)
        if one["population"] is not None
    ]
    turning, told = turns(material)[:MOST], []
    for turn in turning if found else []:
        shares = {}
        for one in found:
            angle = np.remainder(turn.variable.evaluate(one.positions), 360.0)
            shares[one.key] = [
                share_with_error((angle >= low) & (angle < high), one.weights, one.inefficiency)
                for low, high in THIRDS
            ]
        told.append((turn, shares))
    compared = several(part(material.manifest, "coverage"), "states")
    if not asked and not told and not compared:
        return None
    parts: list[Any] = []
    if asked:
        parts.append(table(("state", "population, by weight"), asked, "States asked for"))
    if told:
        rows = [
            (turn.label, name, *(percentage(*shares[one.key][third]) for one in found))
            for turn, shares in told
            for third, name in enumerate(_NAMES)
        ]
        columns = ("torsion", "between", *(one.label for one in found))
        parts.append(table(columns, rows, "Thirds of each torsion's circle"))
        parts.append(
            tag(
                "p",
                "Errors are one standard error; none stands where fewer than three effective samples lie.",
            )
        )
    if compared:
        source = part(material.manifest, "coverage").get("source")
        rows = [
            (
                symbol(str(one.get("name"))),
                percentage(one.get("reweighted"), one.get("reweighted_error")),
                percentage(one.get("target"), one.get("target_error")),
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
                    key: [{"population": p, "standard_error": e} for p, e in one]
                    for key, one in shares.items()
                },
            }
            for turn, shares in told
        ],
        "coverage": compared,
    }
    return Section("states", "States", joined(parts), numbers)


def share_with_error(
    inside: np.ndarray, weights: np.ndarray, inefficiency: float
) -> tuple[float, float | None]:
    """The share (0 to 1) of the `weights` (n,) that lies `inside` (n,) bool, and its standard error.

    ``p = sum w h``, ``var p = g sum w^2 (h - p)^2`` for weights that sum to one (delta method). No error from
    fewer than three effective samples in the state or outside it.
    """
    w = weights / weights.sum() if weights.sum() > 0 else weights
    p = float(w @ inside)
    if min(_effective(w[inside]), _effective(w[~inside])) < FEWEST * inefficiency:
        return p, None
    return p, float(np.sqrt(inefficiency * np.sum((w * (inside - p)) ** 2)))


def _effective(w: np.ndarray) -> float:
    square = float(np.sum(w**2))
    return float(w.sum()) ** 2 / square if square > 0 else 0.0
