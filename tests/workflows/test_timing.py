"""What long verbs expect: arithmetic on measured rates, which are given here; and which engine is taken."""

from __future__ import annotations

import json

import pytest
from small_model import FLOW, MODEL
from toy_molecules import chain

from boltzgen.config.build import build_flow
from boltzgen.config.model import save_model
from boltzgen.errors import InputError
from boltzgen.generator import Target
from boltzgen.training.losses.chains import ChainsSettings
from boltzgen.training.settings import TrainingSettings
from boltzgen.training.trainer import Trainer
from boltzgen.workflows.simulation.engines import TorchEngine
from boltzgen.workflows.simulation.simulate import simulate
from boltzgen.workflows.timing import expectation, simulation, training
from boltzgen.workflows.timing.expectation import seconds_of
from boltzgen.workflows.timing.sampling import expect_sampling
from boltzgen.workflows.timing.simulation import expect_simulation
from boltzgen.workflows.timing.training import expect_training

LADDER = {"temperatures": [300.0, 400.0, 550.0], "time": "20ps", "equilibration": "10ps"}
SHORT = {"temperatures": [300.0, 400.0], "time": "0.4ps", "save_interval": "0.1ps"}
SHORT |= {"exchange_interval": "0.1ps", "equilibration": "0.1ps"}


@pytest.fixture
def rates(monkeypatch):
    """Steps of one OpenMM replica a second, and seconds of a torch step of all replicas; to be set."""
    found = {"Reference": 5000.0, "CPU": 2000.0, "torch": 1e-3}

    def platforms(system, positions, timestep, names=None):
        return {name: found[name] for name in names or ("Reference", "CPU")}

    monkeypatch.setattr(simulation, "platform_rates", platforms)
    monkeypatch.setattr(TorchEngine, "seconds_of_a_step", lambda self, timed: found["torch"])
    return found


def test_seconds_are_steps_over_rate(rates):
    """30 ps of three replicas are 90 000 steps."""
    found = expect_simulation(chain(), **LADDER, engine="openmm")
    assert found.seconds == pytest.approx(90_000 / 5000.0)
    assert found.chosen.platform == "Reference"
    assert found.chosen.ns_per_day(1e-3) == pytest.approx(5000 * 86400e-6)
    assert found.sentence.startswith(
        "simulate: 3 replicas at 3 temperatures, 30 ps each, with openmm; about 18 s"
    )
    assert json.loads(json.dumps(found.to_json()))["expected_seconds"] == found.seconds
    named = expect_simulation(chain(), **LADDER, platform="CPU")
    assert named.seconds == pytest.approx(90_000 / 2000.0)
    torch = expect_simulation(chain(), **LADDER, engine="torch", replicas=12)
    assert torch.seconds == pytest.approx(30_000 * 1e-3) and torch.chosen.replicas == 12


@pytest.mark.parametrize(("torch_step", "engine"), [(1e-3, "openmm"), (5e-4, "openmm"), (4e-4, "torch")])
def test_torch_is_taken_where_it_is_clearly_faster(rates, torch_step, engine):
    """Three replicas: OpenMM makes 5000 steps a second in all, torch 3 / `torch_step`."""
    rates["torch"] = torch_step
    found = expect_simulation(chain(), **LADDER)
    assert found.chosen.engine == engine and len(found.speeds) == 2
    more = "replicas=129`" in found.further
    assert more == (129 / torch_step / found.chosen.steps_per_second > simulation.WORTH_SAYING)


def test_a_run_keeps_the_engine_that_was_measured(rates, tmp_path):
    rates["torch"] = 1e-6
    first = simulate(chain(), tmp_path / "MD", **SHORT)
    assert first.platform == "torch cpu" and first.to_json()["settings"]["replicas"] == 2
    rates["torch"] = 1e3
    longer = simulate(chain(), tmp_path / "MD", **{**SHORT, "time": "0.6ps"}, resume="auto")
    assert longer.platform == "torch cpu" and longer.frames == 6
    assert simulate(chain(), tmp_path / "OTHER", **SHORT).platform == "Reference"


def test_what_simulate_refuses_is_refused(tmp_path):
    with pytest.raises(InputError, match="`timestep="):
        expect_simulation(chain(), timestep="5fs")
    with pytest.raises(InputError, match="auto, openmm or torch"):
        expect_simulation(chain(), engine="gromacs")


def test_calls_after_the_first_are_timed_and_a_long_one_alone(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(expectation.time, "perf_counter", lambda: now[0])
    costs = iter([0.5, 0.1, 0.3, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2])

    def work():
        now[0] += next(costs)

    assert seconds_of(work, within=1.25) == pytest.approx((0.1 + 0.3 + 0.2) / 3)

    def long():
        now[0] += 7.0

    assert seconds_of(long, within=2.0) == 7.0


def test_a_training_takes_its_steps_and_its_measurements(monkeypatch, tmp_path):
    """40 steps of 0.5 s, 4 measurements of 200 samples of 0.01 s, and 300 more in the first step."""
    monkeypatch.setattr(training, "_seconds_of_steps", lambda settings, flow, target: 0.5)
    monkeypatch.setattr(training, "seconds_of_a_sample", lambda generator, number, temperature: 0.01)
    words = [
        "optimizer.steps=40",
        "evaluation.every=10",
        "evaluation.samples=200",
        "reweighted={weight: 1.0, fresh: 100, every: 2, first: 350}",
        "system=model:double-well",
    ]
    found = expect_training("butane", words)
    assert found.seconds == pytest.approx(40 * 0.5 + 4 * 200 * 0.01 + 3.0)
    assert expect_training("butane", [*words, "until.minutes=0.25"]).seconds == 15.0


def test_trainings_with_and_without_data_are_measured(tmp_path):
    """The real steps: data that are not there yet are stood in for."""
    chain().save(tmp_path / "SYS")
    flow = "flow={kind: coupling, layers: 2, hidden: 8, bins: 4, embedding: 8, encoder_blocks: 0}"
    words = [f"system={tmp_path / 'SYS'}", "optimizer.steps=4", "workers=1", flow]
    words += ["evaluation.samples=20", "reverse_kl.batch_size=16", "likelihood.batch_size=16"]
    for more in ([], ["data=NOT-YET", "reverse_kl.weight=0"]):
        found = expect_training("butane", [*words, *more])
        assert 0 < found.seconds < 600 and "4 steps" in found.task


def test_steps_are_measured_once_walkers_have_settled(tmp_path):
    """Before, steps of `adapt --from chains` only draw."""
    chains = ChainsSettings(walkers=6, fresh=6, moves=1, batch_size=4, first=500).without_start()
    settings = TrainingSettings.model_validate(
        {"system": "SYS", "likelihood": {"weight": 0.0}, "losses": {"chains": chains}}
    )
    target = Target.from_system(chain())
    trainer = Trainer(settings, build_flow(FLOW, seed=0), [target], [], tmp_path)
    buffer = trainer.objectives.losses["chains"].buffers[0][0]
    assert trainer.seconds_of_steps([0.2, 0.8], lambda work: len(buffer)) == [6, 6]
    assert trainer.counters.energy_evaluations < 100


def test_draws_are_measured(tmp_path):
    chain().save(tmp_path / "SYS")
    save_model(tmp_path / "RUN" / "model", build_flow(FLOW, seed=0), MODEL)
    few, many = (expect_sampling(tmp_path / "RUN", tmp_path / "SYS", number) for number in (100, 10_000))
    assert 0 < few.seconds < many.seconds and "10000 samples" in many.sentence
