"""Thinning by cheap weights: no bias whatever the number of rows, errors that cover, rows that stay whole."""

from __future__ import annotations

import numpy as np

from boltzgen.ensemble import Ensemble
from boltzgen.ensemble.diagnostics import log_z
from boltzgen.ensemble.reweighted import with_energies
from boltzgen.ensemble.thinning import NOT_EVALUATED, PriorityOrder


def lines(rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x ~ q = N(0, 1.3), ln q, and u of the first target, N(0, 1) without its norm."""
    x = 1.3 * rng.normal(size=number)
    return x, -0.5 * (x / 1.3) ** 2 - np.log(1.3 * np.sqrt(2 * np.pi)), 0.5 * x**2


def second(x: np.ndarray) -> np.ndarray:
    """u of the second target; Z = 0.9 sqrt(2 pi)."""
    return 0.5 * ((x - 0.3) / 0.9) ** 2


LOG_Z_SECOND = float(np.log(0.9 * np.sqrt(2 * np.pi)))


def test_any_first_part_of_the_order_is_unbiased():
    """Given 30 samples, the mean over 10 000 orders of the thinned sum is the full sum, for M = 2, 7, 29."""
    rng = np.random.default_rng(0)
    x, log_q, u = lines(rng, 30)
    full = np.mean(np.exp(-second(x) - log_q))
    for number in (2, 7, 29):
        found = []
        for _ in range(10_000):
            order = PriorityOrder.draw(-u - log_q, np.ones(30, bool), rng)
            rows = order.rows[:number]
            found.append(np.exp(-second(x[rows]) - log_q[rows] - order.log_inclusion(number)).sum() / 30)
        assert abs(np.mean(found) - full) < 4 * np.std(found) / np.sqrt(len(found)) < 0.05 * full


def test_errors_after_thinning_cover():
    """ln Z of the second target by 100 of 2000 rows, 400 replicates: nominal 95 % covers 91 to 98.5 %."""
    rng = np.random.default_rng(1)
    covered, z = 0, []
    for _ in range(400):
        x, log_q, u = lines(rng, 2000)
        order = PriorityOrder.draw(-u - log_q, np.ones(2000, bool), rng)
        rows, log_w = order.rows[:100], np.full(2000, -np.inf)
        log_w[rows] = -second(x[rows]) - log_q[rows] - order.log_inclusion(100)
        value, error = log_z(log_w)
        z.append((value - LOG_Z_SECOND) / error)
        covered += abs(z[-1]) < 1.96
    assert 0.91 < covered / 400 < 0.985
    assert 0.85 < np.std(z) < 1.15


def test_rows_without_cheap_weight_come_last():
    log_w = np.array([-np.inf, 0.0, -1.0, -np.inf, -2.0])
    order = PriorityOrder.draw(log_w, [True, True, True, False, True], np.random.default_rng(0))
    assert order.rows[-1] == 0 and 3 not in order.rows
    assert np.all(order.log_inclusion(3) == 0)  # what is left out could not have been chosen
    assert np.all(order.log_inclusion(4) == 0) and order.log_inclusion(2).min() < 0


def test_rows_keep_what_belongs_to_them():
    """Old reasons stay, except that of the old energy; rows not evaluated say so and have weight zero."""
    reason = np.array(["", "energy not finite", "other isomer", "", ""])
    source = Ensemble.from_densities(
        np.arange(10.0).reshape(5, 2),
        np.arange(5.0),
        [1, np.inf, 1, 1, 1],
        temperature=None,
        measure="lebesgue(2)",
        system_fingerprint="a",
        domain="all",
        topology_pdb="",
        reason=reason,
    )
    order = PriorityOrder(np.array([4, 0, 3, 1]), source.log_w, np.array([2.0, np.inf, 0.0, 3.0, 1.0]))
    target = {"temperature": None, "system_fingerprint": "b", "topology_pdb": "", "provenance": {}}
    new = with_energies(source, order, [7.0, 8.0], np.full(5, ""), **target)
    assert new.reason.tolist() == ["", NOT_EVALUATED, "other isomer", NOT_EVALUATED, ""]
    assert source.log_w[4] == -5.0  # its probability to be chosen is exp(3 - 5), that of row 0 is one
    assert new.log_w[4] == -7.0 - (4.0 + 3.0 - 5.0) and new.log_w[0] == -8.0
    assert np.array_equal(new.positions, source.positions)
    new = with_energies(source, order, [7.0, 8.0, 9.0, 10.0], np.full(5, ""), **target)
    assert new.reason.tolist() == ["", "", "other isomer", "", ""]
    assert new.log_w.tolist() == [-8.0, -11.0, -np.inf, -12.0, -11.0]
