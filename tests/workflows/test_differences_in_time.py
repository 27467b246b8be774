"""``free-energy between`` and ``mbar`` hear a stop between batches of rows, not only between their steps."""

from __future__ import annotations

import pytest
from between_cases import write_chains
from helpers import StopAt

from boltzgen.errors import StoppedError
from boltzgen.workflows.free_energy.between import DIRECT, MAPPED, ONE_SIDED, SIMULATED, between
from boltzgen.workflows.free_energy.mbar import mbar
from boltzgen.workflows.free_energy.targeted_map import System


@pytest.fixture(scope="module")
def chains(tmp_path_factory, butane):
    """SYS, OUT folders O300 and O600 of butane, and MD300, MD600 with exact independent frames."""
    return write_chains(tmp_path_factory.mktemp("chains"), butane, samples=2000, simulated=(300, 600))


@pytest.mark.parametrize(("looks", "left"), [(1, {SIMULATED, MAPPED, DIRECT}), (10, {MAPPED}), (99, set())])
def test_between_leaves_out_what_there_is_no_time_for(chains, monkeypatch, looks, left):
    """What was begun ends after the batch at hand, and is left out with the reason; the rest is an answer."""

    monkeypatch.setattr(System, "batch_rows", 1000)  # two batches of each of the two ends
    ends = chains / "O300", chains / "O600"
    data = {"data_a": chains / "MD300", "data_b": chains / "MD600"}
    found = between(
        *ends, n_bootstrap=50, output=chains / f"stopped-{looks}.json", stop=StopAt(looks), **data
    )
    assert set(found.document["left_out"]) == left
    assert {one.estimator for one in found.estimates} == {ONE_SIDED, SIMULATED, MAPPED, DIRECT} - left


def test_mbar_hears_a_stop_in_the_midst(chains, monkeypatch):
    """Not only before each state and flow, each of which may take minutes."""

    stop = StopAt(3)
    monkeypatch.setattr(System, "batch_rows", 100)
    with pytest.raises(StoppedError, match="nothing was written"):
        mbar([chains / "O300"], stop=stop, output=chains / "stopped.json")
    assert stop.looked == 4 and not (chains / "stopped.json").exists()
