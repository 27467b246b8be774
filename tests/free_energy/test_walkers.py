"""Error bars of numbers that rest on walkers: nominal 95 % covers, and what counts as a sample is told.

Rows of a walker depend on one another, so that errors of independent rows are too small several times over.
"""

from __future__ import annotations

import numpy as np
import pytest
from ensemble_cases import butane_walkers, of_walkers, rows_of, turned, two_state

from boltzgen.ensemble.chains.walkers import Walkers
from boltzgen.free_energy import (
    Statistics,
    expectation,
    free_energy_surface,
    log_partition,
    populations,
    state_free_energies,
    thermodynamics,
)
from boltzgen.free_energy.populations import share_of

WALKERS, STEPS, REPEATS = 64, 40, 400

#: Chances a step to leave and to enter state A: its share is 2 / 7, and a row in 5.7 is independent.
LEAVE, ENTER = 0.25, 0.1
SHARE = ENTER / (LEAVE + ENTER)


def walkers_of(log_z=None, error=None) -> Walkers:
    rows = rows_of(WALKERS, STEPS, 4)
    return Walkers(rows["walker"], rows["group"], rows["step"], log_z, error)


def marks(rng: np.random.Generator) -> np.ndarray:
    """Rows, step by step, in state A."""
    first = rng.random(WALKERS) < SHARE
    return two_state(WALKERS, STEPS, LEAVE, ENTER, rng, first=first).T.reshape(-1)


def asked(rng: np.random.Generator, **fields) -> Statistics:
    return Statistics(rng, n_bootstrap=400, **fields)


def covered(intervals, exact: float) -> float:
    return float(np.mean([low is not None and low <= exact <= high for low, high in intervals]))


def test_free_energies_of_two_states_are_covered():
    """400 repeats of 64 walkers; rows taken as independent cover in two of three."""
    rng, exact = np.random.default_rng(1), float(np.log(SHARE / (1 - SHARE)))
    ours, naive = [], []
    for _ in range(REPEATS):
        a = marks(rng)
        given = (np.zeros(a.size), {"A": a, "B": ~a}, [("A", "B")])
        ours.append(state_free_energies(*given, asked(rng, walkers=walkers_of()))[0])
        naive.append(state_free_energies(*given, asked(rng))[0])
    assert 0.92 <= covered([one.interval95 for one in ours], exact) <= 0.98
    assert covered([one.interval95 for one in naive], exact) < 0.75
    errors = [one.standard_error for one in ours]
    assert np.mean(errors) == pytest.approx(np.std([one.value for one in ours]), rel=0.1)
    rate = LEAVE + ENTER
    independent = WALKERS * STEPS * rate / (2 - rate)
    assert np.mean([one.n_effective for one in ours]) == pytest.approx(independent * SHARE, rel=0.15)


def test_populations_are_covered():
    rng, intervals = np.random.default_rng(2), []
    for _ in range(REPEATS):
        a = marks(rng)
        found = populations(np.zeros(a.size), {"A": a}, walkers=walkers_of())[0]
        intervals.append(found.interval95)
        share, error = share_of(np.zeros(a.size), a, walkers=walkers_of())
        assert (share, error) == (found.population, found.standard_error)
    assert 0.92 <= covered(intervals, SHARE) <= 0.98


def ar1(rng: np.random.Generator, rho: float = 0.85) -> np.ndarray:
    """Rows, step by step, of mean 1.3 and standard deviation 0.7."""
    x = np.empty((STEPS, WALKERS))
    x[0] = rng.normal(size=WALKERS)
    for t in range(1, STEPS):
        x[t] = rho * x[t - 1] + np.sqrt(1 - rho**2) * rng.normal(size=WALKERS)
    return 1.3 + 0.7 * x.reshape(-1)


def test_means_and_heat_capacities_are_covered():
    """Of a Gaussian energy: <u> = 1.3, <u^2> - <u>^2 = 0.49."""
    rng, means, energies, capacities = np.random.default_rng(3), [], [], []
    for _ in range(REPEATS):
        x, ask = ar1(rng), asked(rng, walkers=walkers_of())
        means.append(expectation(np.zeros(x.size), x, ask).interval95)
        u, c, s, a = thermodynamics(np.zeros(x.size), x, ask)
        energies.append(u.interval95)
        capacities.append(c.interval95)
        assert s.value is None and a.value is None and "ln Z" in a.unknown["value"]
    assert 0.92 <= covered(means, 1.3) <= 0.98 and 0.92 <= covered(energies, 1.3) <= 0.98
    assert 0.92 <= covered(capacities, 0.49) <= 0.98


def test_bands_of_a_surface_are_covered():
    """The free energy of a bin less that of the lowest, of a Gaussian."""
    from scipy.stats import norm

    rng, edges = np.random.default_rng(4), np.array([-1.0, 0.6, 1.3, 2.0, 4.0])
    p = np.diff(norm.cdf(edges, 1.3, 0.7))
    exact = -np.log(p / np.diff(edges))
    inside, effective, mean = [], [], np.zeros(4)
    for _ in range(REPEATS):
        x = ar1(rng)
        found = free_energy_surface(np.zeros(x.size), x, edges, asked(rng, walkers=walkers_of()))
        truth = exact - exact[found.reference[0]]
        inside += [found.low[b] <= truth[b] <= found.high[b] for b in range(4) if b != found.reference[0]]
        effective.append(found.n_effective)
        mean += np.bincount(np.digitize(x, edges[1:-1]), minlength=4) / x.size / REPEATS
    assert mean == pytest.approx(p, abs=0.01)
    assert 0.92 <= np.mean(inside) <= 0.98
    assert (np.mean(effective, axis=0) < 0.6 * WALKERS * STEPS * p).all()


def test_reweighted_walkers_are_covered():
    """Gaussian energies of variance 0.49 weighed by exp(-u / 4): the mean moves by -0.49 / 4."""
    rng, intervals = np.random.default_rng(5), []
    for _ in range(REPEATS):
        x = ar1(rng)
        found = expectation(-x / 4, x, asked(rng, walkers=walkers_of()))
        intervals.append(found.interval95)
    assert 0.92 <= covered(intervals, 1.3 - 0.49 / 4) <= 0.98


def test_ln_z_of_walkers_is_that_of_their_chains_and_has_its_error():
    """Theirs alone; of a state, the scatter among walkers and the error of the chains, in squares."""
    rng = np.random.default_rng(6)
    x, a = ar1(rng), marks(rng)
    ask = asked(rng, walkers=walkers_of(-7.5, 0.3))
    whole = log_partition(np.full(x.size, -7.5), ask)
    assert whole.value == pytest.approx(-7.5) and whole.standard_error == pytest.approx(0.3)
    low, high = whole.interval95
    assert (low, high) == pytest.approx((-7.5 - 1.96 * 0.3, -7.5 + 1.96 * 0.3), abs=1e-3)
    state = log_partition(np.where(a, -7.5, -np.inf), ask)
    share, error = share_of(np.zeros(a.size), a, walkers=walkers_of())
    assert state.value == pytest.approx(-7.5 + np.log(share))
    assert state.standard_error_asymptotic == pytest.approx(np.hypot(0.3, error / share), rel=1e-6)
    nobody = log_partition(np.zeros(x.size), asked(rng, walkers=walkers_of()))
    assert nobody.value is None and nobody.standard_error is None
    unsure = log_partition(np.full(x.size, -7.5), asked(rng, walkers=walkers_of(-7.5)))
    assert unsure.value == -7.5 and unsure.standard_error is None and unsure.unknown["standard_error"]


def test_one_walker_has_no_error_bar():
    rng = np.random.default_rng(7)
    one = Walkers(np.zeros(500, int), np.zeros(500, int), np.arange(500))
    x = rng.normal(size=500)
    found = expectation(np.zeros(500), x, asked(rng, walkers=one))
    assert found.value == pytest.approx(x.mean()) and found.standard_error is None
    masks = {"A": x > 0.3, "B": x <= 0.3}
    (difference,) = state_free_energies(np.zeros(500), masks, [("A", "B")], asked(rng, walkers=one))
    assert difference.value is not None and difference.unknown["standard_error"] == "it rests on one walker"
    assert populations(np.zeros(500), masks, walkers=one)[0].standard_error is None


def test_a_state_that_walkers_began_in_and_never_left_is_not_known():
    rng = np.random.default_rng(8)
    a = np.tile(np.arange(WALKERS) < 20, STEPS)
    given = (np.zeros(a.size), {"A": a, "B": ~a}, [("A", "B")], asked(rng, walkers=walkers_of()))
    (found,) = state_free_energies(*given)
    assert found.verdict == "unreliable" and any("and left it 0 times" in why for why in found.reasons)
    assert found.standard_error is None
    shares = populations(*given[:2], walkers=walkers_of())
    assert shares[0].standard_error is None and "entered" in shares[0].to_json()["reasons"][0]


def test_estimates_inherit_what_is_found_of_the_walkers():
    good = {"verdict": "ok", "reasons": [], "source": "MD", "forward_ess": None, "states": []}
    for case, verdict in (("", "ok"), ("groups apart", "unreliable"), ("short", "caution")):
        ensemble = butane_walkers(case, coverage=good)
        ask = Statistics(np.random.default_rng(9), n_bootstrap=50).about(ensemble)
        third = np.mod(np.arctan2(ensemble.positions[:, 3, 2], ensemble.positions[:, 3, 1]), 2 * np.pi)
        masks = {"A": third < 2.1, "rest": third >= 2.1}
        (found,) = state_free_energies(ensemble.log_w, masks, [("A", "rest")], ask)
        assert found.verdict == verdict, found.reasons
    unchecked = Statistics(np.random.default_rng(9)).about(butane_walkers())
    assert unchecked.coverage["verdict"] == "caution"


def test_a_frozen_torsion_spoils_every_answer():
    rows = rows_of(32, 20, 4)
    rng = np.random.default_rng(10)
    angle = rng.uniform(-3, 3, 32)[rows["walker"]]
    names = [{"name": "C1-C2-C3-C4", "atoms": [0, 1, 2, 3]}]
    ensemble = of_walkers(turned(angle), rng.normal(size=640), rows, torsions=names)
    ask = Statistics(rng, n_bootstrap=50).about(ensemble)
    assert expectation(ensemble.log_w, ensemble.u, ask).verdict == "unreliable"
