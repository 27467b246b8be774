"""Whether a simulation ran long enough: halves of a run, and the verdict on it."""

from __future__ import annotations

import numpy as np
import pytest
from butane import butane_positions

from boltzgen.data.convergence import _compared, convergence
from boltzgen.data.record import Trajectory


def two_state(frames: int, flip: float, generator: np.random.Generator, walks: int = 1) -> np.ndarray:
    """(walks * frames,) bool of a symmetric Markov chain, started in equilibrium."""
    flips = generator.random((walks, frames)) < flip
    flips[:, 0] = generator.random(walks) < 0.5
    return (np.cumsum(flips, axis=1) % 2).astype(bool).ravel()


@pytest.mark.parametrize("walks", [1, 8])
def test_halves_of_a_stationary_run_differ_as_their_error_says(walks):
    """Frames are correlated (flips each 20th): without the inefficiency z would spread by more than 4."""
    generator = np.random.default_rng(2)
    z = [_compared(two_state(2000 // walks, 0.05, generator, walks), walks)["z"] for _ in range(100)]
    assert abs(np.mean(z)) < 0.4
    assert 0.75 < np.std(z) < 1.35


def run_of(butane, trans: np.ndarray) -> tuple[Trajectory, dict]:
    """A run of butane at 300 K with the torsion trans or at 60 degrees, and a manifest for it."""
    positions = np.where(trans[:, None, None], butane_positions(np.pi), butane_positions(np.pi / 3))
    frames = len(trans)
    trajectory = Trajectory(positions, np.zeros(frames), np.full(frames, 300.0), np.zeros(frames, int))
    manifest = {
        "temperatures_K": [300.0, 450.0],
        "exchange": {"round_trips": 40},
        "torch": {"walks": 2},
        "statistical_inefficiency": {"torsions@300K": 5.0},
    }
    return trajectory, manifest


def test_the_verdict_knows_drifting_short_and_converged_runs(butane):
    generator = np.random.default_rng(7)
    steady = two_state(1000, 0.3, generator, walks=2)
    trajectory, manifest = run_of(butane, steady)
    found = convergence(trajectory, butane, manifest)
    assert (found["verdict"], found["reasons"]) == ("converged", [])
    assert found["independent_frames"] == 400 and found["round_trips"] == 40
    short = convergence(trajectory, butane, {**manifest, "exchange": {"round_trips": 3}})
    assert short["verdict"] == "short" and "3 round trips" in short["reasons"][0]
    rare = {**manifest, "statistical_inefficiency": {"torsions@300K": 90.0}}
    assert convergence(trajectory, butane, rare)["verdict"] == "short"
    leaving = (np.arange(1000) < 500) ^ (generator.random((2, 1000)) < 0.2)  # each walk leaves trans half-way
    trajectory, manifest = run_of(butane, leaving.ravel())
    found = convergence(trajectory, butane, manifest)
    assert found["verdict"] == "drifting" and found["halves"]["torsion"] == [0, 1, 2, 3]
    assert found["halves"]["first"] + found["halves"]["second"] == pytest.approx(1.0, abs=0.06)
    assert found["halves"]["largest_difference"] == pytest.approx(0.6, abs=0.08)
