"""`Statistics`, the one record that every estimator takes: what it refuses, and what uses it."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pytest
from estimator_cases import ESTIMATORS

import boltzgen.free_energy as estimators
from boltzgen.errors import InputError
from boltzgen.free_energy import Statistics, efficiency, overlap
from boltzgen.free_energy.combination import paired_difference
from boltzgen.free_energy.populations import counted_free_energies, exchange_free_energies
from boltzgen.free_energy.work import bennett

#: The fields that an estimator has no use for.
UNUSED = {
    "counted_free_energies": {"smoothed", "inefficiency"},
    "exchange_free_energies": {"smoothed", "coverage", "inefficiency"},
    "paired_difference": {"smoothed", "coverage", "inefficiency"},
    "bennett": {"smoothed", "coverage", "inefficiency"},
    "bar": {"smoothed", "inefficiency"},
    "mbar": {"smoothed", "inefficiency"},
    "absolute_mbar": {"smoothed", "inefficiency"},
    "effective_fraction": {"smoothed"},
}

SET = {"smoothed": True, "coverage": {"verdict": "ok", "reasons": []}, "inefficiency": 1.5}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_uses_a_field_or_refuses_it(name):
    ESTIMATORS[name](Statistics(np.random.default_rng(1), n_bootstrap=20))
    for field, value in SET.items():
        statistics = Statistics(np.random.default_rng(1), n_bootstrap=20, **{field: value})
        if field in UNUSED.get(name, ()):
            with pytest.raises(InputError, match=f"no use for the statistics' {field}; leave it out"):
                ESTIMATORS[name](statistics)
        else:
            ESTIMATORS[name](statistics)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_replicates_come_from_its_stream(name):
    rng = np.random.default_rng(1)
    ESTIMATORS[name](Statistics(rng, n_bootstrap=20))
    assert rng.bit_generator.state != np.random.default_rng(1).bit_generator.state


def test_what_means_nothing_is_refused():
    rng = np.random.default_rng(1)
    for given, sentence in (
        ({"n_bootstrap": 1}, "needs at least 2 replicates, not 1"),
        ({"inefficiency": 0.99}, "must be at least 1, not 0.99"),
        ({"inefficiency": float("nan")}, "must be at least 1, not nan"),
    ):
        with pytest.raises(InputError, match=sentence):
            Statistics(rng, **given)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Statistics(rng).smoothed = True


def test_no_estimator_takes_the_fields_beside_the_record():
    """One tail for all: whoever adds an estimator gives it `statistics`."""
    functions = {
        function
        for module in (estimators, overlap, efficiency)
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__.startswith("boltzgen.free_energy")
    } | {paired_difference, bennett, counted_free_energies, exchange_free_energies}
    tails = {f.__name__: set(inspect.signature(f).parameters) for f in functions}
    apart = {"populations", "smoothed_log_weights"}  # without a bootstrap: their one number is no tail
    fields = {field.name for field in dataclasses.fields(Statistics)}
    assert {name for name, given in tails.items() if given & fields and name[0] != "_"} <= apart
