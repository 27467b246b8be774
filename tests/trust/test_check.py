"""check and its probe: sabotage of every kind is seen, a healthy flow passes, and the record says why."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import sabotage_cases as cases
import small_model
import torch
from helpers import assert_refused

from boltzgen.config.build import build_flow
from boltzgen.config.model import save_model
from boltzgen.coordinates.internal import InternalCoordinates
from boltzgen.ensemble.store import load_ensemble, save_ensemble
from boltzgen.errors import BoltzgenError, InputError, UnreliableError
from boltzgen.flows.coupling import CouplingSettings
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.trust.audit import audit_rows
from boltzgen.trust.determinant import require_determinants, spot_check
from boltzgen.trust.judgement import mbar_weights, state_columns
from boltzgen.trust.probe import HYDROGEN_MASS, ProbeFrames, probe_ladder, run_probe, with_heavy_hydrogens
from boltzgen.units import GAS_CONSTANT
from boltzgen.workflows.sampling.check import check, combined, examine, probe_and_judge, with_coverage
from boltzgen.workflows.sampling.sample import sample
from boltzgen_cli.main import main

#: With fresh weights the flow of butane is right in bonds and angles and flat in its torsion.
FLOW = CouplingSettings(layers=2, hidden=16, embedding=8, encoder_blocks=1)
SAMPLES = 8000

MODEL = {**small_model.MODEL, "flow": FLOW.model_dump(mode="json")}


@pytest.fixture(scope="module")
def generator(butane) -> BoltzmannGenerator:
    flow = build_flow(FLOW, seed=0)
    return BoltzmannGenerator(cases.Warmer(flow, 1.05), Target.from_system(butane))


@pytest.fixture(scope="module")
def frames(butane) -> ProbeFrames:
    return run_probe(butane, [butane.reference_positions], 300.0, budget=150_000, platform="Reference")


@pytest.fixture(scope="module")
def mode(generator, butane) -> cases.Mode:
    (torsion,) = state_columns(generator.target, butane.atom_names)
    assert torsion.name in ("C1-C2-C3-C4", "C4-C3-C2-C1")
    return torsion.column, 0.0, 2 * np.pi / 3


def verdict(case, butane, frames):
    found, numbers = examine(case.generator, case.ensemble, 300.0)
    record = probe_and_judge(case.generator, case.ensemble, butane, frames)
    judged = with_coverage(case.ensemble, combined([record], found, numbers)).diagnostics()
    return judged.verdict, " ".join(judged.reasons)


SABOTAGED = {
    "one mode dropped": (lambda g, n, s, mode: cases.mode_at(g, n, s, mode, 0.0), "between 0 and 120"),
    "a mode at 1e-4": (lambda g, n, s, mode: cases.mode_at(g, n, s, mode, 1e-4), "between 0 and 120"),
    "over-narrow bonds": (lambda g, n, s, mode: cases.narrow_bonds(g, n, s, 0.5), "k-hat"),
    "wrong temperature": (lambda g, n, s, mode: cases.wrong_temperature(g, n, s, 1.02), "energies are not"),
    "NaN energies": (lambda g, n, s, mode: cases.nan_energies(g, n, s, 0.002), "were rejected although"),
    "wrong log-determinant": (
        lambda g, n, s, mode: cases.wrong_determinant(g, n, s, "one percent"),
        "log-determinant of the coord",
    ),
    "wrong log-determinant of the flow": (
        lambda g, n, s, mode: cases.wrong_determinant(g, n, s, "flow 0.001"),
        "log-determinant of the flow",
    ),
    "duplicated samples": (lambda g, n, s, mode: cases.duplicated(g, n, s, 0.01), "copies of others"),
    "swapped weights": (lambda g, n, s, mode: cases.swapped(g, n, s, 0.01), "rows were swapped"),
}


@pytest.mark.parametrize("kind", SABOTAGED)
def test_sabotage_is_unreliable_and_named(kind, generator, butane, frames, mode):
    make, reason = SABOTAGED[kind]
    found, reasons = verdict(make(generator, SAMPLES, 5, mode), butane, frames)
    assert found == "unreliable"
    assert reason in reasons


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_healthy_flow_is_ok(seed, generator, butane, frames):
    case = cases.Case(generator, generator.sample(SAMPLES, 300.0, seed=seed))
    found, reasons = verdict(case, butane, frames)
    assert (found, reasons) == ("ok", "")


def test_the_probe_finds_the_exact_population(generator, butane, frames):
    """G(gauche) - G(trans) = 0.52898 kT, so 0.3708 gauche; MBAR over the ladder, within four errors."""
    record = probe_and_judge(generator, generator.sample(SAMPLES, 300.0, seed=9), butane, frames)
    trans = next(state for state in record["states"] if "120 and -120" in state["name"])
    assert abs(trans["target"] - 0.6292) < 4 * trans["target_error"] < 0.5
    copies = 100 * frames.exchanges + frames.replicas
    unsettled = replace(frames, exchanges=np.zeros_like(frames.exchanges), replicas=copies)
    record_of_one = probe_and_judge(generator, generator.sample(500, 300.0, seed=9), butane, unsettled)
    assert all(state["target_error"] is None and state["reason"] for state in record_of_one["states"])
    weights = mbar_weights(frames)
    assert weights.sum() == pytest.approx(1.0) and (weights > 0).all()
    assert record["probe"]["energy_evaluations"] == 150_000


def test_weights_of_the_ladder_are_those_of_pymbar_and_move_no_stream(frames):
    from pymbar import MBAR

    np.random.seed(412)
    drawn = np.random.random(3)
    np.random.seed(412)
    weights = mbar_weights(frames)
    assert np.array_equal(np.random.random(3), drawn)
    order = np.argsort(frames.rungs, kind="stable")
    u_kn = frames.energies[order] / (GAS_CONSTANT * frames.ladder[:, None])
    counts = np.bincount(frames.rungs, minlength=len(frames.ladder))
    expected = MBAR(u_kn - u_kn.mean(), counts, solver_protocol="robust").weights()[:, 0]
    assert weights[order] == pytest.approx(expected / expected.sum(), rel=1e-7)
    with pytest.raises(InputError, match="the reduced energy of sample 0 is NaN"):
        mbar_weights(replace(frames, energies=np.full(len(frames), np.nan)))


def test_copies_that_were_shaken_are_still_copies(generator):
    drawn = generator.sample(2000, 300.0, seed=1)
    positions = np.array(drawn.positions)
    positions[1000:1100] = positions[:100] + np.float32(1e-7)
    shaken = replace(drawn, positions=positions)
    assert audit_rows(generator, shaken, 300.0, rows=100, seed=0).numbers["copied_rows"] >= 90
    assert audit_rows(generator, drawn, 300.0, rows=100, seed=0).numbers["copied_rows"] == 0


def test_log_determinants_agree_with_autograd_and_wrong_ones_raise(generator, alanine_dipeptide):
    for target in (generator.target, Target.from_system(alanine_dipeptide), Target.from_model("double-well")):
        found = spot_check(BoltzmannGenerator(build_flow(FLOW, seed=3), target), 350.0)
        assert found.rows == 3 and found.flow < 1e-5 and found.coordinates < 1e-9
    wrong = cases.wrong_determinant(generator, 100, 0, "last bond once").generator
    with pytest.raises(BoltzgenError, match="log-determinant of the coordinates differs"):
        require_determinants(wrong, 300.0)


def test_heavy_hydrogens_keep_the_mass_and_the_energy(alanine_dipeptide):
    heavy = with_heavy_hydrogens(alanine_dipeptide)
    masses = [heavy.getParticleMass(i)._value for i in range(heavy.getNumParticles())]
    assert sum(masses) == pytest.approx(alanine_dipeptide.masses.sum())
    assert min(masses) == pytest.approx(HYDROGEN_MASS)
    kept = alanine_dipeptide.openmm_system()
    assert kept.getParticleMass(0)._value == pytest.approx(alanine_dipeptide.masses[0])


def test_ladders_grow_with_the_molecule():
    assert len(probe_ladder(300.0, 6)) < len(probe_ladder(300.0, 60)) <= 8
    assert probe_ladder(300.0, 60)[0] == 300.0 and probe_ladder(300.0, 60)[-1] == pytest.approx(810.0)


def test_crossings_are_counted_along_replicas_not_rungs():
    rows = np.arange(8)
    walk = ProbeFrames(
        positions=np.zeros((8, 1, 3)),
        energies=np.zeros(8),
        rungs=rows % 2,
        exchanges=np.zeros(8, int),
        replicas=np.array([0, 1, 1, 0, 0, 1, 1, 0]),
        times=rows // 2,
        ladder=np.array([300.0, 400.0]),
        evaluations=0,
        starts=1,
    )
    assert walk.crossings(walk.replicas == 0) == (0, 0)
    assert walk.crossings(np.array([1, 0, 0, 0, 1, 0, 0, 0], bool)) == (1, 2)
    assert walk.crossings(np.array([0, 0, 1, 0, 1, 0, 0, 0], bool)) == (2, 2)


@pytest.fixture
def folders(butane, tmp_path):
    """SYS, RUN with a model of fresh weights, and OUT drawn from it."""
    butane.save(tmp_path / "SYS")
    save_model(tmp_path / "RUN" / "model", build_flow(FLOW, seed=0), MODEL)
    sample(tmp_path / "RUN", tmp_path / "SYS", tmp_path / "OUT", 2000, seed=4)
    return tmp_path


def test_the_verb_stores_what_the_probe_found(folders, capsys):
    before = (folders / "OUT" / "samples.npz").read_bytes()
    assert load_ensemble(folders / "OUT").diagnostics().verdict == "caution"
    words = ["check", str(folders / "OUT"), "--probe", "--budget", "60000", "--platform", "Reference"]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "populations" in printed.out and "torsion" in printed.out and "verdict" in printed.err
    manifest = json.loads((folders / "OUT" / "manifest.json").read_text())
    summary = json.loads((folders / "OUT" / "summary.json").read_text())
    assert manifest["coverage"]["source"] == "probe"
    assert manifest["coverage"]["examination"]["copied_rows"] == 0
    assert summary["forward_ess"] == manifest["coverage"]["forward_ess"] > 0.3
    assert (folders / "OUT" / "samples.npz").read_bytes() == before
    again = check(folders / "OUT")
    assert again.coverage.to_json()["states"] == manifest["coverage"]["states"], (
        "a check alone keeps the last"
    )
    assert again.verdict == summary["verdict"]


def test_without_a_probe_coverage_stays_unchecked(folders):
    found = check(folders / "OUT")
    assert found.coverage is None and found.verdict == "caution"
    assert any("`check(OUT, probe=True)`" in reason for reason in found.summary.reasons)


def test_a_changed_file_is_unreliable_until_it_is_back(folders):
    topology = folders / "OUT" / "topology.pdb"
    text = topology.read_text()
    topology.write_text(text + "REMARK changed\n")
    with pytest.raises(UnreliableError, match=r"topology\.pdb was changed"):
        check(folders / "OUT", strict=True)
    topology.write_text(text)
    assert check(folders / "OUT").verdict == "caution"


def test_bad_input_is_refused_in_one_sentence(folders):
    out = str(folders / "OUT")
    assert_refused(["check", str(folders / "NOWHERE")], "no such folder")
    assert_refused(["check", out, "--model", str(folders / "SYS")], "holds no model")
    assert_refused(["check", out, "--probe", "--budget", "10"], "--budget 10", "50000")
    (folders / "RUN").rename(folders / "GONE")
    assert_refused(["check", out], "names the model", "--model")
    assert check(out, model=folders / "GONE").verdict == "caution"


def test_another_system_is_refused(folders, alanine_dipeptide):
    alanine_dipeptide.save(folders / "OTHER")
    with pytest.raises(InputError, match="another system"):
        check(folders / "OUT", system=folders / "OTHER")


def test_model_systems_are_examined_and_not_probed(tmp_path):
    target = Target.from_model("double-well")
    drawn = BoltzmannGenerator(build_flow(FLOW, seed=0), target).sample(500, 300.0)
    found, numbers = examine(BoltzmannGenerator(build_flow(FLOW, seed=0), target), drawn, 300.0)
    assert found == [] and numbers["log_det_difference"]["coordinates"] == 0.0
    save_ensemble(drawn, tmp_path / "OUT")
    save_model(tmp_path / "RUN" / "model", build_flow(FLOW, seed=0), MODEL)
    words = ["check", str(tmp_path / "OUT"), "--model", str(tmp_path / "RUN")]
    words += ["--system", "model:double-well"]
    assert main(words) == 0
    assert_refused([*words, "--probe"], "--probe is for molecules")


def test_sampling_stops_at_a_wrong_log_determinant(folders, monkeypatch):
    right = InternalCoordinates.decode

    def wrong(self, values: torch.Tensor):
        positions, log_det = right(self, values)
        return positions, 1.001 * log_det

    monkeypatch.setattr(InternalCoordinates, "decode", wrong)
    words = ["sample", str(folders / "RUN"), str(folders / "SYS"), "-o", str(folders / "NEW"), "-n", "10"]
    assert_refused(words, "log-determinant of the coordinates differs from autograd", code=1)
    assert not (folders / "NEW" / "samples.npz").exists()
