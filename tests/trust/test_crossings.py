"""Populations of starts: replicas that are stuck look converged; what they enter and leave tells."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from boltzgen.data.convergence import convergence
from boltzgen.data.manifest import doubts_of
from boltzgen.data.record import Trajectory
from boltzgen.data.statistics import drift, drifts, slowest_inefficiencies
from boltzgen.data.trajectory import read_trajectory, write_trajectory
from boltzgen.dynamics.starts import conformer_starts
from boltzgen.ensemble.chains.walkers import Walkers
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare
from boltzgen.trust import probe
from boltzgen.trust.crossings import CHANCE, crossings_of, judge_drift, judge_starts
from boltzgen.trust.rings import (
    RingMinima,
    RingWalks,
    missing_from,
    ring_codes,
    ring_columns,
    ring_minima,
    rings_of_frames,
    unmoved_cautions,
    unmoved_in_file,
    unmoved_rings,
)
from boltzgen.workflows.free_energy.mbar import mbar
from boltzgen.workflows.preparation.prepare import prepare as described

WALKS, STEPS, LADDER = 12, 60, (300.0, 400.0)


@cache
def methylcyclohexane():
    system = prepare(smiles="CC1CCCCC1", forcefield=("mmff94",))
    return system, conformer_starts(system)[:2]


def run(states: np.ndarray) -> Trajectory:
    """Frames of 12 ladders of two temperatures with noise, replicas in the chairs `states` (24, 60).

    Replicas of a ladder exchange at every frame, so that a rung sees both of them.
    """
    pair, rng = methylcyclohexane()[1], np.random.default_rng(4)
    chosen, replicas, temperatures = [], [], []
    for rung, kelvin in enumerate(LADDER):
        for walk in range(WALKS):
            copies = 2 * walk + (np.arange(STEPS) + rung) % 2
            chosen.append(pair[states[copies, np.arange(STEPS)]])
            replicas.append(copies)
            temperatures.append(np.full(STEPS, kelvin))
    positions = np.concatenate(chosen)
    positions = positions + rng.normal(0.0, 0.002, positions.shape)
    rows = len(positions)
    return Trajectory(
        positions, rng.normal(size=rows), np.concatenate(temperatures), np.concatenate(replicas)
    )


def frozen() -> np.ndarray:
    """One replica in three sits in the axial chair, and each stays where it began."""
    return np.repeat((np.arange(2 * WALKS) % 3 == 0)[:, None], STEPS, axis=1).astype(int)


def test_replicas_frozen_in_unequal_wells_have_the_populations_of_their_starts():
    """Halves agree, nothing drifts, frames look independent: what tells is that nobody entered or left."""
    system, _ = methylcyclohexane()
    trajectory = run(frozen())
    assert max(abs(z) for z in drifts(trajectory, system, WALKS).values()) < 4
    states = crossings_of(trajectory, system, WALKS)
    axial = next(one for one in states if "axial" in one["name"].replace("equatorial", ""))
    assert axial["share"] == pytest.approx(1 / 3, abs=0.02)
    assert (axial["entered"], axial["left"]) == (0, 0)
    (sentence,) = judge_starts(states)
    assert sentence.startswith("caution: these are the starts' populations: replicas entered ring C2-C3")
    assert "0 times and left it 0 times (others as seldom: 1), and 8 of each are needed" in sentence
    manifest = {
        "temperatures_K": list(LADDER),
        "torch": {"walks": WALKS},
        "statistical_inefficiency": slowest_inefficiencies(trajectory, system),
        "exchange": {"round_trips": 100},
        "crossings": {"states": states, "cautions": judge_starts(states)},
    }
    assert doubts_of(manifest) == (sentence,)
    judged = convergence(trajectory, system, manifest)
    assert judged["verdict"] == "short" and sentence in judged["reasons"]


def test_replicas_that_come_and_go_are_believed_whatever_rung_they_are_on():
    system, _ = methylcyclohexane()
    walking = (np.random.default_rng(2).random((2 * WALKS, STEPS)) < 0.1).cumsum(axis=1) % 2
    states = crossings_of(run(walking), system, WALKS)
    assert len(states) == 2 and judge_starts(states) == []
    steps = np.diff(walking, axis=1)
    expected = {int((steps == 1).sum()), int((steps == -1).sum())}
    assert {states[0]["entered"], states[0]["left"]} == expected
    few = frozen()
    few[:7, 30:] = 1 - few[:7, 30:]
    (sentence,) = judge_starts(crossings_of(run(few), system, WALKS))
    assert "and 8 of each are needed" in sentence
    alone = crossings_of(run(np.zeros((2 * WALKS, STEPS), int)), system, WALKS)
    assert alone == [] and judge_starts(alone) == [], "one state has the population one, wherever it began"


def drifted(rng: np.random.Generator, walks: int, shared: float) -> dict[str, float]:
    """`drifts` of an energy and four torsions at two temperatures: walks that remember a frame by 0.8, and a
    relaxation of all walks together in their first half, `shared` of the standard deviation."""
    found = {}
    for kelvin in (310, 400):
        for name, series in (("energy", 1), ("torsions", 8)):
            values = rng.normal(size=(series, walks, 60))
            for frame in range(1, 60):
                values[..., frame] = 0.8 * values[..., frame - 1] + 0.6 * values[..., frame]
            values[..., :30] += shared
            found[f"{name}@{kelvin}K"] = max((drift(one) for one in values), key=abs)
    return found


def test_walks_that_drift_together_are_told_and_chance_is_not():
    """Of 750 runs without a drift at most 1 % is told, and three binomial errors; a relaxation of all walks
    by 1.2 standard deviations is found in nine of ten."""
    rng = np.random.default_rng(5)
    for walks in (8, 19):
        told = sum(bool(judge_drift(drifted(rng, walks, 0.0), walks, 4)) for _ in range(750))
        assert told <= 750 * CHANCE + 3.1 * np.sqrt(750 * CHANCE)
    assert sum(bool(judge_drift(drifted(rng, 19, 1.2), 19, 4)) for _ in range(40)) >= 36
    (sentence,) = judge_drift({"energy@310K": 1.0, "torsions@400K": -7.5}, 19, 4)
    assert sentence.startswith("caution: these are the starts' populations: at 400K the mean of a torsion")
    assert "7.5 standard errors from the first half of the 19 walks to the second; lengthen" in sentence
    # 4.8 of 19 walks (glycol, 2 ps from conformers, four errors off) is told, of 8 walks it may be chance
    energies = {f"energy@{kelvin}K": 0.3 for kelvin in (300, 350, 415, 500, 600)}
    short = {**energies, **{f"torsions@{kelvin}K": 4.8 for kelvin in (300, 350, 415, 500, 600)}}
    assert judge_drift(short, 19, 3) and not judge_drift(short, 8, 3)
    assert judge_drift({}, 19, 3) == [] and judge_drift(short, 1, 3) == []


@cache
def flexible() -> tuple[MolecularSystem, RingMinima]:
    """Bicyclo[3.3.1]nonane, whose rings no move turns over, and its lowest conformers."""
    system = prepare(smiles="C1C[C@@H]2CCC[C@H](C1)C2", forcefield=("mmff94",))
    found = ring_minima(system)
    assert found is not None
    return system, found


def test_a_ring_without_a_move_is_named_where_it_is_flexible():
    """Bicyclo[3.3.1]nonane turns one wing over; norbornane and trans-decalin have no other state near."""
    system, _ = flexible()
    hot = rings_of_frames(system, system.reference_positions[None], 400.0)
    assert hot is not None and len(hot["unmoved"]) == 2
    assert all(words.startswith("caution: no move turns over ring ") for words in hot["unmoved"])
    assert all("it is bridged" in words and "lie within 5 kT" in words for words in hot["unmoved"])
    assert doubts_of({"rings": hot}) == (*hot["missing"], *hot["unmoved"])
    rigid = prepare(smiles="C1CC[C@@H]2CCCC[C@H]2C1", forcefield=("mmff94",))
    found = rings_of_frames(rigid, rigid.reference_positions[None], 300.0)
    assert found is not None and found["unmoved"] == []
    assert len(unmoved_rings(rigid)) == 2
    assert unmoved_rings(methylcyclohexane()[0]) == []


def rows_of(which: np.ndarray) -> tuple[np.ndarray, Walkers]:
    """Conformers by their number `which` (walkers, steps), as rows of walkers in four groups."""
    steps = which.shape[1]
    who, when = np.divmod(np.arange(which.size), steps)
    return flexible()[1].positions[which.ravel()], Walkers(who, who % 4, when)


@pytest.mark.parametrize("turning", [True, False])
def test_a_ring_without_a_move_counts_where_copies_turned_it_over_by_themselves(turning):
    """Each of three conformers within 5 kT entered and left 100 times, or by five of 40 walkers once."""
    system, minima = flexible()
    which = np.random.default_rng(3).integers(0, 3, (40, 30))
    if not turning:
        which = np.repeat(which[:, :1], 30, axis=1)
        which[:5, 15:] = (which[:5, 15:] + 1) % 3
    positions, walkers = rows_of(which)
    walks = RingWalks(positions, walkers.crossings)
    sentences = unmoved_cautions(system, minima, 400.0, "probe", walks)
    assert len(sentences) == (0 if turning else 2)
    assert all("no move turns over ring" in one and "check(OUT, probe=True" in one for one in sentences)
    recorded = rings_of_frames(system, positions, 400.0, walks)
    assert recorded is not None and len(recorded["unmoved"]) == len(sentences)
    rows = np.zeros(len(positions))
    common = {"temperature": 400.0, "measure": "shape", "system_fingerprint": "x", "domain": "x"}
    chain = {"walker": walkers.walker, "group": walkers.group, "step": walkers.step}
    drawn = Ensemble.from_densities(positions, rows, rows, topology_pdb="", **common)
    walked = Ensemble.from_densities(positions, rows, rows, topology_pdb="", **common, **chain)
    assert missing_from(system, drawn, minima, 400.0) == [], "draws owe nothing to the row before"
    found = missing_from(system, walked, minima, 400.0)
    assert (found == []) == turning
    if not turning:
        assert sum("only moves of the flow change it" in reason for _, reason in found) == 2
        assert any(
            "walkers entered ring" in reason and "8 of each are needed" in reason for _, reason in found
        )


def test_walkers_that_never_left_a_chair_are_told_though_a_move_turns_it():
    system, pair = methylcyclohexane()
    who, when = np.divmod(np.arange(1200), 30)
    rows = np.zeros(1200)
    walked = Ensemble.from_densities(
        pair[(who < 10).astype(int)],
        rows,
        rows,
        temperature=300.0,
        measure="shape",
        system_fingerprint="x",
        domain="x",
        topology_pdb="",
        walker=who,
        group=who % 4,
        step=when,
    )
    found = missing_from(system, walked, ring_minima(system), 300.0)
    assert len(found) == 2 and all(verdict == "unreliable" for verdict, _ in found)
    assert all(
        "walkers entered ring" in reason and "0 times and left it 0 times" in reason for _, reason in found
    )


def test_frames_of_a_simulation_that_turned_no_ring_over_vouch_for_nothing_without_a_word(tmp_path):
    """What its manifest says of such rings is said of whatever is compared with its frames."""
    system, minima = flexible()
    system.save(tmp_path / "SYS")
    sentence = "caution: no move turns over ring x"
    for kelvin in (400.0, 410.0):
        frames = minima.positions[np.random.default_rng(3).integers(0, 3, 200)]
        frames = frames + np.random.default_rng(4).normal(0.0, 0.002, frames.shape)
        given = Trajectory(frames, np.full(200, np.nan), np.full(200, kelvin), np.zeros(200, int))
        given = replace(given, system_fingerprint=system.fingerprint)
        rings = {"unmoved": [sentence]} if kelvin > 400 else {"missing": []}
        write_trajectory(tmp_path / f"{kelvin:g}", given, rings=rings)
    folders = [tmp_path / "400", tmp_path / "410"]
    assert [read_trajectory(one).cautions for one in folders] == [(), ("no move turns over ring x",)]
    joined = mbar(folders, systems=[tmp_path / "SYS"], n_bootstrap=20, output=tmp_path / "joined.json")
    assert f"{folders[1]}: no move turns over ring x" in joined.estimates[0].reasons
    still = replace(given, positions=np.repeat(frames[:1], 200, axis=0))
    named = {place: unmoved_in_file(system, minima, still, tmp_path / place) for place in ("410", "x.dcd")}
    assert named["410"] == []  # said already: a caution of the frames themselves
    assert [reason.split(" (")[0] for _, reason in named["x.dcd"]] == [
        f"caution: no move turns over ring {ring}" for ring in ("C1-C2-C3-C9-C7-C8", "C3-C4-C5-C6-C7-C9")
    ]
    assert unmoved_in_file(system, minima, given, tmp_path / "x.dcd") == [], (
        "200 frames at random cross often"
    )


def test_prepare_names_the_rings_that_no_move_turns_over():
    summary = described(smiles="C1CC2CCC1C2", forcefield=("mmff94",), check=True)
    assert len(summary.unmoved_rings) == 2
    assert all(
        words.startswith("ring C") and words.endswith("it is bridged") for words in summary.unmoved_rings
    )
    assert described(smiles="CC1CCCCC1", forcefield=("mmff94",), check=True).unmoved_rings == ()


def test_the_probe_turns_rings_over_and_knows_where_it_began(monkeypatch):
    """Methylcyclohexane, a picosecond each: both chairs from one start, entered and left by flips alone."""
    monkeypatch.setattr(probe, "SMALLEST_BUDGET", 10_000)
    system, pair = methylcyclohexane()
    found = probe.run_probe(system, [pair[0]], 300.0, budget=12_000, seed=2, platform="Reference")
    columns = ring_columns(MolecularGraph.from_system(system), system.atom_names)
    codes = ring_codes(columns, found.positions)[:, 0]
    axial = codes == ring_codes(columns, pair)[1, 0]
    entered, left = found.crossings(axial)
    assert min(entered, left) >= 8 and found.evaluations == 12_000
    assert axial.mean() < 0.5
    steps = found.times.max() + 1
    assert len(found) == steps * len(found.ladder) * 4
