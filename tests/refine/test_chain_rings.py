"""Chains turn rings over: exact draws stay exact draws, whatever the flow, and both chairs are seen.

The target here is a mixture of the densities of two flows whose weights are noise, one of them turned over,
so that its draws are exact; the walkers are those of a third. The rank test is that of `test_chains_exact`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from flow_cases import FLOWS
from helpers import randomised
from refine.test_chains_exact import ALARM, KELVIN, LENGTH, assert_caught, functions, put, rank_statistics
from scipy import stats

import boltzgen as bg
from boltzgen.config.build import build_flow
from boltzgen.dynamics.ring_moves import RingMoves
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.potentials.base import Potential
from boltzgen.refine.chains import group as chains
from boltzgen.refine.chains.group import Group
from boltzgen.refine.chains.ring_turns import RING, turned_over
from boltzgen.refine.chains.settings import ChainSettings
from boltzgen.refine.chains.taken import arrays_of
from boltzgen.system.prepare import prepare
from boltzgen.units import thermal_energy

#: Exact draws, one chain each, and the share of them that is turned over.
DRAWS, TURNED = 3000, 0.35


class OfFlows(Potential):
    """``-kT ln p`` of ``p(x) = (1 - s) q1(x) + s q2(F x)``: F, the flip, keeps the volume element."""

    def __init__(self, first: BoltzmannGenerator, second: BoltzmannGenerator, flip) -> None:
        super().__init__()
        self.both, self.flip = (first, second), flip

    def energy(self, positions):
        x = positions.double()
        parts = [
            math.log(share) + density_of(one, y)
            for one, y, share in zip(self.both, (x, self.flip(x)), (1 - TURNED, TURNED), strict=True)
        ]
        return -thermal_energy(KELVIN) * torch.logsumexp(torch.stack(parts), dim=0)


def density_of(generator: BoltzmannGenerator, positions):
    """(B,) ln q in the positions, whatever the domain."""
    values, log_det = generator.target.coordinates.encode(positions)
    return generator.flow.log_prob(values, generator.embed(KELVIN, len(positions))) + log_det


def noisy(seed: int, spread: float):
    flow = build_flow(FLOWS["autoregressive"], seed=seed).double()
    randomised(flow, spread)
    return flow


@pytest.fixture(scope="module")
def ring():
    """(generator of the walkers, exact draws of their target, rings) of a ring of four S and two CH2."""
    system = prepare(smiles="C1SSCSS1", forcefield=("mmff94",))
    target, rings = Target.from_system(system), RingMoves.of(system)
    (flip,) = rings.moves
    first, second = (BoltzmannGenerator(noisy(seed, 0.05), target) for seed in (3, 4))
    x, y = (
        torch.tensor(one.sample(DRAWS, KELVIN, seed=6).positions, dtype=torch.float64)
        for one in (first, second)
    )
    turned = torch.rand(DRAWS, generator=torch.Generator().manual_seed(1)) < TURNED
    draws = torch.where(turned[:, None, None], flip(y), x)
    walkers = BoltzmannGenerator(noisy(5, 0.05), replace(target, potential=OfFlows(first, second, flip)))
    assert target.coordinates.inside(draws).all()
    return walkers, draws, rings


def group_of(case, ladder: str = "none") -> Group:
    """A group whose warm-up is over, at exact draws."""
    generator, draws, rings = case
    settings = ChainSettings(walkers_a_group=len(draws), warm_up=1, ladder=ladder)
    group = Group(generator, KELVIN, settings, seed=5, group=0, steps=10**6, rings=rings)
    group.sweeps = 1
    put(group, draws)
    return group


def turn(group: Group) -> None:
    group._turn(group.rings)


def test_exact_draws_stay_exact_draws(ring):
    group = group_of(ring)
    found = rank_statistics(group, ring[1], turn)
    assert stats.chi2.sf(found, LENGTH - 1).min() > ALARM, found
    accepted, tried = group.acceptance[RING]
    assert tried == 2 * (LENGTH - 1) * len(ring[1])
    assert 0.02 < accepted / tried < 0.9, accepted / tried


def test_a_wrong_ratio_is_caught(ring, monkeypatch):
    """The weights' ratio, as if the flip were drawn from the flow; and a quarter of the energy."""
    group = group_of(ring)

    def by_weight(target, walkers, rings, exponent, *, generator):
        group.encode()
        new, _ = turned_over(target, group.walkers, rings, exponent, generator=generator)
        return new, new.log_w - group.walkers.log_w

    monkeypatch.setattr(chains, "turned_over", by_weight)
    assert_caught(group, ring[1], turn)

    def quarter(*given, generator):
        new, ratio = turned_over(*given, generator=generator)
        return new, 0.25 * ratio

    monkeypatch.setattr(chains, "turned_over", quarter)
    assert_caught(group, ring[1], turn)


def test_where_it_goes_is_encoded_and_the_ratio_is_that_of_the_rung(ring):
    generator, draws, rings = ring
    group = group_of((generator, draws[:300], rings))
    exponent = torch.linspace(0.2, 1.0, 300, dtype=torch.float64)
    old = group.walkers
    new, ratio = turned_over(group.target, old, rings, exponent, generator=group.random)
    usable = torch.isfinite(ratio)
    assert usable.double().mean() > 0.5 and (new.coordinates - old.coordinates).abs().max() > 0.1
    at = [generator.log_prob(walkers.positions[usable], KELVIN)[0] for walkers in (old, new)]
    u = [generator.target.reduced_energy(one.positions[usable], KELVIN) for one in (old, new)]
    b = exponent[usable]
    expected = (1 - b) * (at[1] - at[0]) - b * (u[1] - u[0])
    torch.testing.assert_close(ratio[usable], expected, rtol=0, atol=1e-8)
    again = group.target.whole(new.latents)
    torch.testing.assert_close(again.positions[usable], new.positions[usable], rtol=0, atol=1e-8)
    torch.testing.assert_close(again.log_w[usable], new.log_w[usable], rtol=0, atol=1e-7)
    nothing = {"latents": torch.zeros_like(old.latents), "log_q": torch.zeros_like(old.log_q)}
    stale = replace(old, **nothing, is_encoded=False)
    one = torch.ones(300, dtype=torch.float64)
    group.random.manual_seed(8)
    first = turned_over(group.target, old, rings, one, generator=group.random)[1]
    group.random.manual_seed(8)
    second = turned_over(group.target, stale, rings, one, generator=group.random)[1]
    torch.testing.assert_close(first, second)  # on the target's rung latents need not be known


def test_moves_in_place_go_on_from_a_turned_ring(ring):
    """Sweeps of all moves with turns between them; what the flow keeps of a turned ring is that of a pass."""
    group = group_of(ring)
    fresh = functions(group)[:, ::2]
    put(group, ring[1])
    group.moves_a_sweep = 6
    for _ in range(2):
        group.sweep()
    found = [stats.ks_2samp(*pair).pvalue for pair in zip(functions(group)[:, 1::2], fresh, strict=True)]
    assert min(found) > ALARM, found
    before = group.target.encoded_anew(group.walkers)
    whole = group.target.whole(before.latents)
    torch.testing.assert_close(whole.log_w, before.log_w, rtol=0, atol=1e-6)


def test_a_group_that_is_put_back_goes_on_to_the_same_bytes(ring):
    generator, _, rings = ring
    settings = ChainSettings(walkers_a_group=8, warm_up=2, pilot=16, ladder="none", full_pass_every=2)
    first, again = (
        Group(generator, KELVIN, settings, seed=9, group=0, steps=4, rings=rings) for _ in range(2)
    )
    first.moves_a_sweep = again.moves_a_sweep = 3
    first.begin()
    while first.sweeps < 4:
        first.sweep()
    again.restore(arrays_of(first.state()))
    for group in (first, again):
        while not group.done:
            group.sweep()
    states = [arrays_of(group.state()) for group in (first, again)]
    assert states[0]["acceptance"].shape == (len(first.kinds), 2) and first.kinds[-1] == RING
    assert states[0]["acceptance"][-1, 1] == 4 * 8
    for name, values in states[0].items():
        np.testing.assert_array_equal(values, states[1][name], err_msg=name)


def test_sample_offers_the_rings_of_the_molecule(tmp_path):
    """Cyclobutane in the chains of the shipped model, which has seen no such ring."""
    prepare(smiles="C1CCC1", forcefield=("mmff94",)).save(tmp_path / "SYS")
    options = {"chains": True, "walkers": 8, "groups": 2, "warm_up": 2, "pilot": 8, "ladder": "none"}
    bg.sample("peptides-ff14sb-obc1", tmp_path / "SYS", tmp_path / "OUT", 16, seed=1, **options)
    record = bg.load_samples(tmp_path / "OUT").provenance["chains"]
    assert record["acceptance"][RING]["tried"] == 2 * 8
