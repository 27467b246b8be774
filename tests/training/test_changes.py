"""Losses as people see them: the change of each molecule since the run began, against sums by hand."""

from __future__ import annotations

import math

import pytest

from boltzgen.training.changes import Changes
from boltzgen.training.losses.likelihood import LikelihoodSettings
from boltzgen.training.losses.log_dispersion import LogDispersionSettings
from boltzgen.training.losses.objective import LOSSES, Shown, loss_settings_of
from boltzgen.training.losses.reverse_kl import ReverseKLSettings
from boltzgen.training.optimizer.gradients import Outcome, Task


def outcome(name: str, value: float, *of: int, share: float = 1.0) -> Outcome:
    return Outcome(Task(1.0, share, lambda: None, of), {name: value}, 1.0, 0, 0, ())


def changes() -> Changes:
    shown = {
        "likelihood": LikelihoodSettings().shown("likelihood"),
        "reverse_kl": ReverseKLSettings().shown("reverse_kl"),
        "log_dispersion": LogDispersionSettings().shown("log_dispersion"),
    }
    return Changes(shown, [60, 21])


def test_zero_is_where_the_run_began_for_each_molecule():
    found = changes()
    assert found.columns == ("likelihood_change", "reverse_kl_change")
    step = [outcome("likelihood", -200.0, 0, share=0.5), outcome("likelihood", 30.0, 1, share=0.5)]
    assert found.of(step) == {"likelihood_change": 0.0}
    step = [outcome("likelihood", -230.0, 0, share=0.5), outcome("likelihood", 40.5, 1, share=0.5)]
    # -30 nats of 60 degrees of freedom, and 10.5 of 21, in equal shares
    assert found.of(step)["likelihood_change"] == pytest.approx((-0.5 + 0.5) / 2, abs=1e-12)
    step = [outcome("likelihood", -230.0, 0, share=0.75), outcome("likelihood", 40.5, 1, share=0.25)]
    assert found.of(step)["likelihood_change"] == pytest.approx(-0.25)


def test_parts_of_one_molecule_are_one_value():
    found = changes()
    halves = [outcome("reverse_kl", 260.0, 0, share=0.25), outcome("reverse_kl", 220.0, 0, share=0.75)]
    assert found.of(halves) == {"reverse_kl_change": 0.0} and found.first == {"reverse_kl 0": 230.0}
    assert found.of([outcome("reverse_kl", 20.0, 0)])["reverse_kl_change"] == pytest.approx(-210.0)
    # a molecule that is met later has a zero of its own, and a temperature of another rung too
    assert found.of([outcome("reverse_kl", 900.0, 1)])["reverse_kl_change"] == 0.0
    assert found.of([outcome("reverse_kl", 7.0, 1, 3)])["reverse_kl_change"] == 0.0
    assert found.of([outcome("reverse_kl", math.nan, 0)]) == {}


def test_what_a_progress_line_says():
    row = {
        "likelihood": -230.0,
        "likelihood_change": -0.42,
        "reverse_kl": 249.0,
        "reverse_kl_change": -210.35,
    }
    assert changes().told({**row, "log_dispersion": 0.314}) == {
        "likelihood -log q": "-0.420 nats/dof",
        "reverse KL": "-210.35 kT",
        "log-dispersion": "0.31 nats",
    }
    assert changes().told({"likelihood": None}) == {}


@pytest.mark.parametrize("name", list(LOSSES.own))
def test_every_loss_has_words_and_a_unit(name):
    shown = loss_settings_of(name)().shown(name)
    assert isinstance(shown, Shown) and shown.unit and "_" not in shown.words
    assert shown.change == (name != "log_dispersion")  # whose zero means something by itself
