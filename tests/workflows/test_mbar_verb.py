"""``boltzgen free-energy mbar``: exact answers from flows and simulations together, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from between_cases import untrained_model, write_chains
from butane import EXACT
from helpers import assert_refused

from boltzgen.workflows.free_energy import mbar as workflow
from boltzgen.workflows.sampling.sample import sample

F = {kelvin: -EXACT[float(kelvin)][0] for kelvin in (300, 600)}  # f = -ln Z


def mbar(folders, **options):
    """The workflow, with a bootstrap that is good enough here."""
    return workflow.mbar(folders, **{"n_bootstrap": 200, **options})


@pytest.fixture(scope="module")
def chains(tmp_path_factory, butane):
    """SYS, O300 and O600 by an untrained flow, MD300, MD450 and MD600 with exact independent frames."""
    return write_chains(tmp_path_factory.mktemp("chains"), butane, samples=3000, simulated=(300, 450, 600))


def test_simulations_alone_give_differences(chains):
    """Exact frames at three temperatures, 4 errors of the quadrature; no absolute ln Z is claimed."""
    result = mbar(
        [chains / "MD300", chains / "MD450", chains / "MD600"],
        systems=[chains / "SYS"],
        output=chains / "md.json",
    )
    assert [e.name for e in result.estimates] == ["SYS@300K -> SYS@450K", "SYS@300K -> SYS@600K"]
    estimate = result.estimates[1]
    assert abs(estimate.value - (F[600] - F[300])) < 4 * estimate.standard_error < 0.4
    assert estimate.unit == "1" and "temperature" in estimate.quantity and estimate.verdict == "ok"
    content = json.loads((chains / "md.json").read_text())
    rows = np.array(content["overlap_matrix"]["rows"])
    assert np.allclose(rows.sum(axis=1), 1.0, atol=1e-6) and content["overlap"] == pytest.approx(
        result.document["overlap"]
    )
    assert rows[0, 1] > rows[0, 2] > 0
    for state in content["states"]:  # independent, but the measured inefficiency has noise
        assert 1200 < state["n"] <= 2000 == state["samples"][0]["frames"]
    assert (chains / "md.png").read_bytes().startswith(b"\x89PNG") and result.csv.is_file()


def test_flows_and_simulations_are_one_answer(chains):
    """ln Z absolute at both temperatures; simulations beside the flow make the error smaller."""
    alone = mbar([chains / "O300"], temperatures=[300.0, 600.0], output=chains / "a.json")
    both = mbar(
        [chains / "O300", chains / "O600", chains / "MD300", chains / "MD600"], output=chains / "b.json"
    )
    for result in (alone, both):
        found = {e.name: e for e in result.estimates}
        for kelvin in (300, 600):
            estimate = found[f"ln Z SYS@{kelvin}K"]
            assert abs(estimate.value + F[kelvin]) < 4 * estimate.standard_error, estimate
        assert found["SYS@300K -> SYS@600K"].unit == "1"
    errors = [{e.name: e.standard_error for e in r.estimates}["ln Z SYS@600K"] for r in (alone, both)]
    assert errors[1] < 0.7 * errors[0] and errors[1] < 0.05
    assert "coverage not checked" in " ".join(alone.estimates[0].reasons)
    assert both.verdict == "ok"
    folders = both.document["provenance"]["folders"]
    assert [entry["used"] for entry in folders] == [3000, 3000]


def test_two_systems_in_kT(chains, tmp_path, butane):
    """Softer bonds, a state without samples by --system alone: 3/2 ln(k'/k) in kT."""
    import openmm

    from boltzgen.workflows.preparation.prepare import prepare

    softer = openmm.XmlSerializer.clone(butane.openmm_system())
    for force in softer.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for bond in range(force.getNumBonds()):
                i, j, length, k = force.getBondParameters(bond)
                force.setBondParameters(bond, i, j, length, 0.8 * k)
    (tmp_path / "soft.xml").write_text(openmm.XmlSerializer.serialize(softer))
    (tmp_path / "butane.pdb").write_text(butane.topology_pdb)
    prepare(tmp_path / "soft.xml", tmp_path / "SOFT", coordinates=tmp_path / "butane.pdb")
    result = mbar(
        [chains / "MD300"],
        systems=[chains / "SYS", tmp_path / "SOFT"],
        reference="SOFT@300K",
        output=tmp_path / "m.json",
    )
    (estimate,) = result.estimates
    assert estimate.name == "SOFT@300K -> SYS@300K" and estimate.unit == "kT"
    # three bonds, each Z proportional to <b^2> / sqrt(k): narrow Gaussians, corrections below 0.002
    assert abs(estimate.value + 1.5 * np.log(0.8)) < 4 * estimate.standard_error + 0.002 < 0.2
    # two flows whose systems lie in folders of one name: the second is called by its path
    (tmp_path / "SOFT").rename(tmp_path / "SYS")
    sample(chains / "MODEL", tmp_path / "SYS", tmp_path / "O", 200, seed=2, temperature=300)
    result = mbar([chains / "O300", tmp_path / "O"], output=tmp_path / "m.json")
    assert result.estimates[0].name == f"SYS@300K -> {tmp_path / 'SYS'}@300K"


def test_model_systems(tmp_path):
    """f_4 - f_1 = ln(4)/2 with flow samples of both wells."""
    model = untrained_model(tmp_path / "MODEL")
    for k in (1, 4):
        sample(model, f"model:harmonic-well-{k}", tmp_path / f"H{k}", 3000, seed=k)
    result = mbar([tmp_path / "H1", tmp_path / "H4"], output=tmp_path / "m.json")
    estimate = result.estimates[0]
    assert abs(estimate.value - np.log(2)) < 4 * estimate.standard_error < 0.2
    assert result.document["temperature_K"] is None


def test_refusals(chains, tmp_path):
    verb = ["free-energy", "mbar", "-o", tmp_path / "m.json"]
    frames, flow = chains / "MD300", chains / "O300"
    assert_refused([*verb, frames], "--system", "MD300")
    assert_refused([*verb, frames, "--system", chains / "SYS"], "one state alone")
    assert_refused([*verb, chains / "NOWHERE"], "no such trajectory")
    assert_refused([*verb, flow, "--temperature", "-5"], "--temperature -5", "positive")
    assert_refused([*verb, flow, "--temperature", "400", "--reference", "X"], "--reference X", "SYS@400K")
    assert_refused([*verb, flow, "--samples", "1"], "samples")
    assert_refused([*verb, flow, frames, chains / "." / "MD300"], "named twice")
    assert_refused([*verb, frames, "--system", "model:harmonic-well-1", "--system", chains / "SYS"], "differ")
    assert not (tmp_path / "m.json").exists()
