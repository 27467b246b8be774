"""Mirrored states are added up where they are images of each other, and nowhere else."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from between_cases import butane_frames
from butane import EXACT

from boltzgen.ensemble.chains.walkers import Walkers
from boltzgen.system.minimise import energy_and_minimum
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.preparation.prepare import prepare
from boltzgen.workflows.roads.answer import _sentences
from boltzgen.workflows.roads.mirrors import images, sums_of_images
from boltzgen.workflows.roads.wells import turning

TURN = {"turn": {"torsion": [0, 1, 2, 3]}}


def three_wells(plus=(0.0, 120.0), minus=(-120.0, 0.0)) -> dict:
    states = [
        {"name": "plus", "where": {"turn": list(plus)}},
        {"name": "minus", "where": {"turn": list(minus)}},
        {"name": "trans", "where": "rest"},
    ]
    return {"coordinates": TURN, "states": states, "differences": [["trans", "plus"]]}


def drawn(butane: MolecularSystem, number: int = 4000, seed: int = 8) -> SimpleNamespace:
    """Exact draws of butane; a third of them, with gauche plus, drawn twice as often and weighted by half."""
    rng = np.random.default_rng(seed)
    positions = butane_frames(2 * number, 300.0, rng)
    plus = dihedral(positions) > 0
    kept = plus | (rng.random(2 * number) < 0.5)
    log_w = np.where(plus, -np.log(2.0), 0.0)
    return SimpleNamespace(positions=positions[kept], log_w=log_w[kept], temperature=300.0, walkers=None)


def dihedral(x: np.ndarray) -> np.ndarray:
    """(n,) degrees, by arctan2 of the triple product."""
    a, b, c = x[:, 1] - x[:, 0], x[:, 2] - x[:, 1], x[:, 3] - x[:, 2]
    ab, bc = np.cross(a, b), np.cross(b, c)
    y = np.linalg.norm(b, axis=1) * np.sum(a * bc, axis=1)
    return np.degrees(np.arctan2(y, np.sum(ab * bc, axis=1)))


def test_gauche_of_butane_is_added_up_with_the_error_of_the_sum(butane):
    exact = 1 / (1 + np.exp(EXACT[300.0][1]))
    found = drawn(butane)
    (one,) = sums_of_images(butane, {"free_energy": three_wells()}, found)
    assert one["name"] == "plus or minus" and one["states"] == ["plus", "minus"]
    assert abs(one["population"] - exact) < 4 * one["standard_error"] < 0.06
    gauche = np.abs(dihedral(found.positions)) < 120
    weights = np.exp(found.log_w) / np.exp(found.log_w).sum()
    assert one["population"] == pytest.approx(weights[gauche].sum(), abs=2e-3)
    spread = np.sqrt(np.sum((weights * (gauche - weights[gauche].sum())) ** 2))  # the delta method, by hand
    assert one["standard_error"] == pytest.approx(spread, rel=1e-2)
    apart = [weights[(dihedral(found.positions) * sign > 0) & gauche].sum() for sign in (1, -1)]
    assert sum(apart) == pytest.approx(one["population"], abs=2e-3) and min(apart) > 0.1


def test_the_sum_of_walkers_has_the_error_of_walkers(butane):
    """Twenty walkers, each of whose rows stands ten times: the error of a tenth of the rows."""
    found = drawn(butane)
    rows = np.repeat(np.arange(400), 10)
    found.positions, found.log_w = found.positions[rows], np.zeros(len(rows))
    (alone,) = sums_of_images(butane, {"free_energy": three_wells()}, found)
    number = np.arange(len(rows)) // 200
    found.walkers = Walkers(number, number % 4, np.arange(len(rows)) % 200)
    (walked,) = sums_of_images(butane, {"free_energy": three_wells()}, found)
    assert walked["population"] == alone["population"]
    assert 2 < walked["standard_error"] / alone["standard_error"] < 5  # the root of ten, within a third


def test_the_answer_says_the_sum_beside_the_two(butane):
    found = drawn(butane)
    sums = sums_of_images(butane, {"free_energy": three_wells()}, found)
    result = SimpleNamespace(populations=(), estimates=())
    said = _sentences(found, {"free_energy": result, "TORSIONS/turn": result}, sums, None)
    (line,) = [one for one in said if one.startswith("Mirror images")]
    assert line.startswith("Mirror images of one another hold together: plus or minus 3")


@pytest.mark.parametrize(
    "content", [three_wells(plus=(0.0, 100.0)), three_wells((60.0, 70.0), (-70.0, -50.0))]
)
def test_states_that_are_no_images_are_not_added_up(butane, content):
    assert sums_of_images(butane, {"free_energy": content}, drawn(butane)) == []


def bent(system: MolecularSystem, number: int = 60) -> np.ndarray:
    """The reference with every atom moved a little: conformations of its domain."""
    noise = np.random.default_rng(4).normal(0.0, 0.004, (number, system.n_atoms, 3))
    return system.reference_positions + noise


@pytest.mark.parametrize(
    ("smiles", "why"),
    [
        ("C[C@H](Cl)CCl", "a stereocentre"),
        ("CC(C)CCl", "equal methyls, whose places the image interchanges"),
    ],
)
def test_a_molecule_that_is_not_its_own_image_has_no_sums(smiles, why, tmp_path):
    system = prepare(None, tmp_path / "SYS", smiles=smiles).system
    positions = bent(system)
    assert images(system, positions) is None, why
    torsion = next(one for one in turning(system) if one.periodic)
    value = float(np.median(torsion.evaluate(positions)))
    sides = {"plus": [value - 20, value + 20], "minus": [-value - 20, -value + 20]}
    content = {
        "coordinates": {"turn": {"torsion": list(torsion.atoms)}},
        "states": [{"name": name, "where": {"turn": where}} for name, where in sides.items()],
        "differences": [["plus", "minus"]],
    }
    found = SimpleNamespace(positions=positions, log_w=np.zeros(len(positions)), temperature=300.0)
    assert sums_of_images(system, {"free_energy": content}, found) == []


def test_an_image_has_every_torsion_negated_and_the_same_energy(tmp_path):
    """Dichloropropane: two torsions, two CH2 whose hydrogens change places; distances of the rest stay."""
    system = prepare(None, tmp_path / "SYS", smiles="ClCCCCl").system
    positions = bent(system)
    found = images(system, positions)
    assert found is not None
    torsions = [one for one in turning(system) if one.periodic]
    assert len(torsions) == 2
    for torsion in torsions:
        turned = torsion.evaluate(found) + torsion.evaluate(positions)
        assert np.allclose(np.remainder(turned + 180, 360) - 180, 0.0, atol=1e-4)
    heavy = np.flatnonzero(system.atomic_numbers > 1)
    pairs = [np.linalg.norm(x[:, heavy, None] - x[:, None, heavy], axis=-1) for x in (positions, found)]
    assert np.allclose(*pairs, atol=1e-12) and not np.allclose(positions, found)
    energies = [
        [energy_and_minimum(system.openmm_system(), x[k], iterations=1)[0] for k in (0, 7)]
        for x in (positions, found)
    ]
    assert np.allclose(*energies, rtol=1e-9) and abs(energies[0][0] - energies[0][1]) > 0.1


def test_a_force_field_that_tells_left_from_right_has_no_images(butane, tmp_path):
    """Butane with a torsion whose phase is 40 degrees: gauche plus and minus are no images of one another."""
    xml = butane.system_xml
    assert xml.count('periodicity="3"') == 1
    start = xml.index('periodicity="3"')
    end = xml.index("/>", start)
    entry = xml[start:end].replace('phase="0"', 'phase="0.7"')
    assert entry != xml[start:end]
    twisted = MolecularSystem(
        name="twisted",
        atomic_numbers=butane.atomic_numbers,
        masses=butane.masses,
        bonds=butane.bonds,
        reference_positions=butane.reference_positions,
        system_xml=xml[:start] + entry + xml[end:],
        topology_pdb=butane.topology_pdb,
    )
    assert images(butane, drawn(butane).positions) is not None
    assert images(twisted, drawn(butane).positions) is None
