"""Wells of torsions: found where they were made, cut at the least density, on the circle too."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import ROOT

from boltzgen.free_energy import parse_states
from boltzgen.free_energy.variables import Variable, read_topology
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.preparation.prepare import prepare
from boltzgen.workflows.roads.wells import Wells, find_wells, joint_states, states_of, turning

BUTANE = ROOT / "boltzgen" / "examples" / "butane"


def chain(angles: np.ndarray) -> np.ndarray:
    """(n, 4, 3) nm: four atoms with these torsions in degrees."""
    phi = np.radians(angles)
    zero, one = np.zeros_like(phi), np.ones_like(phi)
    first = np.stack([one, zero, zero], axis=1)
    last = np.stack([np.cos(phi), np.sin(phi), one], axis=1)
    return np.stack([first, np.zeros_like(first), np.stack([zero, zero, one], axis=1), last], axis=1) * 0.15


TURN = Variable("turn", "torsion", (0, 1, 2, 3))


def drawn(places, widths, numbers, seed=5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    parts = [rng.normal(*one) for one in zip(places, widths, numbers, strict=True)]
    return np.concatenate(parts)


def test_wells_are_where_they_were_made():
    angles = drawn((-65.0, 70.0, 178.0), (9.0, 8.0, 11.0), (3000, 1500, 5500))
    positions = chain(angles)
    assert np.allclose(np.cos(np.radians(TURN.evaluate(positions) - angles)), 1.0, atol=1e-6)
    found = find_wells(TURN, positions, np.full(len(angles), 0.7))
    assert found is not None and len(found.ranges) == 3
    apart = [min(abs((c - p + 180) % 360 - 180) for c in found.centres) for p in (-65.0, 70.0, 178.0)]
    assert max(apart) < 6
    counts = np.bincount(found.codes(positions), minlength=3)
    assert sorted(counts) == [pytest.approx(n, rel=0.01) for n in (1500, 3000, 5500)]
    inside = [low for low, _ in found.ranges]
    assert all(min(abs((low - c + 180) % 360 - 180) for c in found.centres) > 30 for low in inside)


def test_weights_decide_and_rare_or_shallow_wells_are_joined():
    angles = drawn((-60.0, 60.0), (10.0, 10.0), (2000, 2000))
    positions = chain(angles)
    alone = np.where(angles > 0, 1e-4, 1.0)
    assert find_wells(TURN, positions, alone) is None
    assert find_wells(TURN, chain(drawn((-60.0, -32.0), (14.0, 14.0), (2000, 2000))), np.ones(4000)) is None
    assert find_wells(TURN, positions, np.zeros(4000)) is None
    both = find_wells(TURN, positions, np.ones(4000))
    assert both is not None and len(both.ranges) == 2


@pytest.mark.parametrize(
    ("places", "numbers", "expected"),
    [
        ((-65.0, 70.0, 178.0), (3000, 1400, 5600), (-67.5, 67.5, 180.0)),
        ((-65.0, 62.0), (2500, 7500), (-62.5, 62.5)),
        ((-32.0, 32.0, 171.0), (2500, 1500, 6000), (0.0, 180.0)),
        ((-148.0, 148.0, 5.0), (2500, 1500, 6000), (0.0, 180.0)),
    ],
)
def test_wells_of_mirror_images_come_in_pairs(places, numbers, expected):
    """Too few of one hand were seen; with the images of all, each well has its image, cuts and all."""
    angles = drawn(places, (14.0,) * len(places), numbers)
    weights = np.full(len(angles), 0.3)
    positions, opposite = chain(angles), chain(-angles)
    both = np.concatenate([positions, opposite]), np.concatenate([opposite, positions])
    found = find_wells(TURN, both[0], np.concatenate([weights, weights]), both[1])
    assert found is not None
    assert sorted(found.centres) == pytest.approx(sorted(expected), abs=5.0)
    one, other = found.codes(both[0]), found.codes(both[1])
    image = {a: set(other[one == a]) for a in range(len(found.ranges))}
    assert all(len(codes) == 1 for codes in image.values())
    partner = {a: min(codes) for a, codes in image.items()}
    assert all(partner[partner[a]] == a for a in partner)
    assert all((found.centres[partner[a]] + found.centres[a]) % 360 == 0 for a in partner)
    counts = np.bincount(one)
    assert all(counts[a] == counts[partner[a]] for a in partner)


def test_a_torsion_that_images_do_not_negate_keeps_its_own_wells():
    angles = drawn((-65.0, 70.0, 178.0), (9.0, 8.0, 11.0), (3000, 1500, 5500))
    positions, weights = chain(angles), np.full(len(angles), 0.7)
    assert find_wells(TURN, positions, weights, chain(120.0 - angles)) == find_wells(TURN, positions, weights)


def test_files_of_states_say_what_was_found():
    angles = drawn((-65.0, 178.0), (9.0, 11.0), (2500, 7500))
    positions, weights = chain(angles), np.full(10_000, 1e-4)
    found = find_wells(TURN, positions, weights)
    assert isinstance(found, Wells)
    topology = read_topology((BUTANE / "butane.pdb").read_text(), n_atoms=4)
    states = parse_states(states_of(found, positions, weights), topology)
    shares = {name: mask.mean() for name, mask in states.masks(positions).items()}
    assert sum(shares.values()) == pytest.approx(1.0) and min(shares.values()) == pytest.approx(
        0.25, abs=0.005
    )
    ((likeliest, other),) = states.differences
    assert shares[likeliest] > shares[other]
    joint, chosen = joint_states([found, found], positions, weights)
    assert joint is not None and len(chosen) == 2 and len(joint["states"]) == 2


def test_what_turns_is_asked_about(tmp_path):
    """Torsions that turn, by their ready names; not amides, methyls, nor halves that swap equal atoms."""
    prepare(None, tmp_path / "AS", sequence="AS", implicit="obc1")
    names = [one.name for one in turning(MolecularSystem.load(tmp_path / "AS"))]
    assert names[0] == "psi" and "phi" in names and "chi1" in names and len(names) == 4
    prepare(None, tmp_path / "T", smiles="Cc1ccccc1")
    assert turning(MolecularSystem.load(tmp_path / "T")) == []
    prepare(None, tmp_path / "B", smiles="CC1CCCCC1")
    (ring,) = turning(MolecularSystem.load(tmp_path / "B"))
    assert ring.kind == "pucker" and len(ring.atoms) == 6
