"""What the frames of a probe say about an ensemble: coverage, populations of torsions, energy.

Frames of all temperatures count, each with its MBAR weight at the temperature of the ensemble: a state that
the hot replicas find is seen although it is rare among the cold ones. Shirts, Chodera, J. Chem. Phys. 129,
124105 (2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from boltzgen import remedies
from boltzgen.data.statistics import statistical_inefficiency
from boltzgen.ensemble.chains.diagnostics import ENOUGH_CROSSINGS, REPORTED
from boltzgen.ensemble.coverage import MISSED_FACTOR, PROBE, check_coverage
from boltzgen.ensemble.diagnostics import kish_ess, normalised_weights, worst
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.free_energy.mbar_solver import mbar_log_weights
from boltzgen.free_energy.populations import populations, share_of
from boltzgen.free_energy.uncertainty import scatter_among
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.system.formats.pdb_text import AtomName
from boltzgen.trust.crossings import judge_starts
from boltzgen.trust.probe import ProbeFrames
from boltzgen.trust.rings import RingColumn, codes_to_compare, ring_codes
from boltzgen.trust.rotamers import rings_of, rotamer_columns
from boltzgen.units import thermal_energy

#: Thirds of the circle that name a torsion's states, in degrees; -120 stands for 240.
THIRDS = ((0.0, 120.0), (120.0, -120.0), (-120.0, 0.0))

#: Frames of the probe, resampled with their weights, that the coverage record is made from.
RESAMPLED = 4000

#: By number of exchanges: Student's t that is as rare as three standard errors, over 3.
STUDENT = {2: 78.0, 3: 6.4, 4: 3.07, 5: 2.21, 6: 1.84}

#: A population in the probe below which a state is too rare to be missed.
RARE = 1e-3

#: Error of a population that the probe does not know: as large as any population.
NOT_KNOWN = 1.0

#: Share of the flow's draws in a state, over the state's population, below which the flow hardly draws it.
HARDLY = 1e-2

#: Combined standard errors between the mean energies.
ENERGY_SIGMA = 4.0

#: Differences between OpenMM's energy of a frame and ours that float32 positions explain, kT.
ENERGY_TOLERANCE = 0.05


@dataclass(frozen=True)
class TorsionColumn:
    """A torsion of the molecule as the coordinates hold it, one column, and its atoms' names for people.

    `boltzgen.system.graph.torsions` defines torsions; `boltzgen.trust.rotamers` says which have states.
    """

    column: int
    name: str

    def state(self, third: int) -> str:
        low, high = THIRDS[third]
        return f"torsion {self.name} between {low:g} and {high:g} degrees"


def state_columns(target: Target, names: Sequence[AtomName]) -> list[TorsionColumn | RingColumn]:
    """The torsions of `target` that have states (`rotamer_columns`), then its rings; `names` of the atoms."""
    atoms = target.coordinates.table.atoms
    torsions = [
        TorsionColumn(column, _torsion_name([names[a] for a in atoms[column] if a >= 0], names))
        for column in rotamer_columns(target)
    ]
    return [*torsions, *rings_of(target, names)]


def _torsion_name(atoms: Sequence[AtomName], all_names: Sequence[AtomName]) -> str:
    """As in ``ACE1 C-ALA2 N-CA-C``: a residue is named where it changes, if there is more than one."""
    residues = [str(name).split()[0] for name in atoms]
    several = len({str(name).split()[0] for name in all_names}) > 1
    return "-".join(
        f"{residue} {name.atom}" if several and residue != before else str(name.atom)
        for name, residue, before in zip(atoms, residues, ["", *residues], strict=False)
    )


def classified(
    target: Target, columns: Sequence[TorsionColumn | RingColumn], positions: np.ndarray
) -> np.ndarray:
    """(B, columns) int, the third of the circle of each torsion and the code of each ring.

    -1 in rows that are not finite, and where a ring has no state.
    """
    atoms = torch.as_tensor(np.array(positions), dtype=torch.float64)
    turning = [column.column for column in columns if isinstance(column, TorsionColumn)]
    parts = [target.coordinates.encode(part)[0][:, turning] for part in atoms.split(target.batch_rows())]
    values = torch.cat(parts).numpy()
    with np.errstate(invalid="ignore"):
        thirds = np.floor(np.mod(values, 2 * np.pi) / (2 * np.pi / 3))
    thirds = np.where(np.isfinite(thirds), np.minimum(np.nan_to_num(thirds), 2), -1).astype(np.int64)
    rings = [column for column in columns if isinstance(column, RingColumn)]  # which stand last
    return np.concatenate([thirds, ring_codes(rings, np.asarray(positions))], axis=1)


def _codes(column: TorsionColumn | RingColumn, *found: np.ndarray) -> Sequence[int]:
    """The states of `column` that are compared: all thirds, and of a ring those that were `found` (rows,)."""
    return range(3) if isinstance(column, TorsionColumn) else codes_to_compare(*found)


def judge_probe(
    generator: BoltzmannGenerator,
    ensemble: Ensemble,
    flow_log_w: np.ndarray | None,
    frames: ProbeFrames,
    temperature: float,
    columns: Sequence[TorsionColumn | RingColumn],
) -> dict[str, Any]:
    """The coverage record (see `check_coverage`) that the `frames` of a probe give, with ``source`` probe.

    `flow_log_w` (n,) belongs to draws of the flow: ``ensemble.log_w``, unless the ensemble was refined; None
    for walkers, which are judged by what they visit.
    """
    target = generator.target
    positions = torch.as_tensor(frames.positions, dtype=torch.float64)
    inside = target.coordinates.inside(positions).numpy()
    u = frames.energies / thermal_energy(temperature)
    weights = np.where(inside, mbar_weights(frames), 0.0)
    weights /= weights.sum()
    log_w = np.full(len(frames), -np.inf)
    log_w[inside] = generator.target_log_weights(positions[inside], torch.as_tensor(u[inside]), temperature)
    seen = classified(target, columns, frames.positions)
    independent = _independent(frames, seen, u, weights)
    drawn = classified(target, columns, ensemble.positions)
    states = _populations(ensemble, columns, drawn, seen, frames, weights, independent)
    rows = _resampled(weights)
    record = check_coverage(
        flow_log_w,
        log_w[rows],
        source=PROBE,
        states=states,
        statistical_inefficiency=max(1.0, len(rows) / independent),
    )
    if flow_log_w is None:
        missed = np.isposinf(log_w)
    else:
        missed = log_w > flow_log_w.max() + np.log(MISSED_FACTOR)
    found = [(record["verdict"], reason) for reason in record["reasons"]]
    found += _uncovered(columns, drawn, seen, frames, weights, missed)
    found += [
        ("caution", reason)
        for reason in judge_starts(_crossed(columns, seen, frames, weights), remedies.LARGER_PROBE)
    ]
    energy, more = _mean_energies(ensemble, frames, u, weights, independent)
    found += more + _energies_agree(generator, positions, u, temperature, weights)
    verdict, reasons = worst(found)
    probe = {
        "energy_evaluations": frames.evaluations,
        "ladder_K": frames.ladder.tolist(),
        "starts": frames.starts,
        "exchanges": int(frames.exchanges.max()) + 1,
        "frames": len(frames),
        "mean_u": energy,
    }
    told = [_told(state) for state in record["states"]]
    return {**record, "states": told, "verdict": verdict, "reasons": reasons, "probe": probe}


def _crossed(
    columns: Sequence[TorsionColumn | RingColumn],
    seen: np.ndarray,
    frames: ProbeFrames,
    weights: np.ndarray,
) -> list[dict[str, Any]]:
    """Each state that the probe holds, with its share and how often replicas entered and left it."""
    found = []
    for number, column in enumerate(columns):
        for code in _codes(column, seen[:, number]):
            here = seen[:, number] == code
            share = float(weights[here].sum())
            if REPORTED <= share <= 1 - REPORTED:
                entered, left = frames.crossings(here)
                found.append({"name": column.state(code), "share": share, "entered": entered, "left": left})
    return found


def _told(state: dict[str, Any]) -> dict[str, Any]:
    """`state` for the record: an error that is not known is None, with the reason."""
    if state["target_error"] != NOT_KNOWN:
        return state
    why = f"replicas of the probe entered or left it fewer than {ENOUGH_CROSSINGS} times"
    also = [state["reason"]] if "reason" in state else []
    return {**state, "target_error": None, "reason": "; ".join([why, *also])}


def mbar_weights(frames: ProbeFrames) -> np.ndarray:
    """(M,) weights that sum to one, of the frames of all rungs at the lowest temperature of the ladder."""
    order = np.argsort(frames.rungs, kind="stable")
    counts = np.bincount(frames.rungs, minlength=len(frames.ladder))
    u_kn = frames.energies[order][None, :] / thermal_energy(frames.ladder[:, None])
    weights = np.empty(len(frames))
    weights[order] = np.exp(mbar_log_weights(u_kn, counts)[:, 0])
    return weights / weights.sum()


def _independent(frames: ProbeFrames, seen: np.ndarray, u: np.ndarray, weights: np.ndarray) -> float:
    """Independent frames at the lowest temperature: correlation within exchanges, and what hot rungs add."""
    count, total = 0.0, 0
    for exchange in np.unique(frames.exchanges):
        rows = np.flatnonzero((frames.exchanges == exchange) & (frames.rungs == 0))
        states = [seen[rows, j] == code for j in range(seen.shape[1]) for code in np.unique(seen[rows, j])]
        series = [u[rows], *states]
        count += len(rows) / max(statistical_inefficiency(np.asarray(s, float)) for s in series)
        total += len(rows)
    return max(count * kish_ess(np.log(np.maximum(weights, 1e-300))) * len(frames) / max(total, 1), 1.0)


def _populations(
    ensemble: Ensemble,
    columns: Sequence[TorsionColumn | RingColumn],
    drawn: np.ndarray,
    seen: np.ndarray,
    frames: ProbeFrames,
    weights: np.ndarray,
    independent: float,
) -> list[dict[str, Any]]:
    """Share of each state of each torsion and ring, reweighted and in the probe, for `check_coverage`."""
    states = []
    for number, column in enumerate(columns):
        for code in _codes(column, seen[:, number], drawn[:, number]):
            here = seen[:, number] == code
            name = column.state(code)
            share = float(weights[here].sum())
            inside = drawn[:, number] == code
            reweighted, error = share_of(ensemble.log_w, inside, walkers=ensemble.walkers)
            unknown = populations(ensemble.log_w, {name: inside}, walkers=ensemble.walkers)[0].unknown
            states.append(
                {
                    "name": name,
                    "target": share,
                    "target_error": _share_error(here, share, frames, weights, independent),
                    "reweighted": reweighted,
                    "reweighted_error": error,
                    "reweighted_unknown": unknown.get("standard_error"),
                }
            )
    return states


def _share_error(
    here: np.ndarray, share: float, frames: ProbeFrames, weights: np.ndarray, independent: float
) -> float:
    """Standard error of `share`: the largest of three.

    Counting independent frames (Laplace's rule); the scatter among exchanges; and counting how often replicas
    entered the state, without which a state behind a barrier, seen once or never, would look well known.
    """
    expected = (share * independent + 1) / (independent + 2)
    counting = float(np.sqrt(expected * (1 - expected) / independent))
    entered = min(frames.crossings(here))
    exchanges = np.unique(frames.exchanges)
    if len(exchanges) < 2 or entered < ENOUGH_CROSSINGS:
        return NOT_KNOWN
    walking = 2 * expected * (1 - expected) * float(np.sqrt(2.0 / entered))
    shares = []
    for exchange in exchanges:
        own = np.where(frames.exchanges == exchange, weights, 0.0)
        shares.append(own[here].sum() / max(own.sum(), 1e-300))
    scatter = float(np.std(shares, ddof=1) / np.sqrt(len(shares)))
    return max(counting, walking, scatter * STUDENT.get(len(shares), 1.5))


def _uncovered(
    columns: Sequence[TorsionColumn | RingColumn],
    drawn: np.ndarray,
    seen: np.ndarray,
    frames: ProbeFrames,
    weights: np.ndarray,
    missed: np.ndarray,
) -> list[tuple[str, str]]:
    """States of the probe that the flow does not draw, by name; each with its share of the probe."""
    found = []
    for number, column in enumerate(columns):
        for code in _codes(column, seen[:, number], drawn[:, number]):
            here = seen[:, number] == code
            share = float(weights[here].sum())
            draws = int((drawn[:, number] == code).sum())
            lost = float(weights[here & missed].sum())
            hardly = draws < HARDLY * share * len(drawn) and share * len(drawn) > 1 / HARDLY
            if share < RARE or (not hardly and lost < 0.5 * share):
                continue
            several = len(np.unique(frames.exchanges[here])) > 1 and here.sum() >= 10
            found.append(
                (
                    "unreliable" if several else "caution",
                    f"the flow does not cover {column.state(code)}: {100 * share:.2g} % of the probe is "
                    f"there, and {draws} of {len(drawn)} samples; {remedies.TRAIN_ON_LADDER}",
                )
            )
    return found


def _mean_energies(
    ensemble: Ensemble, frames: ProbeFrames, u: np.ndarray, weights: np.ndarray, independent: float
) -> tuple[dict[str, float], list[tuple[str, str]]]:
    """Mean reduced energy of the probe and of the reweighted ensemble, and whether they agree.

    The excess over the error, divided by the variance of the energy, is an error of the temperature.
    """
    w_n = normalised_weights(ensemble.log_w)
    u_n = np.where(ensemble.valid, ensemble.u, 0.0)
    flow, probe = float(w_n @ u_n), float(weights @ u)
    variance = float(weights @ (u - probe) ** 2)
    influence_n = w_n * (u_n - flow)
    flow_error = float(np.sqrt(influence_n @ influence_n))
    if ensemble.walkers is not None:
        flow_error = float(np.sqrt(scatter_among(ensemble.walkers, influence_n)))
    means = [
        np.average(u[rows], weights=weights[rows])
        for rows in (frames.exchanges == e for e in np.unique(frames.exchanges))
    ]
    scatter = float(np.std(means, ddof=1) / np.sqrt(len(means))) if len(means) > 1 else np.sqrt(variance)
    probe_error = max(np.sqrt(variance / independent), scatter * STUDENT.get(len(means), 1.5))
    energy = {
        "probe": probe,
        "probe_error": float(probe_error),
        "ensemble": flow,
        "ensemble_error": flow_error,
    }
    sigma = float(np.hypot(flow_error, probe_error))
    if abs(flow - probe) <= ENERGY_SIGMA * sigma:
        return energy, []
    return energy, [
        (
            "unreliable",
            f"the mean energy is {flow:.2f} kT here and {probe:.2f} kT in the probe, "
            f"{abs(flow - probe) / sigma:.1f} combined sigma apart, as if the temperature were off by "
            f"{100 * (flow - probe) / variance:+.0f} %; {remedies.NAME_TEMPERATURE}",
        )
    ]


def _energies_agree(
    generator: BoltzmannGenerator,
    positions: torch.Tensor,
    u: np.ndarray,
    temperature: float,
    weights: np.ndarray,
) -> list[tuple[str, str]]:
    """Does the energy that weighs the samples agree with OpenMM's on frames that the flow did not draw?"""
    rows = _resampled(weights, 200)
    ours = generator.target.reduced_energy(positions[rows], temperature).detach().cpu().numpy()
    allowed = ENERGY_TOLERANCE + 1e-4 * np.abs(u[rows] - np.median(u[rows])) + 1e-6 * np.abs(u[rows])
    with np.errstate(invalid="ignore"):
        off = ~(np.abs(ours - u[rows]) <= allowed)
    if not off.any():
        return []
    return [
        (
            "unreliable",
            f"the energy that weighs the samples differs from OpenMM's on {off.sum()} of {len(rows)} frames "
            f"of the probe; {remedies.REPORT}",
        )
    ]


def _resampled(weights: np.ndarray, number: int = RESAMPLED) -> np.ndarray:
    """`number` rows drawn in proportion to `weights` by systematic resampling."""
    points = (np.arange(number) + 0.5) / number
    return np.minimum(np.searchsorted(np.cumsum(weights), points), len(weights) - 1)
