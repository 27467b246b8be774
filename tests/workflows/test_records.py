"""Records of verbs: what the file holds, typed, frozen, and shown in one line or a table."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers import ROOT

import boltzgen as bg
from boltzgen.config.build import build_flow
from boltzgen.config.model import Model
from boltzgen.flows.coupling import CouplingSettings
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.notebook import with_interval
from boltzgen.workflows.free_energy.results import FreeEnergyResult
from boltzgen.workflows.sampling.records import Coverage, Reweighting, Summary
from boltzgen.workflows.simulation.record import Simulation

GOLDEN = json.loads((ROOT / "tests" / "golden" / "summary.json").read_text(encoding="utf-8"))

REFINED = {**GOLDEN, "refined": [{"method": "smc", "moves": 4}], "unfamiliarity": 2.5, "log_z": None}

COVERAGE = {
    "source": "probe",
    "n_target": 400,
    "n_independent": 37.5,
    "forward_ess": 0.25,
    "missed": 0.125,
    "states": [
        {"name": "t", "target": 0.5, "target_error": None, "reweighted": 0.75, "reweighted_error": 0.01}
    ],
    "verdict": "caution",
    "reasons": ["few"],
    "probe": {"frames": 400},
}

FIGURES = {"n_effective": 120.4, "k_hat": 0.3, "log_z": -4.25, "log_z_standard_error": 0.05, "verdict": "ok"}

REWEIGHTING = {
    "rows": 500,
    "candidates": 450,
    "evaluated": 90,
    "energy_evaluations": 90,
    "seconds": 2.5,
    "ended": "precision reached",
    "second_stage": {"ess": 0.5, "mean_difference": 1.5, "sd_difference": None},
    "before": {**FIGURES, "n_effective": 300.2},
    "after": FIGURES,
}

MANIFEST = {
    "system": {"name": "ethanol", "n_atoms": 9},
    "temperatures_K": [300.0, 450.5],
    "platform": "CPU",
    "wall_seconds": 12.5,
    "statistical_inefficiency": {"energy@300K": 2.0, "torsions@300K": 4.0},
    "exchange": {
        "pairs": [{"low_K": 300.0, "high_K": 450.5, "attempts": 8, "accepted": 2, "acceptance": 0.25}],
        "round_trips": 3,
    },
    "torch": {"walks": 2, "restarts": 1, "torsion_moves": {"tried": 9, "taken": 5}, "drift": {"u": -1.5}},
}

ESTIMATE = bg.Estimate(
    name="a -> b",
    A="a",
    B="b",
    estimator="BAR",
    value=3.93812,
    standard_error=0.07389,
    interval95=(3.8, None),
    n=700,
    n_effective=450.0,
    k_hat=0.25,
    overlap=0.5,
    verdict="caution",
    reasons=("coverage & tails",),
)


def records():
    summary = Summary(REFINED)
    return {
        "summary": (summary, REFINED),
        "coverage": (Coverage(COVERAGE), COVERAGE),
        "reweighting": (Reweighting(REWEIGHTING, summary), REWEIGHTING),
        "simulation": (Simulation(MANIFEST, Path("MD"), 80), MANIFEST),
    }


@pytest.mark.parametrize("name", records())
def test_a_record_is_the_file_and_cannot_change_it(name):
    record, content = records()[name]
    given = record.to_json()
    assert given == content and list(given) == list(content)
    for value in given.values():
        if isinstance(value, list | dict):
            value.clear()
    assert record.to_json() == content == records()[name][0].to_json()
    with pytest.raises(FrozenInstanceError):
        record._content = {}
    assert "\n" not in repr(record) and repr(record).startswith(f"<{type(record).__name__}")
    cells = [cell.text for cell in ElementTree.fromstring(record._repr_html_()).iter("td")]
    assert cells[::2] == list(record.rows())


def test_every_key_of_a_summary_has_a_typed_name():
    names = {"ess_clipped_1e-4": "ess_clipped", "ess_dropped_0.2%": "ess_dropped"}
    found = Summary(GOLDEN)
    for key, value in GOLDEN.items():
        if key != "schema":
            read = getattr(found, names.get(key, key))
            assert (list(read) if isinstance(read, tuple) else read) == value, key
    assert found.unfamiliarity is None and found.refined == ()
    other = Summary(REFINED)
    assert other.unfamiliarity == 2.5 and other.refined[0]["moves"] == 4 and other != found
    assert repr(found) == (
        "<Summary: 40 samples, 37 with weight; ESS 7.55 %, k-hat 1.10, ln Z -18.34 +- 0.56; "
        "verdict unreliable>"
    )
    assert "ln Z not known" in repr(other)


def test_records_answer_what_people_ask():
    coverage, reweighting, simulation = (records()[n][0] for n in ("coverage", "reweighting", "simulation"))
    (state,) = coverage.states
    assert (state.reweighted, state.reweighted_error, state.target, state.target_error) == (
        0.75,
        0.01,
        0.5,
        None,
    )
    assert repr(coverage) == (
        "<Coverage by probe, 38 independent target samples, forward ESS 25 %; verdict caution>"
    )
    nothing = Coverage({"source": "the samples alone", "forward_ess": None, "verdict": "ok", "reasons": []})
    assert nothing.n_target is None and nothing.states == () and nothing.missed is None
    assert reweighting.second_stage.mean_difference == 1.5 and reweighting.before.n_effective == 300.2
    assert reweighting.rows()["effective share kept by the step"] == 0.5
    assert simulation.independent_frames(300.0) == 20 and simulation.independent_frames(450.5) is None
    assert simulation.exchanges[0].acceptance == 0.25 and simulation.round_trips == 3
    assert (simulation.batched.moves_taken, simulation.batched.drift["u"]) == (5, -1.5)
    assert "80 frames at 300, 450.5 K each, in MD" in repr(simulation)
    alone = Simulation({**MANIFEST, "exchange": None, "torch": None}, Path("MD"), 80)
    assert alone.exchanges == () and alone.round_trips is None and alone.batched is None


def test_estimates_show_value_error_unit_and_verdict():
    assert (
        repr(ESTIMATE)
        == "<Estimate a -> b: 3.94 kT (95 %: 3.80 to no bound) by BAR, n = 700; verdict caution>"
    )
    found = FreeEnergyResult((ESTIMATE, ESTIMATE), {"schema": "x"}, Path("free_energy.json"))
    assert found.to_json() == {"schema": "x"} and repr(found).count("<Estimate a -> b") == 2
    rows = list(ElementTree.fromstring(found._repr_html_()).iter("tr"))
    assert len(rows) == 3 and [cell.text for cell in rows[1]][:6] == [
        "a -> b",
        "BAR",
        "kT",
        "3.938",
        "3.8",
        "-",
    ]
    assert [cell.text for cell in rows[2]][-1] == "coverage & tails"


def test_models_samples_and_molecules_print_one_line(alanine_dipeptide):
    flow = build_flow(CouplingSettings(hidden=8, layers=2), seed=3)
    numbers = sum(one.numel() for one in flow.parameters())
    assert repr(flow) == f"<CouplingFlow of {numbers} parameters, float32 on cpu>"
    model = BoltzmannGenerator(flow, Target.from_model("double-well"))
    assert repr(model) == f"<BoltzmannGenerator: {flow!r} asked about double-well, 2 internal coordinates>"
    record = {"systems": [{}, {}, {}], "temperatures_K": [300.0, 450.5]}
    assert repr(Model(flow, record)) == f"<Model: {flow!r}, trained on 3 systems at 300, 450.5 K>"
    drawn = model.sample(30, 300.0, seed=2)
    assert repr(drawn).startswith("<Ensemble: 30 samples of 2 coordinates in kT, 0 rejected; ESS ")
    table = dict(zip(*[iter(c.text for c in ElementTree.fromstring(drawn._repr_html_()).iter("td"))] * 2))
    assert table["samples"] == "30" and table["verdict"] == drawn.diagnostics().verdict
    told = repr(alanine_dipeptide)
    assert "22 atoms (12 H, 6 C, 4 others), 21 bonds, 144.17 Da" in told
    frames = bg.Trajectory(np.zeros((4, 22, 3)), np.zeros(4), [300.0, 300.0, 450.5, 450.5], np.zeros(4))
    assert repr(frames) == "<Trajectory: 4 frames of 22 atoms at 300, 450.5 K>"


def test_a_number_with_its_interval():
    assert with_interval(3.938, (3.7991, 4.0962), "kT") == "3.94 kT (95 %: 3.80 to 4.10)"
    assert with_interval(0.5, (None, 0.6)) == "0.50 (95 %: no bound to 0.60)"
    assert with_interval(12.345, (None, None), "nm") == "12.35 nm (no error bar)"
    assert with_interval(None, (None, None)) == "not known"
    assert with_interval(5.0, (5.0, 5.0), "1") == "5 (95 %: 5 to 5)"
