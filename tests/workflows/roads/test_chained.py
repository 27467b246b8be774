"""The road "chains" of `run`: taken where draws are worth too little, and walked to its end."""

from __future__ import annotations

import json
import shlex

import pytest
from pydantic import Field
from short_roads import shorten

import boltzgen as bg
from boltzgen.refine.chains.settings import ChainSettings
from boltzgen.workflows.roads import road_chains
from boltzgen.workflows.roads.look import Look
from boltzgen.workflows.roads.measures import Rate
from boltzgen.workflows.roads.road import Source
from boltzgen.workflows.sampling import chained


class ShortChains(ChainSettings):
    """Settings of chains with a short warm-up and a small pilot where nothing else is asked."""

    warm_up: int = Field(default=5, ge=1, le=1_000_000)
    pilot: int = Field(default=32, ge=1, le=10_000_000)


class Scene:
    """As much of a scene as the choice of the road asks for."""

    def __init__(self, limit: float | None) -> None:
        self.walk = self
        self.limit = limit


@pytest.mark.parametrize(
    ("ess", "limit", "a_row", "taken"),
    [
        (0.003, 600.0, 1e-3, True),
        (0.003, None, 1.0, True),
        (0.03, 600.0, 1e-3, False),  # draws, perhaps of an adapted model, are worth more
        (0.003, 600.0, 0.1, False),  # walkers would not come round
    ],
)
def test_walkers_move_where_draws_are_worth_too_little(monkeypatch, ess, limit, a_row, taken):
    found = Look("shipped", 3.0, ess, 0.9, needed=round(2400 / ess), a_sample=1e-3)
    monkeypatch.setattr(road_chains, "look", lambda scene: found)
    monkeypatch.setattr(road_chains.Chained, "rate", lambda self, scene, found: Rate(1.0, a_row))
    reason = road_chains.ROAD.suits(Scene(limit))
    assert (reason is not None) is taken
    if taken:
        assert "0.3 % are effective" in reason and "part by part" in reason


def test_all_walkers_have_equally_many_rows():
    source = Source("model", None, walkers=128)
    assert [source.rows(number) for number in (1, 128, 129, 2000)] == [128, 128, 256, 2048]
    assert Source("model", None).rows(129) == 129


@pytest.mark.slow
def test_the_road_chains_is_walked_to_its_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(road_chains, "POOR", 2.0)
    monkeypatch.setattr(road_chains, "WALKERS", 16)
    monkeypatch.setattr(chained, "ChainSettings", ShortChains)
    shorten(monkeypatch.setattr)
    said = []
    found = bg.run(
        None,
        "DIR",
        sequence="ACE-GLY-NME",
        implicit="obc1",
        temperature=310.0,
        seed=5,
        samples=150,
        precision="0.001kT",
        time=None,
        say=said.append,
    )
    assert found.road == "chains" and found.status == "complete"
    record = json.loads((tmp_path / "DIR" / "run.json").read_text())
    assert [step["name"] for step in record["steps"]][:4] == ["SYS", "PILOT", "CHECK", "OUT"]
    drawn = shlex.split(next(step["command"] for step in record["steps"] if step["name"] == "OUT"))
    assert drawn[drawn.index("--walkers") + 1] == "16" and "--chains" in drawn
    assert drawn[drawn.index("-n") + 1] == "160"  # ten rows of each walker
    summary = json.loads((tmp_path / "DIR" / "OUT" / "summary.json").read_text())
    assert summary["walkers"] == 16 and summary["ess"] is None and summary["r_hat"] is not None
    assert found.verdict != "ok"  # ten sweeps are no chains
    page = (tmp_path / "DIR" / "report.html").read_text()
    assert "R-hat" in page
    shares = [one["population"] for one in found.populations if one["result"] == "free_energy"]
    assert sum(shares) == pytest.approx(1.0)
