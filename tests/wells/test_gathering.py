"""Minima, saddles that are left, and which minima are one well."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from three_wells import at_rest, chain_of_four, torsion_energy

from boltzgen.errors import BoltzgenError
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.minimise import energy_and_minimum
from boltzgen.system.prepare import prepare
from boltzgen.wells.counting import by_energies, by_oscillators
from boltzgen.wells.curvature import hessian_of, off_saddles
from boltzgen.wells.gathering import gathered
from boltzgen.wells.labels import word_of
from boltzgen.wells.minimisation import DONE, minima, value_and_gradient


def small(smiles: str):
    return prepare(smiles=smiles)


def around(system, number: int, width: float, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (number, *system.reference_positions.shape)
    return system.reference_positions + width * rng.normal(size=shape)


def turned(positions: np.ndarray, atoms: list[int], axis: tuple[int, int], angle: float) -> np.ndarray:
    """`atoms` turned about the bond `axis` by `angle` (rad)."""
    first, second = positions[axis[0]], positions[axis[1]]
    n = (second - first) / np.linalg.norm(second - first)
    x = positions.copy()
    v = positions[atoms] - second
    along = (v @ n)[:, None] * n
    x[atoms] = second + along + np.cos(angle) * (v - along) + np.sin(angle) * np.cross(n, v)
    return x


def test_minima_are_those_of_openmm():
    system = small("CC(O)CF")
    potential = potential_of(system)
    start = around(system, 6, 0.006)
    found, energies, done = minima(potential, torch.as_tensor(start), rows=4)
    assert done.all()
    assert value_and_gradient(potential, found)[1].abs().max() <= DONE
    for row in range(len(start)):
        _, theirs, _ = energy_and_minimum(system.openmm_system(), start[row], iterations=0)
        assert float(energies[row]) == pytest.approx(theirs, abs=0.05)


def test_rows_do_not_touch_one_another_and_bad_ones_are_told():
    system = chain_of_four()
    potential = potential_of(system)
    start = np.concatenate([at_rest([0.4, 2.0]), np.full((1, 4, 3), np.nan), at_rest([-1.9])])
    found, _, done = minima(potential, torch.as_tensor(start))
    assert done.tolist() == [True, True, False, True]
    alone = minima(potential, torch.as_tensor(start[[3]]))[0]
    torch.testing.assert_close(found[3], alone[0], rtol=0, atol=1e-9)


def test_what_ends_on_a_saddle_is_pushed_off_it():
    potential = potential_of(chain_of_four())
    top = at_rest([0.0])  # by symmetry the gradient along the torsion is zero there
    found, energies, done = minima(potential, torch.as_tensor(top))
    assert done[0] and float(energies[0]) == pytest.approx(torsion_energy(np.array(0.0)), abs=1e-3)
    _, below = off_saddles(found[0].numpy(), float(energies[0]), potential)
    assert below == pytest.approx(torsion_energy(np.linspace(0, 2, 20001)).min(), abs=1e-3)


def test_second_derivatives_are_those_of_autograd():
    potential = potential_of(chain_of_four())
    x = torch.as_tensor(at_rest([1.1]))[0]
    exact = torch.autograd.functional.hessian(lambda y: potential.energy_plain(y[None])[0], x)
    np.testing.assert_allclose(
        hessian_of(x.numpy(), potential), exact.reshape(12, 12).numpy(), rtol=1e-4, atol=0.5
    )


def test_mirror_images_are_one_well():
    found = gathered(
        chain_of_four(), potential_of(chain_of_four()), at_rest([3.0, 1.2, -1.0, -3.1, 0.9, 0.0])
    )
    assert sorted(well.degeneracy for well in found.wells) == [1, 2] and found.lost == {}
    gauche = next(k for k, well in enumerate(found.wells) if well.degeneracy == 2)
    assert found.codes.tolist() == [1 - gauche, gauche, gauche, 1 - gauche, gauche, gauche]
    assert found.wells[gauche].labels.words == "C1-C2-C3-C4 gauche+"
    assert found.wells[1 - gauche].labels.words == "C1-C2-C3-C4 trans"


@pytest.mark.parametrize(("smiles", "rotations"), [("CC(C)(C)C", 12), ("CC", 6)])
def test_thirds_of_methyls_are_one_well(smiles, rotations):
    system = small(smiles)
    x = system.reference_positions
    methyl = [b for a, b in system.bonds.tolist() if a == 0 and system.atomic_numbers[b] == 1]
    centre = next(b for a, b in system.bonds.tolist() if a == 0 and system.atomic_numbers[b] == 6)
    copies = [turned(x, methyl, (centre, 0), angle) for angle in (0.0, 2 * np.pi / 3, -2 * np.pi / 3)]
    found = gathered(system, potential_of(system), np.array(copies))
    (well,) = found.wells
    assert (well.degeneracy, well.symmetry_number) == (1, rotations)
    assert found.codes.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("smiles", "degeneracies"),
    [("C[C@H](Cl)[C@@H](C)Cl", {1, 2}), ("C[C@H](Cl)[C@H](C)Cl", {1})],
    ids=["meso", "of one hand"],
)
def test_images_of_a_meso_form_and_of_one_hand(smiles, degeneracies):
    """The meso form's gauche conformations are images of one another by exchanged halves; the other's not."""
    system = small(smiles)
    numbers, x = system.atomic_numbers, system.reference_positions
    bonds = system.bonds.tolist()
    chlorines = [k for k in range(system.n_atoms) if numbers[k] == 17]
    centres = [next(a if b == cl else b for a, b in bonds if cl in (a, b)) for cl in chlorines]
    from boltzgen.system.graph.molecular_graph import MolecularGraph

    graph = MolecularGraph.from_system(system)
    side = sorted(graph.branch(centres[1], centres[0]) - {centres[1]})
    thirds = [turned(x, side, (centres[0], centres[1]), angle) for angle in (0.0, 2.094, -2.094)]
    found = gathered(system, potential_of(system), np.array(thirds))
    assert {well.degeneracy for well in found.wells} == degeneracies
    assert len(found.wells) == (2 if 2 in degeneracies else 3)


def test_counting_minima():
    """Energies alone by hand; oscillators against the torsion's curvatures, which alone differ."""
    system, temperature = chain_of_four(), 330.0
    potential = potential_of(system)
    wells = gathered(system, potential, at_rest([3.0, 1.2])).wells
    energy, images = np.array([w.energy for w in wells]), np.array([w.degeneracy for w in wells])
    weight = images * np.exp(-energy / (8.31446261815324e-3 * temperature))
    np.testing.assert_allclose(by_energies(wells, temperature), weight / weight.sum(), rtol=1e-9)
    phi = np.linspace(-np.pi, np.pi, 4_000_001)
    curvature = np.gradient(np.gradient(torsion_energy(phi), phi), phi)
    at = [np.abs(phi - np.deg2rad(well.labels.torsions[0][1])).argmin() for well in wells]
    weight = weight / np.sqrt(curvature[np.clip(at, 5, len(phi) - 5)])
    found = by_oscillators(wells, potential, system.masses, temperature)
    np.testing.assert_allclose(found, weight / weight.sum(), atol=2e-3)


def test_words():
    assert [word_of(angle) for angle in (5.0, -61.0, 119.0, -121.0, 178.0, -179.0)] == [
        "cis",
        "gauche-",
        "anticlinal+",
        "anticlinal-",
        "trans",
        "trans",
    ]


def test_nothing_to_gather():
    system = chain_of_four()
    with pytest.raises(BoltzgenError, match="could be minimised"):
        gathered(system, potential_of(system), np.full((2, 4, 3), np.nan))
