"""Did a replica exchange run long enough? Numbers, and one word for each molecule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from boltzgen.data.manifest import doubts_of
from boltzgen.data.record import Trajectory
from boltzgen.data.statistics import slow_torsions, statistical_inefficiency
from boltzgen.remedies import LONGER_EACH
from boltzgen.system.graph.geometry import dihedral_angles
from boltzgen.system.molecular_system import MolecularSystem

#: Independent frames of the slowest torsion, and round trips, below which a run is `short`.
ENOUGH_FRAMES, ENOUGH_ROUND_TRIPS = 100.0, 10
#: Standard errors between the halves of a run from which it is `drifting`. The worst of some twenty states is
#: looked at, so that three happen by chance.
LARGEST_Z = 4.0
#: Edges of the three states of a torsion: gauche minus, gauche plus, trans (which is the rest), rad.
_EDGE = 2 * np.pi / 3


def convergence(
    trajectory: Trajectory, system: MolecularSystem, manifest: Mapping[str, Any]
) -> dict[str, Any]:
    """What tells whether the run of `manifest` (of an MD folder) is long enough, at its lowest temperature.

    Returns
    -------
    temperature_K; inefficiency: frames per independent frame of the slowest of torsions, energy and size
    (None where none was measured); independent_frames; round_trips: None for one temperature; halves: the
    `half_agreement`, None where there is none; verdict: ``converged``, ``short`` or ``drifting``; reasons.
    """
    kelvin = float(min(manifest["temperatures_K"]))
    frames = trajectory.at(kelvin)
    walks = int(manifest.get("torch", {}).get("walks", 1))
    measured = manifest["statistical_inefficiency"]
    inefficiency = max((g for key, g in measured.items() if key.endswith(f"@{kelvin:g}K")), default=None)
    exchange = manifest.get("exchange")
    found = {
        "temperature_K": kelvin,
        "inefficiency": inefficiency,
        "independent_frames": None if inefficiency is None else len(frames) / inefficiency,
        "round_trips": None if exchange is None else int(exchange["round_trips"]),
        "halves": half_agreement(frames, system, walks),
    }
    verdict, reasons = _judged(found, doubts_of(manifest))
    return {**found, "verdict": verdict, "reasons": reasons}


def half_agreement(frames: Trajectory, system: MolecularSystem, walks: int) -> dict[str, Any] | None:
    """The torsional state whose population changes most (in standard errors) from one half to the other.

    Parameters
    ----------
    frames: of one temperature, walk after walk. walks: independent ladders; each is cut in the middle.

    Returns
    -------
    torsion: its four atoms, from 0; state: ``g-`` (-120 to 0 degrees), ``g+`` (0 to 120) or ``t``; first,
    second: populations; difference: second - first; standard_error: with the statistical inefficiency of
    that state, and (k + 1) / (n + 2) for a population, so that a state that was hardly seen has one too;
    z: their ratio; largest_difference: of all states. None where there is no slow torsion, or less than
    two frames a walk.
    """
    torsions = slow_torsions(system)
    per_walk = len(frames) // walks
    if not len(torsions) or per_walk < 2:
        return None
    angles = dihedral_angles(frames.positions, torsions)
    states = {"g-": (angles > -_EDGE) & (angles < 0), "g+": (angles >= 0) & (angles < _EDGE)}
    states["t"] = ~(states["g-"] | states["g+"])
    compared = [
        {"torsion": torsions[column].tolist(), "state": name, **_compared(inside[:, column], walks)}
        for name, inside in states.items()
        for column in range(len(torsions))
    ]
    worst = max(compared, key=lambda one: abs(one["z"]))
    return {**worst, "largest_difference": max(abs(one["difference"]) for one in compared)}


def _compared(inside: np.ndarray, walks: int) -> dict[str, float]:
    """Populations of the halves of `inside` (frames,), walk after walk, and their difference."""
    by_walk = inside.astype(float).reshape(walks, -1)
    half = by_walk.shape[1] // 2
    halves = by_walk[:, :half], by_walk[:, -half:]
    first, second = (float(part.mean()) for part in halves)
    # A drift that all walks share is no correlation: it is taken out before the inefficiency is estimated.
    rest = np.concatenate([part - part.mean() for part in halves], axis=1)
    independent = max(half * walks / statistical_inefficiency(rest.ravel()), 1.0)
    share = ((first + second) * independent + 1) / (2 * independent + 2)
    error = math.sqrt(2 * share * (1 - share) / independent)
    difference = second - first
    return {
        "first": first,
        "second": second,
        "difference": difference,
        "standard_error": error,
        "z": difference / error,
    }


def _judged(found: Mapping[str, Any], doubts: Sequence[str]) -> tuple[str, list[str]]:
    halves, trips, frames = found["halves"], found["round_trips"], found["independent_frames"]
    drifting: list[str] = []
    short = list(doubts)  # dynamics that never inverts a ring, or leaves its starts, passes all that follows
    if halves is not None and abs(halves["z"]) > LARGEST_Z:
        drifting.append(
            f"state {halves['state']} of torsion {halves['torsion']}: {halves['first']:.2f} in the first "
            f"half, {halves['second']:.2f} in the second; {LONGER_EACH}"
        )
    if frames is None or frames < ENOUGH_FRAMES:
        short.append(f"{frames or 0:.0f} independent frames of {ENOUGH_FRAMES:.0f}; {LONGER_EACH}")
    if trips is not None and trips < ENOUGH_ROUND_TRIPS:
        short.append(f"{trips} round trips of {ENOUGH_ROUND_TRIPS}; {LONGER_EACH}")
    verdict = "drifting" if drifting else "short" if short else "converged"
    return verdict, drifting + short
