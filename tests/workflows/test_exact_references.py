"""The road by its public functions, against exact answers: butane at three temperatures with one flow."""

from __future__ import annotations

from pathlib import Path

import pytest
from butane import EXACT

from boltzgen.workflows.free_energy.states import free_energy_states
from boltzgen.workflows.preparation.prepare import prepare
from boltzgen.workflows.sampling.sample import sample
from boltzgen.workflows.training.train import train

BUTANE = Path(__file__).resolve().parents[2] / "boltzgen" / "examples" / "butane"
STEPS = "optimizer.steps=250"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The shipped configuration, with fewer steps."""
    folder = tmp_path_factory.mktemp("butane")
    prepare(BUTANE / "system.xml", folder / "SYS", coordinates=BUTANE / "butane.pdb")
    train("butane", [f"system={folder / 'SYS'}", STEPS, "evaluation.every=250"], folder / "RUN")
    return folder


@pytest.mark.parametrize("temperature", EXACT)
def test_butane_partition_function_and_states(trained, temperature):
    """ln Z and gauche - trans within 0.02 kT; 60 000 samples have standard errors of 0.001 and 0.01."""
    out = trained / f"OUT-{temperature:g}"
    found = sample(trained / "RUN", trained / "SYS", out, 60_000, temperature=temperature, seed=3)
    log_z, difference = EXACT[temperature]
    assert found.ess > 0.9
    assert found.log_z == pytest.approx(log_z, abs=0.02)
    answer = free_energy_states(out, BUTANE / "states.yaml").estimates[0]
    assert (answer.A, answer.B) == ("trans", "gauche")
    assert answer.value == pytest.approx(difference, abs=0.02 + 2 * answer.standard_error)
    assert answer.standard_error < 0.012
