"""``boltzgen sample --chains`` and what reads its folder: exact answers, going on, what is refused."""

from __future__ import annotations

import json
import shutil
import time

import numpy as np
import pytest
from between_cases import butane_frames, write_frames
from butane import EXACT
from helpers import StopAt, assert_refused, compile_nothing
from small_model import FLOW, MODEL

import boltzgen as bg
from boltzgen.config.build import build_flow
from boltzgen.config.model import save_model
from boltzgen.ensemble.store import load_ensemble
from boltzgen.errors import BoltzgenError, InputError, PartialError, StoppedError, UnsupportedError
from boltzgen.flows import compiled_steps
from boltzgen.flows.autoregressive import AutoregressiveSettings
from boltzgen.flows.temperature_mixture import TemperatureMixture
from boltzgen.interrupts import StopRequest
from boltzgen.potentials.fast.compiled import BlockCompiler
from boltzgen.system.graph.geometry import dihedral_angles
from boltzgen.workflows.sampling import chained
from boltzgen.workflows.sampling import sample as workflow
from boltzgen_cli.main import main

STATES = """
coordinates: {turn: {torsion: [0, 1, 2, 3]}}
states: [{name: gauche, where: {turn: [-120, 120]}}, {name: trans, where: rest}]
differences: [[trans, gauche]]
"""

CHAINS = ["--chains", "--walkers", "32", "--warm-up", "10"]

#: The same in Python.
SHORT = {"chains": True, "walkers": 32, "warm_up": 10}


@pytest.fixture(scope="module")
def place(butane, tmp_path_factory):
    """SYS, an untrained RUN, and OUT: 32 walkers, 60 sweeps, and SHORT: 10."""
    folder = tmp_path_factory.mktemp("chains")
    butane.save(folder / "SYS")
    save_model(folder / "RUN" / "model", build_flow(FLOW, seed=0), MODEL)
    (folder / "states.yaml").write_text(STATES)
    for name, number in (("OUT", 1920), ("SHORT", 320)):
        bg.sample(folder / "RUN", folder / "SYS", folder / name, number, **SHORT, seed=5)
    return folder


@pytest.fixture
def out(place, tmp_path):
    return shutil.copytree(place / "OUT", tmp_path / "OUT")


def test_walkers_leave_an_ensemble_with_their_record(place):
    ensemble = load_ensemble(place / "OUT")
    assert len(ensemble) == 1920 and ensemble.walkers.number == 32 and ensemble.walkers.groups == 4
    assert np.bincount(ensemble.walker).tolist() == [60] * 32 and ensemble.step.max() == 60
    assert np.array_equal(ensemble.group, ensemble.walker // 8)
    found = json.loads((place / "OUT" / "summary.json").read_text())
    parts = found["energy_evaluations_by_part"]
    assert set(parts) == {"pilot", "warm_up", "sampling", "rungs"}
    assert found["energy_evaluations"] == sum(parts.values()) > 1920
    assert found["ess"] is None and found["ess_bulk"] > 10 and found["steps"] == 60
    assert all(one["accepted"] <= one["tried"] for one in found["acceptance"].values())
    assert sum(one["accepted"] for one in found["acceptance"].values()) > 0
    exact = EXACT[300.0][0]
    assert abs(found["log_z"] - exact) < 4 * found["log_z_standard_error"] < 0.2
    assert not (place / "OUT" / "chains").exists()
    (torsion,) = ensemble.provenance["chains"]["torsions"]
    assert sorted(torsion["atoms"]) == [0, 1, 2, 3]


def test_the_free_energy_of_butane_is_exact(place, out):
    """F_gauche - F_trans = 0.52898 kT at 300 K."""
    found = bg.free_energy_states(out, place / "states.yaml", n_bootstrap=200)
    (one,) = found.estimates
    assert abs(one.value - EXACT[300.0][1]) < 4 * one.standard_error < 1.0
    assert one.estimator == "mean over walkers" and one.n_effective < 1920
    assert sum(share.population for share in found.populations) == pytest.approx(1.0)


def test_check_expects_that_walkers_stay(place, out):
    found = bg.check(out, model=place / "RUN", system=place / "SYS", rows=500)
    reasons = " ".join(found.summary.reasons)
    assert "copies" not in reasons and "log density" not in reasons and "energy of" not in reasons
    probed = bg.check(out, model=place / "RUN", system=place / "SYS", probe=True, budget=60_000)
    assert probed.coverage.forward_ess is None and probed.coverage.missed is None
    assert len(probed.coverage.states) == 3
    assert all(
        abs(s.reweighted - s.target) < 0.3 and s.reweighted_error > 0.003 for s in probed.coverage.states
    )
    assert "does not cover" not in " ".join(probed.summary.reasons)


def test_frames_judge_where_walkers_were(place, out, tmp_path):
    """Exact frames: the torsion's populations agree; frames of another temperature do not."""
    fingerprint = load_ensemble(out).system_fingerprint
    frames = butane_frames(1500, 300.0, np.random.default_rng(2))
    write_frames(tmp_path / "MD", frames, 300.0, fingerprint)
    write_frames(tmp_path / "WRONG", frames[np.sin(torsion_of(frames)) > 0], 300.0, fingerprint)
    given = {"model": place / "RUN", "system": place / "SYS", "rows": 50}
    good = bg.check(out, data=tmp_path / "MD", **given)
    assert good.coverage.verdict == "ok" and good.coverage.forward_ess is None
    (state,) = good.coverage.states
    assert 0 < state.reweighted_error < 0.1 and abs(state.reweighted - 0.5) < 0.1
    wrong = bg.check(out, data=tmp_path / "WRONG", **given)
    assert wrong.coverage.verdict == "unreliable" and "combined sigma" in " ".join(wrong.coverage.reasons)


def torsion_of(frames: np.ndarray) -> np.ndarray:
    return dihedral_angles(frames, np.array([[0, 1, 2, 3]]))[:, 0]


def test_reweighted_walkers_stay_walkers(place, out, tmp_path):
    hot = bg.reweight(out, tmp_path / "HOT", temperature=330.0)
    ensemble = load_ensemble(tmp_path / "HOT")
    assert ensemble.walkers.number == 32 and hot.summary.walkers == 32
    assert hot.summary.log_z_standard_error > load_ensemble(out).walkers.log_z_standard_error
    assert hot.summary.ess_bulk < bg.load_samples(out).diagnostics().chains.ess_bulk
    same = bg.reweight(out, tmp_path / "SAME", to=place / "SYS", expensive=200)
    assert same.evaluated == 200 and load_ensemble(tmp_path / "SAME").walkers.number == 32


def test_all_that_is_made_of_a_folder_takes_walkers(place, out, tmp_path, capsys):
    assert bg.export(out, tmp_path / "rows.csv", "csv").frames == 1920
    assert "walker,group,step" in (tmp_path / "rows.csv").read_text().splitlines()[0]
    assert bg.export(out, tmp_path / "frames.h5", "mdtraj-hdf5").n_effective < 1920
    found = bg.free_energy_surface(out, ["turn"], bins=[8], coordinates=place / "states.yaml", n_bootstrap=50)
    assert found.surface.n_effective.sum() < 1920
    (rg,) = bg.observable(out, ["rg"], n_bootstrap=50).estimates
    assert rg.standard_error > 0 and rg.n_effective < 1920
    u, _, s, _ = bg.thermodynamics(out, n_bootstrap=50).estimates
    assert u.standard_error > 0 and s.standard_error > 0
    found = set(bg.cite(out).methods)
    assert {"chain_samples", "nested_r_hat"} <= found and not {"kish", "pareto"} & found
    assert main(["show", str(out)]) == 0 and "R-hat" in capsys.readouterr().out
    assert main(["report", str(out), "-o", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "R-hat" in page and "could not be read" not in page
    assert (tmp_path / "page_files" / "chains-slowest.svg").is_file()


def test_two_runs_of_walkers_are_merged(place, out, tmp_path):
    other = ["sample", str(place / "RUN"), str(place / "SYS"), "-o", str(tmp_path / "OTHER"), "-n", "320"]
    assert main([*other, *CHAINS, "--seed", "6"]) == 0
    both = bg.merge([out, tmp_path / "OTHER"], tmp_path / "ALL")
    assert both.walkers == 64 and load_ensemble(tmp_path / "ALL").walkers.groups == 8
    bg.sample(place / "RUN", place / "SYS", tmp_path / "PLAIN", 50, seed=7)
    assert main(["merge", str(out), str(tmp_path / "PLAIN"), "-o", str(tmp_path / "MIXED")]) == 2


def test_a_stopped_run_goes_on_to_the_same_bytes(place, tmp_path):
    words = {**SHORT, "seed": 5}
    given = (place / "RUN", place / "SYS", tmp_path / "OUT", 320)
    with pytest.raises(PartialError) as stopped:
        bg.sample(*given, **words, stop=StopAt(14))
    partial = load_ensemble(tmp_path / "OUT")
    assert 0 < len(partial) < 320 and stopped.value.result.walkers == 32
    assert json.loads((tmp_path / "OUT" / "manifest.json").read_text())["status"] == "partial"
    bg.sample(*given, **words)
    for name in ("samples.npz", "samples.dcd"):
        assert (tmp_path / "OUT" / name).read_bytes() == (place / "SHORT" / name).read_bytes(), name
    assert not (tmp_path / "OUT" / "chains").exists()


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """Every task is worth compiling, ten seconds a step as it is told, and nothing is compiled."""
    compiled = compile_nothing(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr(compiled_steps, "_FUNCTIONS", {})
    monkeypatch.setattr(compiled_steps, "PAYS_FROM", 1.0)
    monkeypatch.setattr(compiled_steps, "FIRST_TIME", 10.0)
    monkeypatch.setattr(BlockCompiler, "function", lambda self, key, plain, x: None)
    return compiled


def test_compiling_counts_in_the_time(place, tmp_path, compiler):
    """Begun only when it pays within the limit, told before it begins, and done again when chains go on."""
    said = []
    kind = AutoregressiveSettings(hidden=8, depth=1, bins=4, embedding=8, encoder_blocks=1)
    save_model(tmp_path / "ATOMS" / "model", build_flow(kind, seed=0), {**MODEL, "flow": kind.model_dump()})
    given = (tmp_path / "ATOMS", place / "SYS")
    limited = {**SHORT, "walkers": 8, "warm_up": 4, "seed": 5, "expect": said.append}
    bg.sample(*given, tmp_path / "LIMITED", 32, **limited, stop=StopRequest(300.0))
    assert not compiler and said[-1].further == "" and said[-1].seconds < 60
    with pytest.raises(StoppedError, match="300 s reached while passes of the flow were compiled"):
        late = StopRequest(300.0, started=time.monotonic() - 290.0)
        bg.sample(*given, tmp_path / "LATE", 32, **limited, stop=late, compile_energies=True)
    assert not compiler and "Compiling its passes takes 60 s of it." in said[-1].further
    assert said[-1].seconds > 60 and said[-1].further in said[-1].sentence
    with pytest.raises(PartialError):
        # of which twelve looks are those of six steps
        bg.sample(*given, tmp_path / "OUT", 32, **limited, stop=StopAt(16))
    assert len(compiler) == 6 and "takes 60 s" in said[-1].further
    assert json.loads((tmp_path / "OUT" / "chains" / "chains.json").read_text())["compilation"]["draws"]
    done = bg.sample(*given, tmp_path / "OUT", 32, **limited, stop=StopRequest(300.0))
    assert done.walkers == 8 and load_ensemble(tmp_path / "OUT").provenance["compilation"]["draws"] is True


def test_a_folder_with_other_chains_is_refused(place, tmp_path, capsys):
    given = (place / "RUN", place / "SYS", tmp_path / "OUT", 320)
    with pytest.raises(PartialError):
        bg.sample(*given, **SHORT, seed=5, stop=StopAt(14))
    command = ["sample", *map(str, given[:2]), "-o", str(given[2]), "-n", "320", *CHAINS]
    assert main([*command, "--seed", "8"]) == 2
    told = capsys.readouterr().err
    assert "begun with another seed" in told and "--overwrite" in told
    plain = command[: -len(CHAINS)]
    assert main([*plain, "--seed", "5"]) == 2 and "already holds samples" in capsys.readouterr().err
    assert main([*command, "--seed", "8", "--overwrite"]) == 0
    assert load_ensemble(tmp_path / "OUT").provenance["seed"] == 8
    assert main([*command, "--seed", "8"]) == 2 and "already holds samples" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--walkers", "32"], "add --chains"),
        (["--groups", "4"], "--groups is for chains; add --chains"),
        (["--stride", "2"], "add --chains"),
        (["--warm-up", "2"], "--warm-up is for chains; add --chains"),
        (["--pilot", "2"], "add --chains"),
        (["--ladder", "none"], "add --chains"),
        (["--chains", "--walkers", "6"], "--walkers 6"),
        (["--chains", "--walkers", "1"], "multiple of 4"),
        ([*CHAINS, "--groups", "5"], "give a multiple of 5"),
        ([*CHAINS, "--groups", "1"], "--groups 1: give a whole number of at least 2"),
        ([*CHAINS, "--groups", "0"], "--groups"),
        ([*CHAINS, "--groups", "20000"], "at most 10000"),
        ([*CHAINS, "--stride", "1000001"], "--stride 1000001: give a whole number of at most 1000000"),
        ([*CHAINS, "--warm-up", "1000001"], "at most 1000000"),
        ([*CHAINS, "--pilot", "10000001"], "at most 10000000"),
        ([*CHAINS, "--pilot", "none"], "--pilot"),
        ([*CHAINS, "--walkers", "400004"], "at most 100000"),
        ([*CHAINS, "--ladder", "high"], "--ladder"),
        ([*CHAINS, "-n", "20"], "-n 20"),
        ([*CHAINS, "--refine", "smc"], "--refine"),
        ([*CHAINS, "--batch-size", "10"], "--batch-size"),
        ([*CHAINS, "--proposal-temperature", "400"], "--proposal-temperature"),
        ([*CHAINS, "--temperature", "-3"], "temperature"),
    ],
)
def test_what_has_no_meaning_is_refused(place, tmp_path, words, told):
    command = ["sample", str(place / "RUN"), str(place / "SYS"), "-o", str(tmp_path / "OUT")]
    command += words if "-n" in words else [*words, "-n", "640"]
    assert_refused(command, told)
    assert not (tmp_path / "OUT").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"ladder": "high"}, "`ladder='high'` is not known; use auto, none, tempered, temperatures"),
        ({"warm_up": 2.5}, "`warm_up=2.5`: give a whole number"),
        ({"pilot": 0}, "`pilot=0`: give a whole number of at least 1"),
        ({"walkers": -4}, "`walkers=-4`: give a whole number"),
    ],
)
def test_the_library_names_its_own_arguments(place, tmp_path, words, told):
    with pytest.raises(InputError) as refused:
        bg.sample(place / "RUN", place / "SYS", tmp_path / "OUT", 640, chains=True, **words)
    assert told in str(refused.value) and "\n" not in str(refused.value)


def test_what_was_asked_is_what_walks(place, tmp_path):
    """Every option reaches the chains: their record, and the energies that they took."""
    command = ["sample", str(place / "RUN"), str(place / "SYS"), "-o", str(tmp_path / "OUT"), "-n", "60"]
    command += ["--chains", "--walkers", "12", "--groups", "3", "--warm-up", "6", "--pilot", "24"]
    assert main([*command, "--stride", "2", "--ladder", "tempered"]) == 0
    found = load_ensemble(tmp_path / "OUT")
    record = found.provenance["chains"]
    assert found.walkers.groups == 3 and found.walkers.number == 12 and found.step.tolist()[-1] == 10
    assert record["sweeps"] == 6 + 5 * 2 and record["energy_evaluations"]["rungs"] > 0
    assert record["energy_evaluations"]["pilot"] == 3 * 24
    asked = {"walkers_a_group": 4, "groups": 3, "warm_up": 6, "pilot": 24, "stride": 2, "ladder": "tempered"}
    assert record["settings"].items() >= asked.items()


def test_options_of_chains_stand_together_in_the_help(capsys):
    assert main(["sample", "--help"]) == 0
    told = capsys.readouterr().out
    before, own = told.split("Options of --chains:")
    names = ("--walkers", "--groups", "--stride", "--warm-up", "--pilot", "--ladder")
    assert all(name in own and name not in before for name in names)
    assert all(name in before and name not in own for name in ("--number", "--help", "--json"))


def test_what_was_sampled_before_a_failure_is_kept(place, tmp_path, capsys, monkeypatch):
    usual = chained.run_chains

    def failing(*given, **words):
        found = usual(*given, **{**words, "stop": StopAt(14)})
        raise BoltzgenError("no walker accepted a move; use another flow.", result=found)

    monkeypatch.setattr(chained, "run_chains", failing)
    given = (place / "RUN", place / "SYS", tmp_path / "OUT", 320)
    command = ["sample", *map(str, given[:2]), "-o", str(given[2]), "-n", "320", *CHAINS]
    assert main(command) == 1
    told = capsys.readouterr().err
    assert "no walker accepted a move" in told and "is saved in" in told
    assert 0 < len(load_ensemble(tmp_path / "OUT")) < 320


def test_a_flow_without_latents_is_refused_in_a_sentence(place, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(workflow, "asked_at", lambda flow, _: TemperatureMixture(flow, (300.0, 400.0)))
    given = (place / "RUN", place / "SYS", tmp_path / "OUT", 640)
    with pytest.raises(UnsupportedError, match="latent space"):
        bg.sample(*given, chains=True, walkers=32)
    command = ["sample", *map(str, given[:2]), "-o", str(given[2]), "-n", "640", *CHAINS]
    assert main(command) == UnsupportedError.exit_code
    assert "latent space" in capsys.readouterr().err and not (tmp_path / "OUT").exists()


def test_walkers_stand_in_mbar_and_between(place, out, tmp_path):
    """ln Z(330 K) - ln Z(300 K) of butane by quadrature, from walkers beside draws of the flow."""
    bg.sample(place / "RUN", place / "SYS", tmp_path / "DRAWN", 2000, seed=3, temperature=330.0)
    cold, warm = (butane_log_z(kelvin) for kelvin in (300.0, 330.0))
    both = bg.free_energy_mbar([out, tmp_path / "DRAWN"], n_bootstrap=100, output=tmp_path / "mbar.json")
    found = {one.name: one for one in both.estimates}
    difference, absolute = found["SYS@300K -> SYS@330K"], found["ln Z SYS@300K"]
    assert abs(difference.value - (cold - warm)) < 4 * difference.standard_error < 0.5
    assert abs(absolute.value - cold) < 4 * absolute.standard_error < 0.5
    (state,) = [one for one in both.document["states"] if one["name"] == "SYS@300K"]
    assert 32 <= state["n"] <= 1920 and state["samples"][0]["source"] == "samples of walkers"
    between = bg.free_energy_between(
        out, tmp_path / "DRAWN", samples=500, n_bootstrap=100, output=tmp_path / "between.json"
    )
    for one in between.estimates:
        assert abs(one.value - (cold - warm)) < 4 * one.standard_error < 1.0, one
    assert any("map" in one.estimator for one in between.estimates)


def butane_log_z(kelvin: float) -> float:
    """ln Z at `kelvin`, lengths in nm, by quadrature over each coordinate; see butane.py."""
    from butane import ANGLE, ANGLE_CONSTANT, BOND_CONSTANT, BOND_LENGTH, OPLS_TORSION

    beta = 1.0 / (0.00831446261815324 * kelvin)
    r = np.linspace(0.8, 1.2, 40_001) * BOND_LENGTH
    bond = np.trapezoid(r**2 * np.exp(-0.5 * beta * BOND_CONSTANT * (r - BOND_LENGTH) ** 2), r)
    theta = np.linspace(0.0, np.pi, 40_001)
    angle = np.trapezoid(np.sin(theta) * np.exp(-0.5 * beta * ANGLE_CONSTANT * (theta - ANGLE) ** 2), theta)
    phi = np.linspace(-np.pi, np.pi, 40_001)
    v1, v2, v3 = (4.184 * v / 2 for v in OPLS_TORSION)
    energy = v1 * (1 + np.cos(phi)) + v2 * (1 - np.cos(2 * phi)) + v3 * (1 + np.cos(3 * phi))
    return float(3 * np.log(bond) + 2 * np.log(angle) + np.log(np.trapezoid(np.exp(-beta * energy), phi)))


def test_the_quadrature_is_that_of_the_exact_references():
    assert butane_log_z(300.0) == pytest.approx(EXACT[300.0][0], abs=1e-6)
    assert butane_log_z(600.0) == pytest.approx(EXACT[600.0][0], abs=1e-6)
