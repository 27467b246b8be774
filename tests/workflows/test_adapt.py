"""``adapt``: within its budget, measured fairly, the better model kept, resumable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import assert_refused, randomised

from boltzgen.conditioning.familiarity import Seen
from boltzgen.conditioning.features import N_FEATURES
from boltzgen.config.build import build_flow
from boltzgen.config.model import load_model, save_model
from boltzgen.config.settings import load_settings
from boltzgen.config.shipped import find_config
from boltzgen.errors import InputError, StoppedError
from boltzgen.flows.coupling import CouplingSettings
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.interrupts import StopRequest
from boltzgen.training.settings import TrainingSettings, active_share
from boltzgen.workflows.training.adapt import adapt, adaptation_settings

FLOW = CouplingSettings(layers=2, hidden=16, bins=4, embedding=8, encoder_blocks=1)
QUICK = ["optimizer.warmup=50", "reweighted.batch_size=128", "evaluation.samples=50", "workers=1"]


@pytest.fixture(scope="module")
def start(butane, tmp_path_factory) -> Path:
    """A poor model of butane, which it calls another molecule, and the folder SYS beside it."""
    folder = tmp_path_factory.mktemp("start")
    butane.save(folder / "SYS")
    flow = build_flow(FLOW, seed=3)
    randomised(flow, 0.15)
    record = {
        "flow": FLOW.model_dump(mode="json"),
        "n_features": N_FEATURES,
        "isomers": "reference",
        "temperature_K": 350.0,
        "temperatures_K": [350.0],
        "energy_evaluations": 700,
        "systems": [{"name": "another", "fingerprint": "another", "domain": None}],
    }
    seen = Seen.of([Target.from_system(butane).features], [350.0])
    save_model(folder / "MODEL", flow, record, seen)
    return folder


@pytest.fixture(scope="module")
def adapted(start, tmp_path_factory):
    return adapt(
        start / "MODEL",
        start / "SYS",
        tmp_path_factory.mktemp("adapted") / "RUN",
        QUICK,
        budget=2e4,
        samples=2000,
        seed=4,
    )


def kish(folder: Path, target: Target, kelvin: float, seed: int, samples: int) -> float:
    """The raw effective sample size by its definition, from draws of the model in `folder`."""
    drawn = BoltzmannGenerator(load_model(folder).flow, target).sample(samples, kelvin, seed=seed)
    w = np.exp(-drawn.u - drawn.log_q - np.max(-drawn.u - drawn.log_q)) * drawn.valid
    return float(w.sum() ** 2 / (w**2).sum() / samples)


def test_a_poor_model_becomes_a_good_one_within_the_budget(start, adapted, butane):
    record = json.loads((adapted.folder / "adapt.json").read_text())
    assert record == adapted.to_json() and record["schema"] == "boltzgen.adapt/1"
    assert record["steps"] == 297 and record["evaluations"] == 1000 + 296 * 64 <= record["budget"]
    assert record["evaluations_to_measure"] == 2 * 2000 + 2 * 50
    assert record["temperature_K"] == 350.0 and record["kept"] == "adapted"
    before, after = record["before"], record["after"]
    assert after["ess"] - before["ess"] > 2 * np.hypot(before["standard_error"], after["standard_error"])
    assert after["ess"] > 0.5 > 3 * before["ess"]
    assert record["gain"] == pytest.approx(after["ess"] / before["ess"])
    target = Target.from_system(butane)
    for folder, found in ((start / "MODEL", before), (adapted.folder, after)):
        again = kish(folder, target, 350.0, seed=99, samples=4000)
        assert again == pytest.approx(found["ess"], abs=4 * found["standard_error"] + 0.01)


def test_the_adapted_model_knows_its_molecule_and_its_past(start, adapted, butane):
    model = load_model(adapted.folder)
    assert [entry["fingerprint"] for entry in model.record["systems"]] == [butane.fingerprint]
    assert model.record["start_evaluations"] == 700 and model.all_evaluations == 700 + 1000 + 296 * 64
    assert model.seen is not None and adapted.to_json()["unfamiliarity"] == 0.0
    assert adapted.rows()["model kept"] == "the adapted one"


def test_going_on_gives_what_an_uninterrupted_run_gives(start, adapted, tmp_path):
    stop = StopRequest()
    ask = {"budget": 2e4, "samples": 2000, "seed": 4}
    with pytest.raises(StoppedError):
        adapt(
            start / "MODEL",
            start / "SYS",
            tmp_path / "RUN",
            QUICK,
            stop=stop,
            progress=lambda step, total, shown: stop.ask() if step == 5 else None,
            **ask,
        )
    assert not (tmp_path / "RUN" / "adapt.json").exists()
    with pytest.raises(InputError, match='`resume="auto"`'):
        adapt(start / "MODEL", start / "SYS", tmp_path / "RUN", QUICK, **ask)
    refused = "begun with another reweighted, optimizer, until; go on with the same budget"
    with pytest.raises(InputError, match=refused):
        adapt(
            start / "MODEL", start / "SYS", tmp_path / "RUN", QUICK, resume="auto", **{**ask, "budget": 400.0}
        )
    again = adapt(start / "MODEL", start / "SYS", tmp_path / "RUN", QUICK, resume="auto", **ask)
    timeless = [{k: v for k, v in one.to_json().items() if k != "seconds"} for one in (again, adapted)]
    assert timeless[0] == timeless[1]


def test_what_made_it_worse_is_not_kept(start, adapted, tmp_path, capsys):
    from boltzgen_cli.main import main

    words = ["optimizer.learning_rate=3.0", "optimizer.average=0.0", "workers=1", "evaluation.samples=50"]
    words += ["reweighted.batch_size=32"]
    words += ["--budget", "640", "--temperature", "360", "-o", str(tmp_path / "R")]
    code = main(["adapt", str(adapted.folder), str(start / "SYS"), *words])
    assert code == 0
    told = capsys.readouterr()
    assert "adapting did not help; the model that it began from was kept" in told.err
    assert "the one it began from" in told.out
    record = json.loads((tmp_path / "R" / "adapt.json").read_text())
    assert record["kept"] == "start" and record["gain"] < 1 and record["samples"] == 1000
    one, other = (load_model(folder).flow.state_dict() for folder in (adapted.folder, tmp_path / "R"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert load_model(tmp_path / "R").record == {**load_model(adapted.folder).record, "temperature_K": 360.0}


def test_walkers_are_learned_from_within_the_budget(start, tmp_path):
    words = ["optimizer.warmup=5", "evaluation.samples=50", "workers=1", "losses.chains.batch_size=32"]
    words += ["losses.chains.walkers=16", "losses.chains.fresh=8", "losses.chains.every=2"]
    words += ["losses.chains.moves=2"]
    found = adapt(
        start / "MODEL",
        start / "SYS",
        tmp_path / "RUN",
        words,
        budget=2000,
        samples=100,
        learn_from="chains",
        temperature=333.0,
    )
    assert 1700 < found.evaluations <= 2000
    settings = load_settings(TrainingSettings, tmp_path / "RUN" / "config.yaml")
    chains = settings.losses["chains"]
    assert chains.temperatures == [333.0] and chains.first == 100 and chains.walkers == 16
    assert active_share(chains) == 1 and active_share(settings.reweighted) == 0
    metrics = [json.loads(line) for line in (tmp_path / "RUN" / "metrics.jsonl").read_text().splitlines()]
    assert 0 < metrics[-1]["chains_acceptance"] < 1
    with pytest.raises(InputError, match=r"pays for 0 steps.*or lower losses.chains.walkers"):
        adapt(start / "MODEL", start / "SYS", tmp_path / "OTHER", budget=3000, learn_from="chains")
    with pytest.raises(InputError, match="weights or chains"):
        adapt(start / "MODEL", start / "SYS", tmp_path / "OTHER", learn_from="luck")


def test_the_steps_follow_from_the_budget_and_what_a_step_costs(start):
    model = load_model(start / "MODEL")

    def settings(budget: float, *words: str) -> TrainingSettings:
        return adaptation_settings(model, "M x", "SYS: 1", 320.0, budget, "adapt", words, 5)

    plain = settings(1e5)
    own = plain.reweighted
    fresh = own.fresh // own.every  # a step
    assert (own.fresh, own.every) == (256, 4)
    more = own.first - fresh
    assert own.first == 5_000
    assert plain.optimizer.steps == (100_000 - more) // fresh and plain.until.evaluations == 100_000
    assert (plain.start, plain.system, plain.seed) == ("M x", "SYS: 1", 5)
    assert plain.evaluation.temperature == 320.0 and plain.reweighted.temperatures == [320.0]
    assert plain.likelihood.weight == 0.0 and plain.reweighted.trust_region is not None
    assert settings(1e5, "reweighted.moves=3").optimizer.steps == (100_000 - 4 * more) // (4 * fresh)
    assert settings(1e5, f"reweighted.first={fresh + 9_000}").optimizer.steps == 91_000 // fresh
    simulated = settings(1e5, "simulation={evaluations: 40000}", "reweighted.first=0")
    assert simulated.optimizer.steps == (60_000 - own.fresh) // fresh + 1
    both = settings(1e5, "reverse_kl={weight: 1.0, batch_size: 36}")
    assert both.optimizer.steps == (100_000 - more) // (fresh + 36)
    alone = settings(1e5, "reweighted.weight=0", "reverse_kl.weight=1", "reverse_kl.batch_size=36")
    assert alone.reverse_kl.temperatures == [320.0]
    assert alone.optimizer.steps == 100_000 // 36
    assert settings(1e5, "optimizer.steps=7").optimizer.steps == 7
    with pytest.raises(InputError, match=r"`budget=319` pays for 1 steps"):
        settings(319)
    for budget in (0.0, -3.0, float("inf"), float("nan")):
        with pytest.raises(InputError, match="give the number of energy evaluations"):
            settings(budget)


def test_the_configuration_learns_slower_than_from_scratch():
    shipped = load_settings(TrainingSettings, find_config("adapt"))
    scratch = load_settings(TrainingSettings, find_config("alanine-dipeptide-fab-quick"))
    assert shipped.optimizer.learning_rate <= scratch.optimizer.learning_rate / 2


def test_bad_input_is_refused(start, tmp_path):
    system, run = str(start / "SYS"), str(tmp_path / "RUN")
    assert_refused(["adapt", "ABSENT", system, "-o", run], "ABSENT holds no model", "shipped")
    assert_refused(["adapt", str(start / "MODEL"), str(tmp_path / "NONE"), "-o", run], "NONE")
    assert_refused(["adapt", str(start / "MODEL"), system, "-o", run, "optimiser.steps=4"], "optimizer")
    assert_refused(["adapt", str(start / "MODEL"), system, "-o", run, "--budget", "-5"], "--budget -5")
