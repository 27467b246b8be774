"""Each kernel of the chains leaves its target as it is: rank statistics of exact draws, and what they catch.

The rank test (Gandy and Scott, arXiv 2001.06465, algorithm 2): an exact draw of the target gets a random
place in a chain of `LENGTH`, whose steps before it and after it are made by the kernel, which is reversible.
The rank of the draw in its chain is then uniform, whatever the flow, for every function of the state. Ties,
which rejections make, are broken at random. The flows here are bad on purpose: their weights are noise.

A right kernel fails with a probability of `ALARM` a function. The stated power is that of the noncentral
chi-square test at the lower end (3 sigma) of the effect that was measured on the sabotaged kernels.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from butane import ANGLE, ANGLE_CONSTANT, BOND_CONSTANT, BOND_LENGTH, OPLS_TORSION, write_butane
from flow_cases import FLOWS
from helpers import randomised
from scipy import stats

from boltzgen.config.build import build_flow
from boltzgen.flows.coupling import CouplingFlow
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.refine.chains import group as chains
from boltzgen.refine.chains.group import Group
from boltzgen.refine.chains.moves import proposed
from boltzgen.refine.chains.settings import ChainSettings
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import thermal_energy
from boltzgen.workflows.preparation.prepare import prepare

#: Chains (one a draw) of the double well and of butane, and states of each.
WELLS, BUTANES, LENGTH = 20_000, 4000, 6

#: Probability of a false alarm of one function of the state.
ALARM = 1e-4

#: Power at which sabotaged kernels are caught.
POWER = 0.999

KELVIN = 300.0


def inverse(log_density, low: float, high: float, uniform: np.ndarray) -> np.ndarray:
    """Draws of a density on an interval from uniform ones: its integral on a fine grid, turned around."""
    x = np.linspace(low, high, 40_001)
    density = np.exp(log_density(x) - log_density(x).max())
    integral = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    return np.interp(uniform, integral / integral[-1], x)


def double_well_draws(number: int, rng: np.random.Generator) -> torch.Tensor:
    """Exact draws (number, 2) of exp(-(x^4 - 6 x^2 - x/2) - y^2/2)."""
    x = inverse(lambda v: -(v**4) + 6 * v**2 + 0.5 * v, -4.0, 4.0, rng.random(number))
    return torch.as_tensor(np.stack([x, rng.standard_normal(number)], axis=1))


def butane_draws(coordinates, number: int, rng: np.random.Generator) -> torch.Tensor:
    """Exact draws (number, 4, 3) nm of the bonded-only butane: its coordinates are independent."""
    beta = 1 / thermal_energy(KELVIN)
    v1, v2, v3 = (4.184 * value for value in OPLS_TORSION)

    def turn(phi):
        u = v1 * (1 + np.cos(phi)) + v2 * (1 - np.cos(2 * phi)) + v3 * (1 + np.cos(3 * phi))
        return -0.5 * beta * u

    densities = {
        "bond": (lambda r: 2 * np.log(r) - 0.5 * beta * BOND_CONSTANT * (r - BOND_LENGTH) ** 2, 0.12, 0.19),
        "angle": (
            lambda a: np.log(np.sin(a)) - 0.5 * beta * ANGLE_CONSTANT * (a - ANGLE) ** 2,
            1e-6,
            np.pi - 1e-6,
        ),
        "torsion": (turn, -np.pi, np.pi),
    }
    values = [inverse(*densities[kind], rng.random(number)) for kind in coordinates.table.kind]
    return coordinates.decode(torch.as_tensor(np.stack(values, axis=1)))[0]


@pytest.fixture(scope="module")
def double_well():
    """(generator, exact draws): the flow's weights are noise."""
    target = Target.from_model("double-well")
    torch.manual_seed(0)
    flow = CouplingFlow(target.features.tokens.shape[1], layers=2, hidden=8, bins=4).double()
    randomised(flow, 0.05)
    return BoltzmannGenerator(flow, target), double_well_draws(WELLS, np.random.default_rng(1))


@pytest.fixture(scope="module")
def butane(tmp_path_factory):
    """(generator, exact draws): an autoregressive flow whose weights are noise."""
    folder = tmp_path_factory.mktemp("butane")
    xml, pdb = write_butane(folder)
    prepare(xml, folder / "SYS", coordinates=pdb)
    target = Target.from_system(MolecularSystem.load(folder / "SYS"))
    flow = build_flow(FLOWS["autoregressive"], seed=5).double()
    randomised(flow, 0.07)
    draws = butane_draws(target.coordinates, BUTANES, np.random.default_rng(2))
    return BoltzmannGenerator(flow, target), draws


def group_of(case) -> Group:
    """A group whose warm-up is over, at exact draws, with the shares of moves that a warm-up begins with."""
    generator, draws = case
    settings = ChainSettings(walkers_a_group=len(draws), warm_up=1, ladder="none")
    group = Group(generator, KELVIN, settings, seed=5, group=0, steps=10**6)
    group.sweeps = 1
    put(group, draws)
    return group


def put(group: Group, draws: torch.Tensor) -> None:
    """The walkers of `group` at `draws`."""
    with torch.no_grad():
        group.start_at(group.generator.encode(draws, KELVIN)[0])


def functions(group: Group) -> np.ndarray:
    """(functions, walkers): every coordinate, the energy and ln w, in which rounding is no move."""
    group.encode()
    walkers = group.walkers
    found = [walkers.coordinates.T.numpy(), walkers.u[None].numpy(), walkers.log_w[None].numpy()]
    return np.round(np.concatenate(found), 9)


def rank_statistics(group: Group, draws: torch.Tensor, step) -> np.ndarray:
    """Chi-square (LENGTH - 1 degrees of freedom) of the ranks, one for each function of the state."""
    sides = []
    for _ in range(2):
        put(group, draws)
        chain = [functions(group)]
        for _ in range(LENGTH - 1):
            step(group)
            chain.append(functions(group))
        sides.append(np.stack(chain))
    rng = np.random.default_rng(3)
    before = rng.integers(0, LENGTH, draws.shape[0])  # steps before the draw; the others come after it
    first, found = sides[0][0], []
    number = np.arange(1, LENGTH)[:, None, None]
    behind = sides[0][1:], number <= before
    ahead = sides[1][1:], number <= LENGTH - 1 - before
    less = sum(((states < first) & used).sum(axis=0) for states, used in (behind, ahead))
    equal = sum(((states == first) & used).sum(axis=0) for states, used in (behind, ahead))
    rank = less + rng.integers(0, equal + 1)
    for ranks in rank:
        found.append(stats.chisquare(np.bincount(ranks, minlength=LENGTH)).statistic)
    return np.array(found)


def power(statistic: float) -> float:
    """Of the test at `ALARM`, for an effect 3 sigma below the one that was measured."""
    freedom = LENGTH - 1
    effect = statistic - freedom
    lower = effect - 3 * math.sqrt(2 * (freedom + 2 * max(effect, 0.0)))
    return float(stats.ncx2.sf(stats.chi2.isf(ALARM, freedom), freedom, max(lower, 1e-9)))


def moved(group: Group, index: int, times: int = 1) -> None:
    for _ in range(times):
        group.move(index)


def index_of(group: Group, kind: str) -> int:
    """The last move of a kind: the one of most coordinates."""
    return [number for number, move in enumerate(group.moves) if move.kind == kind][-1]


def assert_exact(group: Group, draws: torch.Tensor, step) -> None:
    found = rank_statistics(group, draws, step)
    assert stats.chi2.sf(found, LENGTH - 1).min() > ALARM, found


def assert_caught(group: Group, draws: torch.Tensor, step) -> None:
    found = rank_statistics(group, draws, step)
    assert power(found.max()) > POWER, found


@pytest.mark.parametrize("kind", ("fragment", "crank-nicolson", "langevin", "global"))
def test_kernels_on_the_double_well(double_well, kind):
    group = group_of(double_well)
    group.adaptation.widths[:] = 0.4
    index = index_of(group, kind)
    assert_exact(group, double_well[1], lambda one: moved(one, index, 2))
    accepted, tried = group.acceptance[kind]
    assert 0.02 < accepted / tried < (1 if kind == "langevin" else 0.98)


@pytest.mark.parametrize(
    "kind",
    (
        *("torsion", "turn", "fragment", "end", "crank-nicolson", "langevin", "global"),
        *(f"{kind} in place" for kind in ("torsion", "turn", "fragment", "end", "crank-nicolson")),
    ),
)
def test_kernels_on_butane(butane, kind):
    group = group_of(butane)
    group.adaptation.widths[:] = 0.4
    index = index_of(group, kind)
    assert_exact(group, butane[1], lambda one: moved(one, index))
    accepted, tried = group.acceptance[kind]
    assert 0.02 < accepted / tried < (1 if kind == "langevin" else 0.98)


@pytest.mark.parametrize("case", ("butane", "double_well"))
def test_sweeps_of_all_kernels(case, request):
    """All walkers make the same moves, whose order is random: exact draws stay exact draws (algorithm 1)."""
    case = request.getfixturevalue(case)
    group = group_of(case)
    group.moves_a_sweep = 20
    fresh = functions(group)[:, ::2]
    put(group, case[1])
    group.sweep()
    assert sum(accepted for accepted, _ in group.acceptance.values()) > 2 * len(case[1])
    found = [stats.ks_2samp(*pair).pvalue for pair in zip(functions(group)[:, 1::2], fresh, strict=True)]
    assert min(found) > ALARM, found


def test_a_wrong_ratio_is_caught(double_well, monkeypatch):
    """(w'/w)^0.7, and exp(-u') / exp(-u), which forgets the density of the flow."""
    right, group = chains.accepted, group_of(double_well)
    index = index_of(group, "fragment")
    monkeypatch.setattr(chains, "accepted", lambda ratio, generator: right(0.7 * ratio, generator=generator))
    assert_caught(group, double_well[1], lambda one: moved(one, index, 2))
    monkeypatch.setattr(chains, "accepted", right)
    chosen = group.target.chosen

    def by_energy_alone(yes, new, old):
        return chosen(right(old.u - new.u, generator=group.random), new, old)

    monkeypatch.setattr(group.target, "chosen", by_energy_alone)
    assert_caught(group, double_well[1], lambda one: moved(one, index, 2))


@pytest.mark.parametrize("kind", ("end in place", "crank-nicolson in place"))
def test_an_end_in_place_has_the_ratio_of_whole_passes(butane, kind):
    """No later coordinate's density changes: ln w'/w of whole passes, with all volumes, to 1e-9."""
    group = group_of((butane[0], butane[1][:200]))
    move = next(one for one in group.moves if one.kind == kind and one.in_place[-1] == 5)
    assert move.in_place == tuple(range(move.in_place[0], 6))
    propose = partial(proposed, move=move, width=0.5, circular=group.circular, generator=group.random)
    new, ratio = group.target.placed_anew(group.walkers, move.in_place, propose)
    assert not new.is_encoded
    both = [
        group.target.whole(group.generator.encode(one.positions, KELVIN)[0]) for one in (new, group.walkers)
    ]
    assert torch.allclose(both[0].positions, new.positions, rtol=0, atol=1e-9)
    expected = both[0].log_w - both[1].log_w
    assert float(expected.std()) > 0.5
    assert torch.allclose(ratio, expected, rtol=0, atol=1e-9)
    encoded = group.target.encoded_anew(new)
    assert torch.allclose(encoded.log_w, both[0].log_w, rtol=0, atol=1e-9)
    assert torch.allclose(encoded.latents, both[0].latents, rtol=0, atol=1e-9)


def test_a_full_pass_moves_no_walker(butane):
    """Not by a bit: decoding latents again would, and far where the flow gives next to no density."""
    group = group_of((butane[0], butane[1][:50]))
    group.move(next(number for number, move in enumerate(group.moves) if move.in_place))
    before, group.largest_drift = group.walkers, 0.0
    group._pass_in_full()
    assert torch.equal(group.walkers.coordinates, before.coordinates) and group.walkers.is_encoded
    torch.testing.assert_close(group.walkers.u, before.u, rtol=0, atol=1e-9)
    assert group.largest_drift < 1e-9


@pytest.mark.parametrize(
    ("forgotten", "kind", "seed", "noise"),
    (("old", "torsion", 6, 0.3), ("new", "fragment", 5, 0.07), ("base", "fragment", 5, 0.07)),
)
def test_a_wrong_ratio_in_place_is_caught(butane, forgotten, kind, seed, noise, monkeypatch):
    """Without the density of the old coordinates, that of the new ones, or that of the latents.

    seed, noise: of a flow by whose density one notices (a torsion that is nearly uniform does not tell).
    """
    generator, draws = butane
    flow = build_flow(FLOWS["autoregressive"], seed=seed).double()
    randomised(flow, noise)
    group = group_of((BoltzmannGenerator(flow, generator.target), draws))
    index = index_of(group, f"{kind} in place")
    right, encode_rows, decode_rows = group.target.placed_anew, flow.encode_rows, flow.decode_rows

    def encoded(*given):
        latents, change, begun = encode_rows(*given)
        return latents, torch.zeros_like(change) if forgotten == "old" else change, begun

    def decoded(*given):
        coordinates, change, kept = decode_rows(*given)
        return coordinates, torch.zeros_like(change) if forgotten == "new" else change, kept

    def placed_anew(old, rows, propose):
        found = []

        def proposing(latents):
            found.extend([latents, propose(latents)])
            return found[1]

        new, ratio = right(old, rows, proposing)
        if forgotten == "base":
            linear = [row for row in rows if not group.circular[row]]
            ratio = ratio - 0.5 * (found[1][:, linear] ** 2 - found[0][:, linear] ** 2).sum(dim=1)
        return new, ratio

    monkeypatch.setattr(flow, "encode_rows", encoded)
    monkeypatch.setattr(flow, "decode_rows", decoded)
    monkeypatch.setattr(group.target, "placed_anew", placed_anew)
    assert_caught(group, draws, lambda one: moved(one, index, 2))


@pytest.mark.parametrize(("case", "kind"), (("double_well", "crank-nicolson"), ("butane", "turn")))
def test_a_width_that_follows_the_current_state_is_caught(case, kind, monkeypatch, request):
    """Each walker adapts while it samples: wide steps where it is far out, narrow ones elsewhere."""
    case = request.getfixturevalue(case)
    group = group_of(case)
    right, index = chains.proposed, index_of(group, kind)
    row = group.moves[index].rows[0]
    middle = group.walkers.latents[:, row].abs().median()

    def proposed(latents, move, width, circular, *, generator):
        narrow = right(latents, move, 0.02, circular, generator=generator)
        wide = right(latents, move, 0.6, circular, generator=generator)
        return torch.where(latents[:, row, None].abs() > middle, wide, narrow)

    monkeypatch.setattr(chains, "proposed", proposed)
    assert_caught(group, case[1], lambda one: moved(one, index, 2))


@pytest.mark.parametrize("kind", ("fragment", "global"))
def test_a_kernel_that_forgets_the_rejected_state_is_caught(double_well, kind):
    """A rejected move does not repeat the state: the walker tries again until one is accepted."""
    group = group_of(double_well)
    index = index_of(group, kind)

    def forgetful(one):
        waiting = torch.ones(len(one.walkers), dtype=torch.bool)
        for _ in range(8):
            done = one.walkers
            moved(one, index)
            new = one.walkers
            one.walkers = one.target.chosen(waiting, new, done)
            waiting &= ~(new.latents != done.latents).any(dim=1)

    assert_caught(group, double_well[1], forgetful)
