"""Populations, free energies and entropies of wells against quadrature, and their error bars."""

from __future__ import annotations

import numpy as np
import pytest
from three_wells import BETA, chain_of_four, exact, samples

from boltzgen.ensemble.chains.walkers import Walkers
from boltzgen.errors import InputError
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.thermodynamics import thermodynamics
from boltzgen.potentials.of_system import potential_of
from boltzgen.wells import populations
from boltzgen.wells.gathering import gathered
from boltzgen.wells.populations import figures, near_pose

#: ``|phi| = 2.0`` divides the wells closely enough to tell rows apart without minimising them.
TRANS, GAUCHE = 0, 1


def nobody(name, mask):
    return []


def told(seed: int = 0, **fields) -> Statistics:
    return Statistics(np.random.default_rng(seed), n_bootstrap=200, **fields)


@pytest.fixture(scope="module")
def minimised():
    ensemble = samples(4000, 5)
    system = chain_of_four()
    found = gathered(system, potential_of(system), np.asarray(ensemble.positions))
    degeneracies = np.array([well.degeneracy for well in found.wells])
    return ensemble, found.codes, degeneracies


def test_the_closed_form(minimised):
    """Populations, energies, entropies and ln Z within four errors, which are small."""
    ensemble, codes, degeneracies = minimised
    found = figures(ensemble.log_w, ensemble.u, codes, degeneracies, told().about(ensemble), judge=nobody)
    right = exact()
    assert found.absolute and len(found.wells) == 2
    for one in found.wells:
        k = TRANS if degeneracies[one.well] == 1 else GAUCHE
        free = -np.log(right.shares[k] / right.shares.max())
        for value, error, wanted, least in (
            (one.population.population, one.population.standard_error, right.shares[k], 0.02),
            (one.free_energy.value, one.free_energy.standard_error, free, 0.08),
            (one.energy.value, one.energy.standard_error, right.energies[k], 0.1),
            (one.entropy.value, one.entropy.standard_error, right.entropies[k], 0.1),
        ):
            assert abs(value - wanted) <= 4 * error and error < least
    mixing, apart, mean, total = found.entropies
    p = right.shares
    assert mixing.value == pytest.approx(-(p * np.log(p)).sum(), abs=4 * mixing.standard_error + 1e-3)
    assert apart.value - mixing.value == pytest.approx(p[GAUCHE] * np.log(2), abs=0.05)
    assert mean.value == pytest.approx((p * right.entropies).sum(), abs=4 * mean.standard_error)
    whole = (p * right.energies).sum() + right.log_z
    assert total.value == pytest.approx(whole, abs=4 * total.standard_error)


def test_the_parts_add_up_to_the_entropy_of_all(minimised):
    """``<u> + ln Z`` by another road, to rounding; and without ln Z the same over the first well's."""
    ensemble, codes, degeneracies = minimised
    given = (ensemble.log_w, ensemble.u, codes, degeneracies)
    found = figures(*given, told().about(ensemble), judge=nobody)
    entropy = thermodynamics(ensemble.log_w, ensemble.u, told().about(ensemble))[2]
    mixing, _, mean, total = found.entropies
    assert total.value == pytest.approx(entropy.value, abs=1e-9)
    assert total.value == pytest.approx(mixing.value + mean.value, abs=1e-9)
    relative = figures(*given, told().about(ensemble), judge=nobody, absolute=False)
    first = found.wells[0].entropy.value
    assert relative.wells[0].entropy.value == 0 and not relative.absolute
    assert relative.wells[1].entropy.value == pytest.approx(found.wells[1].entropy.value - first, abs=1e-9)
    assert relative.entropies[2].value == pytest.approx(mean.value - first, abs=1e-9)


def test_more_wells_than_figures(minimised, monkeypatch):
    """Entropies of all wells, as means over samples, equal those by the sums; so do those without ln Z."""
    ensemble, codes, degeneracies = minimised
    split = codes + len(degeneracies) * (np.arange(len(codes)) % 3)  # each well in three
    given = (ensemble.log_w, ensemble.u, split, np.tile(degeneracies, 3))
    for absolute in (True, False):
        fields = {"judge": nobody, "absolute": absolute}
        monkeypatch.setattr(populations, "MOST_WELLS", 100)
        every = figures(*given, told().about(ensemble), **fields)
        monkeypatch.setattr(populations, "MOST_WELLS", 2)
        few = figures(*given, told().about(ensemble), **fields)
        assert (len(every.wells), len(few.wells), few.others) == (6, 2, 4)
        rest = sum(one.population.population for one in every.wells[2:])
        assert few.rest == pytest.approx(rest, abs=1e-12)
        for one, other in zip(every.entropies, few.entropies, strict=True):
            assert other.value == pytest.approx(one.value, abs=1e-9)
            assert other.standard_error == pytest.approx(one.standard_error, rel=0.15)
        for one, other in zip(every.wells, few.wells, strict=False):
            assert other.free_energy.value == pytest.approx(one.free_energy.value, abs=1e-9)
            assert other.entropy.value == pytest.approx(one.entropy.value, abs=1e-9)


def test_error_bars_cover():
    """200 repeats of 300 samples: nominal 95 % of population, free energy, entropies; told by torsion."""
    right, covered = exact(), {name: [] for name in ("share", "free", "entropy", "mixing", "mean")}
    p = right.shares
    mixing, mean = -(p * np.log(p)).sum(), (p * right.entropies).sum()
    for seed in range(200):
        one = samples(300, 1000 + seed)
        x = np.asarray(one.positions)
        phi = np.arctan2(x[:, 3, 2], x[:, 3, 1])
        codes = (np.abs(phi) < 2.0815).astype(int)
        found = figures(one.log_w, one.u, codes, np.array([1, 2]), told(seed).about(one), judge=nobody)
        for well in found.wells:
            if well.well == GAUCHE:
                free = -np.log(p[GAUCHE] / p[TRANS])
                sign = 1 if found.wells[0].well == TRANS else 0
                covered["share"].append(_inside(well.population.interval95, p[GAUCHE]))
                covered["entropy"].append(_inside(well.entropy.interval95, right.entropies[GAUCHE]))
                if sign:
                    covered["free"].append(_inside(well.free_energy.interval95, free))
        covered["mixing"].append(_inside(found.entropies[0].interval95, mixing))
        covered["mean"].append(_inside(found.entropies[2].interval95, mean))
    for name, hits in covered.items():
        assert len(hits) > 100 and 0.895 <= np.mean(hits) <= 0.99, (name, np.mean(hits))


def _inside(interval, value) -> bool:
    low, high = interval
    return low is not None and high is not None and low <= value <= high


def test_walkers_that_stay_in_their_wells_are_unreliable():
    """Forty walkers of forty rows each in one well: many rows, and the population is that of the starts."""
    from boltzgen.ensemble.chains.diagnostics import judge_crossings

    rows = np.arange(1600)
    walkers = Walkers(rows % 40, rows % 4, rows // 40)
    codes = (rows % 40 < 10).astype(int)

    def judge(name, mask):
        return judge_crossings(name, *walkers.crossings(mask))

    found = figures(
        np.zeros(1600),
        np.random.default_rng(1).normal(size=1600),
        codes,
        np.array([1, 1]),
        told(
            walkers=walkers, coverage={"verdict": "ok", "reasons": [], "chained": True, "bulk_samples": 900}
        ),
        judge=judge,
    )
    assert not found.absolute
    assert {one.free_energy.verdict for one in found.wells} == {"unreliable"}
    assert any("entered" in reason for reason in found.wells[1].free_energy.reasons)


def test_rare_wells_have_no_error_bar():
    ensemble = samples(500, 3)
    codes = np.zeros(500, dtype=int)
    codes[7] = 1
    found = figures(ensemble.log_w, ensemble.u, codes, np.array([1, 1]), told().about(ensemble), judge=nobody)
    rare = found.wells[1]
    assert rare.population.standard_error is None and rare.free_energy.standard_error is None
    assert rare.free_energy.verdict == "unreliable" and rare.entropy.interval95 == (None, None)
    assert found.wells[0].free_energy.verdict != "unreliable"


def test_a_pose_is_a_share():
    ensemble = samples(3000, 2)
    x = np.asarray(ensemble.positions)
    near = np.abs(np.arctan2(x[:, 3, 2], x[:, 3, 1])) > 2.9
    share, estimate = near_pose(ensemble.log_w, near, told().about(ensemble), judge=nobody)
    weights = np.exp(ensemble.log_w - ensemble.log_w.max())
    assert estimate.value == pytest.approx(-np.log(weights[near].sum() / weights.sum()), abs=1e-9)
    assert estimate.value == pytest.approx(-np.log(share.population), abs=1e-9)
    assert 0 < estimate.standard_error < 0.2
    phi = np.linspace(-np.pi, np.pi, 100001)
    from three_wells import torsion_energy

    density = np.exp(-BETA * torsion_energy(phi))
    wanted = -np.log(density[np.abs(phi) > 2.9].sum() / density.sum())
    assert abs(estimate.value - wanted) < 4 * estimate.standard_error
    nowhere, none = near_pose(ensemble.log_w, np.zeros(3000, bool), told().about(ensemble), judge=nobody)
    assert nowhere.population == 0 and none.value is None and none.verdict == "unreliable"


def test_a_code_without_weight_is_refused():
    with pytest.raises(InputError):
        figures(np.zeros(1), np.zeros(1), np.zeros(1, int), np.array([1]), told(), judge=nobody)
