"""The transfer benchmark: errors and likelihoods against closed forms; a whole run on butane."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from butane import EXACT
from helpers import assert_refused
from scipy.special import ive

from boltzgen.conditioning.features import N_FEATURES
from boltzgen.config.build import build_flow
from boltzgen.config.model import save_model
from boltzgen.data.record import Trajectory
from boltzgen.data.trajectory import read_trajectory, write_trajectory
from boltzgen.digests import signed
from boltzgen.errors import BoltzgenError, PartialError, StoppedError
from boltzgen.flows.coupling import CouplingSettings
from boltzgen.free_energy.ramachandran import torsion_pairs
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.system.prepare import prepare
from boltzgen.workflows.transfer import benchmark as transfer
from boltzgen.workflows.transfer.draws import Drawn, Exchange, Reference, read_reference
from boltzgen.workflows.transfer.likelihood import coordinate_gaps, likelihood_figures
from boltzgen.workflows.transfer.reference import (
    energy_distance,
    phi_differences,
    ramachandran_distances,
    torus_distance,
)
from boltzgen.workflows.transfer.table import COLUMNS, familiarity_auroc, growth, summarise
from boltzgen_cli.main import main


def reference(u, angles=None, inefficiency=1.0, atoms=4):
    angles = np.empty((len(u), 0)) if angles is None else angles
    return Reference("here", "", {}, np.zeros((len(u), atoms, 3)), u, angles, inefficiency)


def drawn(log_w, u=None, angles=None):
    u = np.zeros(len(log_w)) if u is None else u
    angles = np.empty((len(log_w), 0)) if angles is None else angles
    return Drawn(log_w, u, np.where(np.isfinite(log_w), "", "open ring"), angles, 1.0)


def test_the_gap_is_the_forward_divergence():
    """Target N(0, 1)^3 with u shifted by 5, flow N(0, 1.5^2)^3."""
    rng, d, s = np.random.default_rng(7), 3, 1.5

    def log_w(x):
        square = (x**2).sum(axis=1)
        return -(0.5 * square + 5.0) + 0.5 * square / s**2 + d * np.log(s) + 0.5 * d * np.log(2 * np.pi)

    samples, frames = s * rng.standard_normal((3000, d)), rng.standard_normal((3000, d))
    without = SimpleNamespace(has_latents=False, target=None)
    found = likelihood_figures(
        without, drawn(log_w(samples)), reference(np.zeros(3000)), log_w(frames), 300.0, rng=rng
    )
    expected = d * (np.log(s) + 0.5 / s**2 - 0.5)
    log_z = 0.5 * d * np.log(2 * np.pi) - 5.0
    assert found["log_z"] == pytest.approx(log_z, abs=4 * found["log_z_standard_error"])
    assert found["gap"] == pytest.approx(expected, abs=4 * found["gap_standard_error"])
    assert found["gap_standard_error"] < 0.1 < expected
    assert found["gap_per_atom"] == pytest.approx(found["gap"] / 4)
    assert found["by_kind"] is None and "no latents" in found["unknown"]["by_kind"]


def test_the_gap_of_single_coordinates():
    """A latent of spread s has KL (s^2 - 1)/2 - ln s to the base; von Mises, kappa I1/I0 - ln I0."""
    rng = np.random.default_rng(8)
    columns = [1.6 * rng.standard_normal(8000), rng.standard_normal(8000), rng.vonmises(1.0, 2.0, 8000)]
    found = coordinate_gaps(np.stack(columns, axis=1), np.array([False, False, True]), rng=rng)
    turned = 2.0 * ive(1, 2.0) / ive(0, 2.0) - np.log(ive(0, 2.0)) - 2.0
    assert found == pytest.approx([0.5 * (1.6**2 - 1) - np.log(1.6), 0.0, turned], abs=0.03)


@pytest.fixture(scope="module")
def glycine():
    return prepare(sequence="ACE-GLY-NME", forcefield=("amber14-all.xml",), implicit="implicit/obc1.xml")


def test_weights_mend_a_wrong_population(glycine):
    """phi > 0 drawn five times too often, with weights that put it right."""
    rng = np.random.default_rng(9)

    def angles(share, size):
        phi = np.where(rng.random(size) < share, 1.2, -1.2)
        return np.stack([phi, np.full(size, 2.0)], axis=1) + 0.1 * rng.standard_normal((size, 2))

    ours, theirs = angles(0.5, 6000), angles(0.1, 8000)
    log_w = np.where(ours[:, 0] > 0, np.log(0.2), np.log(1.8))
    sample, target = drawn(log_w, angles=ours), reference(np.zeros(8000), theirs)
    names = ("phi:2", "psi:2")
    first = phi_differences(sample, target, names, 300.0, rng=rng)[0]
    assert (first["torsion"], first["B"]) == ("phi:2", "phi>0")
    noise = np.hypot(first["standard_error"], first["reference_standard_error"])
    assert first["reference"] == pytest.approx(np.log(9), abs=0.2)
    assert abs(first["error"]) < 4 * noise < 0.4
    biased = phi_differences(drawn(0 * log_w, angles=ours), target, names, 300.0, rng=rng)[0]
    assert biased["error"] == pytest.approx(-np.log(9), abs=0.3)
    assert first["reference_estimator"] == "frames counted"

    hot = theirs.reshape(2, 4000, 2)  # two temperatures of an exchange that does not feel the temperature
    exchange = Exchange(np.array([300.0, 400.0]), np.zeros((2, 4000)), hot, np.ones((2, 4000), bool))
    few = replace(reference(np.zeros(400), theirs[:400]), exchange=exchange)
    whole = phi_differences(sample, few, names, 300.0, rng=rng)[0]
    assert whole["reference"] == pytest.approx(first["reference"], abs=1e-6)  # all 8000 frames, not 400
    assert whole["reference_estimator"] == "MBAR over the temperatures"

    rare = theirs[:60].copy()  # some six frames at phi > 0: nothing to compare with
    assert 0 < (rare[:, 0] > 0).sum() < 10
    unknown = phi_differences(sample, reference(np.zeros(60), rare), names, 300.0, rng=rng)[0]
    assert unknown["reference"] is not None and unknown["error"] is None
    assert "effective frames" in unknown["error_unknown"] and unknown["reference_verdict"] == "unreliable"
    nowhere = drawn(np.where(ours[:, 0] > 0, -np.inf, log_w), angles=ours)
    lost = phi_differences(nowhere, target, names, 300.0, rng=rng)[0]
    assert lost["error"] is None and "no sample of weight" in lost["error_unknown"]

    found = torus_distance(sample, target, 500, rng=rng)
    wrong = torus_distance(drawn(0 * log_w, angles=ours), target, 500, rng=rng)
    assert found["samples"] == 500
    assert wrong["value"] == pytest.approx(np.sqrt(0.4) * 2.4, rel=0.15)  # 0.4 of all must go 2.4 rad
    assert found["value"] < 0.6 * wrong["value"]
    (row,) = ramachandran_distances(sample, target, names, glycine.topology_pdb)
    (off,) = ramachandran_distances(drawn(0 * log_w, angles=ours), target, names, glycine.topology_pdb)
    assert row["residue"] == 2 and row["tv"] < 0.25 and off["tv"] > 0.4


def test_energies_of_samples_that_fit_are_as_near_as_halves_of_the_reference():
    rng = np.random.default_rng(10)
    u = rng.normal(0.0, 2.0, 9000)  # drawn 1 kT too high on average where the target has spread 2
    ours = rng.normal(1.0, 2.0, 9000)
    sample = drawn(-0.25 * ours, u=ours)  # exp(-(x - 0)^2/8 + (x - 1)^2/8) up to a constant
    found = energy_distance(sample, reference(u))
    plain = energy_distance(drawn(np.zeros(9000), u=ours), reference(u))
    assert plain["value"] == pytest.approx(1.0, abs=0.1)
    assert found["value"] < 0.2 and found["floor"] < 0.2 and found["deleted"] > found["value"]


def test_an_uncapped_dipeptide_has_one_map():
    molecule = prepare(sequence="AA", forcefield=("amber14-all.xml",), implicit="implicit/obc1.xml")
    ((number, phi, psi),) = torsion_pairs(molecule.topology_pdb)
    assert (number, phi.name, psi.name) == (2, "phi:2", "psi:1")


def rows_with(values, key, atoms):
    empty = {column.key: None for column in COLUMNS}
    return [
        {**empty, "molecule": str(n), "stage": "zero_shot", "atoms": size, key: value}
        for n, (value, size) in enumerate(zip(values, atoms, strict=True))
    ]


def test_means_worst_deciles_and_growth():
    atoms = np.arange(10, 50, 2)
    rows = rows_with(np.exp(-0.05 * atoms), "ess", atoms)
    found = summarise(rows)["zero_shot"]["ess"]
    values = np.exp(-0.05 * atoms)
    assert found["mean"] == pytest.approx(values.mean())
    assert found["standard_error"] == pytest.approx(values.std(ddof=1) / np.sqrt(20))
    assert found["worst_decile"] == pytest.approx(values[-2]) and found["molecules"] == 20
    assert growth(rows)["zero_shot"]["log_ess_per_atom"]["value"] == pytest.approx(-0.05)
    assert growth(rows)["zero_shot"]["exponent_of_time"] is None
    slow = rows_with(0.1 * atoms**1.5, "seconds", atoms)
    assert growth(slow)["zero_shot"]["exponent_of_time"]["value"] == pytest.approx(1.5)
    assert summarise(slow)["zero_shot"]["seconds"]["worst_decile"] == pytest.approx(0.1 * 46**1.5)


def test_auroc_counts_ordered_pairs():
    def record(score, ess):
        return {"unfamiliarity": score, "stages": {"zero_shot": {"ess": ess}}}

    records = [record(9.0, 0.001), record(4.0, 0.002), record(4.0, 0.2), record(1.0, 0.3), record(None, 0.0)]
    assert familiarity_auroc(records) == {"auroc": 3.5 / 4, "threshold": 0.01, "below": 2, "above": 2}
    assert familiarity_auroc(records[:2]) is None


def test_a_reference_keeps_all_temperatures_of_an_exchange(tmp_path):
    """Energies at their own temperatures; a mirrored frame is marked; with unequal numbers there is none."""
    alanine = prepare(sequence="ACE-ALA-NME", forcefield=("amber14-all.xml",))
    flow = build_flow(CouplingSettings(layers=2, hidden=8), seed=1)
    generator = BoltzmannGenerator(flow, Target.from_system(alanine))
    rng = np.random.default_rng(6)
    x = alanine.reference_positions + 1e-4 * rng.standard_normal((20, 1, 1))
    x[13, :, 0] *= -1
    kelvin, energies = np.repeat([300.0, 400.0], 10), rng.normal(-50, 3, 20)
    whole = Trajectory(x, energies, kelvin, np.zeros(20, int), alanine.fingerprint)
    write_trajectory(tmp_path / "MD", whole)
    exchange = read_reference(generator, alanine, tmp_path / "MD", 300.0).exchange
    np.testing.assert_allclose(exchange.u.ravel(), energies / (0.00831446261815324 * kelvin))
    phi = exchange.angles[:, :, 0]
    assert exchange.angles.shape == (2, 10, 2) and phi[1, 3] == pytest.approx(-phi[0, 0], abs=1e-3)
    assert np.argwhere(~exchange.inside).tolist() == [[1, 3]]
    write_trajectory(tmp_path / "FEWER", whole[:-1])
    assert read_reference(generator, alanine, tmp_path / "FEWER", 300.0).exchange is None


@pytest.fixture(scope="module")
def bench(tmp_path_factory, butane):
    """A model of butane that was never trained, and a data set of it under two names, one with frames."""
    folder = tmp_path_factory.mktemp("bench")
    settings = CouplingSettings(layers=2, hidden=8, bins=4)
    flow, target = build_flow(settings, seed=1), Target.from_system(butane)
    record = {
        "flow": settings.model_dump(),
        "n_features": N_FEATURES,
        "isomers": "reference",
        "temperature_K": 300.0,
        "temperatures_K": [300.0],
        "systems": [{"name": "other", "fingerprint": "0", "domain": target.domain}],
    }
    save_model(folder / "MODEL", flow, record)
    ensemble = BoltzmannGenerator(flow, target).sample(6000, 300.0, seed=5)
    rows = ensemble.equal_weight_rows(3000, seed=1)
    frames = Trajectory(
        ensemble.positions[rows],
        np.zeros(3000),
        np.full(3000, 300.0),
        np.zeros(3000, int),
        butane.fingerprint,
        {"torsions@300K": 1.5},
    )
    entries = []
    for name in ("first", "second"):
        home = folder / "DATASET" / "molecules" / name
        butane.save(home / "SYS")
        if name == "first":
            write_trajectory(home / "MD", frames)
        entries.append(
            {
                "name": name,
                "split": "test",
                "source": {"smiles": "CCCC"},
                "system": f"molecules/{name}/SYS",
                "data": f"molecules/{name}/MD" if name == "first" else None,
                "status": "complete",
                "fingerprint": butane.fingerprint,
                "graph": "g",
                "atoms": 4,
                "frames": 3000,
                "evaluations": 0,
                "convergence": {},
                "sha256": {},
            }
        )
    document = {"schema": "boltzgen.dataset/1", "status": "complete", "molecules": entries}
    (folder / "DATASET" / "dataset.json").write_text(json.dumps(document))
    return folder


def run(folder, *words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["benchmark", "transfer", "MODEL", "DATASET", *map(str, words)])
    return code, out.getvalue(), err.getvalue()


def test_a_whole_benchmark_that_was_interrupted(bench):
    words = ("-o", "BENCH", "--samples", "1500")
    code, _, told = run(bench, *words, "--max-time", "0.01s")
    assert code == 75 and "To go on: boltzgen benchmark transfer MODEL DATASET" in told
    assert not (bench / "BENCH" / "transfer.json").exists()

    code, out, told = run(bench, *words, "--molecules", "first")
    assert code == 0 and "first" in out, told
    first = (bench / "BENCH" / "molecules" / "first.json").read_bytes()
    figures = json.loads(first)["stages"]["zero_shot"]
    exact, _ = EXACT[300.0]
    assert abs(figures["log_z"] - exact) < 4 * figures["log_z_standard_error"] + 1e-3
    found = figures["reference"]
    assert abs(found["likelihood"]["log_z"] - exact) < 4 * found["likelihood"]["log_z_standard_error"] + 0.01
    gap, error = (found["likelihood"][key] for key in ("gap", "gap_standard_error"))
    kinds = found["likelihood"]["by_kind"]
    assert set(kinds) == {"bond", "angle", "torsion"} and gap > 4 * error > 0
    assert kinds["torsion"]["gap"] > 3 * abs(kinds["bond"]["gap"])  # bonded terms are what the base knows
    assert found["torus_w2"] is None and found["phi"] == [] and found["energy_w2"]["value"] < 0.3
    assert figures["ess"] == pytest.approx(found["forward_ess"], abs=0.1)

    code, out, _ = run(bench, *words)
    assert code == 0 and "second" in out
    assert (bench / "BENCH" / "molecules" / "first.json").read_bytes() == first  # not measured again
    document = json.loads((bench / "BENCH" / "transfer.json").read_text())
    assert document["schema"] == "boltzgen.transfer/1" and document["status"] == "complete"
    both = [row["ess"] for row in document["rows"]]
    assert document["summary"]["zero_shot"]["ess"]["mean"] == pytest.approx(np.mean(both))
    assert document["summary"]["zero_shot"]["forward_ess"]["molecules"] == 1
    with open(bench / "BENCH" / "transfer.csv", newline="") as handle:
        assert [row["molecule"] for row in csv.DictReader(handle)] == ["first", "second"]
    assert "| first | 4 |" in (bench / "BENCH" / "transfer.md").read_text()
    assert (bench / "BENCH" / "transfer.png").read_bytes()[:4] == b"\x89PNG"


def test_what_cannot_be_measured_is_refused(bench):
    line = ["benchmark", "transfer", bench / "MODEL", bench / "DATASET", "-o", bench / "REFUSED"]
    assert_refused([*line, "--molecules", "frist"], "frist", "first")
    assert_refused([*line, "--split", "train"], "train", "build it first")
    assert_refused([*line, "--samples", "10"], "at least 100")
    assert_refused([*line, "--adapt", "0"], "--adapt 0")
    code, _, told = run(bench, "-o", "OTHER", "--samples", "200", "--molecules", "second")
    assert code == 0, told
    again = [*line[:4], "-o", bench / "OTHER", "--molecules", "second"]
    assert_refused([*again, "--samples", "300"], "samples = 200, not 300", "another folder")


def break_down_at(monkeypatch, name, error):
    """Measuring the molecule `name` raises `error`."""
    work = transfer._Bench.measure

    def measure(self, one, record):
        if one.name == name:
            raise error
        return work(self, one, record)

    monkeypatch.setattr(transfer._Bench, "measure", measure)


def test_a_benchmark_that_lacks_a_stage_of_a_molecule_is_partial(bench, monkeypatch):
    words = ("-o", "STAGES", "--samples", "200")
    assert run(bench, *words)[0] == 0
    break_down_at(monkeypatch, "second", StoppedError("stopped"))
    code, _, _ = run(bench, *words, "--adapt", "400")
    document = json.loads((bench / "STAGES" / "transfer.json").read_text())
    assert code == 75 and document["summary"]["adapted"]["ess"]["molecules"] == 1
    assert document["status"] == "partial" and document["wanted"] == 2


def test_a_molecule_that_fails_does_not_keep_the_others_waiting(bench, monkeypatch):
    break_down_at(monkeypatch, "first", BoltzgenError("No energy was finite."))
    words = ("-o", "BROKEN", "--samples", "200")
    code, _, told = run(bench, *words)
    assert code == PartialError.exit_code and "first not measured" in told and "No energy was finite" in told
    assert json.loads((bench / "BROKEN" / "transfer.json").read_text())["molecules"] == ["second"]
    monkeypatch.undo()
    assert run(bench, *words)[0] == 0
    assert run(bench, "-o", "BROKEN", "--samples", "200", "--adapt", "inf")[0] == 2


def test_frames_that_training_saw_certify_nothing(bench):
    digest = read_trajectory(bench / "DATASET" / "molecules" / "first" / "MD").at(300.0).digest()
    shutil.copytree(bench / "MODEL", bench / "KNOWING")
    record = json.loads((bench / "MODEL" / "model.json").read_text())
    (bench / "KNOWING" / "model.json").write_text(json.dumps(signed({**record, "data_sha256": [digest]})))
    reasons = []
    for model in ("MODEL", "KNOWING"):
        found = transfer.benchmark_transfer(
            bench / model, bench / "DATASET", bench / f"OF-{model}", samples=300, molecules=["first"]
        )
        record = json.loads((bench / f"OF-{model}" / "molecules" / "first.json").read_text())
        figures = record["stages"]["zero_shot"]
        assert figures["verdict"] == found.figures[0]["verdict"]
        reasons.append(" ".join(figures["reasons"]))
    assert "training saw these frames" not in reasons[0] and "training saw these frames" in reasons[1]


def test_adaptation_is_measured_beside_the_start(bench):
    code, out, told = run(
        bench, "-o", "ADAPTED", "--samples", "600", "--molecules", "second", "--adapt", "4000"
    )
    assert code == 0 and "adapted" in out, told
    stages = json.loads((bench / "ADAPTED" / "molecules" / "second.json").read_text())["stages"]
    assert 0 < stages["adapted"]["adaptation"]["evaluations"] <= 4000
    assert stages["adapted"]["ess"] != stages["zero_shot"]["ess"]
    assert torch.isfinite(torch.tensor(stages["adapted"]["log_z"]))
