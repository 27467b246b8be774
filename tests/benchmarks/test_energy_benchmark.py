"""The measuring side of the energy-training benchmark: distances, chunks, budgets, the table."""

from __future__ import annotations

import importlib
import sys
from types import SimpleNamespace

import mdtraj
import numpy as np
import pytest
import torch
from helpers import ROOT

from boltzgen.config.settings import build_settings, read_yaml
from boltzgen.config.shipped import shipped_configs
from boltzgen.errors import StoppedError
from boltzgen.interrupts import StopRequest
from boltzgen.streams import stream
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.training.schedule import schedule_value
from boltzgen.training.settings import TrainingSettings


@pytest.fixture(scope="module")
def scripts():
    """The modules of the benchmark, which stand beside each other as scripts."""
    folder = str(ROOT / "tests" / "benchmarks")
    sys.path.insert(0, folder)
    try:
        yield {
            name: importlib.import_module(name) for name in ("energy_measure", "energy_training", "ess_curve")
        }
    finally:
        sys.path.remove(folder)


class Sampler:
    """Draws distorted copies of a molecule, with weights; stands for a generator."""

    def __init__(self, molecule: MolecularSystem) -> None:
        self.target = SimpleNamespace(topology_pdb=molecule.topology_pdb, block_rows=lambda: 20)
        self.reference = molecule.reference_positions
        self.blocks: list[int] = []

    def draw(self, number, temperature, *, seed, first_block):
        self.blocks.append(first_block)
        noise = torch.randn(number, *self.reference.shape, generator=stream(seed, first_block))
        positions = self.reference + 0.03 * noise.numpy()
        log_w = noise[:, 0, 0].numpy().astype(float) * temperature / 300.0
        log_w[::7] = -np.inf
        positions[3] = np.inf
        yield type("Part", (), {"positions": positions[:11], "log_w": log_w[:11]})()
        yield type("Part", (), {"positions": positions[11:], "log_w": log_w[11:]})()


@pytest.fixture(scope="module")
def molecule() -> MolecularSystem:
    return MolecularSystem.load("example:capped-tri-alanine")


def test_total_variation_of_known_histograms(scripts):
    measure = scripts["energy_measure"]
    p, q = np.array([0.5, 0.2, 0.3]), np.array([0.1, 0.5, 0.4])
    assert measure.total_variation(p, q) == pytest.approx(0.4)
    bins = np.array([3, 3, 5, 9])
    found = measure.histogram(bins, np.array([0.25, 0.5, 2.0, 1.25]))
    assert found[[3, 5, 9]] == pytest.approx([0.1875, 0.5, 0.3125])
    assert found.sum() == pytest.approx(1.0) and found.size == measure.BINS**2


def test_bins_are_those_of_the_torsions(scripts, molecule):
    measure = scripts["energy_measure"]
    rng = np.random.default_rng(5)
    positions = molecule.reference_positions + 0.05 * rng.standard_normal((40, molecule.n_atoms, 3))
    frames = mdtraj.Trajectory(positions, molecule.mdtraj_topology())
    pairs = measure.torsion_pairs(molecule.topology_pdb)
    assert [number for number, _, _ in pairs] == [2, 3, 4]
    angles = [mdtraj.compute_phi(frames)[1], mdtraj.compute_psi(frames)[1]]
    columns = [np.floor((a + np.pi) / (2 * np.pi) * 100).astype(int) for a in angles]
    np.testing.assert_array_equal(measure.ramachandran_bins(positions, pairs), columns[0] * 100 + columns[1])


def test_a_stopped_measurement_goes_on_with_the_same_samples(scripts, molecule, tmp_path, monkeypatch):
    measure = scripts["energy_measure"]
    monkeypatch.setattr(measure, "CHUNK", 50)
    stopped = StopRequest()
    stopped.ask()
    whole, broken = Sampler(molecule), Sampler(molecule)
    assert measure.draw_chunks(whole, 300.0, 4, tmp_path / "whole", 180, StopRequest())
    assert measure.draw_chunks(broken, 300.0, 4, tmp_path / "parts", 70, StopRequest())
    assert not measure.draw_chunks(broken, 300.0, 4, tmp_path / "parts", 180, stopped)
    assert measure.draw_chunks(broken, 300.0, 4, tmp_path / "parts", 180, StopRequest())
    assert whole.blocks == broken.blocks == [0, 3, 6, 9]  # 50 rows are three blocks of 20
    one, other = (measure.read_chunks(tmp_path / name, 180) for name in ("whole", "parts"))
    np.testing.assert_array_equal(one.log_w, other.log_w)
    np.testing.assert_array_equal(one.bins, other.bins)
    assert one.log_w.shape == (180,) and one.bins.shape == (180, 3)
    assert len(np.unique(one.log_w[np.isfinite(one.log_w)])) > 140
    report = measure.weights_report(one)
    weights = np.exp(one.log_w)
    assert report["ess_raw"] == pytest.approx(weights.sum() ** 2 / (180 * (weights**2).sum()))
    assert report["rejected"] == np.isneginf(one.log_w).sum() > 20
    assert report["ess_raw"] < report["ess_deleted"] + 1e-12


def test_the_distance_to_the_reference_sees_the_weights(scripts, molecule):
    measure = scripts["energy_measure"]
    rng = np.random.default_rng(2)
    pairs = measure.torsion_pairs(molecule.topology_pdb)
    positions = molecule.reference_positions + 0.02 * rng.standard_normal((60, molecule.n_atoms, 3))
    bins = measure.ramachandran_bins(positions, pairs)
    # each frame twice, and one bin that the reference does not have with the weight of a quarter of all
    stray = np.full((1, 3), 17, dtype=bins.dtype)
    drawn = measure.Drawn(
        np.concatenate([np.zeros(120), [np.log(40.0)], [-np.inf]]),
        np.concatenate([bins, bins, stray, stray]),
        0.0,
    )
    for found in measure.ramachandran_report(drawn, positions, pairs):
        assert found["tv_reweighted"] == pytest.approx(0.25)
        assert found["tv_as_drawn"] == pytest.approx(1 / 121)
        assert 0 < found["tv_floor"] <= 1


@pytest.mark.parametrize("method", ["likelihood", "reverse-kl", "fab-like", "annealed", "combined"])
@pytest.mark.parametrize("budget", [1e5, 1e6, 1e7])
def test_every_run_of_the_curve_spends_its_budget(scripts, method, budget):
    curve = scripts["ess_curve"]
    config = read_yaml(shipped_configs()[curve.CONFIG])
    settings = build_settings(TrainingSettings, config, curve.overrides(method, budget))
    share, spent = curve.METHODS[method][2], 0.0
    if share > 0:
        assert settings.simulation is not None
        spent = settings.simulation.evaluations
        assert spent == share * budget
    if method == "likelihood":
        return
    steps, own, kl = settings.optimizer.steps, settings.reweighted, settings.reverse_kl
    for step in range(0, steps):
        done = step / steps
        spent += own.fresh * (schedule_value(own.weight, done) > 0)
        spent += kl.batch_size * (schedule_value(kl.weight, done) > 0)
    assert 0.8 * budget <= spent <= 1.1 * budget
    assert settings.until.evaluations == budget


def test_the_table_has_every_number_that_was_asked_for(scripts):
    result = {
        "row": "a-row",
        "machine": "2 cores of a processor",
        "shipped": "no shipped data, no shipped weights",
        "evaluations": {"data": 3_000_000, "training": 4_000_000, "budget": 7_000_000},
        "data_seconds": 600.0,
        "training_seconds": 5400.0,
        "results": [
            {
                "temperature_K": 300.0,
                "ess_raw": 0.8765,
                "ess_clipped": 0.8912,
                "ess_deleted": 0.9123,
                "k_hat": 0.314,
            }
        ],
        "references": [
            {
                "temperature_K": 300.0,
                "forward_ess": 0.8234,
                "ramachandran": [
                    {"residue": 2, "tv_reweighted": 0.0123, "tv_as_drawn": 0.02, "tv_floor": 0.0101}
                ],
            }
        ],
    }
    line = scripts["energy_training"].markdown([result]).splitlines()[-1]
    expected = "7e+06 (3e+06 + 4e+06)|87.65 %|89.12 %|91.23 %|0.31|82.34 %|0.0123|0.0101|10.0 + 90.0"
    assert [text for text in expected.split("|") if text not in line] == []


def test_the_curve_is_drawn_from_the_metrics_of_the_runs(scripts, tmp_path):
    curve = scripts["ess_curve"]
    runs = (
        ("combined-1e+06-rate0.01-seed0", 1e6, 0.72, [0.6, 1.0]),
        ("combined-100000-rate0.01-seed0", 1e5, 0.31, [0.6, 1.0]),
        ("combined-100000-rate0.015-seed0", 1e5, 0.30, [0.6, 1.0]),
        ("reverse-kl-100000-rate0.01-seed1", 1e5, 0.07, [0.6, 0.5]),
    )
    for name, budget, ess, way in runs:
        rows = [f"{budget * part},{ess * part},x" for part in way]
        rows.insert(1, f"{0.8 * budget},,x")
        (tmp_path / f"{name}.csv").write_text("\n".join(["energy_evaluations,ess,k_hat", *rows]) + "\n")
    ended_early = tmp_path / "combined-100000-rate0.005-seed0"
    ended_early.mkdir()
    (ended_early / "metrics.csv").write_text("energy_evaluations,ess\n60000,0.99\n")
    found = curve.curves(tmp_path)
    assert {name: len(parts) for name, parts in found.items()} == {"combined": 2, "reverse-kl": 1}
    np.testing.assert_allclose(found["combined"][0], [[6e4, 0.186], [1e5, 0.31]])
    np.testing.assert_allclose(found["combined"][1], [[6e5, 0.432], [1e6, 0.72]])
    assert curve.main(["figure", "--runs", str(tmp_path), "-o", str(tmp_path / "curve.png")]) == 0
    assert (tmp_path / "curve.png").stat().st_size > 5000
    (tmp_path / "other.csv").write_text("energy_evaluations,ess\n")
    with pytest.raises(SystemExit, match=r"other\.csv"):
        curve.curves(tmp_path)


def test_only_a_finished_run_leaves_its_way(scripts, tmp_path, monkeypatch):
    curve = scripts["ess_curve"]
    words = ["run", "reverse-kl", "1.5e5", "--rate", "1.5e-2", "--runs", str(tmp_path)]

    def train(config, overrides, folder, **options):
        folder.mkdir(exist_ok=True)
        (folder / "metrics.csv").write_text("energy_evaluations,ess\n150000,0.5\n")
        if stopped:
            raise StoppedError("stopped")

    monkeypatch.setattr(curve, "train", train)
    stopped = True
    assert curve.main(words) == curve.UNFINISHED and curve.curves(tmp_path) == {}
    stopped = False
    assert curve.main(words) == 0
    assert curve.curves(tmp_path)["reverse-kl"][0].tolist() == [[1.5e5, 0.5]]
    assert (tmp_path / "reverse-kl-150000-rate0.015-seed0.csv").is_file()


def test_the_kept_ways_are_those_of_the_figure(scripts):
    """Ours is on top at every budget that is told in docs/measured/energy-training.md."""
    found = scripts["ess_curve"].curves(ROOT / "docs" / "runs" / "ess-curve")
    best = {name: [way[:, 1].max() for way in parts] for name, parts in found.items()}
    assert set(best) == set(scripts["ess_curve"].METHODS)
    for other in best:
        assert other == "combined" or all(a > b for a, b in zip(best["combined"], best[other], strict=True))
