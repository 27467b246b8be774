"""The page of samples that are no molecule."""

from __future__ import annotations

import numpy as np

from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.store import save_ensemble
from boltzgen.workflows.reporting.report import report


def test_a_model_system_has_a_page(tmp_path):
    x = np.random.default_rng(2).normal(size=(300, 2))
    u = (x**2).sum(axis=1) / 2
    ensemble = Ensemble.from_densities(
        x,
        -u,
        u,
        temperature=None,
        measure="lebesgue(2)",
        system_fingerprint="f",
        domain="all",
        topology_pdb="",
    )
    save_ensemble(ensemble, tmp_path / "OUT")
    found = report(tmp_path / "OUT", tmp_path / "p.html").numbers
    assert found["temperature_K"] is None and set(found["sections"]) >= {"answer", "weights"}
    assert "ensemble" not in found["sections"]
