"""Samples of walkers: their fields through files and cuts, what they are worth, the rules of chains."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from ensemble_cases import butane_walkers, chained, make, two_state

from boltzgen.ensemble.chains.r_hat import nested_r_hat
from boltzgen.ensemble.chains.samples import bulk_samples, tail_samples
from boltzgen.ensemble.chains.walkers import Walkers
from boltzgen.ensemble.export_table import write_csv
from boltzgen.ensemble.frames import weighted_frames
from boltzgen.ensemble.join import concatenate
from boltzgen.ensemble.repeats import repeated_rows
from boltzgen.ensemble.store import load_ensemble, save_ensemble, summary
from boltzgen.errors import InputError

FIELDS = ("walker", "group", "step", "u", "log_w", "log_q")


def same(a, b) -> bool:
    exact = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in FIELDS)
    return exact and np.allclose(a.positions, b.positions, rtol=1e-6)  # DCD holds Angstrom


def test_walkers_survive_the_file_and_every_cut(tmp_path):
    ensemble = chained()
    save_ensemble(ensemble, tmp_path / "OUT")
    again = load_ensemble(tmp_path / "OUT")
    assert same(again, ensemble) and again.walkers.number == 8 and again.walkers.log_z == -3.5
    shards = list(ensemble.shards(17))
    assert same(concatenate(shards), ensemble)
    picked = ensemble[np.array([3, 40, 8])]
    assert picked.walker.tolist() == ensemble.walker[[3, 40, 8]].tolist() and len(picked.walkers) == 3


def test_shards_may_cut_between_a_state_and_its_repeat():
    ensemble = chained()
    positions, u = np.array(ensemble.positions), np.array(ensemble.u)
    positions[8], u[8] = positions[0], u[0]
    stayed = replace(ensemble, positions=positions, u=u, log_q=-u - ensemble.log_w)
    assert same(concatenate(list(stayed.shards(5))), stayed)


def test_files_of_independent_samples_are_as_they_were(tmp_path):
    save_ensemble(make(), tmp_path / "OUT")
    with np.load(tmp_path / "OUT" / "samples.npz") as file:
        assert set(file.files) == {"log_q", "u", "log_w", "valid", "reason"}
    assert load_ensemble(tmp_path / "OUT").walkers is None


@pytest.mark.parametrize("change", ["missing", "short", "twice", "torn", "negative"])
def test_walkers_that_make_no_sense_are_refused(change):
    ensemble = chained()
    fields = {name: np.array(getattr(ensemble, name)) for name in ("walker", "group", "step")}
    if change == "missing":
        fields["group"] = None
    if change == "short":
        fields["step"] = fields["step"][1:]
    if change == "twice":
        fields["step"][:] = 4
    if change == "torn":
        fields["group"][0] += 1
    if change == "negative":
        fields["walker"][2] = -1
    with pytest.raises(InputError):
        replace(ensemble, **fields)


def test_joined_walkers_are_numbered_anew_and_share_one_ln_z():
    first, second = chained(seed=1), chained(seed=2, log_z=-3.2, error=0.2)
    both = concatenate([first, second])
    assert both.walkers.number == 16 and both.walkers.groups == 8
    # weights 1 / 0.1^2 and 1 / 0.2^2
    assert both.walkers.log_z == pytest.approx((100 * -3.5 + 25 * -3.2) / 125)
    assert both.walkers.log_z_standard_error == pytest.approx(125**-0.5)
    assert np.allclose(both.log_w, both.walkers.log_z) and np.allclose(both.log_q, -both.u - both.log_w)
    counts = both.provenance["chains"]["acceptance"]["residue"]
    assert counts == {"accepted": 24, "tried": 80}
    with pytest.raises(InputError, match="walkers"):
        concatenate([first, make(temperature=310.0, topology_pdb=first.topology_pdb)])


def test_repeats_within_a_walker_are_a_rejected_move():
    ensemble = chained()
    assert len(repeated_rows([ensemble])) == 0
    twice = np.array(ensemble.positions)
    twice[8] = twice[0]  # walker 0, its next step
    fields = {"positions": twice, "u": np.r_[ensemble.u[:8], ensemble.u[0], ensemble.u[9:]]}
    rejected = replace(ensemble, **fields, log_q=-fields["u"] - ensemble.log_w)
    assert len(repeated_rows([rejected])) == 0
    elsewhere = np.array(ensemble.positions)
    elsewhere[9] = elsewhere[0]  # walker 1
    fields = {"positions": elsewhere, "u": np.r_[ensemble.u[:9], ensemble.u[0], ensemble.u[10:]]}
    copied = replace(ensemble, **fields, log_q=-fields["u"] - ensemble.log_w)
    assert repeated_rows([copied]).tolist() == [[0, 9]]


def test_summary_of_walkers_matches_its_keys_and_says_why_numbers_are_null(tmp_path):
    found = summary(chained())
    assert list(found) == list(summary(make()))
    for key in (
        "ess",
        "ess_clipped_1e-4",
        "ess_dropped_0.2%",
        "k_hat",
        "largest_weight_share",
        "forward_ess",
    ):
        assert found[key] is None and any(
            reason.startswith(f"{key} is null: ") for reason in found["reasons"]
        )
    assert found["walkers"] == 8 and found["steps"] == 60 and found["log_z"] == -3.5
    assert found["acceptance"] == {"residue": {"accepted": 12, "tried": 40}}
    assert found["energy_evaluations_by_part"] == {"pilot": 5, "sampling": 7}
    json.dumps(found, allow_nan=False)


def test_a_table_names_the_walkers(tmp_path):
    ensemble = chained()
    write_csv(ensemble, weighted_frames(ensemble), tmp_path / "rows.csv")
    head, first, *_ = (tmp_path / "rows.csv").read_text().splitlines()
    assert head == "row,log_q,u,log_w,valid,reason,walker,group,step" and first.endswith(",0,0,3")


# What they are worth


def ar1(walkers: int, steps: int, rho: float, rng: np.random.Generator) -> np.ndarray:
    x = np.empty((walkers, steps))
    x[:, 0] = rng.normal(size=walkers)
    for t in range(1, steps):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * rng.normal(size=walkers)
    return x


@pytest.mark.parametrize(
    ("rho", "steps"), [(0.0, 40), (0.8, 8), (0.8, 40), (0.8, 160), (0.97, 20), (0.97, 8)]
)
def test_bulk_samples_are_those_of_an_autoregression(rho, steps):
    """Against the variance of the mean of an AR(1) series, in the mean over 20 of 128 walkers."""
    rng = np.random.default_rng(5)
    lags = np.arange(1, steps)
    exact = 128 * steps / (1 + 2 * np.sum((1 - lags / steps) * rho**lags))
    found = [bulk_samples(ar1(128, steps, rho, rng)) for _ in range(20)]
    assert np.mean(found) == pytest.approx(exact, rel=0.2)
    assert tail_samples(ar1(128, steps, rho, rng)) > 0.8 * exact


def test_what_never_moved_has_no_samples():
    """ArviZ calls a constant as many samples as it has rows."""
    stuck = np.repeat(np.random.default_rng(0).normal(size=(64, 1)), 30, axis=1)
    assert bulk_samples(stuck) is None and tail_samples(stuck) is None
    assert bulk_samples(np.full((1, 50), 2.5)) is None
    assert bulk_samples(np.random.default_rng(1).normal(size=(64, 3))) is None  # too few rows to tell


def test_one_walker_is_judged_by_its_own_halves():
    found = bulk_samples(ar1(1, 4000, 0.8, np.random.default_rng(2)))
    assert found == pytest.approx(4000 * 0.2 / 1.8, rel=0.35)


def test_nested_r_hat_of_independent_rows_and_of_groups_that_stayed():
    """``1 / (M (N + 1))`` of independent rows; of groups apart the variance between over that within."""
    rng, groups = np.random.default_rng(3), np.repeat(np.arange(4), 8)
    ratios = [nested_r_hat(rng.normal(size=(32, 5)), groups) ** 2 - 1 for _ in range(2000)]
    assert np.mean(ratios) == pytest.approx(1 / 48, rel=0.06)
    ratios = [
        nested_r_hat(np.repeat(rng.normal(size=(32, 1)), 5, axis=1), groups) ** 2 - 1 for _ in range(2000)
    ]
    assert np.mean(ratios) == pytest.approx(
        1 / 8, rel=0.12
    )  # walkers that never moved, from their own starts
    places = np.array([-2.0, 1.0, 0.5, 3.0])[groups]
    apart = places[:, None] + 0.5 * rng.normal(size=(32, 2000))
    assert nested_r_hat(apart, groups) ** 2 - 1 == pytest.approx(
        np.var([-2, 1, 0.5, 3], ddof=1) / 0.25, rel=0.02
    )
    assert nested_r_hat(apart, np.zeros(32, int)) is None and nested_r_hat(np.ones((32, 4)), groups) is None


def test_nested_r_hat_is_arviz_where_it_has_one():
    from arviz_stats.base import array_stats

    x, groups = np.random.default_rng(4).gamma(2.0, size=(12, 9)), np.repeat(np.arange(3), 4)
    theirs = array_stats.rhat_nested(x, groups.tolist(), method="identity")
    assert nested_r_hat(x, groups) == pytest.approx(float(theirs), rel=1e-12)


def test_crossings_are_counted_within_walkers():
    walker, step = np.array([0, 1, 0, 1, 0, 1, 0, 1]), np.array([2, 2, 4, 4, 6, 6, 8, 8])
    walkers = Walkers(walker, walker, step)
    inside = np.array([1, 0, 0, 0, 1, 1, 0, 1], dtype=bool)  # walker 0: 1 0 1 0; walker 1: 0 0 1 1
    assert walkers.crossings(inside) == (2, 2) and walkers.stride == 2.0
    shuffled = np.array([5, 0, 7, 2, 4, 1, 3, 6])
    mixed = Walkers(walker[shuffled], walker[shuffled], step[shuffled])
    assert mixed.crossings(inside[shuffled]) == (2, 2)
    assert np.array_equal(mixed.series(np.arange(8)[shuffled]), walkers.series(np.arange(8)))


@pytest.mark.parametrize("start", ["drawn", "chosen"])
def test_crossings_bound_what_marks_are_worth(start):
    """Of walkers that begin where they please and hardly change, only the changes count."""
    rng = np.random.default_rng(6)
    x = two_state(400, 50, 0.004, 0.002, rng, first=rng.random(400) < (1 / 3 if start == "drawn" else 0.5))
    walker = np.repeat(np.arange(400), 50)
    walkers = Walkers(walker, walker % 4, np.tile(np.arange(50), 400))
    found = walkers.independent(x.reshape(-1))
    crossings = min(walkers.crossings(x.reshape(-1)))
    assert found < 2.8 * crossings  # n / (2 p q), p = 0.4 or so
    fast = two_state(400, 50, 0.4, 0.2, rng, first=rng.random(400) < 1 / 3)
    exact = 400 * 50 * 0.6 / 1.4  # n (1 - l) / (1 + l), l = 1 - 0.4 - 0.2
    assert walkers.independent(fast.reshape(-1)) == pytest.approx(exact, rel=0.1)


# The verdict

COVERED = {"verdict": "ok", "reasons": [], "source": "MD", "forward_ess": None, "states": []}


def test_walkers_that_mix_are_ok():
    found = butane_walkers(coverage=COVERED).diagnostics()
    assert (found.verdict, found.reasons) == ("ok", ())
    assert found.chains.ess_bulk > 200 and found.chains.r_hat < 1.02
    assert found.chains.autocorrelation == pytest.approx(3.0, rel=0.3)  # rows are independent, 3 sweeps apart
    assert butane_walkers().diagnostics().verdict == "caution"  # nobody looked whether a state is missing


@pytest.mark.parametrize(
    ("case", "verdict", "words"),
    [
        ("stuck torsion", "unreliable", "no walker ever changed the torsion"),
        ("stuck", "unreliable", "no walker ever changed the energy"),
        ("short", "caution", "bulk samples"),
        ("groups apart", "unreliable", "groups of walkers disagree"),
        ("one group", "caution", "one group"),
        ("seldom", "caution", "are needed"),
        ("never left", "unreliable", "and left it 0 times"),
    ],
)
def test_what_keeps_walkers_from_ok(case, verdict, words):
    found = butane_walkers(case, coverage=COVERED).diagnostics()
    assert found.verdict == verdict and any(words in reason for reason in found.reasons), found.reasons
    assert all("; " in reason and "`" in reason.rpartition("; ")[2] for reason in found.reasons)
