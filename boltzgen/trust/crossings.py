"""Did replicas leave the states where they began? Otherwise populations are those of the starts.

Replicas that are stuck look independent and converged: each of them is in one state, all of them together in
all, and nothing drifts. So each state of a torsion or ring is asked how often a copy of the molecule entered
it, and left it, from one saved frame to the next, at whatever temperature it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy.stats import t as student

from boltzgen.data.record import Trajectory
from boltzgen.ensemble.chains.diagnostics import ENOUGH_CROSSINGS, REPORTED
from boltzgen.ensemble.chains.walkers import Walkers
from boltzgen.remedies import LENGTHEN
from boltzgen.system.graph.geometry import dihedral_angles
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.graph.torsions import MOVED
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.trust.rings import ring_codes, ring_columns

#: What a sentence on a state begins with that replicas hardly entered or left.
STARTS_ALONE = "caution: these are the starts' populations"

#: How likely a drift as large as the largest may be by chance, all series together, before it is told.
CHANCE = 0.01

#: Thirds of the circle of a torsion, degrees.
_THIRDS = ("0 and 120", "120 and -120", "-120 and 0")


def crossings_of(trajectory: Trajectory, system: MolecularSystem, walks: int) -> list[dict[str, Any]]:
    """How often replicas entered and left each state that the coldest frames of `trajectory` show.

    Of heavy torsions that turn and of rings, where a state holds at least `REPORTED` of the coldest frames
    and not (almost) all of them. trajectory: frames at each temperature, walk after walk, in order of time.

    Returns
    -------
    name, share (of the coldest frames), entered, left: of each state; JSON types only.
    """
    replicas = replicas_of(trajectory, walks)
    coldest = trajectory.is_at(trajectory.temperature_ladder[0])
    most = 1 - REPORTED
    found = []
    for name, inside in _states(trajectory.positions, system):
        share = float(inside[coldest].mean())
        if REPORTED <= share <= most:
            entered, left = replicas.crossings(inside)
            found.append({"name": name, "share": share, "entered": entered, "left": left})
    return found


def judge_starts(states: list[dict[str, Any]], remedy: str = LENGTHEN) -> list[str]:
    """The sentence on `states`, as of `crossings_of`, that were not entered and left often enough; or none.

    It ends with `remedy`.
    """
    few = [one for one in states if min(one["entered"], one["left"]) < ENOUGH_CROSSINGS]
    if not few:
        return []
    worst = min(few, key=lambda one: (min(one["entered"], one["left"]), -one["share"]))
    others = f" (others as seldom: {len(few) - 1})" if len(few) > 1 else ""
    return [
        f"{STARTS_ALONE}: replicas entered {worst['name']} {worst['entered']} times and left it "
        f"{worst['left']} times{others}, and {ENOUGH_CROSSINGS} of each are needed; {remedy}"
    ]


def judge_drift(drifts: Mapping[str, float], walks: int, torsions: int, remedy: str = LENGTHEN) -> list[str]:
    """The sentence on walks whose halves differ by more than chance, as if they knew their starts; or none.

    Many short walks from one place look independent of each other, whatever they have in common: only their
    change with time tells. `drifts`: as of `boltzgen.data.statistics.drifts`, in standard errors of the mean
    of `walks`: the energy, and the largest of cosine and sine of `torsions` torsions, at each temperature.
    A mean over walks follows Student's t with walks - 1 degrees of freedom; each of the series has its share
    of `CHANCE` (Bonferroni). The sentence ends with `remedy`.
    """
    if walks < 2 or not drifts:
        return []
    series = sum(2 * torsions if name.startswith("torsions") else 1 for name in drifts)
    name = max(drifts, key=lambda one: abs(drifts[one]))
    if 2 * student.sf(abs(drifts[name]), walks - 1) * series >= CHANCE:
        return []
    quantity, _, temperature = name.partition("@")
    what = "the energy" if quantity == "energy" else "a torsion"
    return [
        f"{STARTS_ALONE}: at {temperature} the mean of {what} changes by {abs(drifts[name]):.1f} standard "
        f"errors from the first half of the {walks} walks to the second; {remedy}"
    ]


def replicas_of(trajectory: Trajectory, walks: int) -> Walkers:
    """Each replica as a walker, its frames by their time, whatever their temperature."""
    times = np.empty(len(trajectory), dtype=np.int64)
    for kelvin in trajectory.temperature_ladder:
        rows = np.flatnonzero(trajectory.is_at(kelvin))
        times[rows] = np.arange(len(rows)) % max(len(rows) // walks, 1)
    return Walkers(trajectory.replicas, np.zeros_like(times), times)


def _states(positions: np.ndarray, system: MolecularSystem) -> Iterator[tuple[str, np.ndarray]]:
    """The name of each state and which of `positions` (B, N, 3) are in it."""
    graph, names = MolecularGraph.from_system(system), system.atom_names
    for torsion in graph.torsions(MOVED):
        angle = dihedral_angles(positions, np.array([torsion.atoms]))[:, 0]
        third = np.minimum(np.floor(np.mod(angle, 2 * np.pi) / (2 * np.pi / 3)), 2)
        name = "-".join(str(names[atom].atom) for atom in torsion.atoms)
        for number, words in enumerate(_THIRDS):
            yield f"torsion {name} between {words} degrees", third == number
    columns = ring_columns(graph, names)
    codes = ring_codes(columns, positions)
    for number, column in enumerate(columns):
        for code in np.unique(codes[codes[:, number] >= 0, number]).tolist():
            yield column.state(code), codes[:, number] == code
