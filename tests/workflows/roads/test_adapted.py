"""The road "adapt" of `run`, walked to its end on a capped glycine: stopped while it adapts, then gone on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from short_roads import shorten

import boltzgen as bg
from boltzgen.errors import StoppedError
from boltzgen.interrupts import StopRequest
from boltzgen.workflows.roads import road_adapted

#: Energies to adapt with; a thousand is the least that the road asks for.
ENERGIES = 2000


@pytest.mark.slow
def test_the_road_adapt_is_walked_to_its_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(road_adapted, "BUDGET", ENERGIES)
    shorten(monkeypatch.setattr)
    stop, said = StopRequest(), []

    @contextmanager
    def listen(title: str) -> Iterator:
        def heard(done, total, values=None, /):
            if title == "adapt" and done >= 3:
                stop.ask()

        yield heard

    words = {"sequence": "ACE-GLY-NME", "implicit": "obc1", "temperature": 310.0, "seed": 5, "samples": 300}
    words |= {"precision": "0.001kT", "time": None, "say": said.append}
    with pytest.raises(StoppedError):
        bg.run(None, "DIR", stop=stop, listen=listen, **words)
    cut = json.loads((tmp_path / "DIR" / "run.json").read_text())
    assert [step["status"] for step in cut["steps"]] == ["complete"] * 3 + ["partial"]

    found = bg.run(None, "DIR", **words)
    assert found.road == "adapt" and "draws would be needed, so that it is adapted" in found.reason
    assert found.status == "complete" and sum("guess" in line for line in said) == 2
    record = json.loads((tmp_path / "DIR" / "run.json").read_text())
    names = ["SYS", "PILOT", "CHECK", "RUN", "OUT", "free_energy"]
    assert [step["name"] for step in record["steps"]][: len(names)] == names
    assert {step["status"] for step in record["steps"]} == {"complete"}
    shares = [one["population"] for one in found.populations if one["result"] == "free_energy"]
    assert sum(shares) == pytest.approx(1.0) and (tmp_path / "DIR" / "report.html").is_file()

    adapted = json.loads((tmp_path / "DIR" / "RUN" / "adapt.json").read_text())
    assert adapted["budget"] == ENERGIES and adapted["temperature_K"] == 310.0
    assert 0.8 * ENERGIES < adapted["evaluations"] <= ENERGIES
    assert adapted["after"]["ess"] > 0.3  # of a molecule that the model has learned
    coverage = json.loads((tmp_path / "DIR" / "OUT" / "manifest.json").read_text())["coverage"]
    assert coverage is not None
    drawn = next(step["command"] for step in record["steps"] if step["name"] == "OUT")
    assert shlex.split(drawn)[2] == "DIR/RUN" and shlex.split(drawn)[-3] == "DIR/CHECK"

    by_hand = shlex.split(next(step["command"] for step in record["steps"] if step["name"] == "RUN"))
    program, verb, model, system, *options = by_hand
    given = dict(zip(options[::2], options[1::2], strict=True))
    assert (program, verb, given.pop("-o")) == ("boltzgen", "adapt", "DIR/RUN")
    again = bg.adapt(
        model, system, "HAND", **{key.removeprefix("--"): float(value) for key, value in given.items()}
    )
    same = [tmp_path / place / "model" / "weights.safetensors" for place in ("DIR/RUN", "HAND")]
    assert same[0].read_bytes() == same[1].read_bytes() and again.evaluations == adapted["evaluations"]
