"""Chains as a whole: starts, rungs, ln Z, what goes on after an end, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from butane import EXACT, write_butane
from flow_cases import FLOWS
from gaussian_cases import DIMENSION, STIFFNESS, WIDTH, GaussianFlow, NoLatents, Walled, gaussian
from helpers import randomised, seeded

from boltzgen.config.build import build_flow
from boltzgen.errors import BoltzgenError, InputError, StoppedError, UnsupportedError
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.interrupts import StopRequest
from boltzgen.potentials.model_systems import HarmonicWell
from boltzgen.refine.chains.adaptation import POWER, Adaptation, open_rows
from boltzgen.refine.chains.group import Group
from boltzgen.refine.chains.ladder import Ladder, even_exponents
from boltzgen.refine.chains.moves import Move
from boltzgen.refine.chains.normalisation import log_partition
from boltzgen.refine.chains.run import ChainSamples, run_chains
from boltzgen.refine.chains.settings import ChainSettings
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.preparation.prepare import prepare

KELVIN = 300.0


class Memory:
    """A store that forgets nothing and shares no array with the run."""

    def __init__(self):
        self.arrays = {}

    def save(self, group, arrays, /):
        self.arrays[group] = {name: values.copy() for name, values in arrays.items()}

    def load(self, group, /):
        return self.arrays.get(group)


def walled() -> BoltzmannGenerator:
    """A Gaussian flow of which a third lies outside: the target has no energy there."""
    return gaussian(Walled(STIFFNESS, DIMENSION)).generator


@pytest.fixture(scope="module")
def butane(tmp_path_factory) -> BoltzmannGenerator:
    """An autoregressive flow of butane, far from trained."""
    folder = tmp_path_factory.mktemp("butane")
    xml, pdb = write_butane(folder)
    prepare(xml, folder / "SYS", coordinates=pdb)
    flow = build_flow(FLOWS["autoregressive"], seed=5).double()
    randomised(flow, 0.07)
    return BoltzmannGenerator(flow, Target.from_system(MolecularSystem.load(folder / "SYS")))


def equal(a: ChainSamples, b: ChainSamples) -> bool:
    """Whether every byte of both is the same."""
    arrays = ("positions", "u", "walker", "group", "step")
    rest = ("log_z", "log_z_error", "acceptance", "energy_evaluations", "stride", "sweeps", "largest_drift")
    same = all(getattr(a, name).tobytes() == getattr(b, name).tobytes() for name in arrays)
    return same and all(getattr(a, name) == getattr(b, name) for name in rest)


def test_rows_come_step_by_step_with_their_walkers(butane):
    settings = ChainSettings(walkers_a_group=8, groups=3, warm_up=4, pilot=24, stride=2, ladder="none")
    found = run_chains(butane, 100, KELVIN, settings=settings, seed=3)
    assert len(found) == 100 and found.positions.shape == (100, 4, 3)
    assert found.positions.dtype == np.float32 and found.u.dtype == np.float64
    assert found.walker.tolist() == [row % 24 for row in range(100)]
    assert found.step.tolist() == [row // 24 for row in range(100)]
    assert found.group.tolist() == [row % 24 // 8 for row in range(100)]
    assert (found.stride, found.sweeps) == (2, 4 + 5 * 2)
    u = butane.target.reduced_energy(torch.as_tensor(found.positions, dtype=torch.float64), KELVIN)
    assert found.u == pytest.approx(u.numpy(), abs=1e-3)
    assert found.largest_drift < 1e-9
    moves = sum(tried for _, tried in found.acceptance.values())
    assert moves == 24 * 10 * (len(open_rows(butane.target)) + 2 + 1)  # a torsion, two fragments, the energy


def test_butane_is_what_its_integrals_say(butane):
    """ln Z to 0.1 from chains that hardly ever accept a whole draw, and the gauche share to 0.02."""
    settings = ChainSettings(walkers_a_group=64, groups=4, warm_up=15, pilot=512)
    found = run_chains(butane, 256 * 16, KELVIN, settings=settings, seed=4)
    log_z, difference = EXACT[KELVIN]
    assert found.log_z_error < 0.1
    assert abs(found.log_z - log_z) < 4 * found.log_z_error
    values, _ = butane.target.coordinates.encode(torch.as_tensor(found.positions, dtype=torch.float64))
    (row,) = open_rows(butane.target)
    gauche = (values[:, row].abs() < 2 * math.pi / 3).double().reshape(16, 256).mean(dim=0)
    error = float(gauche.std() / 16)
    assert error < 0.02
    assert abs(float(gauche.mean()) - 1 / (1 + math.exp(difference))) < 4 * error


@pytest.mark.parametrize("ladder", ("none", "tempered"))
def test_draws_outside_count_in_ln_z(ladder):
    """A third of the flow is outside the domain of the target: u = +inf there, and still a draw."""
    generator = walled()
    settings = ChainSettings(walkers_a_group=64, groups=4, warm_up=20, pilot=512, ladder=ladder)
    found = run_chains(generator, 256 * 20, KELVIN, settings=settings, seed=5)
    low, high = Walled.LOW * math.sqrt(STIFFNESS / 2), Walled.HIGH * math.sqrt(STIFFNESS / 2)
    exact = HarmonicWell(STIFFNESS, DIMENSION).log_partition()
    exact += math.log(0.5 * (math.erf(high) - math.erf(low)))
    assert found.log_z_error < 0.05
    assert abs(found.log_z - exact) < 4 * found.log_z_error
    assert Walled.LOW <= found.positions[:, 0].min() < found.positions[:, 0].max() <= Walled.HIGH
    assert (found.energy_evaluations["rungs"] > 0) == (ladder == "tempered")
    outside = [
        float(np.isneginf(np.concatenate(group.taken.draws)).mean())
        for group in [_begun(generator, settings)]
    ]
    assert outside[0] > 0.3


def _begun(generator, settings) -> Group:
    group = Group(generator, KELVIN, settings, seed=5, group=0, steps=1)
    group.begin()
    return group


@pytest.mark.parametrize(("sweeps", "ladder"), ((3, "temperatures"), (13, "tempered"), (19, "none")))
def test_a_run_that_was_ended_goes_on_to_the_same_bytes(butane, ladder, sweeps):
    settings = ChainSettings(
        walkers_a_group=6, groups=2, warm_up=12, pilot=32, full_pass_every=5, ladder=ladder
    )

    def run(**words):
        return run_chains(butane, 12 * 10, KELVIN, settings=settings, seed=7, **words)

    whole, store, stop = run(), Memory(), StopRequest()

    def progress(done, total, values=None, /):
        if done >= sweeps:
            stop.ask()

    if sweeps <= 12:
        with pytest.raises(StoppedError, match="warm-up"):
            run(stop=stop, progress=progress, store=store)
    else:
        part = run(stop=stop, progress=progress, store=store)
        assert len(part) == 12 * (sweeps - 12)
        assert np.array_equal(part.positions, whole.positions[: len(part)])
        assert {array["random"].dtype for array in store.arrays.values()} == {np.dtype(np.uint8)}
    assert equal(run(store=store), whole)
    assert equal(run(store=store), whole)  # nothing is left to do


def test_groups_know_nothing_of_each_other(butane):
    """Group 0 alone gives the rows that it gives beside another one, and starts at one point."""
    two = ChainSettings(walkers_a_group=6, groups=2, warm_up=5, pilot=32, ladder="none")
    both = run_chains(butane, 60, KELVIN, settings=two, seed=8)
    alone = run_chains(butane, 30, KELVIN, settings=two.model_copy(update={"groups": 1}), seed=8)
    assert np.array_equal(both.positions[both.group == 0], alone.positions)
    starts = []
    for number in range(2):
        group = Group(butane, KELVIN, two, seed=8, group=number, steps=1)
        group.begin()
        assert bool((group.walkers.latents == group.walkers.latents[0]).all())
        starts.append(group.walkers.latents[0])
    assert not bool((starts[0] == starts[1]).any())


def test_nothing_adapts_once_samples_count(butane):
    settings = ChainSettings(walkers_a_group=8, warm_up=6, pilot=32, ladder="tempered")
    group = Group(butane, KELVIN, settings, seed=2, group=0, steps=4)
    group.begin()
    learned, exponents = group.adaptation.arrays(), []
    for _ in range(10):
        group.sweep()
        exponents.append(group.ladder.exponents)
        if group.sweeps == 6:
            learned = group.adaptation.arrays()
    assert all(np.array_equal(values, learned[name]) for name, values in group.adaptation.arrays().items())
    assert np.array_equal(exponents[5], exponents[-1])
    assert group.done


def test_moves_in_place_stand_for_others_but_on_rungs_of_the_flow(butane):
    """A block moves either in place or with all that follows, never both."""
    settings = ChainSettings(walkers_a_group=4, warm_up=6, pilot=32, ladder="tempered")
    group = Group(butane, KELVIN, settings, seed=2, group=0, steps=4)
    group.begin()

    def made() -> list[str]:
        often = group.adaptation.probabilities
        assert often.sum() == pytest.approx(1)
        assert np.array_equal(often > 0, group.adaptation.offered)
        moves = [move for move, share in zip(group.moves, often, strict=True) if share]
        assert len({(move.rows, move.drifts, move.kind == "langevin") for move in moves}) == len(moves)
        return [move.kind for move in moves]

    kinds = made()
    assert {"torsion in place", "turn in place", "fragment in place", "global", "langevin"} <= set(kinds)
    assert not {"torsion", "fragment", "end"} & set(kinds)
    group.sweep()
    group.put_on(Ladder.of_temperatures(4, 1.5, 2))
    group.adaptation.offer(group._offered())
    assert made() == kinds
    group.put_on(Ladder(4, np.array([0.4, 1.0])))
    group.adaptation.offer(group._offered())
    assert {"torsion", "turn", "fragment", "end", "global", "langevin"} <= set(made())
    assert not any("in place" in kind for kind in made())
    model = Target.from_model(f"harmonic-well-{STIFFNESS:g}-{DIMENSION}")
    other = Group(BoltzmannGenerator(GaussianFlow(), model), KELVIN, settings, seed=2, group=0, steps=4)
    assert other.adaptation.offered.all() and not any("in place" in move.kind for move in other.moves)


def test_where_energies_are_what_costs_both_ways_of_a_move_are_made(butane, monkeypatch):
    """Passes saved in place count for nothing then, and what each way changes decides between them."""
    monkeypatch.setattr(type(butane.target.potential), "slow", True)
    settings = ChainSettings(walkers_a_group=4, warm_up=6, pilot=32, ladder="none")
    group = Group(butane, KELVIN, settings, seed=2, group=0, steps=4)
    assert {"torsion", "torsion in place", "end", "end in place", "global"} <= set(group.kinds)
    assert group.adaptation.offered.all() and (group.adaptation.probabilities > 0).all()
    group.put_on(Ladder(4, np.array([0.4, 1.0])))
    assert not any(move.in_place for move, yes in zip(group.moves, group._offered(), strict=True) if yes)


def test_energies_are_those_that_were_computed(butane, monkeypatch):
    counted = []
    original = type(butane.target.potential).reduced_energy

    def reduced_energy(self, positions, temperature):
        counted.append(len(positions))
        return original(self, positions, temperature)

    monkeypatch.setattr(type(butane.target.potential), "reduced_energy", reduced_energy)
    settings = ChainSettings(walkers_a_group=8, groups=2, warm_up=6, pilot=32, ladder="tempered")
    found = run_chains(butane, 64, KELVIN, settings=settings, seed=2)
    assert set(found.energy_evaluations) == {"pilot", "warm_up", "sampling", "rungs"}
    assert sum(found.energy_evaluations.values()) == sum(counted)
    assert found.energy_evaluations["pilot"] == 64


class HeatedFlow(GaussianFlow):
    """x = WIDTH (T / 300 K)^0.4 z: at each temperature another flow, and never the one of the target."""

    def embed(self, context):
        return context.rows, context.dimension, (context.temperature / KELVIN) ** 0.4

    def decode(self, latents, embedding):
        coordinates, change = super().decode(latents, embedding[:2])
        return coordinates * embedding[2][:, None], change + latents.shape[1] * embedding[2].log()

    def encode(self, coordinates, embedding):
        latents, change = super().encode(coordinates / embedding[2][:, None], embedding[:2])
        return latents, change - coordinates.shape[1] * embedding[2].log()

    def latent_log_prob(self, latents, embedding):
        return super().latent_log_prob(latents, embedding[:2])


@pytest.mark.parametrize("kind", ("tempered", "temperatures"))
def test_rungs_stay_exact(kind):
    """Exact draws on every rung (Gaussians, N(0, 1/m)) after moves and exchanges.

    m = (1-b)/s^2 + b k of a tempered rung, and k 300 K / T of a temperature.
    """
    slots = 3000
    target = Target.from_model(f"harmonic-well-{STIFFNESS:g}-{DIMENSION}")
    settings = ChainSettings(walkers_a_group=slots, warm_up=1, ladder=kind, hottest=1.8, rungs=3)
    group = Group(BoltzmannGenerator(HeatedFlow(), target), KELVIN, settings, seed=1, group=0, steps=10)
    group.sweeps = 1
    if kind == "tempered":
        ladder = Ladder(slots, np.array([0.2, 0.6, 1.0]))
        precision = (1 - ladder.exponents) / WIDTH**2 + ladder.exponents * STIFFNESS
    else:
        ladder = Ladder.of_temperatures(slots, 1.8, 3)
        assert ladder.heat == pytest.approx([1.8, math.sqrt(1.8), 1.0])
        precision = STIFFNESS / ladder.heat
    group.put_on(ladder)
    scale = WIDTH * ladder.heat**0.4 * np.sqrt(precision)
    noise = torch.randn(slots * 3, DIMENSION, generator=seeded(4), dtype=torch.float64)
    group.start_at(noise / torch.as_tensor(scale).repeat(slots)[:, None])
    before, latents = ladder.rung.clone(), group.walkers.latents
    if kind == "temperatures":
        group._exchange()
        moved = float((latents != group.walkers.latents).any(dim=1).double().mean())
    for _ in range(3):
        group.sweep()
    if kind == "tempered":
        moved = float((ladder.rung != before).double().mean())
    assert 0.3 < moved < (0.98 if kind == "tempered" else 0.995)  # temperatures exchange twice
    rows = ladder.row_of()
    assert rows.sort(dim=1).values.eq(torch.arange(3 * slots).reshape(slots, 3)).all()
    for rung, m in enumerate(precision):
        squares = m * (group.walkers.positions[rows[:, rung]] ** 2).sum(dim=1)
        assert float(squares.mean()) == pytest.approx(DIMENSION, abs=4 * math.sqrt(2 * DIMENSION / slots))
        assert float(squares.var()) == pytest.approx(2 * DIMENSION, rel=0.25)


def test_exponents_lie_evenly_in_the_spread():
    """Spread e^(-3 b): the integral to b is (1 - e^(-3 b)) / 3; b_k = -ln(1 - k (1 - e^-3) / n) / 3."""
    known = np.linspace(0, 1, 7)
    found = even_exponents(known, 2.5 * np.exp(-3 * known), 4)
    exact = -np.log(1 - np.arange(1, 5) / 4 * (1 - np.exp(-3))) / 3
    assert found == pytest.approx(exact, abs=2e-3)


def test_ln_z_and_its_error():
    """ln w normal on every rung (as of Gaussians in many dimensions): the error covers 95 % of 60 runs."""
    rng, spread, shift, inside = np.random.default_rng(6), 1.5, 2.3, 0.0
    for _ in range(60):
        drawn = shift + rng.normal(-(spread**2) / 2, spread, 300)
        on_rung = {
            b: shift + rng.normal(-(spread**2) / 2 + b * spread**2, spread, (5, 40)) for b in (0.5, 1.0)
        }
        value, error = log_partition(drawn, on_rung)
        inside += abs(value - shift) < 1.96 * error
    assert 50 <= inside <= 60
    value, error = log_partition(np.full(500, -np.inf), {1.0: np.ones((10, 40))})
    assert value is None and error is None


def test_shares_go_to_the_move_that_frees_the_slowest():
    """Times 1/s and 4/(1-s): the least sum of their p-th powers is at s = 1/(1 + 4^(p/(p+1)))."""
    moves = [Move("a", (0,), False, 3.0), Move("b", (1,), False, 3.0)]
    adaptation = Adaptation(moves, 2, 5)
    adaptation.variance[:] = 1.0
    for _ in range(50):
        adaptation.record(0, np.array([[0.4, 0.0]] * 4), 0.5)
        adaptation.record(1, np.array([[0.0, 0.1]] * 4), 0.5)
    adaptation.end_sweep(np.zeros((4, 2, 2)))
    exact = 1 / (1 + 4 ** (POWER / (POWER + 1)))
    assert adaptation.probabilities == pytest.approx([exact, 1 - exact], abs=0.01)


def test_passes_that_disagree_are_told():
    class Forgetful(GaussianFlow):
        """Its partial passes miss what changed."""

        def decode_changed(self, latents, embedding, kept, first):
            coordinates, change, kept = self.decode_kept(latents, embedding)
            return coordinates, change + 1e-3, kept

    generator = BoltzmannGenerator(Forgetful(), Target.from_model(f"harmonic-well-{STIFFNESS:g}-{DIMENSION}"))
    settings = ChainSettings(walkers_a_group=8, warm_up=12, pilot=16, ladder="none")
    with pytest.raises(BoltzgenError, match=r"differs by 0\.001 from that of a full pass.*float64"):
        run_chains(generator, 100, KELVIN, settings=settings, seed=1)


class Nowhere(HarmonicWell):
    """Energies that are not numbers: everywhere, or everywhere but at the points that were asked first."""

    def __init__(self, first: int = 0) -> None:
        super().__init__(STIFFNESS, DIMENSION)
        self.left = first

    def _energy(self, positions):
        energy = torch.full_like(positions[:, 0], torch.nan)
        known = min(self.left, len(energy))
        self.left -= known
        energy[:known] = super()._energy(positions[:known])
        return energy


def test_what_cannot_be_sampled_says_so(butane):
    settings = ChainSettings(walkers_a_group=4, groups=1, warm_up=3, pilot=8, ladder="none")

    def refused(error, match, generator, settings=settings):
        with pytest.raises(error, match=match) as caught:
            run_chains(generator, 20, KELVIN, settings=settings, seed=1)
        assert "\n" not in str(caught.value)

    target = Target.from_model(f"harmonic-well-{STIFFNESS:g}-{DIMENSION}")
    refused(UnsupportedError, "latent space", BoltzmannGenerator(NoLatents(), target))
    nowhere = replace(target, potential=Nowhere())
    refused(
        BoltzgenError, "none of 8 draws.*8 have no finite energy", BoltzmannGenerator(GaussianFlow(), nowhere)
    )
    stuck = replace(target, potential=Nowhere(8 + 4))
    refused(
        BoltzgenError,
        "no walker accepted a move in 3 sweeps.*no finite",
        BoltzmannGenerator(GaussianFlow(), stuck),
    )
    alone = settings.model_copy(update={"walkers_a_group": 1})
    refused(InputError, "one walker.*at least 2", butane, alone)
    outside = replace(butane.target, coordinates=_Outside(butane.target.coordinates))
    refused(BoltzgenError, "all lie outside the domain", BoltzmannGenerator(butane.flow, outside))


class _Outside:
    """Coordinates whose domain holds nothing."""

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def inside(self, positions):
        return torch.zeros(len(positions), dtype=torch.bool)
