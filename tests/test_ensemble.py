"""The ensemble room: rows, weights, files, diagnostics, coverage, verdicts."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest

from boltzgen.ensemble import Ensemble, check_coverage, diagnose
from boltzgen.ensemble import diagnostics as dg
from boltzgen.ensemble.store import summary
from boltzgen.errors import InputError

GOLDEN = Path(__file__).parent / "golden"
PDB = """\
ATOM      1  CH3 ETH A   1       0.000   0.000   0.000  1.00  0.00           C
ATOM      2  CH2 ETH A   1       1.530   0.000   0.000  1.00  0.00           C
ATOM      3  OH  ETH A   1       2.100   1.300   0.000  1.00  0.00           O
END
"""


def make(n: int = 40, seed: int = 3, **changes) -> Ensemble:
    """A small molecular ensemble with three rejected rows."""
    rng = np.random.default_rng(seed)
    reason = np.full(n, "", dtype="U20")
    reason[5] = "other isomer"
    u = rng.normal(17.0, 2.0, n)
    u[9] = np.inf
    positions = rng.normal(size=(n, 3, 3)).astype(np.float32)
    positions[11] = np.nan
    arguments = {
        "temperature": 310.0, "measure": "shape", "system_fingerprint": "f00d", "domain": "reference",
        "topology_pdb": PDB, "provenance": {"seed": seed, "command": "boltzgen sample", "requested": n},
    }  # fmt: skip
    return Ensemble.from_densities(
        positions, rng.normal(4.0, 1.5, n), u, reason=reason, **(arguments | changes)
    )


def make_model(n: int = 50) -> Ensemble:
    rng = np.random.default_rng(8)
    x = rng.normal(size=(n, 2))
    return Ensemble.from_densities(
        x, -(x**2).sum(1) / 2, (x**2).sum(1) / 1.7, temperature=None, measure="lebesgue(2)",
        system_fingerprint="double-well", domain="", topology_pdb="",
    )  # fmt: skip


# rows ------------------------------------------------------------------------------------------


def test_weights_and_reasons_of_a_new_ensemble():
    ensemble = make()
    assert ensemble.rejected() == {"energy not finite": 1, "other isomer": 1, "position not finite": 1}
    assert np.array_equal(np.flatnonzero(~ensemble.valid), [5, 9, 11])
    assert np.all(np.isneginf(ensemble.log_w[[5, 9, 11]]))
    assert ensemble.log_w[7] == -ensemble.u[7] - ensemble.log_q[7]


@pytest.mark.parametrize("rows", [slice(3, 20, 2), [12, 5, 30], np.arange(40) % 3 == 1, 7])
def test_selection_never_separates_a_row_from_its_weight(rows):
    ensemble = make()
    part, index = ensemble[rows], np.atleast_1d(np.arange(40)[rows])
    for name in ("positions", "log_q", "u", "log_w", "valid", "reason"):
        assert np.array_equal(
            getattr(part, name), getattr(ensemble, name)[index], equal_nan=name == "positions"
        )
    assert part.temperature == 310.0 and "requested" not in part.provenance


def test_concatenation_keeps_order_and_adds_counts():
    a, b = make(30, seed=3), make(25, seed=4)
    both = Ensemble.concatenate([a, b])
    assert len(both) == 55 and np.array_equal(both.log_w, np.concatenate([a.log_w, b.log_w]))
    assert both.provenance == {"command": "boltzgen sample", "requested": 55, "seed": [3, 4]}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"temperature": 300.0}, "temperature"),
        ({"system_fingerprint": "beef"}, "system"),
        ({"domain": "isomers free"}, "domain"),
        ({"topology_pdb": PDB.replace("OH ", "SH ")}, "topology"),
    ],
)
def test_mixing_is_refused(change, word):
    with pytest.raises(InputError, match=word):
        Ensemble.concatenate([make(), make(), make(**change)])
    with pytest.raises(InputError, match="measure"):
        Ensemble.concatenate([make(), make_model()])
    with pytest.raises(InputError, match="empty"):
        Ensemble.concatenate([])


def test_the_record_cannot_be_changed():
    ensemble = make()
    with pytest.raises(FrozenInstanceError):
        ensemble.u = ensemble.log_q  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        ensemble.log_w[0] = 0.0


def test_what_does_not_fit_together_is_refused():
    ensemble = make()
    with pytest.raises(InputError, match="rows were swapped"):
        replace(ensemble, log_w=np.where(ensemble.valid, ensemble.log_w[::-1], -np.inf))
    with pytest.raises(InputError, match="must have log_w = -inf"):
        replace(ensemble, log_w=np.zeros(40))
    with pytest.raises(InputError, match="u has shape"):
        replace(ensemble, u=ensemble.u[:-1])
    with pytest.raises(InputError, match="reason is empty"):
        replace(ensemble, reason=np.full(40, ""))
    with pytest.raises(InputError, match="temperature must be positive"):
        make(temperature=-300.0)
    with pytest.raises(InputError, match="measure"):
        replace(ensemble, measure="lebesgue(9)")


# files -----------------------------------------------------------------------------------------


def test_round_trip_of_a_molecule(tmp_path):
    ensemble = replace(make(), coverage={"verdict": "ok", "reasons": [], "forward_ess": 0.37})
    ensemble.save(tmp_path / "OUT")
    loaded = Ensemble.load(tmp_path / "OUT")
    for name in ("log_q", "u", "log_w", "valid", "reason"):
        assert np.array_equal(getattr(loaded, name), getattr(ensemble, name))
    assert np.allclose(loaded.positions, ensemble.positions, rtol=3e-7, atol=0, equal_nan=True)
    assert (loaded.temperature, loaded.domain, loaded.topology_pdb) == (310.0, "reference", PDB)
    assert loaded.provenance == ensemble.provenance and loaded.coverage == ensemble.coverage
    assert json.loads((tmp_path / "OUT" / "summary.json").read_text())["forward_ess"] == 0.37


def test_round_trip_of_a_model_system(tmp_path):
    ensemble = make_model()
    ensemble.save(tmp_path, status="partial")
    loaded = Ensemble.load(tmp_path)
    assert np.array_equal(loaded.positions, ensemble.positions) and loaded.temperature is None
    assert not (tmp_path / "samples.dcd").exists()
    assert json.loads((tmp_path / "manifest.json").read_text())["status"] == "partial"


def test_mdtraj_reads_the_trajectory(tmp_path):
    import mdtraj

    ensemble = make()
    ensemble.save(tmp_path)
    frames = mdtraj.load(str(tmp_path / "samples.dcd"), top=str(tmp_path / "topology.pdb"))
    assert np.allclose(frames.xyz, ensemble.positions, rtol=1e-6, equal_nan=True)
    assert [atom.name for atom in frames.topology.atoms] == ["CH3", "CH2", "OH"]


def test_same_samples_same_bytes(tmp_path):
    for folder in ("a", "b"):
        make().save(tmp_path / folder)
    for name in ("samples.npz", "samples.dcd", "topology.pdb", "summary.json", "manifest.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_summary_matches_the_golden_file():
    found, golden = summary(make()), json.loads((GOLDEN / "summary.json").read_text())
    assert list(found) == list(golden)
    for key, value in golden.items():
        assert found[key] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value), key


def test_manifest_says_what_it_must(tmp_path):
    make().save(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert list(manifest) == json.loads((GOLDEN / "manifest_keys.json").read_text())
    assert manifest["seed"] == 3 and manifest["status"] == "complete" and manifest["versions"]["numpy"]
    assert manifest["files"]["samples.dcd"]["bytes"] == (tmp_path / "samples.dcd").stat().st_size


def _cut(name: str, keep: float):
    def damage(out: Path) -> None:
        data = (out / name).read_bytes()
        (out / name).write_bytes(data[: int(keep * len(data))])

    return damage


def _edit_manifest(**changes):
    def damage(out: Path) -> None:
        manifest = json.loads((out / "manifest.json").read_text())
        (out / "manifest.json").write_text(json.dumps(manifest | changes))

    return damage


def _swap_weights(out: Path) -> None:
    with np.load(out / "samples.npz") as archive:
        columns = dict(archive)
    columns["log_w"] = np.where(columns["valid"], np.roll(columns["log_w"], 1), -np.inf)
    np.savez(out / "samples.npz", **columns)


DAMAGE = {
    "no manifest": lambda out: (out / "manifest.json").unlink(),
    "manifest cut": _cut("manifest.json", 0.5),
    "foreign manifest": _edit_manifest(schema="somebody/7"),
    "failed run": _edit_manifest(status="failed"),
    "negative temperature": _edit_manifest(temperature_K=-5.0),
    "no samples": lambda out: (out / "samples.npz").unlink(),
    "samples cut": _cut("samples.npz", 0.6),
    "samples empty": _cut("samples.npz", 0.0),
    "column missing": lambda out: np.savez(out / "samples.npz", log_q=np.zeros(40)),
    "pickled": lambda out: np.savez(out / "samples.npz", log_q=np.array([{}], dtype=object)),
    "weights swapped": _swap_weights,
    "no trajectory": lambda out: (out / "samples.dcd").unlink(),
    "trajectory cut": _cut("samples.dcd", 0.7),
    "trajectory empty": _cut("samples.dcd", 0.0),
    "trajectory is text": lambda out: (out / "samples.dcd").write_text("not a trajectory " * 200),
    "no topology": lambda out: (out / "topology.pdb").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_broken_folder_gives_one_sentence(tmp_path, damage):
    make().save(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=str(tmp_path)) as caught:
        Ensemble.load(tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_a_save_that_dies_half_way_leaves_nothing_that_can_be_taken_for_whole(tmp_path, monkeypatch):
    make(seed=3).save(tmp_path)

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("boltzgen.ensemble.store.write_dcd", die)
    with pytest.raises(KeyboardInterrupt):
        make(seed=4).save(tmp_path)
    with pytest.raises(InputError, match="did not finish"):
        Ensemble.load(tmp_path)


def test_saving_nothing_and_unknown_status_are_refused(tmp_path):
    with pytest.raises(InputError, match="no samples"):
        make()[:0].save(tmp_path)
    with pytest.raises(InputError, match="status"):
        make().save(tmp_path, status="nearly")


# diagnostics -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("d", "r", "exact", "tolerance"),
    [
        (1, 1.25, 0.979796, 2e-3),
        (10, 1.25, 0.815373, 0.01),
        (66, 1.1, 0.760438, 0.015),
        (66, 1.25, 0.259986, 0.03),
    ],
)
def test_kish_ess_of_a_gaussian_at_another_temperature(d, r, exact, tolerance):
    x = np.random.default_rng(71).normal(size=(60_000, d)) / np.sqrt(0.8)  # beta0 = 0.8
    assert dg.kish_ess(-(r - 1) * 0.8 * (x**2).sum(1) / 2) == pytest.approx(exact, abs=tolerance)


def test_rejected_rows_count_in_n():
    log_w = [*np.log([2.0, 3.0]), -np.inf, -np.inf]
    assert dg.kish_ess(log_w) == pytest.approx(25 / (4 * 13))
    assert dg.log_z(log_w)[0] == pytest.approx(np.log(5 / 4))
    assert dg.largest_weight_share(log_w) == pytest.approx(0.6)


def test_clipped_and_dropped_by_hand():
    log_w = np.log(np.r_[np.full(19_998, 2.0), 1000.0, 5000.0])
    assert dg.kish_ess_clipped(log_w) == pytest.approx(1.0)  # 1e-4 of 20 000 are both large weights
    weights = np.r_[np.full(996, 3.0), 7.0, 11.0, 500.0, 900.0]  # 0.2 % of 1000 are the last two
    kept = weights[:-2]
    assert dg.kish_ess_dropped(np.log(weights)) == pytest.approx(kept.sum() ** 2 / (998 * (kept**2).sum()))
    assert dg.kish_ess_clipped(np.log(weights)) == pytest.approx(
        dg.kish_ess(np.log(weights))
    )  # 0.1 of a row: none


def test_forward_ess_of_two_gaussians():
    s2 = 0.8
    x = np.random.default_rng(5).normal(size=200_000)
    log_w = np.log(3.3) - x**2 / 2 + x**2 / (2 * s2)  # an unnormalised target: 3.3 must cancel
    assert dg.forward_ess(log_w) == pytest.approx(np.sqrt(2 - 1 / s2) / np.sqrt(s2), abs=5e-3)
    assert dg.forward_ess([0.1, np.inf]) == 0.0
    with pytest.raises(InputError):
        dg.forward_ess([0.1, np.nan])


@pytest.mark.parametrize("s2", [0.8, 0.5, 0.3])
def test_pareto_k_of_a_narrow_proposal(s2):
    x = np.random.default_rng(6).normal(size=200_000) * np.sqrt(s2)
    assert dg.pareto_k(-(x**2) / 2 + x**2 / (2 * s2)) == pytest.approx(1 - s2, abs=0.1)


def test_pareto_k_is_none_where_it_would_be_noise():
    noise = np.random.default_rng(7).normal(size=5000)
    assert dg.pareto_k(-8.5 + 1e-6 * noise) is None
    assert dg.pareto_k(noise[:20]) is None
    assert diagnose(-8.5 + 1e-6 * noise).unknown["k_hat"] == "constant weights have no tail"


def test_log_z_agrees_with_pymbar():
    from pymbar import other_estimators

    log_w = np.random.default_rng(9).normal(2.3, 0.8, 4000)
    value, error = dg.log_z(log_w)
    reference = other_estimators.exp(-log_w)
    assert value == pytest.approx(-reference["Delta_f"], abs=1e-9)
    assert error == pytest.approx(reference["dDelta_f"], rel=1e-3)


def test_log_z_where_little_is_known():
    assert dg.log_z([-np.inf, -np.inf]) == (None, None)
    value, error = dg.log_z([1.7])
    assert value == pytest.approx(1.7) and error is None


@pytest.mark.parametrize("bad", [[], [[0.2, 0.3]], [0.2, np.nan], [0.2, np.inf]])
def test_bad_log_weights_are_refused(bad):
    with pytest.raises(InputError):
        diagnose(bad)


# coverage and verdict --------------------------------------------------------------------------


def modes(rng, n, share):
    """Samples of two Gaussians at -9 and 9, the right one with `share`."""
    return rng.normal(size=n) * 1.1 + np.where(rng.random(n) < share, 9.0, -9.0)


def log_modes(x, share):
    def normal(centre):
        return -((x - centre) ** 2) / (2 * 1.21)

    with np.errstate(divide="ignore"):
        return np.logaddexp(np.log(1 - share) + normal(-9.0), np.log(share) + normal(9.0))


def record(flow_share, n=20_000, m=2000, target_share=0.4, **arguments):
    rng = np.random.default_rng(12)
    x, y = modes(rng, n, flow_share), modes(rng, m, target_share)
    log_w = log_modes(x, target_share) - log_modes(x, flow_share)
    target = log_modes(y, target_share) - log_modes(y, flow_share)
    return log_w, check_coverage(log_w, target, source="held-out frames", **arguments)


def test_a_lost_mode_looks_perfect_from_inside_and_is_found_from_outside():
    log_w, found = record(flow_share=1e-9)
    assert dg.kish_ess(log_w) > 0.998
    assert found["verdict"] == "unreliable" and found["missed"] == pytest.approx(0.4, abs=0.05)
    assert found["forward_ess"] < 1e-3
    result = diagnose(log_w, found)
    assert result.verdict == "unreliable" and "lost" in result.reasons[0]
    assert diagnose(log_w).verdict == "caution"


def test_a_lost_state_of_two_percent_is_found():
    _, found = record(flow_share=1e-9, target_share=0.02)
    assert found["verdict"] == "unreliable" and found["missed"] == pytest.approx(0.02, abs=0.01)


@pytest.mark.parametrize(("d", "s2"), [(1, 0.5), (10, 0.6), (30, 0.8), (66, 0.85)])
def test_a_narrow_flow_without_gaps_has_lost_no_state(d, s2):
    rng = np.random.default_rng(14)

    def log_w(x):
        return -(x**2).sum(1) / 2 + (x**2).sum(1) / (2 * s2)

    own, target = rng.normal(size=(20_000, d)) * np.sqrt(s2), rng.normal(size=(1000, d))
    found = check_coverage(log_w(own), log_w(target), source="held-out frames")
    assert found["verdict"] in ("ok", "caution") and not any("lost" in reason for reason in found["reasons"])


def test_a_good_flow_with_a_coverage_check_is_ok():
    log_w, found = record(flow_share=0.5)
    assert found["verdict"] == "ok" and found["forward_ess"] == pytest.approx(0.96, abs=0.03)
    result = diagnose(log_w, found)
    assert result.verdict == "ok" and result.reasons == ()
    assert result.forward_ess == found["forward_ess"]
    json.dumps(found, allow_nan=False)


def test_coverage_on_too_few_independent_samples_certifies_nothing():
    _, found = record(flow_share=0.5, statistical_inefficiency=40.0)
    assert found["verdict"] == "caution" and "50 independent" in found["reasons"][0]
    with pytest.raises(InputError, match="inefficiency"):
        record(flow_share=0.5, statistical_inefficiency=0.3)


def test_populations_that_part_make_it_unreliable():
    state = {
        "name": "right",
        "target": 0.41,
        "target_error": 0.02,
        "reweighted": 0.3,
        "reweighted_error": 0.01,
    }
    _, found = record(flow_share=0.5, states=[state])
    assert found["verdict"] == "unreliable" and "right" in found["reasons"][0]
    _, found = record(flow_share=0.5, states=[state | {"reweighted": 0.38}])
    assert found["verdict"] == "ok"


GOOD = {"verdict": "ok", "reasons": []}


def test_the_verdict_rule():
    log_w = np.random.default_rng(13).normal(size=5000) * 0.3
    assert dg.judge(log_w, k_hat=0.4, coverage=GOOD) == ("ok", [])
    assert dg.judge(log_w, k_hat=0.4, coverage=None) == ("caution", [dg.NO_COVERAGE])
    verdict, reasons = dg.judge(log_w, k_hat=0.55, coverage=GOOD)
    assert verdict == "caution" and reasons[0].startswith("error bars too small")
    assert dg.judge(log_w, k_hat=0.71, coverage=GOOD)[0] == "unreliable"
    assert dg.judge(log_w, k_hat=None, coverage=GOOD)[0] == "caution"
    verdict, reasons = dg.judge(log_w, k_hat=0.2, coverage=None, n_effective={"a": 900.0, "phi > 0": 7.0})
    assert verdict == "unreliable" and len(reasons) == 2
    assert reasons[0].startswith(
        "the state phi > 0 rests on 7 effective samples; draw about 67 000 more, or train"
    )
    assert dg.judge(log_w, k_hat=0.2, coverage=GOOD, n_effective={"a": 60.0})[0] == "caution"
    one = np.r_[np.zeros(300), 8.0]
    assert dg.judge(one, k_hat=0.2, coverage=GOOD)[0] == "unreliable"
    assert dg.judge([-np.inf] * 4, k_hat=None, coverage=GOOD)[0] == "unreliable"
