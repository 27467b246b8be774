"""The temperature of a model system's samples, which only their energies tell: every verb reads the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from between_cases import untrained_model

from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.store import load_ensemble
from boltzgen.generator import temperature_of
from boltzgen.workflows.sampling.check import check
from boltzgen.workflows.sampling.reweight import reweight
from boltzgen.workflows.sampling.sample import sample


@pytest.fixture(scope="module")
def hot(tmp_path_factory):
    """Samples of the double well at 450 K, by a flow without training."""
    folder = tmp_path_factory.mktemp("hot")
    model = untrained_model(folder / "MODEL")
    sample(model, "model:double-well", folder / "OUT", 400, temperature=450.0, seed=1)
    return folder


def with_energies(ensemble: Ensemble, u: np.ndarray) -> Ensemble:
    """The same rows with other energies and the weights that belong to them."""
    return replace(ensemble, u=u, log_w=np.where(ensemble.valid, -u - ensemble.log_q, -np.inf))


def test_the_energies_tell_the_temperature(hot):
    ensemble = load_ensemble(hot / "OUT")
    assert ensemble.temperature is None and temperature_of(ensemble) == 450.0
    cold = with_energies(ensemble, ensemble.u * 450.0 / 311.2345)
    assert temperature_of(cold) == pytest.approx(311.2345, rel=1e-5)
    assert temperature_of(replace(ensemble, temperature=333.0)) == 333.0


def test_energies_that_no_temperature_explains_are_those_of_the_model(hot):
    ensemble = load_ensemble(hot / "OUT")
    assert temperature_of(with_energies(ensemble, ensemble.u[::-1].copy())) == 300.0
    assert temperature_of(with_energies(ensemble, -ensemble.u)) == 300.0
    assert temperature_of(replace(ensemble, system_fingerprint="model:unheard-of")) == 300.0
    assert temperature_of(ensemble[:0]) == 300.0


def test_check_compares_at_that_temperature(hot):
    """It took 300 K for granted, and called every ensemble at another temperature unreliable."""
    found = check(hot / "OUT")
    assert found.verdict == "caution"
    assert not any("recomputed" in reason for reason in found.summary.reasons)


def test_reweight_keeps_it_and_another_may_be_given(hot):
    """The model that the samples have: the weights stay; at 300 K every energy is half as large again."""
    old = load_ensemble(hot / "OUT")
    reweight(hot / "OUT", hot / "SAME", to="model:double-well")
    new = load_ensemble(hot / "SAME")
    np.testing.assert_allclose(new.log_w[old.valid], old.log_w[old.valid], atol=1e-3)
    reweight(hot / "OUT", hot / "COLD", to="model:double-well", temperature=300.0)
    cold = load_ensemble(hot / "COLD")
    np.testing.assert_allclose(cold.u[old.valid], 1.5 * old.u[old.valid], atol=1e-3)
