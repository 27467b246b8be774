"""Diagnostics of weights, the coverage check, and the verdict."""

from __future__ import annotations

import json

import numpy as np
import pytest

from boltzgen.ensemble import check_coverage, diagnose
from boltzgen.ensemble import diagnostics as dg
from boltzgen.errors import InputError

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


def test_a_forward_ess_of_nothing_is_unreliable_whatever_the_largest_weight():
    """One draw that carries all weight hides a region that the flow hardly reaches (issue 17: 3.7e-12)."""
    rng = np.random.default_rng(13)
    log_w = np.append(rng.normal(0.0, 0.3, 3999), 27.0)
    target = np.append(rng.normal(0.0, 0.3, 700), np.full(300, 26.0))
    found = check_coverage(log_w, target, source="held-out frames")
    expected = 1 / (np.exp(target).mean() * np.exp(-target).mean())
    assert found["missed"] == 0 and found["forward_ess"] == pytest.approx(expected) and expected < 1e-10
    assert found["verdict"] == "unreliable" and "hardly reaches" in found["reasons"][0]


def test_fewer_than_one_effective_draw_is_the_threshold():
    target = np.log(np.repeat([0.5, 2000.0], [900, 100]))
    forward = 1 / (np.exp(target).mean() * np.exp(-target).mean())
    verdicts = {}
    for share in (0.9, 1.1):
        own = np.append(np.zeros(round(share / forward) - 1), np.log(1900.0))
        verdicts[share] = check_coverage(own, target, source="held-out frames")["verdict"]
    assert verdicts[0.9] == "unreliable" != verdicts[1.1]


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
        "the state phi > 0 rests on 7 effective samples; draw about 72 000 in all by `sample(MODEL, SYS, "
    )
    assert dg.judge(log_w, k_hat=0.2, coverage=GOOD, n_effective={"a": 60.0})[0] == "caution"
    even = np.random.default_rng(13).normal(size=5000) * 0.02
    assert dg.judge(even, k_hat=0.72, coverage=GOOD) == ("ok", [])
    assert dg.judge(np.r_[even, 0.8], k_hat=0.72, coverage=GOOD)[0] == "unreliable"
    one = np.r_[np.zeros(300), 8.0]
    assert dg.judge(one, k_hat=0.2, coverage=GOOD)[0] == "unreliable"
    assert dg.judge([-np.inf] * 4, k_hat=None, coverage=GOOD)[0] == "unreliable"
