"""Which ladder is chosen in the warm-up: where temperatures pay, where fresh draws do, and where neither."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussian_cases import GaussianFlow

from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.potentials.model_systems import HarmonicWell
from boltzgen.refine.chains.group import Group
from boltzgen.refine.chains.run import run_chains
from boltzgen.refine.chains.settings import ChainSettings
from boltzgen.refine.chains.taken import arrays_of
from boltzgen.refine.chains.trial import LadderTrial

KELVIN = 300.0

#: Places and width of two wells, and the share of the right one.
PLACE, SIGMA, RIGHT = 1.5, 0.3, 0.4


class TwoWells(HarmonicWell):
    """kT: -ln of two Gaussians at -PLACE and PLACE in all coordinates, RIGHT of the second."""

    def _energy(self, positions):
        def log_well(at, share):
            return math.log(share) - 0.5 * ((positions - at) ** 2).sum(dim=1) / SIGMA**2

        return -torch.logaddexp(log_well(-PLACE, 1 - RIGHT), log_well(PLACE, RIGHT))


def _between(cold, hot, share):
    return [a + share * (b - a) for a, b in zip(cold, hot, strict=True)]


class PlacedFlow(GaussianFlow):
    """x = centre(T) + width(T) z, both linear in T from `cold` (centre, width) at 300 K to `hot` at 450 K."""

    def __init__(self, cold, hot):
        super().__init__()
        self.cold, self.hot = cold, hot

    def embed(self, context):
        share = (context.temperature / KELVIN - 1) / 0.5
        return context.rows, context.dimension, *(_between(self.cold, self.hot, share))

    def decode(self, latents, embedding):
        centre, width = embedding[2][:, None], embedding[3]
        return centre + latents * width[:, None], latents.shape[1] * width.log()

    def encode(self, coordinates, embedding):
        centre, width = embedding[2][:, None], embedding[3]
        return (coordinates - centre) / width[:, None], -coordinates.shape[1] * width.log()

    def latent_log_prob(self, latents, embedding):
        return super().latent_log_prob(latents, embedding[:2])


def wells(dimension, cold, hot) -> BoltzmannGenerator:
    target = replace(Target.from_model(f"harmonic-well-4-{dimension}"), potential=TwoWells(4.0, dimension))
    return BoltzmannGenerator(PlacedFlow(cold, hot), target)


def fine() -> BoltzmannGenerator:
    """A flow that is nearly the target, exp(-2 |x|^2) in three coordinates."""
    return BoltzmannGenerator(PlacedFlow((0.1, 0.55), (0.1, 0.7)), Target.from_model("harmonic-well-4-3"))


#: One well is missed at 300 K, and not at 450 K; draws that are wide in four coordinates at once, where no
#: step of one or two of them leads across; and nothing that a ladder could mend.
CASES = {
    "temperatures": wells(2, (-PLACE, SIGMA), (0.0, 1.5)),
    "tempered": wells(4, (0.0, 1.6), (0.0, 1.6)),
    "none": fine(),
}


@pytest.mark.parametrize("kind", CASES)
def test_the_ladder_that_pays_is_chosen(kind):
    """By all groups, each on its own; walkers of both wells then have the exact shares."""
    settings = ChainSettings(walkers_a_group=32, groups=2, warm_up=100, pilot=128)
    found = run_chains(CASES[kind], 64 * 60, KELVIN, settings=settings, seed=3)
    assert found.ladders == (kind,) * 2
    assert (found.energy_evaluations["rungs"] == 0) == (kind == "none")
    if kind != "none":
        right = (found.positions[:, 0] > 0).reshape(60, 64)[20:]
        assert abs(float(right.mean()) - RIGHT) < 0.1


def test_without_a_ladder_these_walkers_would_not_cross():
    settings = ChainSettings(walkers_a_group=32, groups=1, warm_up=40, pilot=128, ladder="none")
    for kind in ("temperatures", "tempered"):
        found = run_chains(CASES[kind], 32 * 40, KELVIN, settings=settings, seed=3)
        right = (found.positions[:, 0] > 0).reshape(40, 32)
        assert int((right[1:] != right[:-1]).sum()) <= 1 and found.ladders == ("none",)


def stages(kept, walkers=20_000, seed=3) -> np.ndarray:
    """(n, W, 1, 2) of walkers, of which the share `kept` of each stage stays, and the others move anew."""
    rng = np.random.default_rng(seed)
    values = [rng.normal(0.0, 0.6, (walkers, 1, 2))]
    for share in kept:
        fresh = rng.normal(0.0, 0.6, (walkers, 1, 2))
        values.append(np.where(rng.random((walkers, 1, 1)) < share, values[-1], fresh))
    return np.stack(values)


@pytest.mark.parametrize(
    ("kept", "rungs", "best"),
    [
        ((0.9, 0.5, 0.9), (1, 3, 4), "tempered"),  # ln 2 / 3 = 0.231 against 1.5 times ln(10/9) = 0.158
        ((0.9, 0.5, 0.9), (1, 5, 4), "none"),  # 0.139
        ((0.9, 0.7, 0.3), (1, 3, 4), "temperatures"),  # ln(10/3) / 4 = 0.301, ln(10/7) / 3 = 0.119
        ((0.4, 0.3, 0.3), (1, 2, 2), "none"),
    ],
)
def test_worth_is_the_rate_of_forgetting_over_the_rungs(kept, rungs, best):
    """Of walkers that move with probability 1 - c anew, c is the correlation; the rate is -ln(c) / L."""
    trial = LadderTrial(35)
    trial.values, trial.rungs = stages(kept), np.array(rungs)
    exact = -np.log(kept) / 7 / rungs
    assert trial.worth() == pytest.approx(exact, rel=0.06)
    assert trial.best() == best


def test_a_ladder_is_tried_where_walkers_may_be_slow():
    """Fast by their own spread, slow by that of hot draws; a short warm-up tries nothing."""
    trial, said = LadderTrial(100), []

    def slow() -> bool:
        said.append((trial.slow_by(np.array([0.72])), trial.slow_by(np.array([9.0]))))
        return said[-1][1]

    first, second, *rest = stages((0.3, 0.3, 0.3), walkers=400)
    assert not trial.due(19) and trial.due(20)
    assert trial.next(first, np.ones(1), slow) is None and not said
    assert trial.next(second, np.ones(1), slow) == "tempered" and said == [(False, True)]
    assert trial.next(rest[0], np.array([0.3, 1.0]), slow) == "temperatures"
    assert trial.next(rest[1], np.ones(4), slow) == "none" and trial.over and not trial.due(100)
    assert trial.exponents.tolist() == [0.3, 1.0] and trial.rungs.tolist() == [1, 2, 4]
    quick = LadderTrial(100)
    assert [quick.next(one, np.ones(1), lambda: False) for one in (first, second)] == [None, None]
    assert quick.over and LadderTrial(14).over


@pytest.mark.parametrize("sweeps", (8, 13, 17, 24))
def test_a_trial_that_was_ended_goes_on_to_the_same_bytes(sweeps):
    settings = ChainSettings(walkers_a_group=12, groups=1, warm_up=25, pilot=64, full_pass_every=1)

    def group() -> Group:
        return Group(CASES["temperatures"], KELVIN, settings, seed=2, group=0, steps=6)

    whole, part = group(), group()
    for one in (whole, part):
        one.begin()
        for _ in range(sweeps):
            one.sweep()
    again = group()
    again.restore(arrays_of(part.state()))
    assert len(again.trial.values) == sweeps // 5
    for one in (whole, again):
        while not one.done:
            one.sweep()
    assert whole.ladder.kind == again.ladder.kind
    expected, found = arrays_of(whole.state()), arrays_of(again.state())
    assert set(expected) == set(found)
    assert all(np.array_equal(values, found[name]) for name, values in expected.items())


def test_slopes_are_left_out_between_temperatures():
    """Langevin steps know the slope at the temperature of the target alone."""
    settings = ChainSettings(walkers_a_group=6, groups=1, warm_up=2, pilot=16)
    group = Group(CASES["temperatures"], KELVIN, settings, seed=2, group=0, steps=4)
    assert bool(group.sloping.any())
    group.begin()
    group.sweeps = 2
    group._climb("temperatures")
    group.adaptation.probabilities = np.where(group.sloping.numpy(), 0.9 / int(group.sloping.sum()), 1e-3)
    group.sweep()
    assert group.acceptance["langevin"].sum() == 0 and group.acceptance["global"].sum() > 0
