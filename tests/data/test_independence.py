"""Independent frames are counted by the slowest of several coordinates, and no broken frame undoes it."""

from __future__ import annotations

from dataclasses import replace

import mdtraj
import numpy as np
import pytest
from butane import butane_positions
from helpers import ROOT
from molecules import from_smiles

from boltzgen.data.record import Trajectory
from boltzgen.data.statistics import slow_torsions, slowest_inefficiencies, statistical_inefficiency
from boltzgen.data.trajectory import read_trajectory, write_trajectory
from boltzgen.errors import InputError
from boltzgen.generator import Target
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.trust.independence import with_inefficiency

INDEP = ROOT / "tests" / "cases" / "files" / "indep"


def two_states(frames: int, flip: float, seed: int) -> np.ndarray:
    """(frames,) bool of a symmetric Markov chain: correlation (1 - 2 flip)^t, so g = (1 - flip) / flip."""
    rng = np.random.default_rng(seed)
    return (np.cumsum(rng.random(frames) < flip) % 2).astype(bool)


def as_trajectory(positions, energies=None) -> Trajectory:
    count = len(positions)
    energies = np.full(count, np.nan) if energies is None else energies
    return Trajectory(positions, energies, np.full(count, 310.0), np.zeros(count, int))


def shaken(positions, seed=3, width=0.002):
    return positions + np.random.default_rng(seed).normal(0.0, width, np.shape(positions))


FRAMES, FLIP = 8000, 0.02
EXACT = (1 - FLIP) / FLIP


def test_a_ring_that_inverts_is_seen():
    """Cyclohexane has no rotatable torsion; the mirror image of a chair is the other chair."""
    ring = from_smiles("C1CCCCC1")
    assert len(slow_torsions(ring)) == 6
    other = ring.reference_positions * np.array([1.0, 1.0, -1.0])
    inside = two_states(FRAMES, FLIP, seed=5)
    frames = as_trajectory(shaken(np.where(inside[:, None, None], other, ring.reference_positions)))
    found = slowest_inefficiencies(frames, ring)
    assert found["torsions@310K"] == pytest.approx(EXACT, rel=0.25)
    assert found["size@310K"] < 2 and "energy@310K" not in found


def test_the_energy_counts_where_nothing_turns():
    """Water has no torsion at all; a slow energy alone tells, a clash in it hides nothing."""
    water = from_smiles("water")
    rng = np.random.default_rng(8)
    energies = 4.0 * two_states(FRAMES, FLIP, seed=6) + rng.normal(0.0, 0.3, FRAMES)
    frames = as_trajectory(shaken(np.repeat(water.reference_positions[None], FRAMES, axis=0)), energies)
    for clash in (None, 1e9, np.inf, np.nan):
        given = energies.copy()
        if clash is not None:
            given[1234] = clash
        found = slowest_inefficiencies(replace(frames, energies=given), water)
        assert found["energy@310K"] == pytest.approx(EXACT, rel=0.25)
    assert statistical_inefficiency(given) == pytest.approx(EXACT, rel=0.25)


@pytest.mark.parametrize("broken", [0.0, np.nan, np.inf, 0.123])
def test_a_broken_frame_is_named_and_left_out(broken, butane):
    inside = two_states(FRAMES, FLIP, seed=7)
    positions = np.where(inside[:, None, None], butane_positions(np.pi), butane_positions(np.pi / 3))
    positions = shaken(positions)
    positions[4321] = broken
    with pytest.warns(UserWarning, match=r"1 frames at 310 K, the first of them 4321"):
        found = slowest_inefficiencies(as_trajectory(positions), butane)
    assert found["torsions@310K"] == pytest.approx(EXACT, rel=0.25)


@pytest.mark.parametrize("suffix", ["dcd", "xtc", "trr", "h5", "nc", "folder"])
def test_a_broken_frame_is_refused_in_every_format(suffix, tmp_path, butane):
    positions = shaken(np.repeat(butane_positions(np.pi)[None], 40, axis=0)).reshape(40, -1, 3)
    positions[17] = 0.0
    path = tmp_path / f"frames.{suffix}"
    if suffix == "folder":
        write_trajectory(path, as_trajectory(positions))
    else:
        mdtraj.Trajectory(positions.astype(np.float32), butane.mdtraj_topology()).save(str(path))
    with pytest.raises(InputError, match=r"1 frames, the first of them 17, have bonded atoms in one place"):
        read_trajectory(path, butane, temperature=300.0)


def test_one_frame_many_times_is_one(butane):
    frames = as_trajectory(np.repeat(butane_positions(np.pi).reshape(1, -1, 3), 60, axis=0))
    assert max(slowest_inefficiencies(frames, butane).values()) == 60


def test_energies_that_a_file_lacks_are_computed(butane):
    """The energy of a stretched bond, slow by construction, while torsions and size are nearly still."""
    inside = two_states(20_000, 0.05, seed=9)
    place = butane_positions(np.pi).reshape(-1, 3)
    longer = place.copy()
    end = int(np.argmax(np.linalg.norm(place - place.mean(0), axis=1)))
    neighbour = next(int(b if a == end else a) for a, b in butane.bonds if end in (a, b))
    longer[end] += 0.3 * (place[end] - place[neighbour])
    frames = as_trajectory(shaken(np.where(inside[:, None, None], longer, place), width=2e-4))
    found = with_inefficiency(frames, butane, Target.from_system(butane)).statistical_inefficiency
    assert found["energy@310K"] == pytest.approx(19.0, rel=0.25)  # 0.95 / 0.05
    assert np.isnan(frames.energies).all()


def test_the_ring_of_the_issue_has_twelve_independent_frames():
    """Cyclohexane, 400 frames of a DCD without energies: none turns, and 400 were taken for independent."""
    ring = MolecularSystem.load(INDEP / "CHX")
    frames = read_trajectory(INDEP / "chx.dcd", ring, temperature=300.0)
    found = with_inefficiency(frames, ring, Target.from_system(ring)).statistical_inefficiency
    assert 8 < len(frames) / max(found.values()) < 20
