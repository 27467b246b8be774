"""Chains: do the groups of walkers agree, what are their rows worth, which moves are accepted, what turns."""

from __future__ import annotations

from typing import Any

import numpy as np

from boltzgen.ensemble.chains.diagnostics import ENOUGH_CROSSINGS, ENOUGH_SAMPLES, R_HAT_GOOD
from boltzgen.ensemble.chains.figures import ChainFigures
from boltzgen.ensemble.chains.walkers import Walkers
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.report.axes import symbol
from boltzgen.report.page.markup import facts, figures, joined, measured, percentage, table, tag
from boltzgen.report.page.record import Material, Picture, Section, part
from boltzgen.report.page.svg import BLACK, BLUE, GREEN, ORANGE, Plot, linear_axis
from boltzgen.system.graph.geometry import dihedral_angles

#: Variables in the table, the slowest first; walkers whose way is drawn, one a group; points of each.
MOST_VARIABLES, DRAWN, POINTS = 20, 4, 400

_COLOURS = (BLUE, ORANGE, GREEN, BLACK)


def chains(material: Material) -> Section | None:
    """The section ``chains``; None for independent samples."""
    ensemble = material.ensemble
    if ensemble is None or ensemble.walkers is None:
        return None
    found = ensemble.diagnostics()
    assert found.chains is not None
    of, record = found.chains, part(part(material.manifest, "provenance"), "chains")
    told = {
        "rows": len(ensemble),
        "walkers": of.walkers,
        "groups that never talk": of.groups,
        "sweeps of each walker after its warm-up": of.steps,
        "bulk samples of the slowest variable": _number(of.ess_bulk),
        "tail samples of the slowest variable": _number(of.ess_tail),
        "R-hat (nested)": None if of.r_hat is None else f"{of.r_hat:.4f}",
        "autocorrelation, sweeps": _number(of.autocorrelation),
        "ln Z (lengths in nm)": measured(found.log_z, found.log_z_standard_error),
        **{f"energies: {name}": count for name, count in part(record, "energy_evaluations").items()},
    }
    pictures = _traces(material, ensemble, ensemble.walkers, of, record)
    words = (
        "Walkers redraw parts of a conformation with the flow and accept them so that the target is exact. "
        "Rows of one walker depend on one another: what counts is how many independent samples they are ("
        f"{ENOUGH_SAMPLES:.0f} of each variable are asked for, in the bulk and in the tails), whether groups "
        f"that began in different places agree (R-hat below {R_HAT_GOOD}), and whether walkers entered and "
        f"left each state {ENOUGH_CROSSINGS} times."
    )
    parts = [facts(told), tag("p", words), *_tables(of, record), figures(pictures)]
    numbers: dict[str, Any] = {
        "walkers": of.walkers,
        "groups": of.groups,
        "steps": of.steps,
        "ess_bulk": of.ess_bulk,
        "ess_tail": of.ess_tail,
        "r_hat": of.r_hat,
        "autocorrelation": of.autocorrelation,
        "acceptance": dict(part(record, "acceptance")),
        "variables": [vars(one) for one in of.variables],
        "states": [vars(one) for one in of.states],
    }
    return Section("chains", "Walkers", joined(parts), numbers, tuple(pictures))


def _tables(of: ChainFigures, record: Any) -> list[Any]:
    slowest = sorted(of.variables, key=lambda one: one.ess_bulk or 0.0)[:MOST_VARIABLES]
    rows = [
        (
            symbol(one.name),
            _number(one.ess_bulk) if one.moved else "never moved",
            _number(one.ess_tail),
            "–" if one.r_hat is None else f"{one.r_hat:.4f}",
        )
        for one in slowest
    ]
    found = [table(("variable", "bulk samples", "tail samples", "R-hat"), rows, "The slowest variables")]
    moves = [
        (kind, percentage(one["accepted"] / one["tried"]), int(one["tried"]))
        for kind, one in part(record, "acceptance").items()
        if one["tried"]
    ]
    if moves:
        found.append(table(("move", "accepted", "tried"), moves, "Moves"))
    if of.states:
        crossed = [(symbol(one.name), percentage(one.share), one.entered, one.left) for one in of.states]
        found.append(table(("state", "share", "entered", "left"), crossed, "States"))
    return found


def _traces(
    material: Material, ensemble: Ensemble, walkers: Walkers, of: ChainFigures, record: Any
) -> list[Picture]:
    """The way of one walker of each group along the torsion that is slowest; none without torsions."""
    torsions = {f"torsion {one['name']}": one["atoms"] for one in record.get("torsions", ())}
    turning = [one for one in of.variables if one.name in torsions]
    if not turning or walkers.steps < 2:
        return []
    slowest = min(turning, key=lambda one: one.ess_bulk or 0.0)
    angle = np.degrees(dihedral_angles(ensemble.positions, np.array([torsions[slowest.name]]))[:, 0])
    angles, steps = walkers.series(angle), walkers.series(walkers.step)
    firsts = [int(np.argmax(walkers.group_of_walker == g)) for g in np.unique(walkers.group_of_walker)]
    chosen = np.unique(np.linspace(0, angles.shape[1] - 1, min(POINTS, angles.shape[1])).astype(int))
    x = linear_axis(0.0, float(steps.max()), "sweep after the warm-up")
    y = linear_axis(-180.0, 180.0, f"{symbol(slowest.name)} (°)")
    plot = Plot(x, y, f"Slowest: {symbol(slowest.name)}", material.subject.line(), width=640)
    plot.legend(
        *((f"walker {walkers.walker[walkers.order[walkers.starts[one]]]}", _COLOURS[k], "line")
          for k, one in enumerate(firsts[:DRAWN]))
    )  # fmt: skip
    for k, one in enumerate(firsts[:DRAWN]):
        plot.points(steps[one, chosen], angles[one, chosen], _COLOURS[k])
    words = (
        "The slowest torsion along one walker of each group. Walkers that mix visit every level many times; "
        "one that stays on a level tells of its start alone."
    )
    return [Picture("chains-slowest", plot.svg, words)]


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"
