"""Free-energy surfaces: closed forms, bands that cover, empty bins, the circle, refusals."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr

from boltzgen.errors import InputError
from boltzgen.free_energy import free_energy_surface, state_free_energies
from boltzgen.free_energy.statistics import Statistics

GOOD = {"verdict": "ok", "reasons": []}
EDGES = np.linspace(-2.4, 2.4, 13)


def weighted_normal(rng, n, s2=0.85):
    """Samples of variance `s2` with log-weights to the standard normal density."""
    x = math.sqrt(s2) * rng.normal(size=n)
    return x, -(x**2) / 2 + x**2 / (2 * s2)


def exact_normal(edges):
    return -np.log(np.diff(ndtr(edges)) / np.diff(edges))


# against exact answers -------------------------------------------------------------------------


def test_one_dimension_with_uneven_bins():
    rng = np.random.default_rng(81)
    x, log_w = weighted_normal(rng, 50_000)
    edges = np.array([-2.0, -1.5, -1.2, -0.5, 0.4, 0.5, 1.0, 2.5])
    s = free_energy_surface(log_w, x, edges, Statistics(rng, n_bootstrap=100, coverage=GOOD), names=["x"])
    assert s.verdict == "ok" and s.reasons == () and s.free_energy[s.reference] == 0
    exact = exact_normal(edges) - exact_normal(edges)[s.reference]
    known = np.arange(len(exact)) != s.reference[0]
    z = ((s.free_energy - exact) / np.where(known, s.standard_error, 1.0))[known]
    assert np.abs(z).max() < 4 and np.abs(s.free_energy - exact).max() < 0.05
    assert s.n.sum() == np.sum((x >= -2.0) & (x < 2.5))
    assert s.outside == pytest.approx(1 - (ndtr(2.5) - ndtr(-2.0)), abs=0.005)


def test_two_dimensions_on_a_torus():
    """exp(-2 cos phi - cos(2 psi) - cos phi cos psi), drawn uniformly; bin integrals by a fine grid."""
    rng = np.random.default_rng(82)

    def energy(phi, psi):
        return 2 * np.cos(phi) + np.cos(2 * psi) + np.cos(phi) * np.cos(psi)

    angles = rng.uniform(-180, 180, size=(400_000, 2))
    edges = [np.linspace(-180, 180, 13), np.linspace(-180, 180, 9)]
    log_w = -energy(*np.radians(angles.T))
    s = free_energy_surface(
        log_w, angles, edges, Statistics(rng, n_bootstrap=200, coverage=GOOD), periodic=True
    )
    fine = np.radians(-180 + 360 * (np.arange(480) + 0.5) / 480)
    boltzmann = np.exp(-energy(fine[:, None], fine[None]))
    exact = -np.log(boltzmann.reshape(12, 40, 8, 60).sum(axis=(1, 3)))
    exact -= exact[s.reference]
    others = s.standard_error > 0
    assert others.sum() == 95 and s.outside == 0 and s.verdict == "ok"
    z = (s.free_energy - exact)[others] / s.standard_error[others]
    assert np.abs(z).max() < 4.2 and np.abs(s.free_energy - exact).max() < 0.1  # the largest of 95


def test_a_turn_of_the_circle_changes_nothing():
    rng = np.random.default_rng(83)
    angle = rng.uniform(-180, 180, size=2000)
    log_w, edges = np.cos(np.radians(angle)), np.linspace(0, 360, 10)
    one = free_energy_surface(log_w, angle, edges, Statistics(np.random.default_rng(1)), periodic=True)
    two = free_energy_surface(
        log_w, angle + 720, edges, Statistics(np.random.default_rng(1)), periodic=[True]
    )
    assert one.outside == 0 and (one.n == two.n).all() and one.n.sum() == 2000
    assert one.free_energy == pytest.approx(two.free_energy, abs=1e-9)
    line = free_energy_surface(log_w, angle, edges, Statistics(np.random.default_rng(1)))
    assert line.outside == pytest.approx(0.5, abs=0.05)


def test_a_bin_is_a_state():
    """The difference of two bins, with both errors, is that of the states they are."""
    rng = np.random.default_rng(84)
    x, log_w = weighted_normal(rng, 6000)
    s = free_energy_surface(log_w, x, EDGES, Statistics(rng, inefficiency=3.0))
    lowest, other = s.reference[0], 2
    masks = {name: (x >= EDGES[b]) & (x < EDGES[b + 1]) for name, b in (("lowest", lowest), ("other", other))}
    e = state_free_energies(log_w, masks, [("lowest", "other")], Statistics(rng, inefficiency=3.0))[0]
    assert s.free_energy[other] == pytest.approx(e.value, abs=1e-9)
    assert s.standard_error_asymptotic[other] == pytest.approx(e.standard_error_asymptotic, rel=1e-9)
    assert s.standard_error_bootstrap[other] == pytest.approx(e.standard_error_bootstrap, rel=0.15)
    assert s.n_effective[other] <= s.n[other] / 3.0
    assert s.low[other] == pytest.approx(e.interval95[0], abs=0.3 * e.standard_error)
    assert s.high[other] == pytest.approx(e.interval95[1], abs=0.3 * e.standard_error)


def test_bands_cover():
    """200 replicates, wide lowest bin (so that the reference never changes), three other bins.

    Acceptance for each holds a true 95 % in 999 of 1000 cases.
    """
    rng = np.random.default_rng(85)
    edges = np.array([-3.0, -1.5, -0.3, 0.3, 1.5])
    exact = exact_normal(edges) - exact_normal(edges)[2]
    by_delta, by_bootstrap = np.zeros(4), np.zeros(4)
    for _ in range(200):
        x, log_w = weighted_normal(rng, 700)
        s = free_energy_surface(log_w, x, edges, Statistics(rng, n_bootstrap=150))
        assert s.reference == (2,)
        by_delta += np.abs(s.free_energy - exact) < 1.96 * s.standard_error_asymptotic
        by_bootstrap += (s.low < exact) & (exact < s.high)
    for covered in (by_delta, by_bootstrap):
        assert (covered[[0, 1, 3]] >= 0.895 * 200).all() and (covered[[0, 1, 3]] <= 0.990 * 200).all()


# what is not known -----------------------------------------------------------------------------


def test_empty_and_poor_bins_are_marked():
    rng = np.random.default_rng(86)
    x = np.r_[rng.normal(size=3000) * 0.3, 5.05, 5.06, 5.07]
    s = free_energy_surface(np.zeros(3003), x, np.linspace(-1, 6, 8), Statistics(rng, coverage=GOOD))
    assert (s.n == 0).sum() == 4 and np.isnan(s.free_energy[s.n == 0]).all()
    for band in (s.standard_error, s.standard_error_asymptotic, s.low, s.high):
        assert np.isnan(band[s.n == 0]).all()
    assert np.isnan(s.standard_error_bootstrap[6]) and np.isinf(s.high[6]) and np.isfinite(s.low[6])
    assert s.verdict == "caution" and s.reasons[0].startswith("1 of 3 occupied bins rest on fewer than 10")
    content = s.to_json()
    text = json.dumps(content, allow_nan=False)
    assert "NaN" not in text and content["free_energy"][3] is None and content["high"][6] is None
    rows = list(s.rows())
    assert len(rows) == 7 and rows[3]["free_energy"] is None and rows[3]["n"] == 0
    assert rows[6]["n"] == 3 and rows[6]["x0"] == pytest.approx(5.5)


def test_record_of_a_surface_matches_the_golden_file():
    rng = np.random.default_rng(88)
    x, log_w = weighted_normal(rng, 4000)
    found = free_energy_surface(
        log_w,
        x,
        [-1.0, 0.0, 0.5, 6.0, 7.0],
        Statistics(rng, n_bootstrap=50, coverage=GOOD),
        names=["d"],
        units=["nm"],
    ).to_json()
    golden = json.loads((Path(__file__).parents[1] / "golden" / "surface.json").read_text())
    assert list(found) == list(golden)
    for key, value in golden.items():
        # the bootstrap may differ in its draws between versions of numpy, the rest may not
        tolerance = 0.5 if key in ("standard_error", "standard_error_bootstrap", "low", "high") else 1e-6
        if not (isinstance(value, list) and value and isinstance(value[0], float)):
            assert found[key] == value or found[key] == pytest.approx(value), key
            continue
        assert [v is None for v in found[key]] == [v is None for v in value], key
        assert [v or 0.0 for v in found[key]] == pytest.approx([v or 0.0 for v in value], rel=tolerance), key


def test_rows_of_two_dimensions():
    rng = np.random.default_rng(87)
    x = rng.random((300, 2))
    s = free_energy_surface(
        np.zeros(300), x, [[0, 0.5, 1], [0, 0.2, 0.6, 1]], Statistics(rng), names=["a", "b"]
    )
    rows = list(s.rows())
    assert [(round(r["a"], 3), round(r["b"], 3)) for r in rows[:4]] == [
        (0.25, 0.1),
        (0.25, 0.4),
        (0.25, 0.8),
        (0.75, 0.1),
    ]
    assert rows[5]["free_energy"] == pytest.approx(s.free_energy[1, 2]) and sum(r["n"] for r in rows) == 300


def test_nothing_to_draw():
    rng = np.random.default_rng(1)
    dead = free_energy_surface(np.full(40, -np.inf), np.full(40, np.nan), EDGES, Statistics(rng))
    assert dead.verdict == "unreliable" and dead.reference is None and dead.outside is None
    assert np.isnan(dead.free_energy).all() and (dead.n == 0).all()
    elsewhere = free_energy_surface(np.zeros(40), np.full(40, 9.0), EDGES, Statistics(rng, coverage=GOOD))
    assert elsewhere.verdict == "unreliable" and "no sample with weight lies inside" in elsewhere.reasons[0]
    assert elsewhere.outside == pytest.approx(1)
    json.dumps(dead.to_json(), allow_nan=False)


def test_what_is_refused():
    rng, w, x = np.random.default_rng(1), np.zeros(5), np.linspace(-1, 1, 5)
    with pytest.raises(InputError, match="one sample"):
        free_energy_surface([0.3], [0.1], EDGES, Statistics(rng))
    with pytest.raises(InputError, match="expected"):
        free_energy_surface(w, np.zeros((5, 3)), [EDGES] * 3, Statistics(rng))
    with pytest.raises(InputError, match="expected"):
        free_energy_surface(w, x[:4], EDGES, Statistics(rng))
    with pytest.raises(InputError, match="sample 2 is NaN"):
        free_energy_surface(w, np.where(np.arange(5) == 2, np.nan, x), EDGES, Statistics(rng))
    for bad in ([0.0, 0.0, 1.0], [1.0, 0.0], [0.0, np.nan], [0.5]):
        with pytest.raises(InputError, match="edges must be"):
            free_energy_surface(w, x, bad, Statistics(rng))
    with pytest.raises(InputError, match="sets of bin edges"):
        free_energy_surface(w, np.stack([x, x], axis=1), [EDGES], Statistics(rng))
    with pytest.raises(InputError, match="one entry for each"):
        free_energy_surface(w, x, EDGES, Statistics(rng), names=["a", "b"])
    with pytest.raises(InputError, match="more than"):
        free_energy_surface(w, np.stack([x, x], axis=1), [np.linspace(-1, 1, 302)] * 2, Statistics(rng))
