"""The states of rings as coverage, the probe and simulations see them: codes, words, and which are missing.

What a ring can do is known without a simulation: the lowest of many conformers in each state, from RDKit,
minimised in the molecule's own force field. A state within a few kT that no sample shows is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from boltzgen.coordinates.conformers import conformers_of
from boltzgen.data.record import Trajectory
from boltzgen.dynamics.ring_moves import RingMoves
from boltzgen.ensemble.chains.diagnostics import ENOUGH_CROSSINGS, REPORTED, judge_crossings
from boltzgen.ensemble.chains.walkers import Walkers
from boltzgen.ensemble.diagnostics import kish_ess, normalised_weights
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.remedies import LADDER, LARGER_PROBE, LONGER_CHAINS, TRAIN_ON_LADDER
from boltzgen.system.formats.pdb_text import AtomName
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.graph.ring_states import (
    NitrogenStates,
    RingStates,
    SignStates,
    from_lowest,
    ring_name,
    ring_states,
)
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import thermal_energy

#: Conformers of one joint state that are minimised, the lowest under MMFF94 first.
_TRIES = 2
#: kT above the lowest conformer up to which a state that nothing shows is missed, and up to which that is
#: `unreliable`: e^-3 is 5 % of a population.
NEAR, VERY_NEAR = 5.0, 3.0
#: Samples that should be in a state before their absence tells anything.
ENOUGH_EXPECTED = 5.0
#: Share of what is expected that still counts as none.
HARDLY = 1e-2
#: Effective samples of a state that are enough to begin with, and the share of those expected that is.
ENOUGH_DRAWN, LEAST_DRAWN = 10.0, 0.3
#: What helps, by what the rows are.
_REMEDIES = {"frames": LADDER, "samples": TRAIN_ON_LADDER}
#: What changes a ring that no move turns over, and what helps, by what the rows are.
_CHANGED_BY = {
    "frames": ("starts and dynamics change", LADDER),
    "walkers": ("moves of the flow change", LONGER_CHAINS),
    "probe": ("its starts and dynamics change", LARGER_PROBE),
}
#: States of one ring that are compared: all that hold this share, the most frequent first.
LISTED, _MOST_STATES = 0.02, 6


@dataclass(frozen=True)
class RingColumn:
    """One ring (or nitrogen) of a molecule and the names of all its atoms, for people."""

    states: RingStates
    names: tuple[str, ...]

    def state(self, code: int) -> str:
        return self.states.state(code, self.names)


@dataclass(frozen=True)
class RingMinima:
    """The lowest conformers that were found, one of each joint state.

    positions (K, N, 3) nm; energies (K,) kJ/mol over the lowest; codes (K, columns).
    """

    positions: np.ndarray
    energies: np.ndarray
    codes: np.ndarray

    def near(self, temperature: float) -> list[np.ndarray]:
        """The conformers (N, 3) within `NEAR` kT of the lowest at `temperature` (K)."""
        return list(self.positions[self.energies <= NEAR * thermal_energy(temperature)])

    def heights(self, column: int, temperature: float) -> dict[int, float]:
        """Of each state of a column its lowest conformer over the lowest of all, kT at `temperature` (K)."""
        heights: dict[int, float] = {}
        for code, energy in zip(self.codes[:, column].tolist(), self.energies.tolist(), strict=True):
            if code >= 0:
                height = energy / float(thermal_energy(temperature))
                heights[code] = min(height, heights.get(code, np.inf))
        return heights


@dataclass(frozen=True, eq=False)
class RingWalks:
    """What copies of the molecule did from row to row.

    positions: (M, N, 3) nm. crossed: how often they entered, and how often they left, marked rows (M,) bool.
    """

    positions: np.ndarray
    crossed: Callable[[np.ndarray], tuple[int, int]]

    @classmethod
    def of_one(cls, positions: np.ndarray) -> RingWalks:
        """Of one copy, whose `positions` stand in order of time: a trajectory of another program."""
        rows = np.arange(len(positions))
        return cls(np.asarray(positions), Walkers(0 * rows, 0 * rows, rows).crossings)

    def turned_over(self, codes: np.ndarray, heights: Mapping[int, float]) -> bool:
        """Whether copies entered and left `ENOUGH_CROSSINGS` times what counts of the states `codes` (M,).

        That is the most frequent one, and each that holds `REPORTED` of the rows, or should by the `heights`
        (kT) of its lowest conformer.
        """
        known, counts = np.unique(codes[codes >= 0], return_counts=True)
        if not len(known):
            return False
        total = sum(np.exp(-height) for height in heights.values())
        asked = {code for code, height in heights.items() if np.exp(-height) >= REPORTED * total}
        asked |= {int(known[counts.argmax()]), *known[counts >= REPORTED * len(codes)].tolist()}
        return all(min(self.crossed(codes == code)) >= ENOUGH_CROSSINGS for code in asked)


def ring_columns(graph: MolecularGraph, names: Sequence[AtomName]) -> list[RingColumn]:
    """The rings of `graph` that have states, with the residue in the names where there are several."""
    several = len({str(name).split()[0] for name in names}) > 1
    words = tuple(str(name) if several else str(name.atom) for name in names)
    return [RingColumn(states, words) for states in ring_states(graph)]


def ring_codes(columns: Sequence[RingColumn], positions: np.ndarray) -> np.ndarray:
    """(B, columns) int, the state of each ring in each conformation (B, N, 3); -1 where there is none."""
    found = [column.states.classify(positions) for column in columns]
    return np.stack(found, axis=1) if found else np.empty((len(positions), 0), dtype=np.int64)


def codes_to_compare(*columns: np.ndarray) -> list[int]:
    """Codes that hold at least `LISTED` of one of `columns` (rows,); none where all rows are in one state."""
    shares: dict[int, float] = {}
    for codes in columns:
        known, counts = np.unique(codes[codes >= 0], return_counts=True)
        for code, count in zip(known.tolist(), counts.tolist(), strict=True):
            shares[code] = max(shares.get(code, 0.0), count / len(codes))
    listed = sorted((code for code in shares if shares[code] >= LISTED), key=lambda code: -shares[code])
    return sorted(listed[:_MOST_STATES]) if len(shares) > 1 else []


def ring_minima(system: MolecularSystem, isomers: str = "reference") -> RingMinima | None:
    """The lowest conformer in each joint state of the rings of `system`, inside the domain of `isomers`.

    None where no ring has states, or RDKit finds no Lewis structure or conformer. Energies are those of the
    force field (of a hybrid, without its region's potential).
    """
    if len(system.bonds) < system.n_atoms:
        return None
    rings = ring_states(MolecularGraph.from_system(system))
    found = conformers_of(system, isomers) if rings else None
    if found is None:
        return None
    positions, energies = found.minimised(system, _lowest(rings, found.positions, found.energies))
    if not len(energies):
        return None
    codes = np.stack([ring.classify(positions) for ring in rings], axis=1)
    rising = np.argsort(energies, kind="stable")
    _, first = np.unique(codes[rising], axis=0, return_index=True)
    rows = rising[np.sort(first)]
    return RingMinima(positions[rows], energies[rows] - energies[rows[0]], codes[rows])


def missing_states(
    columns: Sequence[RingColumn], minima: RingMinima | None, codes: np.ndarray, temperature: float, what: str
) -> list[tuple[str, str]]:
    """States near the lowest that (almost) none of the rows of `codes` (B, columns) shows: (verdict, reason).

    `what` the rows are, a word of `_REMEDIES`. `temperature` in K.
    """
    if minima is None:
        return []
    found = []
    for number, column in enumerate(columns):
        limit = VERY_NEAR if isinstance(column.states, SignStates) else NEAR
        heights = minima.heights(number, temperature)
        total = sum(np.exp(-height) for height in heights.values())
        for code, height in heights.items():
            expected = np.exp(-height) / total * len(codes)
            seen = int((codes[:, number] == code).sum())
            if height > limit or expected < ENOUGH_EXPECTED or seen >= HARDLY * expected:
                continue
            found.append(
                (
                    "unreliable" if height <= VERY_NEAR else "caution",
                    f"{seen} of {len(codes)} {what} show {column.state(code)}, whose lowest conformer lies "
                    f"{height:.1f} kT above the lowest of all: populations and free energies leave it out; "
                    f"{_REMEDIES[what]}",
                )
            )
    return found


def missing_from(
    system: MolecularSystem, ensemble: Ensemble, minima: RingMinima | None, temperature: float
) -> list[tuple[str, str]]:
    """`missing_states` of the samples of `ensemble` that are inside the domain.

    Of walkers too each state that they hardly entered or left, and the rings that no move turns over.
    """
    if minima is None:
        return []
    columns = ring_columns(MolecularGraph.from_system(system), system.atom_names)
    positions = np.asarray(ensemble.positions)
    codes = ring_codes(columns, positions)
    found = missing_states(columns, minima, codes[ensemble.valid], temperature, "samples")
    if ensemble.walkers is None:
        return found
    for number, column in enumerate(columns):
        for code in codes_to_compare(codes[:, number]):
            inside = codes[:, number] == code
            if REPORTED <= inside.mean() <= 1 - REPORTED:
                found += judge_crossings(column.state(code), *ensemble.walkers.crossings(inside))
    walks = RingWalks(positions, ensemble.walkers.crossings)
    told = unmoved_cautions(system, minima, temperature, "walkers", walks)
    return [*found, *(("caution", sentence) for sentence in told)]


def hardly_drawn(system: MolecularSystem, ensemble: Ensemble, temperature: float) -> list[str]:
    """States of rings near the lowest of which weighted draws hold less than their heights promise, in words.

    Of a state that should hold the share p (by the lowest conformers alone, at `temperature` in K) there
    should be `ENOUGH_DRAWN` effective samples, or `LEAST_DRAWN` of p times those of the `ensemble`, if that
    is less: by the state's share of the weight, and by the rows that it rests on.
    """
    minima = ring_minima(system)
    if minima is None:
        return []
    columns = ring_columns(MolecularGraph.from_system(system), system.atom_names)
    codes, weights = ring_codes(columns, np.asarray(ensemble.positions)), normalised_weights(ensemble.log_w)
    number = kish_ess(ensemble.log_w) * len(ensemble)
    found = []
    for place, column in enumerate(columns):
        heights = minima.heights(place, temperature)
        total = sum(np.exp(-height) for height in heights.values())
        for code, height in heights.items():
            if isinstance(column.states, NitrogenStates) or height > NEAR:
                continue
            expected = np.exp(-height) / total * number
            inside = np.where(codes[:, place] == code, weights, 0.0)
            share = float(inside.sum())
            here = min(share * number, share**2 / max(float((inside**2).sum()), 1e-300))
            if here < min(ENOUGH_DRAWN, LEAST_DRAWN * expected):
                found.append(column.state(code))
    return found


def missing_in_frames(
    system: MolecularSystem, positions: np.ndarray, temperature: float, walks: RingWalks | None = None
) -> list[tuple[str, str]]:
    """`missing_states` of frames (B, N, 3) of `system`; with `walks` their `unmoved_cautions` too."""
    minima = ring_minima(system)
    if minima is None:
        return []
    columns = ring_columns(MolecularGraph.from_system(system), system.atom_names)
    found = missing_states(columns, minima, ring_codes(columns, positions), temperature, "frames")
    told = [] if walks is None else unmoved_cautions(system, minima, temperature, "frames", walks)
    return [*found, *(("caution", sentence) for sentence in told)]


def unmoved_in_file(
    system: MolecularSystem, minima: RingMinima | None, frames: Trajectory, data: str | PathLike[str]
) -> list[tuple[str, str]]:
    """`unmoved_cautions` of the `frames` of a file, as of one copy.

    None of an MD folder: what its simulation said of such rings are cautions of the frames themselves.
    """
    if Path(data).is_dir():
        return []
    kelvin = float(frames.temperature_ladder[0])
    told = unmoved_cautions(system, minima, kelvin, "frames", RingWalks.of_one(frames.positions))
    return [("caution", sentence) for sentence in told]


def rings_of_frames(
    system: MolecularSystem, positions: np.ndarray, temperature: float, walks: RingWalks | None = None
) -> dict[str, Any] | None:
    """What `simulate` records of the rings in frames (B, N, 3) at `temperature` (K); None without states.

    walks: of its replicas at all temperatures.

    states: for each that frames show or that lies within `NEAR` kT, its name, frames, and the height in kT of
    its lowest conformer over the lowest of all (None where none is known). missing: sentences of
    `missing_states`. unmoved: those of `unmoved_cautions`.
    """
    columns = ring_columns(MolecularGraph.from_system(system), system.atom_names)
    if not columns:
        return None
    minima, codes = ring_minima(system), ring_codes(columns, positions)
    states = []
    for number, column in enumerate(columns):
        heights = {} if minima is None else minima.heights(number, temperature)
        known, counts = np.unique(codes[codes[:, number] >= 0, number], return_counts=True)
        frames = dict(zip(known.tolist(), counts.tolist(), strict=True))
        for code in sorted({*frames, *(code for code, height in heights.items() if height <= NEAR)}):
            height = heights.get(code)
            states.append({"name": column.state(code), "frames": frames.get(code, 0), "height_kT": height})
    missing = missing_states(columns, minima, codes, temperature, "frames")
    return {
        "temperature_K": temperature,
        "states": states,
        "missing": [reason for _, reason in missing],
        "unmoved": unmoved_cautions(system, minima, temperature, "frames", walks),
    }


def unmoved_rings(system: MolecularSystem) -> list[tuple[tuple[int, ...], str, str]]:
    """Rings that bend and have no move that turns them over: their atoms, their name, and why."""
    names = [str(name.atom) for name in system.atom_names]
    return [
        (from_lowest(ring), ring_name(from_lowest(ring), names), one.why)
        for one in RingMoves.of(system, leaning=False).unmoved
        for ring in one.rings
    ]


def unmoved_cautions(
    system: MolecularSystem,
    minima: RingMinima | None,
    temperature: float,
    what: str,
    walks: RingWalks | None,
) -> list[str]:
    """A caution for each ring that bends, has several states near the lowest, and has no move.

    None for those that the copies of `walks` turned over often enough by themselves. `what` their rows are, a
    word of `_CHANGED_BY`. temperature: K.
    """
    if minima is None:
        return []
    why = {ring: reason for ring, _, reason in unmoved_rings(system)}
    if not why:
        return []
    columns = ring_columns(MolecularGraph.from_system(system), system.atom_names)
    codes = None if walks is None else ring_codes(columns, walks.positions)
    (changes, remedy), found = _CHANGED_BY[what], []
    for number, column in enumerate(columns):
        heights = minima.heights(number, temperature)
        near = sum(height <= NEAR for height in heights.values())
        ring = from_lowest(column.states.atoms)
        if ring not in why or near < 2 or isinstance(column.states, NitrogenStates):
            continue
        if walks is not None and codes is not None and walks.turned_over(codes[:, number], heights):
            continue
        found.append(
            f"caution: no move turns over {ring_name(ring, column.names)} ({why[ring]}), of which {near} "
            f"states lie within {NEAR:g} kT of the lowest: only {changes} it, too seldom to be sure; {remedy}"
        )
    return found


def _lowest(rings: Sequence[RingStates], placed: np.ndarray, energies: np.ndarray) -> list[int]:
    """Rows of `_TRIES` of the conformers `placed` (K, N, 3) of each joint state, the lowest of `energies`."""
    if not len(placed):
        return []
    codes = np.stack([ring.classify(placed) for ring in rings], axis=1)
    kept: list[int] = []
    for state in np.unique(codes, axis=0):
        rows = np.flatnonzero((codes == state).all(axis=1))
        kept += rows[np.argsort(energies[rows], kind="stable")][:_TRIES].tolist()
    return kept
