"""The split of a transfer free energy: two harmonic wells whose every part is known, errors by replicates."""

from __future__ import annotations

import numpy as np
import pytest

from boltzgen.errors import InputError
from boltzgen.free_energy.multistate import absolute_mbar, mbar, mixture
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.transfer_split import TransferSplit, transfer_split

#: U_A = K_A x^2 / 2, U_B = K_B (x - SHIFT)^2 / 2 + LIFT, in kT, in two equal and independent coordinates.
K_A, K_B, SHIFT, LIFT = 1.7, 2.6, 0.8, -3.1
HOT = 1.4


def exact() -> dict[str, float]:
    """``<x^2> = 1/K``; in B the mean of x is SHIFT; S by ``ln`` of the widths."""
    in_b, in_a = 2 * K_A / 2 * (1 / K_B + SHIFT**2), 1.0
    total = np.log(K_B / K_A) + LIFT
    solvation = 1.0 + LIFT - in_b
    at_a = K_B * (1 / K_A + SHIFT**2) + LIFT - 1.0
    return {
        "total": total,
        "solvation": solvation,
        "energy": in_b - in_a,
        "entropy": np.log(K_B / K_A),
        "fixed_in_a": at_a,
    }


def energies(x: np.ndarray) -> np.ndarray:
    a, b = K_A * (x**2).sum(1) / 2, K_B * ((x - SHIFT) ** 2).sum(1) / 2 + LIFT
    return np.stack([a, a / HOT, b])


def simulated(seed: int, n: int = 400, n_bootstrap: int = 200) -> TransferSplit:
    """From A, A at a higher temperature, and B."""
    rng = np.random.default_rng(seed)
    x = [rng.normal(0, s, (m, 2)) for s, m in ((K_A**-0.5, n), ((K_A / HOT) ** -0.5, n // 2))]
    x.append(rng.normal(SHIFT, K_B**-0.5, (n, 2)))
    u_kn, N_k = energies(np.concatenate(x)), np.array([n, n // 2, n])
    ask = Statistics(rng, n_bootstrap=n_bootstrap)
    result = mbar(u_kn, N_k, ask, inefficiency_k=np.ones(3), names=["A", "hot", "B"])
    return transfer_split(result, u_kn, N_k, "A", "B", ask)


def test_every_part_is_that_of_the_wells_and_the_parts_add_up():
    assert exact()["solvation"] + exact()["energy"] + exact()["entropy"] == pytest.approx(exact()["total"])
    found = simulated(1, 20_000)
    for name, value in exact().items():
        one = getattr(found, name)
        assert abs(one.value - value) < 4 * one.standard_error < 0.15, name
        assert one.interval95[0] < one.value < one.interval95[1]
        assert one.verdict == "ok" and one.unit == "kT"
    parts = (found.solvation, found.energy, found.entropy)
    assert sum(one.value for one in parts) == pytest.approx(found.total.value, abs=1e-12)
    assert found.fixed_in_a.value > found.total.value


def test_errors_are_those_of_replicates():
    """200 replicates: z scatters by 1 within 15 % (three of its errors, 5 %), and 95 % intervals cover."""
    found = [simulated(seed, 300, 100) for seed in range(200)]
    for name, value in exact().items():
        each = [getattr(one, name) for one in found]
        z = np.array([(one.value - value) / one.standard_error for one in each])
        assert abs(z.mean()) < 0.25 and 0.85 < z.std() < 1.15, (name, z.mean(), z.std())
        covered = np.mean([one.interval95[0] <= value <= one.interval95[1] for one in each])
        assert covered >= 0.90, (name, covered)


def test_by_draws_of_a_flow_alone():
    """One wide density, no samples of A and B: the same parts, from its density."""
    rng = np.random.default_rng(2)
    x = rng.normal(0.4, 1.1, (30_000, 2))
    log_q = (-((x - 0.4) ** 2) / 2 / 1.21).sum(1) - 2 * np.log(1.1) - np.log(2 * np.pi)
    ask, u_kn = Statistics(rng, coverage={"verdict": "ok", "reasons": []}), energies(x)[[0, 2]]
    result = absolute_mbar(log_q, len(x), u_kn, [0, 0], ask, names=["A", "B"])
    rows = np.vstack([-mixture(log_q[None], [len(x)], u_kn), u_kn])
    found = transfer_split(result, rows, np.array([len(x), 0, 0]), "A", "B", ask)
    for name, value in exact().items():
        one = getattr(found, name)
        assert abs(one.value - value) < 4 * one.standard_error < 0.2, name


def test_without_overlap_nothing_is_told():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(0, 0.1, 200), rng.normal(300, 0.1, 200)])
    u_kn, N_k = np.stack([x**2 * 50, (x - 300) ** 2 * 50]), np.array([200, 200])
    result = mbar(u_kn, N_k, Statistics(rng), inefficiency_k=np.ones(2), names=["A", "B"])
    found = transfer_split(result, u_kn, N_k, "A", "B", Statistics(rng))
    assert all(one.value is None and one.verdict == "unreliable" for one in found.estimates)


def test_other_energies_are_refused():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(50, 2))
    result = mbar(energies(x)[:2], [25, 25], Statistics(rng), inefficiency_k=np.ones(2), names=["A", "B"])
    with pytest.raises(InputError, match="not those"):
        transfer_split(result, energies(x), np.array([25, 25]), "A", "B", Statistics(rng))
