"""Energy, heat capacity and entropy: closed forms, quadrature, two roads, error bars, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from boltzgen.errors import InputError
from boltzgen.free_energy import log_partition, state_free_energies, thermodynamics
from boltzgen.free_energy.statistics import Statistics
from boltzgen.units import GAS_CONSTANT

GOOD = {"verdict": "ok", "reasons": []}


def harmonic(rng, n, d, stiffness=2.0, s2=0.95):
    """log-weights and reduced energies of a harmonic well of d dimensions, drawn at `s2` of its variance."""
    variance = s2 / stiffness
    x = math.sqrt(variance) * rng.normal(size=(n, d))
    square = (x**2).sum(axis=1)
    log_q = -square / (2 * variance) - d / 2 * math.log(2 * math.pi * variance)
    u = stiffness * square / 2
    return -u - log_q, u


def double_well(rng, n, width=0.5):
    """log-weights, reduced energies and x of x^4 - 6x^2 - x/2, from two Gaussians of the same width."""
    right = rng.random(n) < 0.6
    x = np.where(right, 1.72, -1.71) + width * rng.normal(size=n)
    log_q = np.logaddexp(
        math.log(0.6) - ((x - 1.72) / width) ** 2 / 2, math.log(0.4) - ((x + 1.71) / width) ** 2 / 2
    ) - math.log(width * math.sqrt(2 * math.pi))
    u = x**4 - 6 * x**2 - x / 2
    return -u - log_q, u, x


def quadrature(inside=lambda x: np.ones_like(x, dtype=bool)):
    """U/kT, C/k, S/k and A/kT of the double well (or of a state of it)."""
    x = np.linspace(-5, 5, 200_001)
    u = (x**4 - 6 * x**2 - x / 2)[inside(x)]
    p = np.exp(-u)
    z = p.sum() * (x[1] - x[0])
    mean = (p @ u) / p.sum()
    return mean, (p @ u**2) / p.sum() - mean**2, mean + math.log(z), -math.log(z)


@pytest.mark.parametrize("smoothed", [False, True])
def test_harmonic_well(smoothed):
    rng = np.random.default_rng(91)
    d, stiffness = 10, 2.0
    log_w, u = harmonic(rng, 40_000, d, stiffness)
    found = thermodynamics(log_w, u, Statistics(rng, smoothed=smoothed, coverage=GOOD))
    entropy = d / 2 + d / 2 * math.log(2 * math.pi / stiffness)
    exact = {"U": d / 2, "C": d / 2, "S": entropy, "A": -d / 2 * math.log(2 * math.pi / stiffness)}
    assert [e.name for e in found] == list(exact) and [e.unit for e in found] == ["kT", "k", "k", "kT"]
    for e in found:
        assert e.verdict == "ok", e.reasons
        assert abs(e.value - exact[e.name]) < min(4 * e.standard_error, 0.2)
        assert e.further["by_reweighting"] == pytest.approx(e.value, abs=e.standard_error)
        assert e.standard_error_bootstrap == pytest.approx(e.standard_error_asymptotic, rel=0.2)


def test_double_well_by_quadrature_whole_and_by_state():
    rng = np.random.default_rng(92)
    log_w, u, x = double_well(rng, 60_000)
    for inside in (lambda x: x > 0, lambda x: x <= 0, lambda x: x < 9):
        found = thermodynamics(
            np.where(inside(x), log_w, -np.inf), u, Statistics(rng, n_bootstrap=200, coverage=GOOD)
        )
        for e, exact in zip(found, quadrature(inside), strict=True):
            assert e.verdict == "ok" and abs(e.value - exact) < min(4 * e.standard_error, 0.05)


def test_a_state_difference_is_energy_less_entropy():
    rng = np.random.default_rng(93)
    log_w, u, x = double_well(rng, 5000)
    sides = {"left": x < 0, "right": x >= 0}
    left, right = (thermodynamics(np.where(m, log_w, -np.inf), u, Statistics(rng)) for m in sides.values())
    difference = state_free_energies(log_w, sides, [("left", "right")], Statistics(rng))[0].value
    assert (right[0].value - right[2].value) - (left[0].value - left[2].value) == pytest.approx(difference)
    assert right[3].value - left[3].value == pytest.approx(difference)


def test_free_energy_is_that_of_log_partition():
    rng = np.random.default_rng(94)
    log_w, u = harmonic(rng, 3000, 6)
    log_w[::5] = -np.inf
    z = log_partition(log_w, Statistics(rng))
    a = thermodynamics(log_w, u, Statistics(rng))[3]
    assert a.value == pytest.approx(-z.value, abs=1e-9)
    assert a.standard_error_asymptotic == pytest.approx(z.standard_error_asymptotic, rel=1e-9)


def test_large_energies_keep_their_digits():
    rng = np.random.default_rng(95)
    log_w, u = harmonic(rng, 5000, 20)
    offset = -2.5e6
    plain = thermodynamics(log_w, u, Statistics(np.random.default_rng(1)))
    moved = thermodynamics(log_w - offset, u + offset, Statistics(np.random.default_rng(1)))
    shifts = (offset, 0.0, 0.0, offset)
    for one, other, shift in zip(plain, moved, shifts, strict=True):
        assert other.value - shift == pytest.approx(one.value, rel=1e-6)
        assert other.standard_error == pytest.approx(one.standard_error, rel=1e-4)


def test_error_bars_are_the_spread_of_replicates():
    """200 replicates: the spread is known to 5 %; nominal 95 % covers within the acceptance of 99.9 %."""
    rng = np.random.default_rng(96)
    exact = np.array([5.0, 5.0, 5.0 + 5 * math.log(math.pi), -5 * math.log(math.pi)])
    values, errors = [], []
    for _ in range(200):
        log_w, u = harmonic(rng, 1000, 10)
        found = thermodynamics(log_w, u, Statistics(rng, n_bootstrap=2))
        values.append([e.value for e in found])
        errors.append([e.standard_error_asymptotic for e in found])
    values, errors = np.array(values), np.array(errors)
    assert np.mean(errors, axis=0) == pytest.approx(values.std(axis=0), rel=0.2)
    covered = (np.abs(values - exact) < 1.96 * errors).mean(axis=0)
    assert (covered >= 0.895).all() and (covered <= 0.990).all()


def test_samples_that_do_not_carry_the_neighbouring_temperature_are_noted():
    """66 dimensions: 8 % in temperature leaves few effective samples of 400, 1 % enough."""
    rng = np.random.default_rng(97)
    log_w, u = harmonic(rng, 400, 66, s2=1.0)
    near = thermodynamics(log_w, u, Statistics(rng, coverage=GOOD), relative_step=0.005)
    far = thermodynamics(log_w, u, Statistics(rng, coverage=GOOD), relative_step=0.25)
    assert not any("reweighting" in reason for e in near for reason in e.reasons)
    assert any("more than a standard error apart" in reason for e in far for reason in e.reasons)


def test_units():
    rng = np.random.default_rng(98)
    log_w, u = harmonic(rng, 500, 3)
    energy, capacity = (e.to_json(310.0) for e in thermodynamics(log_w, u, Statistics(rng))[:2])
    assert energy["value"]["kJ/mol"] / energy["value"]["kT"] == pytest.approx(GAS_CONSTANT * 310)
    assert capacity["value"]["kJ/mol/K"] / capacity["value"]["k"] == pytest.approx(GAS_CONSTANT)
    assert capacity["value"]["kJ/mol/K"] / capacity["value"]["kcal/mol/K"] == pytest.approx(4.184)
    model = thermodynamics(log_w, u, Statistics(rng))[1].to_json(None)
    assert model["value"]["kJ/mol/K"] is None
    assert any(reason.startswith("kJ/mol/K is null") for reason in model["reasons"])


def test_bad_input():
    rng = np.random.default_rng(1)
    dead = thermodynamics(np.full(20, -np.inf), np.full(20, np.nan), Statistics(rng))
    assert all(e.value is None and e.verdict == "unreliable" for e in dead)
    assert dead[0].to_json(300.0)["by_reweighting"] is None
    with pytest.raises(InputError, match="one sample"):
        thermodynamics([0.1], [0.2], Statistics(rng))
    with pytest.raises(InputError, match="sample 1 is nan"):
        thermodynamics([0.1, 0.2], [0.2, np.nan], Statistics(rng))
    with pytest.raises(InputError, match="one value a sample"):
        thermodynamics([0.1, 0.2], [0.2, 0.3, 0.4], Statistics(rng))
    for step in (0.0, -0.1, 0.5):
        with pytest.raises(InputError, match="relative step"):
            thermodynamics([0.1, 0.2], [0.2, 0.3], Statistics(rng), relative_step=step)
