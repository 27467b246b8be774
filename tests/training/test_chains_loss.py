"""The loss on walkers: what they are, that they sample the target, that a lost state returns, checkpoints."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from gaussian_cases import GaussianFlow
from helpers import randomised

from boltzgen.config.build import build_flow
from boltzgen.errors import InputError
from boltzgen.flows.autoregressive import AutoregressiveFlow, AutoregressiveSettings
from boltzgen.flows.coupling import CouplingSettings
from boltzgen.flows.temperature_mixture import TemperatureMixture
from boltzgen.generator import Target
from boltzgen.refine.chains.moves import moves_of
from boltzgen.training.losses.chains import ChainsSettings
from boltzgen.training.losses.objective import Given, Turn
from boltzgen.training.losses.walker_buffer import (
    SETTLING,
    WalkerBuffer,
    first_walkers,
    moved_walkers,
)

KELVIN = 350.0


@pytest.fixture(scope="module")
def target(butane) -> Target:
    return Target.from_system(butane)


FLOWS = {
    "coupling": CouplingSettings(layers=2, hidden=16, bins=4, embedding=8, encoder_blocks=1),
    "autoregressive": AutoregressiveSettings(hidden=16, depth=1, bins=4, embedding=8, encoder_blocks=1),
}


@pytest.fixture(scope="module", params=list(FLOWS))
def flow(request):
    """A flow of butane that is far from it; the second one moves walkers in place."""
    flow = build_flow(FLOWS[request.param], seed=3)
    randomised(flow, 0.08)
    return flow.double()


def turned(flow, target, buffer, turns, *, anew=0, seed=5):
    """`buffer` after each of its walkers had so many turns of one sweep of all moves."""
    (moves, _), *_ = ChainsSettings().objective("chains", Given(flow, [target], {})).moves
    assert any(move.in_place for move in moves) == isinstance(flow, AutoregressiveFlow)
    for turn in range(turns):
        generator = torch.Generator().manual_seed(1000 * seed + turn)
        buffer.add(
            moved_walkers(
                flow,
                target,
                KELVIN,
                buffer,
                torch.arange(buffer.walkers),
                moves,
                anew=anew,
                tries=4,
                hotter=1.5 * KELVIN,
                generator=generator,
            )
        )


def trans(coordinates: torch.Tensor, target: Target) -> np.ndarray:
    """Whether the torsion of butane is trans, (B,) bool."""
    torsion = coordinates[:, target.features.circular][:, 0].numpy()
    return np.abs(np.angle(np.exp(1j * torsion))) > 2 * np.pi / 3


def test_states_of_walkers_are_those_of_the_target(flow, target):
    """600 walkers, 30 sweeps: the share of trans within 4 errors of quadrature, whatever the weights."""
    buffer = WalkerBuffer(10**6, 600)
    buffer.add(first_walkers(flow, target, KELVIN, 600, 2000, torch.Generator().manual_seed(1)))
    turned(flow, target, buffer, 30)
    grid = torch.linspace(-np.pi, np.pi, 721, dtype=torch.float64)[:-1]
    middle = buffer.now["coordinates"].mean(0).repeat(len(grid), 1)
    middle[:, target.features.circular] = grid[:, None]
    middle[:, ~target.features.circular] = buffer.now["coordinates"][:, ~target.features.circular].mean(0)
    # bonded terms alone: torsions factorise, so that one cut along the torsion has its exact profile
    u = target.reduced_energy(target.coordinates.decode(middle)[0], KELVIN).numpy()
    profile = np.exp(-(u - u.min()))
    exact = profile[trans(middle, target)].sum() / profile.sum()
    found = trans(buffer.now["coordinates"], target).mean()
    assert 0.2 < exact < 0.9
    assert abs(found - exact) < 4 * np.sqrt(exact * (1 - exact) / 600)
    assert 0.05 < buffer.acceptance < 0.95


def test_energies_and_densities_stand_where_walkers_are(flow, target):
    buffer = WalkerBuffer(500, 40)
    first = first_walkers(flow, target, KELVIN, 40, 400, torch.Generator().manual_seed(2))
    assert first.evaluations == 400 and bool(first.anew.all())
    buffer.add(first)
    assert not len(buffer)  # nothing has settled
    turned(flow, target, buffer, SETTLING + 2)
    assert len(buffer) == 40 * 3 and len(buffer.proposed) == 500
    for kept in (buffer.kept, buffer.now, buffer.proposed.kept):
        positions, log_det = target.coordinates.decode(kept["coordinates"])
        u = target.reduced_energy(positions, KELVIN)
        torch.testing.assert_close(kept["energy"] / KELVIN, u, rtol=0, atol=1e-5)
        torch.testing.assert_close(kept["log_det"], log_det)


def test_a_turn_costs_its_moves_and_the_draws_of_those_begun_anew(flow, target):
    buffer = WalkerBuffer(500, 40)
    buffer.add(first_walkers(flow, target, KELVIN, 40, 400, torch.Generator().manual_seed(2)))
    moved = moved_walkers(
        flow,
        target,
        KELVIN,
        buffer,
        torch.tensor([7, 3, 11]),
        moves_of(target)[:5],
        anew=2,
        tries=6,
        hotter=500.0,
        generator=torch.Generator().manual_seed(4),
    )
    assert moved.evaluations == 5 * 3 + 2 * 6
    assert moved.walker.tolist() == [7, 3, 11] and moved.anew.tolist() == [True, True, False]
    turns = buffer.turns.clone()
    buffer.add(moved)
    assert buffer.turns[[7, 3]].tolist() == [0, 0] and buffer.turns[11] == turns[11] + 1
    waiting = buffer.waiting_longest(37, generator=torch.Generator().manual_seed(0))
    assert sorted([*waiting.tolist(), 3, 7, 11]) == list(range(40))


def test_a_lost_state_returns_by_walkers_begun_anew(flow, target):
    """All walkers gauche, and no moves: those begun anew bring trans back, others not."""
    found = {}
    for anew in (0, 8):
        buffer = WalkerBuffer(10**5, 64)
        first = first_walkers(flow, target, KELVIN, 400, 2000, torch.Generator().manual_seed(1))
        gauche = torch.as_tensor(~trans(first.coordinates, target))
        rows = torch.nonzero(gauche)[:64, 0]
        assert len(rows) == 64
        buffer.add(
            dataclasses.replace(
                first,
                coordinates=first.coordinates[rows],
                log_det=first.log_det[rows],
                log_q=first.log_q[rows],
                energy=first.energy[rows],
                walker=torch.arange(64),
                anew=first.anew[:64],
            )
        )
        for turn in range(4):
            generator = torch.Generator().manual_seed(turn)
            order = torch.randperm(64, generator=generator)
            buffer.add(
                moved_walkers(
                    flow,
                    target,
                    KELVIN,
                    buffer,
                    order,
                    [],
                    anew=anew,
                    tries=4,
                    hotter=1.5 * KELVIN,
                    generator=generator,
                )
            )
        found[anew] = trans(buffer.now["coordinates"], target).sum()
    assert found[0] == 0 and found[8] >= 5


def test_a_checkpoint_keeps_walkers_and_states(flow, target):
    buffer, other = WalkerBuffer(300, 40), WalkerBuffer(300, 40)
    other.restore(buffer.tensors())
    assert not other.now
    buffer.add(first_walkers(flow, target, KELVIN, 40, 400, torch.Generator().manual_seed(2)))
    turned(flow, target, buffer, 4)
    other.restore({name: value.clone() for name, value in buffer.tensors().items()})
    turned(flow, target, buffer, 1, seed=6)
    turned(flow, target, other, 1, seed=6)
    assert buffer.tensors().keys() == other.tensors().keys()
    for name, value in buffer.tensors().items():
        assert torch.equal(value, other.tensors()[name]), name


def test_a_step_draws_walkers_then_learns_from_settled_ones(flow, target):
    settings = ChainsSettings(
        walkers=12,
        fresh=8,
        every=3,
        moves=3,
        first=64,
        tries=5,
        anew=0.25,
        batch_size=16,
        temperatures=[KELVIN],
    )
    # two of eight begin anew, all at once
    assert settings.evaluations_a_step == pytest.approx((8 * 3 + 2 * 5) / 3)
    assert settings.evaluations_at_first == 64 + SETTLING * 12 * 3
    loss = settings.objective("chains", Given(flow, [target], {}))
    spent, learned = [], []
    for step in range(16):
        turn = Turn(step, step / 16, seed=3)
        terms = loss.terms(turn)
        learned.append(bool(terms))
        if terms:
            value = terms[0].compute(16, torch.Generator().manual_seed(step))
            assert value.value is not None and value.value.requires_grad and value.rows == 16
            assert set(value.parts) == {"chains", "chains_dispersion", "chains_acceptance"}
        drawn = [(draw.buffer, draw.compute()) for draw in loss.draws(turn)]
        spent.append(sum(samples.evaluations for _, samples in drawn))
        for buffer, samples in drawn:
            buffer.add(samples)
    settling = [64] + SETTLING * [12 * 3]
    assert spent == settling + [0, 0, 8 * 3 + 2 * 5] * 4
    assert learned == [False] * len(settling) + [True] * 12


def test_a_flow_without_latents_is_refused(target):
    flow = TemperatureMixture(GaussianFlow(), [300.0, 400.0])
    with pytest.raises(InputError, match="latent space"):
        ChainsSettings().objective("chains", Given(flow, [target], {}))
    with pytest.raises(InputError, match="lower it"):
        ChainsSettings(fresh=300).objective("chains", Given(GaussianFlow(), [target], {}))
