"""The tail fit: sign, shape and smoothed weights, whatever arviz-stats does in its next version."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers import ROOT
from scipy.special import ndtri

from boltzgen.ensemble.diagnostics import pareto_k
from boltzgen.ensemble.pareto import smoothed_tail
from boltzgen.errors import InputError
from boltzgen.free_energy.importance import smoothed_log_weights

#: `CASES` maps a name to (log-weights, r_eff), the same on every machine. For each of them the file holds
#: what ArviZ 0.23.4 said before boltzgen left it: the k-hat of its ``psislw(log_w, reff=r_eff)``, and the
#: ends, mean and standard deviation of the smoothed, normalised log-weights.
GOLDEN = json.loads(
    (ROOT / "tests" / "cases" / "files" / "psis_arviz_0.23.4.json").read_text(encoding="utf-8")
)

#: What arviz-stats has no answer for any more, and so nor do we: the lowest quarter of the tail is equal.
NO_SHAPE = ("normal 25 1.0", "normal 25 0.13", "few values")


def shuffled_uniform(n: int, start: float = 0.5) -> np.ndarray:
    """n numbers that fill (0, 1) evenly, in an order that looks random (multiples of the golden ratio)."""
    return np.mod(start + 0.6180339887498949 * np.arange(1, n + 1), 1.0) * (1 - 2e-9) + 1e-9


def generalised_pareto(u_n: np.ndarray, k: float, sigma: float = 1.0, mu: float = 0.0) -> np.ndarray:
    """Quantiles of the generalised Pareto distribution at `u_n`; k is not 0."""
    return mu + sigma * np.expm1(-k * np.log1p(-u_n)) / k


def _cases() -> dict[str, tuple[np.ndarray, float]]:
    found: dict[str, tuple[np.ndarray, float]] = {}
    for n in (25, 27, 99, 225, 226, 1000, 4001):
        for r_eff in (1.0, 0.13):
            found[f"normal {n} {r_eff}"] = (1.7 * ndtri(shuffled_uniform(n)) - 345.6, r_eff)
    for k in (-0.4, 0.2, 0.5, 0.8, 1.3):
        w_n = generalised_pareto(shuffled_uniform(3000, 0.31), k, 2.5, 0.7)
        found[f"Pareto {k}"] = (np.log(w_n), 1.0)
    normal = 3 * ndtri(shuffled_uniform(2000))
    found["ties at the cutoff"] = (np.repeat(normal[:400], 5), 1.0)
    found["few values"] = (np.round(normal[:1000]), 1.0)
    found["beyond the range of exp"] = (200 * normal, 1.0)
    found["almost equal"] = (-8.5 + 1e-3 * normal, 1.0)
    return found


CASES = _cases()


@pytest.mark.parametrize("name", sorted(set(CASES) - set(NO_SHAPE)))
def test_the_answers_are_those_of_arviz_before_it_changed(name):
    """k-hat to 1e-9, the smoothed weights as a set: equal weights may change places."""
    log_w, r_eff = CASES[name]
    given = log_w.copy()
    smoothed, k = smoothed_tail(log_w, r_eff)
    assert (log_w == given).all()
    reference = GOLDEN[name]
    assert k == pytest.approx(reference["k_hat"], abs=1e-9)
    normalised = smoothed - np.logaddexp.reduce(smoothed)
    for key, value in (
        ("smallest", normalised.min()),
        ("largest", normalised.max()),
        ("mean", normalised.mean()),
        ("deviation", normalised.std()),
    ):
        assert value == pytest.approx(reference[key], rel=1e-10, abs=1e-9), key


@pytest.mark.parametrize("name", NO_SHAPE)
def test_what_no_version_answers_any_more_is_not_known(name):
    """ArviZ 0.23 had 0.43 of 25 normal samples, 0.64 of integers; arviz-stats 1.3 has nan."""
    log_w, r_eff = CASES[name]
    smoothed, k = smoothed_tail(log_w, r_eff)
    assert k is None and (smoothed == log_w).all() and GOLDEN[name]["k_hat"] > 0.4


@pytest.mark.parametrize("k", [-0.4, 0.2, 0.5, 0.8, 1.3])
def test_k_hat_of_a_known_tail(k):
    """Exactly generalised Pareto weights, 40 sets of 20 000, the mean k-hat within four standard errors.

    One error is (1 + k) / sqrt(40 x 425), 0.008 to 0.018: a bias of seven, 0.05 to 0.12, is found with a
    power of 99.8 %. The fit's prior, ten samples at 0.5, is counted in.
    """
    rng = np.random.default_rng(71)
    sets = [np.log(generalised_pareto(rng.random(20_000), k, 1.7, 0.6)) + 40.0 for _ in range(40)]
    found = np.array([pareto_k(log_w) for log_w in sets])
    error = (1 + max(k, 0)) / np.sqrt(40 * 425)
    prior = 10 * (0.5 - k) / 435
    assert found.mean() == pytest.approx(k + prior, abs=4 * error)
    assert abs(pareto_k(-sets[0]) - k) > 0.1  # 1 / w: bounded by 1 / 0.6, with a shape of its own


def test_a_tail_that_is_heavy_on_the_other_side_is_not_seen():
    """Weights bounded above with a heavy lower end: the sign that arviz-stats does not want gives 1.3."""
    log_w = -np.log(generalised_pareto(shuffled_uniform(5000, 0.2), 1.3, 1.0, 0.05))
    assert pareto_k(log_w) < 0 and pareto_k(-log_w) == pytest.approx(1.3, abs=0.15)


@pytest.mark.parametrize("n", [25, 300, 4000])
def test_weights_that_have_no_tail(n):
    few = np.arange(n, dtype=float)
    for name, log_w in {
        "constant": np.full(n, -8.5),
        "constant but for rounding": -8.5 + 1e-9 * np.sin(few),
        "all rejected": np.full(n, -np.inf),
        "too few samples": np.sin(few[:24]),
        "too few with weight": np.r_[np.sin(few[:20]), np.full(n, -np.inf)],
        "four above the rest": np.r_[np.zeros(n), 1.0, 2.0, 3.0, 4.0],
        "equal weights above the rest": np.r_[np.zeros(n), np.full(min(n // 5, 100), 1.3)],
    }.items():
        assert pareto_k(log_w) is None, name
        smoothed, k = smoothed_log_weights(log_w)
        assert k is None and (smoothed == log_w).all(), name


def test_infinite_weights():
    log_w, _ = CASES["normal 1000 1.0"]
    rejected = np.r_[log_w, np.full(500, -np.inf)]
    smoothed, k = smoothed_log_weights(rejected)
    assert k == pareto_k(rejected) == pytest.approx(GOLDEN["normal 1000 1.0"]["k_hat"], abs=1e-9)
    assert np.isneginf(smoothed[1000:]).all() and np.isfinite(smoothed[:1000]).all()
    for bad in (np.inf, np.nan):
        for function in (pareto_k, smoothed_log_weights):
            with pytest.raises(InputError, match=r"log-weight of sample 1000 is"):
                function(np.r_[log_w, bad])


def test_two_files_know_arviz():
    """No other module imports it, so that its next change is mended in one place for each thing it does."""
    users = [
        str(path.relative_to(ROOT))
        for folder in ("boltzgen", "cli")
        for path in (ROOT / folder).rglob("*.py")
        if "import array_stats" in path.read_text(encoding="utf-8")
        or "import arviz" in path.read_text(encoding="utf-8")
    ]
    assert sorted(users) == ["boltzgen/ensemble/chains/samples.py", "boltzgen/ensemble/pareto.py"]
