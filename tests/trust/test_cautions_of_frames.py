"""What a simulation says against its own frames is said by whoever compares with them or weighs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_model

from boltzgen.config.build import build_flow
from boltzgen.config.model import save_model
from boltzgen.data.manifest import cautions_of
from boltzgen.data.record import Trajectory, joined
from boltzgen.data.trajectory import read_trajectory, write_trajectory
from boltzgen.trust.crossings import judge_drift
from boltzgen.workflows.free_energy.between import SIMULATED, between
from boltzgen.workflows.free_energy.mbar import mbar
from boltzgen.workflows.roads.frames import divide
from boltzgen.workflows.sampling.check import check
from boltzgen.workflows.sampling.sample import sample

STARTS = "caution: these are the starts' populations"


def manifest() -> dict:
    (drift,) = judge_drift({"energy@300K": -6.8, "torsions@300K": 1.0}, 12, 3)
    states = [{"name": "trans", "share": 0.5, "entered": 1, "left": 2}]
    return {
        "crossings": {"states": states, "cautions": [STARTS, drift]},
        "rings": {"missing": ["short"], "unmoved": ["caution: no move turns over ring 1"]},
    }


@pytest.fixture(scope="module")
def folder(butane, tmp_path_factory) -> Path:
    """SYS, a model, and MD of two temperatures, whose walks drift."""
    place = tmp_path_factory.mktemp("cautions")
    butane.save(place / "SYS")
    save_model(
        place / "RUN" / "model", build_flow(small_model.FLOW, seed=0), {**small_model.MODEL, "systems": []}
    )
    rng = np.random.default_rng(3)
    noise = rng.normal(0.0, 0.002, (40, *butane.reference_positions.shape))
    kelvin = np.repeat([300.0, 400.0], 20)
    frames = Trajectory(
        butane.reference_positions + noise, rng.normal(size=40), kelvin, np.zeros(40), butane.fingerprint
    )
    write_trajectory(place / "MD", frames, crossings=manifest()["crossings"])
    return place


def test_cautions_stay_with_the_frames(butane, folder):
    ring, starts, changing = cautions_of(manifest())
    assert starts == "these are the starts' populations" and "the energy changes by 6.8" in changing
    assert ring == "no move turns over ring 1" and cautions_of({"rings": {"missing": ["short"]}}) == ()
    whole = read_trajectory(folder / "MD", butane)
    assert whole.cautions == whole.at(300.0).cautions == whole[:7].cautions == (starts, changing)
    assert joined([whole[:5], whole[5:]]).cautions == (starts, changing)
    write_trajectory(folder / "AGAIN", whole)
    assert read_trajectory(folder / "AGAIN", butane).cautions == (starts, changing)
    divide(folder / "MD", folder / "SYS", [folder / "FIRST", folder / "LAST"], None)
    assert read_trajectory(folder / "LAST", butane).cautions == (starts, changing)


def test_who_compares_with_such_frames_says_so(folder):
    """Samples checked with them, `check`, differences that begin from them, and MBAR: a caution each."""
    told = f"{folder / 'MD'}: these are the starts' populations"
    out = folder / "OUT"
    options = {"temperature": 300.0, "data": folder / "MD"}
    found = sample(folder / "RUN", folder / "SYS", out, 300, **options)
    assert found.verdict != "ok" and told in found.reasons
    assert told in check(out, data=folder / "MD", rows=20).summary.reasons
    sample(folder / "RUN", folder / "SYS", folder / "HOT", 300, temperature=400.0)
    given = {"data_a": folder / "MD", "data_b": folder / "MD", "samples": 50, "n_bootstrap": 5}
    compared = between(out, folder / "HOT", output=folder / "between.json", **given).estimates
    of_frames = next(one for one in compared if one.estimator == SIMULATED)
    assert sum(told in reason for reason in of_frames.reasons) == 4 and of_frames.verdict != "ok"
    pooled = mbar([folder / "MD"], systems=[folder / "SYS"], output=folder / "mbar.json", n_bootstrap=5)
    assert told in pooled.estimates[0].reasons and pooled.estimates[0].verdict != "ok"
