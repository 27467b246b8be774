"""``boltzgen free-energy between``: exact answers by every estimator, cycles, maps, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from between_cases import butane_frames, untrained_model, write_chains, write_frames
from butane import EXACT
from ensemble_cases import write_densities
from helpers import assert_refused

from boltzgen.ensemble.store import load_ensemble
from boltzgen.free_energy.combination import agreement, difference, paired_difference
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.work import WorkSamples, bennett, one_sided
from boltzgen.generator import Target
from boltzgen.workflows.free_energy import between as workflow
from boltzgen.workflows.free_energy.between import DIRECT, MAPPED, ONE_SIDED, SIMULATED
from boltzgen.workflows.free_energy.ends import read_end
from boltzgen.workflows.free_energy.targeted_map import (
    System,
    density_work,
    direct_work,
    mapped_work,
    target_work,
)
from boltzgen.workflows.sampling.sample import sample

BUTANE = EXACT[300.0][0] - EXACT[600.0][0]  # f(600 K) - f(300 K) = -ln(Z_600 / Z_300)


def between(a, b, **options):
    """The workflow, with a bootstrap that is good enough here."""
    return workflow.between(a, b, **{"n_bootstrap": 200, **options})


@pytest.fixture(scope="module")
def wells(tmp_path_factory):
    """OUT folders H1, H2, H4 of harmonic wells, W600 (the first at 600 K): f = -1/2 ln(2 pi / K)."""
    folder = tmp_path_factory.mktemp("wells")
    model = untrained_model(folder / "MODEL")
    for k in (1, 2, 4):
        sample(model, f"model:harmonic-well-{k}", folder / f"H{k}", 5000, seed=0)
    sample(model, "model:harmonic-well-1", folder / "W600", 4000, seed=5, temperature=600.0)
    return folder


@pytest.fixture(scope="module")
def chains(tmp_path_factory, butane):
    """SYS, OUT folders O300 and O600 of butane, and MD300, MD600 with exact independent frames."""
    return write_chains(tmp_path_factory.mktemp("chains"), butane, samples=5000, simulated=(300, 600))


def test_two_force_constants(wells):
    """f_4 - f_1 = ln(4)/2; each estimator within 4 of its errors, which are below 0.02 kT."""
    result = between(wells / "H1", wells / "H4", output=wells / "b.json")
    assert {e.estimator for e in result.estimates} == {ONE_SIDED, MAPPED, DIRECT}
    for estimate in result.estimates:
        assert abs(estimate.value - np.log(2)) < 4 * estimate.standard_error < 0.08, estimate
        assert estimate.unit == "kT" and estimate.verdict == "caution"
        assert any("coverage not checked" in reason for reason in estimate.reasons)
    again = between(wells / "H4", wells / "H1", output=wells / "c.json")
    values = {e.estimator: e.value for e in result.estimates}
    for estimate in again.estimates:  # other rows are sent through the map, the weights are the same
        assert abs(estimate.value + values[estimate.estimator]) < 0.08
    assert values[ONE_SIDED] == pytest.approx(-{e.estimator: e.value for e in again.estimates}[ONE_SIDED])


def test_two_temperatures_of_butane(chains):
    """Four estimators, exact frames in both ends: within 4 errors of the quadrature; the map helps."""
    result = between(
        chains / "O300",
        chains / "O600",
        data_a=chains / "MD300",
        data_b=chains / "MD600",
        output=chains / "b.json",
    )
    found = {e.estimator: e for e in result.estimates}
    assert set(found) == {ONE_SIDED, SIMULATED, MAPPED, DIRECT}
    for name, estimate in found.items():
        assert abs(estimate.value - BUTANE) < 4 * estimate.standard_error < 0.1, estimate
        assert estimate.unit == "1" and "temperature" in estimate.quantity
        assert estimate.verdict == ("caution" if name == ONE_SIDED else "ok"), estimate
    assert found[MAPPED].overlap > found[DIRECT].overlap + 0.1
    assert found[MAPPED].standard_error < 0.5 * found[DIRECT].standard_error
    content = json.loads((chains / "b.json").read_text())
    assert content["temperature_K"] is None and content["temperatures_K"] == [300.0, 600.0]
    assert content["provenance"]["A"]["target_samples"]["n"] > 1500
    assert content["work"][MAPPED]["energy_evaluations"] > 5_000
    rows = list(csv.DictReader((chains / "b.csv").open()))
    assert len(rows) == 4 and float(rows[0]["value"]) == content["estimates"][0]["value"]["1"]
    assert (chains / "b.png").read_bytes().startswith(b"\x89PNG")


def test_one_temperature_carries_three_units(chains, tmp_path):
    """An end against itself: zero, in kT, kJ/mol and kcal/mol of its temperature."""
    result = between(chains / "O300", chains / "O300", samples=500, output=tmp_path / "b.json")
    values = {e.estimator: e.value for e in result.estimates}
    assert values[ONE_SIDED] == 0 and abs(values[MAPPED]) < 1e-6 and abs(values[DIRECT]) < 1e-6
    entry = json.loads((tmp_path / "b.json").read_text())["estimates"][0]
    assert set(entry["value"]) == {"kT", "kJ/mol", "kcal/mol"}


def test_two_temperatures_of_a_model_system(wells, tmp_path):
    """Z = sqrt(2 pi T / 300): the temperature is found from the energies, counts of samples differ."""
    result = between(wells / "H1", wells / "W600", output=tmp_path / "b.json")
    for estimate in result.estimates:
        assert abs(estimate.value + np.log(2) / 2) < 4 * estimate.standard_error < 0.1, estimate
        assert estimate.unit == "1"


def test_a_cycle_closes(wells, tmp_path):
    """(H1 -> H4) - (H1 -> H2) is H2 -> H4; legs with shared samples say that their errors are not."""
    between(wells / "H1", wells / "H2", samples=0, output=tmp_path / "leg.json")
    result = between(
        wells / "H1", wells / "H4", samples=0, relative_to=tmp_path / "leg.json", output=tmp_path / "b.json"
    )
    closed, own = result.estimates[:2]
    leg = json.loads((tmp_path / "leg.json").read_text())["estimates"][0]
    assert closed.value == pytest.approx(own.value - leg["value"]["kT"], abs=1e-12)
    combined = np.hypot(own.standard_error, leg["standard_error"]["kT"])
    assert closed.standard_error == pytest.approx(combined, rel=1e-12)
    assert abs(closed.value - np.log(2) / 2) < 4 * closed.standard_error
    assert any("same samples" in x for x in closed.reasons)
    third = between(
        wells / "H2", wells / "H4", samples=0, relative_to=tmp_path / "b.json", output=tmp_path / "0.json"
    ).estimates[0]
    assert abs(third.value) < 4 * third.standard_error


def test_bar_is_pymbars():
    """Value, error and overlap on shared arrays; a weight of k is the same as k equal samples."""
    import pymbar

    rng = np.random.default_rng(3)
    x_a, x_b = rng.normal(size=700), 0.8 + 0.7 * rng.normal(size=500)

    def u_a(x):
        return x**2 / 2

    def u_b(x):
        return ((x - 0.8) / 0.7) ** 2 / 2 + 3.0

    w_a, w_b = u_b(x_a) - u_a(x_a), u_a(x_b) - u_b(x_b)
    ours = bar(w_a, w_b)
    theirs = pymbar.bar(w_a, w_b, method="bisection", relative_tolerance=1e-12)
    assert ours.value == pytest.approx(float(theirs["Delta_f"]), abs=1e-8)
    assert ours.standard_error_asymptotic == pytest.approx(float(theirs["dDelta_f"]), rel=1e-6)
    both = pymbar.MBAR(np.stack([np.r_[u_a(x_a), u_a(x_b)], np.r_[u_b(x_a), u_b(x_b)]]), [len(x_a), len(x_b)])
    assert ours.overlap == pytest.approx(both.compute_overlap()["scalar"], abs=1e-6)


def bar(work_a, work_b, log_w_a=None, log_w_b=None, seed=0):
    return bennett(
        WorkSamples(work_a, log_w_a),
        WorkSamples(work_b, log_w_b),
        Statistics(np.random.default_rng(seed), n_bootstrap=20),
        A="A",
        B="B",
        estimator="BAR",
    )


def test_weighted_bar_covers():
    """400 replicates with both ends drawn too wide and weighted: z has mean 0 and variance 1.

    N(0, 1) and 2 + N(0.5, 0.8) from proposals of 1.3 times their widths; f_B - f_A = -ln 0.8. Bounds hold
    with a probability of 1 - 1e-4 each for exact errors; errors off by a fifth fail with 99 %.
    """
    rng = np.random.default_rng(17)
    z = []
    for _ in range(400):
        x, y = 1.3 * rng.normal(size=400), 0.5 + 1.3 * 0.8 * rng.normal(size=300)
        log_w_x = -(x**2) / 2 * (1 - 1 / 1.69)
        log_w_y = -(((y - 0.5) / 0.8) ** 2) / 2 * (1 - 1 / 1.69)
        w_x = ((x - 0.5) / 0.8) ** 2 / 2 - x**2 / 2
        w_y = y**2 / 2 - ((y - 0.5) / 0.8) ** 2 / 2
        found = bar(w_x, w_y, log_w_x, log_w_y)
        z.append((found.value + np.log(0.8)) / found.standard_error_asymptotic)
    assert abs(np.mean(z)) < 4 / np.sqrt(400)
    assert 0.75 < np.var(z) < 1.3


def test_no_overlap_is_said():
    rng = np.random.default_rng(5)
    far = bar(50 + rng.normal(size=500), 50 + rng.normal(size=500))
    assert far.verdict == "unreliable" and far.overlap < 1e-6
    assert "overlap" in far.reasons[0]
    nowhere = bar(np.full(50, np.inf), rng.normal(size=50))
    assert nowhere.value is None and nowhere.overlap == 0.0 and "no overlap" in " ".join(nowhere.reasons)
    assert nowhere.to_json(300.0)["value"]["kJ/mol"] is None


def test_hysteresis_betrays_what_a_map_misses():
    """A fifth of B lies where no sample of A arrives: forward and reverse differ by ln 0.8."""
    rng = np.random.default_rng(6)
    forward = 0.1 * rng.normal(size=4000) + 0.005
    backward = np.where(rng.random(4000) < 0.2, np.inf, 0.1 * rng.normal(size=4000) + 0.005)
    found = bar(forward, backward)
    gap, error = one_sided(WorkSamples(forward), WorkSamples(backward)).hysteresis
    assert gap == pytest.approx(-np.log(0.8), abs=5 * error)
    assert found.verdict == "unreliable" and "hysteresis" in found.reasons[0]
    assert found.further["outside_B"] == np.isposinf(backward).sum() and found.further["outside_A"] == 0


def test_estimators_that_disagree_are_not_relied_on():
    rng = np.random.default_rng(8)
    log_w = 0.3 * rng.normal(size=4000)
    good = {"verdict": "ok", "reasons": []}
    statistics = Statistics(rng, n_bootstrap=100)
    options = {"A": "A", "B": "B", "coverage_a": good, "coverage_b": good}
    one = paired_difference(log_w, np.zeros(4000), statistics, estimator="one", **options)
    off = paired_difference(log_w + 1, np.zeros(4000), statistics, estimator="off", **options)
    assert one.verdict == off.verdict == "ok"
    assert [e.verdict for e in agreement([one, one])] == ["ok", "ok"]
    judged = agreement([one, off])
    assert [e.verdict for e in judged] == ["unreliable", "unreliable"]
    assert "disagree" in judged[0].reasons[0] and "combined sigma" in judged[0].reasons[0]
    twice = difference(one, off, name="x", A="A", B="B", estimator="x")
    assert twice.value == pytest.approx(-1.0)
    assert twice.interval95[0] < twice.value < twice.interval95[1]


def test_paired_weights_cancel_what_they_share():
    """The same samples under u and under u + 2: -(-2) exactly, with an error of zero."""
    log_w = np.random.default_rng(9).normal(size=500)
    found = paired_difference(
        log_w, log_w - 2.0, Statistics(np.random.default_rng(0), n_bootstrap=50), A="A", B="B", estimator="x"
    )
    assert found.value == pytest.approx(2.0, abs=1e-12) and found.standard_error < 1e-9


def test_the_reverse_map_undoes_the_work(chains):
    """W_b(M(x)) = -W_a(x), and the log-determinant is that of the densities: both without training."""
    a, b = (read_end(chains / f"O{t}", str(t), device="cpu", need=True).system for t in (300, 600))
    x = torch.as_tensor(np.array(load_ensemble(chains / "O300").positions[:50]), dtype=torch.float64)
    y, _ = b.generator.decode(a.generator.encode(x, 300.0)[0], 600.0)
    forward = mapped_work(a, b, x.numpy()).work
    backward = mapped_work(b, a, y.detach().numpy()).work
    np.testing.assert_allclose(backward, -forward, atol=1e-6)
    log_q_x, log_q_y = density_work(a, x.numpy()).work, density_work(b, y.detach().numpy()).work
    np.testing.assert_allclose(forward, log_q_y - log_q_x, atol=1e-6)  # u + log q of both ends
    np.testing.assert_allclose(target_work(a, x.numpy()).work, -log_q_x, atol=1e-12)


def test_rows_outside_the_domain_carry_infinite_work(alanine_dipeptide, tmp_path):
    from boltzgen.config.model import load_model
    from boltzgen.generator import BoltzmannGenerator

    flow = load_model(untrained_model(tmp_path / "MODEL")).flow
    end = System("x", BoltzmannGenerator(flow, Target.from_system(alanine_dipeptide)), 300.0)
    x = np.repeat(alanine_dipeptide.reference_positions[None], 3, axis=0)
    x[1, :, 2] *= -1.0
    x[2, 0] = np.nan
    assert direct_work(end, end, x).work[0] == 0
    for found in (direct_work(end, end, x), mapped_work(end, end, x)):
        assert np.isposinf(found.work[1:]).all()
        assert found.lost == {"handedness": 1, "not finite": 1}


def test_frames_of_the_training_are_told(chains, butane, tmp_path):
    frames = butane_frames(400, 300.0, np.random.default_rng(2))
    digest = write_frames(tmp_path / "MD", frames, 300.0, butane.fingerprint).digest()
    model = untrained_model(tmp_path / "MODEL", data_sha256=(digest,))
    sample(model, chains / "SYS", tmp_path / "OUT", 300, seed=1)
    result = between(
        tmp_path / "OUT",
        chains / "O600",
        data_a=tmp_path / "MD",
        data_b=chains / "MD600",
        output=tmp_path / "b.json",
        n_bootstrap=50,
    )
    mapped = next(e for e in result.estimates if e.estimator == MAPPED)
    assert mapped.verdict == "caution" and "training saw these frames" in mapped.reasons[0]


def test_a_lost_model_leaves_the_one_sided_answer(wells, tmp_path):
    for name in ("H1", "H4"):
        shutil.copytree(wells / name, tmp_path / name)
    manifest = json.loads((tmp_path / "H1" / "manifest.json").read_text())
    manifest["provenance"]["model"] = "gone"
    (tmp_path / "H1" / "manifest.json").write_text(json.dumps(manifest))
    result = between(tmp_path / "H1", tmp_path / "H4", output=tmp_path / "b.json")
    assert [e.estimator for e in result.estimates] == [ONE_SIDED]
    assert "model" in result.document["left_out"][MAPPED]


def test_a_reweighted_end_shares_its_samples(wells, tmp_path):
    """H1 seen as stiffness 1.2, from the same rows: no map, and an error below that of separate draws."""
    first = load_ensemble(wells / "H1")
    write_densities(
        tmp_path / "R",
        first.positions,
        first.log_q,
        1.2 * first.u,
        measure=first.measure,
        system_fingerprint="model:harmonic-well-1.2",
        domain=first.domain,
        provenance={"reweighted_from": "H1"},
    )
    result = between(wells / "H1", tmp_path / "R", output=tmp_path / "b.json")
    (found,) = result.estimates
    assert abs(found.value - np.log(1.2) / 2) < 4 * found.standard_error
    separate = np.sqrt(2 * (1 / 0.65 - 1) / 5000)  # an effective sample size of 65 % each
    assert found.standard_error < 0.4 * separate
    assert "reweighted" in result.document["left_out"][MAPPED]


def test_the_command(wells, tmp_path, capsys):
    from boltzgen_cli.main import main

    words = ["free-energy", "between", str(wells / "H1"), str(wells / "H2"), "--samples", "500"]
    words += ["--bootstrap", "50"]
    assert main([*words, "-o", str(tmp_path / "b.json"), "--strict"]) == 0
    shown = capsys.readouterr()
    assert "dG(A->B) = G_B - G_A" in shown.out and "overlap" in shown.out and "b.png" in shown.err
    assert main([*words, "-o", str(tmp_path / "again.json")]) == 0
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_strict_ends_with_3_and_writes(tmp_path, capsys):
    """Two ends whose weights rest on one sample."""
    from boltzgen_cli.main import main

    rng = np.random.default_rng(4)
    for name in ("A", "B"):
        log_q = rng.normal(size=200)
        log_q[7] -= 30.0
        x = rng.normal(size=(200, 1))
        write_densities(tmp_path / name, x, log_q, np.zeros(200), system_fingerprint=name)
    words = ["free-energy", "between", tmp_path / "A", tmp_path / "B", "-o", tmp_path / "b.json", "--strict"]
    assert main([str(word) for word in words]) == 3
    assert json.loads((tmp_path / "b.json").read_text())["estimates"][0]["verdict"] == "unreliable"
    assert "unreliable" in capsys.readouterr().err


BAD = {
    "no folder": ("absent {w}/H1", "absent"),
    "another measure": ("{c}/O300 {w}/H1", "measure"),
    "no such data": ("{c}/O300 {c}/O600 --data-a {c}/absent", "absent"),
    "data of another temperature": ("{c}/O300 {c}/O600 --data-a {c}/MD600", "300"),
    "data of a model system": ("{w}/H1 {w}/H2 --data-a {c}/MD300", "model systems have no simulations"),
    "leg is no leg": ("{w}/H1 {w}/H2 --relative-to {c}/O300/summary.json", "summary.json", "between"),
    "leg of two temperatures": ("{w}/H1 {w}/H2 --relative-to {c}/leg.json", "cycle"),
    "one sample to send": ("{w}/H1 {w}/H2 --samples 1", "--samples 1"),
    "output a folder": ("{w}/H1 {w}/H2 -o {w}", "is a folder"),
    "output the figure": ("{w}/H1 {w}/H2 -o {w}/b.png", "names the JSON file"),
    "one folder": ("{w}/H1", "B"),
    "other atoms": ("{c}/O300 {c}/OTHER", "atom 3"),
    "fewer atoms": ("{c}/O300 {c}/SHORT", "4 atoms", "3"),
    "another domain": ("{c}/O300 {c}/FREE", "domain"),
}


@pytest.fixture(scope="module")
def bad(wells, chains):
    """Ends that do not fit O300."""
    between(chains / "O300", chains / "O600", samples=0, output=chains / "leg.json")
    whole = load_ensemble(chains / "O300")
    topology = whole.topology_pdb
    atoms = [line for line in topology.splitlines() if line.startswith(("ATOM", "HETATM"))]
    other = atoms[3][:76].ljust(76) + " N" + atoms[3][78:]
    changed = {
        "OTHER": (whole.positions, topology.replace(atoms[3], other), whole.domain),
        "SHORT": (whole.positions[:, :3], "\n".join([*atoms[:3], "END"]), whole.domain),
        "FREE": (whole.positions, topology, "isomers: free"),
    }
    for name, (positions, pdb, domain) in changed.items():
        write_densities(
            chains / name,
            positions[:50],
            whole.log_q[:50],
            whole.u[:50],
            temperature=300.0,
            measure="shape",
            system_fingerprint=name,
            domain=domain,
            topology_pdb=pdb,
        )
    return {"w": wells, "c": chains}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_bad_input(bad, case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line, *expected = case
    assert_refused(["free-energy", "between", *line.format(**bad).split()], *expected)
    assert not (tmp_path / "between.json").exists()
