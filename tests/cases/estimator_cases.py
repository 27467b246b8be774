"""Every estimator on samples that it can use, each taking `Statistics`."""

from __future__ import annotations

import numpy as np

import boltzgen.free_energy as estimators
from boltzgen.free_energy import efficiency, overlap
from boltzgen.free_energy.combination import paired_difference
from boltzgen.free_energy.populations import counted_free_energies, exchange_free_energies
from boltzgen.free_energy.work import WorkSamples, bennett

SPREAD = np.random.default_rng(3).normal(size=60)
SIDES = {"left": SPREAD < 0.2, "right": SPREAD >= 0.2}
PAIR = [("left", "right")]

#: Every estimator on samples that it can use, by name; each takes the record.
ESTIMATORS = {
    "expectation": lambda s: estimators.expectation(0.3 * SPREAD, SPREAD, s),
    "expectations": lambda s: estimators.expectations(0.3 * SPREAD, SPREAD, s),
    "log_partition": lambda s: estimators.log_partition(0.3 * SPREAD, s),
    "thermodynamics": lambda s: estimators.thermodynamics(0.3 * SPREAD, SPREAD**2, s),
    "free_energy_surface": lambda s: estimators.free_energy_surface(0.3 * SPREAD, SPREAD, [-3, 0, 3], s),
    "state_free_energies": lambda s: estimators.state_free_energies(0.3 * SPREAD, SIDES, PAIR, s),
    "counted_free_energies": lambda s: counted_free_energies(SIDES, PAIR, s),
    "exchange_free_energies": lambda s: exchange_free_energies(
        np.full((2, 30), 1 / 60), {name: mask.reshape(2, 30) for name, mask in SIDES.items()}, PAIR, s
    ),
    "paired_difference": lambda s: paired_difference(SPREAD, 0.9 * SPREAD, s, A="A", B="B", estimator="e"),
    "bennett": lambda s: bennett(
        WorkSamples(SPREAD), WorkSamples(SPREAD[::-1]), s, A="A", B="B", estimator="e"
    ),
    "bar": lambda s: overlap.bar(SPREAD, SPREAD[::-1], (1.0, 1.0), s),
    "mbar": lambda s: overlap.mbar(np.stack([SPREAD**2, 1.2 * SPREAD**2]), [30, 30], s),
    "absolute_mbar": lambda s: overlap.absolute_mbar(-(SPREAD**2), 30, 1.2 * SPREAD[None] ** 2, [30], s),
    "effective_fraction": lambda s: efficiency.effective_fraction(SPREAD, s),
}
