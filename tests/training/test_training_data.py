"""Frames for training: turned methyl groups, splits by time, frames outside the domain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import seeded
from molecules import simulated
from scipy import stats

from boltzgen.data.record import Trajectory
from boltzgen.errors import InputError
from boltzgen.generator import Target
from boltzgen.system.prepare import prepare
from boltzgen.training.symmetry import rotor_groups, turn_rotors
from boltzgen.training.training_data import TrainingData, draw_pairs, energies_of_frames
from boltzgen.units import GAS_CONSTANT


@pytest.fixture(scope="module")
def alanine(alanine_dipeptide) -> Target:
    return Target.from_system(alanine_dipeptide)


@pytest.fixture(scope="module")
def frames(alanine_dipeptide) -> np.ndarray:
    """(12, 22, 3) nm of alanine dipeptide at 300 K."""
    return simulated(alanine_dipeptide, 12, temperature=300.0)


def named(system, residue: str, *atoms: str) -> frozenset[int]:
    """The atoms of these names in the first residue of the name."""
    found = [k for k, n in enumerate(system.atom_names) if n.residue == residue and n.atom in atoms]
    assert len(found) == len(atoms)
    return frozenset(found)


BETA = ("ALA", "HB1", "HB2", "HB3")


def groups(target: Target) -> set[frozenset[int]]:
    return {frozenset(group) for group in rotor_groups(target).tolist()}


def test_the_three_methyls_of_alanine_dipeptide(alanine, alanine_dipeptide):
    methyls = (("ACE", "H1", "H2", "H3"), BETA, ("NME", "H1", "H2", "H3"))
    assert groups(alanine) == {named(alanine_dipeptide, *methyl) for methyl in methyls}


def test_an_ammonium_group_turns_as_well():
    system = prepare(sequence="AG", forcefield=("amber99sbildn.xml",), minimize=False)
    expected = {named(system, "ALA", "H", "H2", "H3"), named(system, *BETA)}
    assert groups(Target.from_system(system)) == expected


def test_a_hydrogen_of_another_charge_does_not_turn(alanine, alanine_dipeptide):
    import openmm

    changed = openmm.XmlSerializer.deserialize(alanine_dipeptide.system_xml)
    beta = named(alanine_dipeptide, *BETA)
    force = next(f for f in changed.getForces() if isinstance(f, openmm.NonbondedForce))
    atom = max(beta)
    charge, *rest = force.getParticleParameters(atom)
    force.setParticleParameters(atom, charge * 1.01, *rest)
    other = replace(alanine_dipeptide, system_xml=openmm.XmlSerializer.serialize(changed))
    assert groups(Target.from_system(other)) == groups(alanine) - {beta}


def test_united_atoms_and_model_systems_have_no_rotors(butane):
    assert rotor_groups(Target.from_system(butane)).shape == (0, 3)
    assert rotor_groups(Target.from_model("double-well")).shape == (0, 3)


def test_turned_frames_have_the_same_energy_and_hands(alanine, frames):
    x = torch.as_tensor(frames).repeat(6, 1, 1)
    turned = turn_rotors(x, rotor_groups(alanine), seeded(1))
    moved = (turned != x).any(dim=2)
    assert 0.5 < float(moved[:, rotor_groups(alanine).reshape(-1)].double().mean()) < 0.8
    assert int(moved.sum(dim=1).max()) == 9, "others than the nine hydrogens were moved"
    change = alanine.potential.energy(turned) - alanine.potential.energy(x)
    assert float(change.abs().max()) < 1e-6
    assert bool((alanine.coordinates.domain(turned) == 0).all())


def test_turns_are_uniform_and_independent(alanine):
    """27 cells of 6750 draws, p > 1e-4; a turn of probability 0.40 instead of 1/3 in one group (lambda = 135)
    or the same turn for all groups would be found with a power above 0.999."""
    chosen = rotor_groups(alanine)
    labels = torch.arange(22.0)[None, :, None].expand(6750, -1, 3)
    turned = turn_rotors(labels, chosen, seeded(2))[:, :, 0].long()
    shift = torch.stack([(group == turned[:, group[0], None]).int().argmax(dim=1) for group in chosen], dim=1)
    for group, place in zip(chosen, shift.T, strict=True):  # every turn is cyclic
        expected = group[(torch.arange(3)[None] + place[:, None]) % 3]
        assert torch.equal(turned[:, group], expected)
    counts = torch.bincount(shift @ torch.tensor([9, 3, 1]), minlength=27)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def trajectory(positions: np.ndarray, temperatures) -> Trajectory:
    """Frames whose energies are their numbers."""
    count = len(positions)
    return Trajectory(positions, np.arange(count), np.array(temperatures, float), np.zeros(count, int))


def whole(target: Target, positions: np.ndarray, temperature: float) -> TrainingData:
    """All frames, at one temperature."""
    many = trajectory(positions, [temperature] * len(positions))
    return TrainingData.from_trajectory(target, many, holdout=0.0, temperatures=None)


def test_split_by_time_at_each_temperature(butane):
    target = Target.from_system(butane)
    positions = simulated(butane, 30)
    temperatures = [300.0, 350.0, 300.0] * 10  # 20 frames at 300 K, 10 at 350 K
    data = TrainingData.from_trajectory(
        target, trajectory(positions, temperatures), holdout=0.2, temperatures=None
    )
    at_300 = [n for n in range(30) if temperatures[n] == 300.0]
    at_350 = [n for n in range(30) if temperatures[n] == 350.0]
    assert data.held_out.energies.tolist() == at_300[-4:] + at_350[-2:]
    kept = at_300[:-4] + at_350[:-2]
    assert torch.equal(data.positions, torch.as_tensor(positions[kept].astype(np.float32)))
    assert data.temperature.tolist() == [300.0] * 16 + [350.0] * 8
    assert data.outside == {}
    values, drawn, reduced = data.draw(400, seeded(5))
    own = target.coordinates.encode(data.positions.double())[0]
    distance = torch.cdist(values, own)
    assert float(distance.min(dim=1)[0].max()) < 1e-7
    source = distance.argmin(dim=1)
    assert torch.equal(drawn, data.temperature[source])
    log_det = target.coordinates.encode(data.positions.double())[1]
    u = torch.tensor(kept, dtype=torch.float64)[source] / (GAS_CONSTANT * drawn)
    assert torch.allclose(reduced, u + log_det[source], rtol=1e-12)
    assert len(source.unique()) == 24, "some frames are never drawn"


def test_temperatures_are_chosen_and_named(butane):
    target, many = Target.from_system(butane), trajectory(simulated(butane, 6), [300.0, 350.0] * 3)
    data = TrainingData.from_trajectory(target, many, holdout=0.0, temperatures=[350.0])
    assert data.temperature.tolist() == [350.0] * 3 and len(data.held_out) == 0
    with pytest.raises(InputError, match="no frames at 310 K; they have 300, 350 K"):
        TrainingData.from_trajectory(target, many, holdout=0.0, temperatures=[310.0])
    with pytest.raises(InputError, match=r"holdout of 0\.9 leaves none of the 6 frames"):
        TrainingData.from_trajectory(target, many, holdout=0.9, temperatures=None)


def test_weighted_frames_are_drawn_by_their_weights(butane):
    """A frame of three times the weight is drawn three times as often: 30 000 draws, error 2 %."""
    target, positions = Target.from_system(butane), simulated(butane, 400)
    weights = np.log(np.tile([1.0, 3.0], 200))
    data = TrainingData.from_trajectory(
        target, trajectory(positions, [350.0] * 400), holdout=0.0, temperatures=None, log_weights=weights
    )
    reduced = data.draw(30_000, seeded(2))[2]
    log_det = target.coordinates.encode(data.positions.double())[1]
    numbers = torch.cdist(reduced[:, None], (data.energy / 350.0 + log_det)[:, None]).argmin(dim=1)
    assert float((numbers % 2).double().mean()) == pytest.approx(0.75, abs=0.02)


def test_frames_of_a_hot_simulation_are_learned_at_another_temperature(butane):
    """Mean energy of what is drawn against its own reweighting, within 1 %."""
    target, positions = Target.from_system(butane), simulated(butane, 300)
    energies = 3.0 + 4.0 * np.random.default_rng(3).random(300)
    frames = replace(trajectory(positions, [600.0] * 300), energies=energies)
    data = TrainingData.from_trajectory(target, frames, holdout=0.0, temperatures=None, learned_at=300.0)
    values, kelvin, reduced = data.draw(20_000, seeded(4))
    log_det = target.coordinates.encode(target.coordinates.decode(values)[0])[1]
    weights = np.exp(-energies / GAS_CONSTANT * (1 / 300.0 - 1 / 600.0))
    expected = (weights * energies).sum() / weights.sum() / (GAS_CONSTANT * 300.0)
    assert kelvin.unique().tolist() == [300.0]
    assert float((reduced - log_det).mean()) == pytest.approx(expected, rel=0.01)
    unknown = replace(frames, energies=np.full(300, np.nan))
    with pytest.raises(InputError, match="without energies"):
        TrainingData.from_trajectory(target, unknown, holdout=0.0, temperatures=None, learned_at=300.0)


def test_hot_frames_that_hardly_count_are_hardly_drawn(butane):
    """Half the frames of 300 K, half of 900 K with far higher energies: the mean is that of 300 K."""
    target, positions = Target.from_system(butane), simulated(butane, 400)
    rng = np.random.default_rng(5)
    energies = np.concatenate([10.0 + rng.gamma(6.0, 2.5, 200), 10.0 + rng.gamma(6.0, 7.5, 200)])
    frames = replace(trajectory(positions, [300.0] * 200 + [900.0] * 200), energies=energies)
    data = TrainingData.from_trajectory(target, frames, holdout=0.0, temperatures=None, learned_at=300.0)
    assert data.share is not None
    hot = float(data.share[200:].sum() / data.share.sum())
    mean = float((data.share * data.energy).sum() / data.share.sum()) * GAS_CONSTANT
    assert 0.01 < hot < 0.2 and mean == pytest.approx(energies[:200].mean(), rel=0.05)


def test_missing_energies_are_computed_and_counted(butane):
    target = Target.from_system(butane)
    frames = trajectory(simulated(butane, 8), [300.0] * 8)
    energies = np.arange(8.0)
    energies[[2, 5]] = np.nan
    whole_, cost = energies_of_frames(target, replace(frames, energies=energies), known=True)
    exact = target.potential.energy(torch.as_tensor(np.array(frames.positions)).double()).numpy()
    assert cost == 2 and whole_.energies[[2, 5]] == pytest.approx(exact[[2, 5]])
    assert whole_.energies[[0, 1]].tolist() == [0.0, 1.0]
    every, cost = energies_of_frames(target, frames, known=False)
    assert cost == 8 and every.energies == pytest.approx(exact)


def other_amide(alanine: Target, positions: np.ndarray) -> np.ndarray:
    """`positions` (N, 3) with one side of the first isomer bond turned by half a circle."""
    graph = alanine.coordinates.graph
    bond = graph.isomer_bonds[0]
    side, stack = {bond.p}, [bond.p]
    while stack:
        for atom in graph.neighbours[stack.pop()]:
            if atom not in side and atom != bond.c:
                side.add(atom)
                stack.append(atom)
    moved, rows = positions.copy(), sorted(side)
    axis = positions[bond.p] - positions[bond.c]
    axis /= np.linalg.norm(axis)
    arm = positions[rows] - positions[bond.c]
    moved[rows] = positions[bond.c] + 2 * np.outer(arm @ axis, axis) - arm
    return moved


def test_frames_outside_the_domain_are_counted_by_reason(alanine, frames):
    bad = frames.copy()
    bad[1] *= [1, 1, -1]
    bad[3:5] *= [-1, 1, 1]
    bad[6] = other_amide(alanine, frames[6])
    bad[8, 5, 1] = np.nan
    bad[9] = np.inf
    data = whole(alanine, bad, 300.0)
    assert data.outside == {"handedness": 3, "other isomer": 1, "not finite": 2}
    assert torch.equal(data.positions, torch.as_tensor(frames[[0, 2, 5, 7, 10, 11]].astype(np.float32)))
    with pytest.raises(InputError, match=r"None of the 12 frames .*'handedness': 12"):
        whole(alanine, frames * [1, -1, 1], 300.0)


def test_pairs_of_one_molecule(alanine, frames):
    data = whole(alanine, frames, 300.0)
    pairs = draw_pairs(alanine, data, 7, seeded(3))
    values, temperature, reduced = data.draw(7, seeded(3))
    assert torch.equal(pairs.coordinates, values) and pairs.context.molecules == (alanine.features,)
    assert torch.equal(pairs.context.temperature, temperature)
    assert torch.equal(pairs.reduced.isnan(), reduced.isnan())
