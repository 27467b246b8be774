"""BAR and MBAR: pymbar on the same arrays, closed forms, absolute ln Z, and what happens without overlap."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from boltzgen.errors import InputError
from boltzgen.free_energy import log_partition
from boltzgen.free_energy.overlap import absolute_mbar, bar, mbar
from boltzgen.free_energy.statistics import Statistics

GOOD = {"verdict": "ok", "reasons": []}
STIFFNESS = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
F_K = np.array([-0.918939, -0.572365, -0.225791, 0.120782, 0.467356])  # shared facts


def harmonic(rng, counts, stiffness=STIFFNESS):
    """Samples of harmonic wells, `counts` of each, and their reduced energies in all of them."""
    x = np.concatenate([rng.normal(size=n) / math.sqrt(k) for n, k in zip(counts, stiffness, strict=True)])
    return x, np.asarray(stiffness)[:, None] * x**2 / 2


def works(rng, n, m, shift=0.0, stiffness=4.0):
    """Work between exp(-x^2/2) and exp(-stiffness (x - shift)^2 / 2), n and m samples."""
    x, y = rng.normal(size=n), shift + rng.normal(size=m) / math.sqrt(stiffness)
    return stiffness * (x - shift) ** 2 / 2 - x**2 / 2, y**2 / 2 - stiffness * (y - shift) ** 2 / 2


# BAR -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m", "shift"), [(800, 800, 0.3), (300, 2000, 1.0), (50, 40, 0.0)])
def test_bar_agrees_with_pymbar(n, m, shift):
    import pymbar

    forward, reverse = works(np.random.default_rng(61), n, m, shift)
    e = bar(forward, reverse, (1, 1), Statistics(np.random.default_rng(1)))
    reference = pymbar.bar(forward, reverse, relative_tolerance=1e-14)
    assert e.value == pytest.approx(reference["Delta_f"], abs=1e-6)
    assert e.standard_error_asymptotic == pytest.approx(reference["dDelta_f"], abs=1e-6)
    assert e.standard_error_bootstrap == pytest.approx(reference["dDelta_f"], rel=0.25)


def test_bar_finds_the_closed_form_with_weights_or_without():
    rng = np.random.default_rng(62)
    exact = math.log(2.0)  # f_B - f_A = ln(stiffness) / 2
    forward, reverse = works(rng, 8000, 8000, 0.5)
    plain = bar(forward, reverse, (1, 1), Statistics(rng, n_bootstrap=200))
    assert plain.verdict == "ok" and abs(plain.value - exact) < min(4 * plain.standard_error, 0.05)
    x = 1.2 * rng.normal(size=8000)  # a wider density, weighted to A
    log_w = -(x**2) / 2 + x**2 / (2 * 1.44)
    weighted = bar(
        2 * (x - 0.5) ** 2 - x**2 / 2,
        reverse,
        (1, 1),
        Statistics(rng, n_bootstrap=200, coverage=GOOD),
        log_w_f=log_w,
    )
    assert abs(weighted.value - exact) < min(4 * weighted.standard_error, 0.05)
    unchecked = bar(
        2 * (x - 0.5) ** 2 - x**2 / 2, reverse, (1, 1), Statistics(rng, n_bootstrap=200), log_w_f=log_w
    )
    assert unchecked.verdict == "caution" and unchecked.reasons[0].startswith("coverage not checked")


def test_error_bars_of_bar_cover():
    """200 replicates; acceptance holds a true 95 % in 999 of 1000 cases."""
    rng = np.random.default_rng(63)
    by_delta = by_bootstrap = 0
    for _ in range(200):
        e = bar(*works(rng, 300, 200, 0.8), (1, 1), Statistics(rng, n_bootstrap=200))
        by_delta += abs(e.value - math.log(2)) < 1.96 * e.standard_error_asymptotic
        by_bootstrap += e.interval95[0] < math.log(2) < e.interval95[1]
    assert 0.895 <= by_delta / 200 <= 0.990
    assert 0.895 <= by_bootstrap / 200 <= 0.990


def test_correlated_frames_are_thinned():
    rng = np.random.default_rng(64)
    forward, reverse = works(rng, 400, 400)
    once = bar(forward, reverse, (1, 1), Statistics(rng))
    held = bar(np.repeat(forward, 10), np.repeat(reverse, 10), (10, 10), Statistics(rng))
    assert held.value == pytest.approx(once.value, abs=1e-9)
    assert held.standard_error_asymptotic == pytest.approx(once.standard_error_asymptotic, rel=1e-9)
    with pytest.raises(InputError, match="at least 1"):
        bar(forward, reverse, (0.5, 1), Statistics(rng))


@pytest.mark.parametrize("distance", [8.0, 20.0, 60.0])
def test_bar_without_overlap_says_so(distance):
    e = bar(
        *works(np.random.default_rng(65), 1000, 1000, distance, 1.0),
        (1, 1),
        Statistics(np.random.default_rng(1)),
    )
    assert e.value is None and e.standard_error is None and e.verdict == "unreliable"
    assert e.reasons[0].startswith("no overlap") and e.overlap < 1e-3
    assert "value is null: the systems do not overlap" in json.dumps(e.to_json(300.0), allow_nan=False)
    nowhere = bar(np.full(10, np.inf), np.ones(10), (1, 1), Statistics(np.random.default_rng(1)))
    assert nowhere.value is None and nowhere.reasons[0].startswith("no overlap")


def test_little_overlap_is_a_verdict():
    e = bar(
        *works(np.random.default_rng(66), 3000, 3000, 4.5, 1.0), (1, 1), Statistics(np.random.default_rng(1))
    )
    assert e.verdict == "caution" and "overlap" in e.reasons[0] and 0.01 < e.overlap < 0.06
    assert abs(e.value) < 4 * e.standard_error


def test_hysteresis_is_a_verdict():
    """Frames "of A" that come from elsewhere: BAR alone would not notice, its two sides do."""
    rng = np.random.default_rng(78)
    y = 0.9 * rng.normal(size=5000)

    def estimate(x):
        forward, reverse = (x / 0.9) ** 2 / 2 - x**2 / 2, y**2 / 2 - (y / 0.9) ** 2 / 2
        return bar(forward, reverse, (1, 1), Statistics(rng, n_bootstrap=100))

    sound, off = estimate(rng.normal(size=5000)), estimate(0.8 + rng.normal(size=5000))
    assert sound.verdict == "ok" and abs(sound.value - -math.log(0.9)) < 4 * sound.standard_error
    assert off.verdict == "unreliable" and off.reasons[0].startswith("hysteresis")
    assert off.further["forward_kT"] - off.further["reverse_kT"] == pytest.approx(
        off.further["hysteresis_kT"]
    )


def test_bar_refuses():
    rng = np.random.default_rng(1)
    for bad, match in (([1.0], "at least two"), ([1.0, np.nan], "number or"), ([1.0, -np.inf], "number or")):
        with pytest.raises(InputError, match=match):
            bar(bad, [0.3, 0.4], (1, 1), Statistics(rng))
    with pytest.raises(InputError, match="log-weights"):
        bar([1.0, 2.0], [0.3, 0.4], (1, 1), Statistics(rng), log_w_f=[0.0, 0.0, 0.0])
    with pytest.raises(InputError, match="no sample carries weight"):
        bar([1.0, 2.0], [0.3, 0.4], (1, 1), Statistics(rng), log_w_f=[-np.inf, -np.inf])


# MBAR ------------------------------------------------------------------------------------------


def test_mbar_agrees_with_pymbar():
    import pymbar

    counts = [300, 0, 400, 200, 100]
    _, u_kn = harmonic(np.random.default_rng(67), counts)
    u_kn[2, 5] = np.inf  # outside the domain of one state
    found = mbar(u_kn, counts, Statistics(np.random.default_rng(1)), inefficiency_k=np.ones(5))
    reference = pymbar.MBAR(u_kn, counts)
    differences, overlap = reference.compute_free_energy_differences(), reference.compute_overlap()
    for i in range(5):
        for j in range(5):
            if i != j:
                e = found.difference(f"state {i}", f"state {j}")
                assert e.value == pytest.approx(differences["Delta_f"][i, j], abs=1e-6)
                assert e.standard_error_asymptotic == pytest.approx(differences["dDelta_f"][i, j], abs=1e-6)
                assert e.standard_error_bootstrap == pytest.approx(e.standard_error_asymptotic, rel=0.15)
    assert found.overlap_kk == pytest.approx(overlap["matrix"], abs=1e-6)
    sampled = pymbar.MBAR(u_kn[[0, 2, 3, 4]], [300, 400, 200, 100]).compute_overlap()["scalar"]
    assert found.overlap == pytest.approx(sampled, abs=1e-6)


def test_mbar_of_two_states_is_bar():
    rng = np.random.default_rng(68)
    _, u_kn = harmonic(rng, [500, 800], [1.0, 4.0])
    two = bar(u_kn[1, :500] - u_kn[0, :500], u_kn[0, 500:] - u_kn[1, 500:], (1, 1), Statistics(rng))
    e = mbar(u_kn, [500, 800], Statistics(rng), inefficiency_k=[1, 1]).difference("state 0", "state 1")
    assert e.value == pytest.approx(two.value, abs=1e-8) and e.overlap == pytest.approx(two.overlap, abs=1e-8)
    assert e.standard_error_asymptotic == pytest.approx(two.standard_error_asymptotic, rel=0.01)


def test_mbar_is_silent_and_leaves_the_random_numbers_alone():
    code = (
        "import numpy as np; np.random.seed(3); a = np.random.random()\n"
        "from boltzgen.free_energy import Statistics\n"
        "from boltzgen.free_energy.overlap import mbar\n"
        "ask = Statistics(np.random.default_rng(1))\n"
        "x = np.linspace(-1, 1, 40)\n"
        "np.random.seed(3); mbar(np.stack([x**2, 2 * x**2]), [20, 20], ask)\n"
        "assert np.random.random() == a"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and run.stdout == "" and run.stderr == ""


def test_mbar_thins_correlated_frames():
    """Frames held for 20 steps: thinned by the inefficiency that their own energies show."""
    rng = np.random.default_rng(69)
    x, _ = harmonic(rng, [400, 400], [1.0, 2.0])
    held = np.repeat(x, 20)
    u_kn = np.array([[1.0], [2.0]]) * held**2 / 2
    found = mbar(u_kn, [8000, 8000], Statistics(rng))
    assert found.inefficiency_k == pytest.approx([20, 20], rel=0.35)
    e = found.difference("state 0", "state 1")
    honest = mbar(np.array([[1.0], [2.0]]) * x**2 / 2, [400, 400], Statistics(rng), inefficiency_k=[1, 1])
    target = honest.difference("state 0", "state 1").standard_error_asymptotic
    assert e.standard_error_asymptotic == pytest.approx(target, rel=0.25)
    assert e.further["drawn"] == {"state 0": 8000, "state 1": 8000} and max(e.further["used"].values()) < 700


# absolute --------------------------------------------------------------------------------------


def normal_log_density(x, mean, deviation):
    return -((x - mean) ** 2) / (2 * deviation**2) - math.log(deviation * math.sqrt(2 * math.pi))


@pytest.mark.parametrize("depth", [0.0, 215.0])
def test_absolute_mbar_finds_every_harmonic_partition_function(depth):
    """Also where ln Z lies hundreds of kT from the flow's zero, as a molecule's does."""
    rng = np.random.default_rng(70)
    counts = [800, 1000, 0, 500, 600]
    flow = 0.1 + 1.2 * rng.normal(size=1500)
    x = np.r_[flow, harmonic(rng, counts)[0]]
    names = [f"K={k:g}" for k in STIFFNESS]
    found = absolute_mbar(
        normal_log_density(x, 0.1, 1.2),
        1500,
        STIFFNESS[:, None] * x**2 / 2 - depth,
        counts,
        Statistics(rng, coverage=GOOD),
        names=names,
        inefficiency_k=np.ones(5),
    )
    for name, f in zip(names, np.array(F_K) - depth, strict=True):
        e = found.log_partition(name)
        assert e.verdict == "ok" and (e.unit, e.quantity, e.estimator) == ("1", "ln Z", "MBAR")
        assert abs(e.value + f) < min(4 * e.standard_error, 0.1)
        assert e.standard_error_bootstrap == pytest.approx(e.standard_error_asymptotic, rel=0.15)
    difference = found.difference("K=1", "K=16")
    assert difference.value == pytest.approx(
        found.log_partition("K=1").value - found.log_partition("K=16").value
    )


def test_error_bars_of_absolute_mbar_cover():
    """200 replicates, three states, one without samples; acceptance as above (99.9 %)."""
    rng = np.random.default_rng(79)
    stiffness, counts = np.array([1.0, 2.0, 4.0]), [100, 0, 150]
    exact = np.log(2 * math.pi / stiffness) / 2
    by_delta, by_bootstrap = np.zeros(3), np.zeros(3)
    for _ in range(200):
        x = np.r_[0.1 + 1.2 * rng.normal(size=200), harmonic(rng, counts, stiffness)[0]]
        found = absolute_mbar(
            normal_log_density(x, 0.1, 1.2),
            200,
            stiffness[:, None] * x**2 / 2,
            counts,
            Statistics(rng, n_bootstrap=200),
            inefficiency_k=np.ones(3),
        )
        for k in range(3):
            e = found.log_partition(f"state {k}")
            by_delta[k] += abs(e.value - exact[k]) < 1.96 * e.standard_error_asymptotic
            by_bootstrap[k] += e.interval95[0] < exact[k] < e.interval95[1]
    for covered in (by_delta, by_bootstrap):
        assert (covered >= 0.895 * 200).all() and (covered <= 0.990 * 200).all()


def test_without_simulation_it_is_importance_sampling():
    rng = np.random.default_rng(71)
    x = 1.2 * rng.normal(size=2000)
    log_q, u = normal_log_density(x, 0, 1.2), x**2 / 2
    u[::9] = np.inf  # rejected, some of them without a density
    log_q[::18] = np.nan
    e = absolute_mbar(log_q, 2000, u[None], [0], Statistics(rng, coverage=GOOD)).log_partition("state 0")
    alone = log_partition(
        np.where(np.isinf(u), -np.inf, -u - np.nan_to_num(log_q)), Statistics(rng, coverage=GOOD)
    )
    assert e.value == pytest.approx(alone.value, abs=1e-9)
    assert e.standard_error_asymptotic == pytest.approx(alone.standard_error_asymptotic, rel=2e-3)
    assert e.n_effective == pytest.approx(alone.n_effective, rel=1e-6) and e.overlap is None


def test_simulations_sharpen_the_flow():
    """A flow of k = 0.6 errs; frames of the target in the same answer mend it, and the error says so."""
    rng = np.random.default_rng(72)
    deviation, n, m = math.sqrt(0.4), 1000, 1000
    together, alone, error = [], [], []
    for _ in range(30):
        x = np.r_[deviation * rng.normal(size=n), rng.normal(size=m)]
        log_q, u = normal_log_density(x, 0, deviation), x[None] ** 2 / 2
        found = absolute_mbar(log_q, n, u, [m], Statistics(rng, n_bootstrap=20), inefficiency_k=[1])
        e = found.log_partition("state 0")
        together.append(e.value)
        error.append(e.standard_error_asymptotic)
        alone.append(log_partition((-u[0] - log_q)[:n], Statistics(rng, n_bootstrap=2)).value)
    exact = math.log(2 * math.pi) / 2
    spread = np.sqrt(np.mean((np.array(together) - exact) ** 2))
    assert spread < 0.8 * np.sqrt(np.mean((np.array(alone) - exact) ** 2))
    assert spread == pytest.approx(np.mean(error), rel=0.45)  # 30 replicates: 13 % standard deviation


def test_several_flows_enter_as_their_mixture():
    rng = np.random.default_rng(73)
    x = np.r_[rng.normal(size=600) - 1.0, 0.7 * rng.normal(size=1400) + 1.0, 1.5 * rng.normal(size=500)]
    log_q_mn = np.stack([normal_log_density(x, -1, 1), normal_log_density(x, 1, 0.7)])
    u = x[None] ** 2 / (2 * 1.5**2)
    e = absolute_mbar(log_q_mn, [600, 1400], u, [500], Statistics(rng), inefficiency_k=[1]).log_partition(
        "state 0"
    )
    mixture = np.logaddexp(log_q_mn[0] + math.log(0.3), log_q_mn[1] + math.log(0.7))
    same = absolute_mbar(mixture, 2000, u, [500], Statistics(rng), inefficiency_k=[1]).log_partition(
        "state 0"
    )
    assert e.value == pytest.approx(same.value, abs=1e-9)
    assert abs(e.value - math.log(1.5 * math.sqrt(2 * math.pi))) < 4 * e.standard_error


def test_double_well_at_two_temperatures():
    """Frames at beta = 0.3 (grid-drawn, exact) and a two-mode flow: ln Z and moments at beta = 1."""
    rng = np.random.default_rng(74)
    grid = np.linspace(-4, 4, 20_001)
    energy = grid**4 - 6 * grid**2 - grid / 2
    hot = rng.choice(grid, size=4000, p=(p := np.exp(-0.3 * (energy - energy.min()))) / p.sum())
    right = rng.random(4000) < 0.6
    flow = np.where(right, 1.72, -1.71) + 0.35 * rng.normal(size=4000)
    x = np.r_[flow, hot]
    log_q = np.logaddexp(
        math.log(0.6) + normal_log_density(x, 1.72, 0.35), math.log(0.4) + normal_log_density(x, -1.71, 0.35)
    )
    u = x**4 - 6 * x**2 - x / 2
    found = absolute_mbar(
        log_q,
        4000,
        np.stack([u, 0.3 * u]),
        [0, 4000],
        Statistics(rng, coverage=GOOD),
        names=["cold", "hot"],
        inefficiency_k=[1, 1],
    )
    cold, hot_z = found.log_partition("cold"), found.log_partition("hot")
    assert abs(cold.value - math.log(11784.509265)) < min(4 * cold.standard_error, 0.05)
    exact = math.log(np.exp(-0.3 * energy).sum() * (grid[1] - grid[0]))
    assert abs(hot_z.value - exact) < min(4 * hot_z.standard_error, 0.1)


# where there is nothing to know ----------------------------------------------------------------


def test_mbar_without_overlap_says_so_for_the_states_concerned_only():
    rng = np.random.default_rng(75)
    centres = np.array([0.0, 1.0, 40.0])
    x = np.concatenate([c + rng.normal(size=500) for c in centres])
    found = mbar((x - centres[:, None]) ** 2 / 2, [500] * 3, Statistics(rng), inefficiency_k=np.ones(3))
    near, far = found.difference("state 0", "state 1"), found.difference("state 0", "state 2")
    assert near.verdict == "ok" and abs(near.value) < 4 * near.standard_error
    assert far.value is None and far.verdict == "unreliable" and far.reasons[0].startswith("no overlap")
    assert found.overlap < 1e-6
    flow = absolute_mbar(
        normal_log_density(np.r_[x[:500], x[1000:]], 0, 1),
        500,
        (np.r_[x[:500], x[1000:]] - 40.0)[None] ** 2 / 2,
        [500],
        Statistics(rng),
        inefficiency_k=[1],
    ).log_partition("state 0")
    assert flow.value is None and "no overlap between flow and state 0" in flow.reasons[0]


def test_a_chain_of_states_connects_its_ends():
    rng = np.random.default_rng(76)
    centres = np.arange(6) * 1.5
    x = np.concatenate([c + rng.normal(size=400) for c in centres])
    e = mbar(
        (x - centres[:, None]) ** 2 / 2, [400] * 6, Statistics(rng), inefficiency_k=np.ones(6)
    ).difference("state 0", "state 5")
    assert e.verdict == "ok" and abs(e.value) < 4 * e.standard_error and e.overlap > 0.1


def test_mbar_refuses():
    rng = np.random.default_rng(77)
    _, u_kn = harmonic(rng, [20, 20], [1.0, 2.0])
    for counts, match in (([20, 21], "adds up"), ([20], "expected"), ([20.0, 20.0], "whole numbers")):
        with pytest.raises(InputError, match=match):
            mbar(u_kn, counts, Statistics(rng))
    for value, match in ((np.nan, "NaN"), (-np.inf, "-inf"), (np.inf, "no finite energy")):
        bad = u_kn.copy()
        bad[0, 3] = value
        with pytest.raises(InputError, match=match):
            mbar(bad, [20, 20], Statistics(rng))
    with pytest.raises(InputError, match="all different"):
        mbar(u_kn, [20, 20], Statistics(rng), names=["a", "a"])
    with pytest.raises(InputError, match="one sample"):
        mbar([[0.3]], [1], Statistics(rng))
    found = mbar(u_kn, [20, 20], Statistics(rng))
    with pytest.raises(InputError, match="not a state"):
        found.difference("state 0", "elsewhere")
    with pytest.raises(InputError, match="absolute_mbar"):
        found.log_partition("state 0")
    with pytest.raises(InputError, match="do not fit"):
        absolute_mbar(np.zeros(39), 20, u_kn, [10, 10], Statistics(rng))
    with pytest.raises(InputError, match="no samples of a flow"):
        absolute_mbar(np.zeros(40), 0, u_kn, [20, 20], Statistics(rng))
