"""Cutoffs, switching functions, correction maps and Ryckaert-Bellemans torsions against OpenMM Reference."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
import torch
from potential_checks import assert_agrees, spread, system_of, value_and_gradient, with_bad_rows

from boltzgen.errors import UnsupportedError
from boltzgen.potentials.fast.pair_sums import PairSums
from boltzgen.potentials.from_openmm.translate import translate_openmm
from boltzgen.potentials.terms.cmap import cell_coefficients


def nonbonded(seed: int, *, n_atoms: int = 9) -> openmm.NonbondedForce:
    """Random parameters, exclusions and exceptions."""
    g = np.random.default_rng(seed)
    force = openmm.NonbondedForce()
    for _ in range(n_atoms):
        force.addParticle(g.normal(), g.uniform(0.05, 0.2), g.uniform(0, 1))
    for i, j in ((0, 1), (4, 3), (2, 7), (5, 8)):
        force.addException(i, j, g.normal(), g.uniform(0.05, 0.1), g.choice([0, 1.0]))
    force.addException(1, 6, 0.0, 0.1, 0.0)
    return force


@pytest.mark.parametrize("dielectric", [1.0, 78.3])
@pytest.mark.parametrize("switching", [None, 0.3])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_cutoff_with_reaction_field_and_switching(seed, switching, dielectric):
    """Atoms cross both distances; exceptions have neither cutoff nor reaction field."""
    force = nonbonded(seed)
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    force.setCutoffDistance(0.5)
    force.setReactionFieldDielectric(dielectric)
    if switching:
        force.setUseSwitchingFunction(True)
        force.setSwitchingDistance(switching)
    x = spread(9, 60, seed)
    r = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1)[:, *np.triu_indices(9, 1)]
    assert (r < 0.3).any() and (r > 0.5).any() and ((r > 0.3) & (r < 0.5)).any()
    potential = assert_agrees(system_of(9, force), x)
    if switching:  # the energy is smooth but for the charges: finite differences see the switching function
        _differences(potential.energy, x[20:22])


def _differences(function, x: np.ndarray) -> None:
    _, gradient = value_and_gradient(function, x)
    generator = np.random.default_rng(4)
    for _ in range(5):
        direction = generator.normal(size=x.shape)
        up, down = (function(torch.tensor(x + h * direction)).numpy() for h in (1e-6, -1e-6))
        expected = (gradient * direction).sum((1, 2))
        np.testing.assert_allclose((up - down) / 2e-6, expected, rtol=1e-5, atol=1e-3)


def test_pairs_at_the_cutoff_one_by_one():
    """Two atoms moved through switching distance and cutoff; an exception as far away stays."""
    for exception in (False, True):
        force = openmm.NonbondedForce()
        force.addParticle(1.0, 0.3, 1.0)
        force.addParticle(-1.0, 0.3, 1.0)
        if exception:
            force.addException(0, 1, -0.5, 0.3, 1.0)
        force.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
        force.setCutoffDistance(1.0)
        force.setUseSwitchingFunction(True)
        force.setSwitchingDistance(0.8)
        x = np.zeros((41, 2, 3))
        x[:, 1, 0] = np.linspace(0.7, 1.1, 41) + 1e-4
        potential = assert_agrees(system_of(2, force), x)
        beyond = potential.energy(torch.tensor(x[-5:]))
        assert bool((beyond != 0).all()) is exception


def test_a_periodic_box_and_parameter_offsets_are_refused_by_name():
    force = nonbonded(0)
    force.setNonbondedMethod(openmm.NonbondedForce.PME)
    with pytest.raises(UnsupportedError, match="periodic box"):
        translate_openmm(system_of(9, force))
    force = nonbonded(0)
    force.addGlobalParameter("lambda", 1.0)
    force.addParticleParameterOffset("lambda", 2, 1.0, 0.0, 0.0)
    with pytest.raises(UnsupportedError, match=r"force 0 \(NonbondedForce\).*parameter offsets"):
        translate_openmm(system_of(9, force))
    with pytest.raises(UnsupportedError, match=r"force 1 \(NonbondedForce\) is the second"):
        translate_openmm(system_of(9, nonbonded(0), nonbonded(1)))


def test_ryckaert_bellemans_torsions_are_periodic_ones():
    g = np.random.default_rng(2)
    force = openmm.RBTorsionForce()
    for _ in range(6):
        force.addTorsion(*(int(n) for n in g.permutation(6)[:4]), *g.normal(scale=10, size=6))
    force.addTorsion(0, 1, 2, 3, 5.0, 0, 0, 0, 0, 0)  # a constant
    force.addTorsion(0, 1, 2, 3, 0, 0, 0, 0, 0, 0)
    potential = assert_agrees(system_of(6, force), spread(6, 40, 1, 0.1))
    assert potential.force_field.torsion_periodicity.max() == 5
    x = torch.tensor(spread(6, 5, 1, 0.1))
    torch.testing.assert_close(potential.bonded_energy(x), potential.energy(x))


def correction_maps(seed: int, sizes: tuple[int, ...] = (24, 4, 7)) -> openmm.CMAPTorsionForce:
    g = np.random.default_rng(seed)
    force = openmm.CMAPTorsionForce()
    for size in sizes:
        force.addMap(size, g.normal(scale=5, size=size**2))
    force.addTorsion(0, 0, 1, 2, 3, 1, 2, 3, 4)
    force.addTorsion(1, 0, 1, 2, 3, 4, 3, 2, 1)
    force.addTorsion(2, 5, 1, 2, 4, 0, 1, 2, 3)
    force.addTorsion(0, 3, 1, 0, 2, 5, 4, 1, 0)
    return force


def test_correction_maps():
    potential = assert_agrees(system_of(6, correction_maps(0)), spread(6, 60, 3, 0.1), force_tolerance=1e-9)
    _differences(potential.energy, spread(6, 3, 5, 0.2))
    assert not potential.bonded_energy(torch.tensor(spread(6, 3, 5, 0.2))).any()


def five_atoms(phi: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """A chain with right angles and edges of 0.1 nm, whose two torsions are phi and psi (rad)."""
    edge = 0.1
    x = np.zeros((len(phi), 5, 3))
    x[:, 0] = np.stack([0 * phi, np.cos(phi), -np.sin(phi)], axis=1) * edge
    x[:, 2, 0] = edge
    x[:, 3] = [edge, edge, 0]
    # axis 2 -> 3 is y; the first edge seen along it, -x
    x[:, 4] = x[:, 3] + edge * np.stack([-np.cos(psi), 0 * psi, np.sin(psi)], axis=1)
    return x


def test_correction_maps_at_the_edges_of_the_grid():
    """Grid points, both sides of +-pi and of 0, and torsions whose sign of zero differs."""
    size = 8
    edges = np.arange(size) * 2 * np.pi / size
    at = np.concatenate([edges, edges + 1e-9, edges - 1e-9, [np.pi, -np.pi, 0.0, -0.0]])
    phi, psi = (a.ravel() for a in np.meshgrid(at, at))
    force = openmm.CMAPTorsionForce()
    energies = np.random.default_rng(1).normal(scale=5, size=(size, size))
    force.addMap(size, energies.ravel(order="F"))
    force.addTorsion(0, 0, 1, 2, 3, 1, 2, 3, 4)
    x = five_atoms(phi, psi)
    potential = assert_agrees(system_of(5, force), x, energy_tolerance=1e-7, force_tolerance=1e-6)
    got = potential.energy(torch.tensor(five_atoms(*(a.ravel() for a in np.meshgrid(edges, edges)))))
    np.testing.assert_allclose(got, energies.T.ravel(), atol=1e-9)


def test_the_interpolation_of_a_cosine_is_close_and_of_a_constant_exact():
    size = 24
    a = np.arange(size) * 2 * np.pi / size
    cells = cell_coefficients(np.cos(a)[:, None] * np.sin(2 * a)[None, :])
    powers = 0.5 ** np.arange(4)
    middle = np.einsum("ijmn,m,n->ij", cells, powers, powers)
    half = np.pi / size
    expected = np.cos(a + half)[:, None] * np.sin(2 * (a + half))[None, :]
    np.testing.assert_allclose(middle, expected, atol=5e-4)
    constant = cell_coefficients(np.full((5, 5), 3.0))
    assert constant[..., 0, 0] == pytest.approx(3.0)
    np.testing.assert_allclose(constant.reshape(5, 5, 16)[..., 1:], 0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_bad_row_stays_alone(dtype):
    force = nonbonded(3)
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    force.setCutoffDistance(0.5)
    force.setUseSwitchingFunction(True)
    force.setSwitchingDistance(0.4)
    potential = translate_openmm(system_of(9, force, correction_maps(1)))
    good = torch.tensor(spread(9, 20, 3, 0.2)).to(dtype)
    broken, bad, rest = with_bad_rows(good)
    for function in (potential.energy, potential.energy_plain):
        energy, gradient = value_and_gradient(function, good)
        got, got_gradient = value_and_gradient(function, broken)
        np.testing.assert_array_equal(got[rest], energy[rest])
        np.testing.assert_array_equal(got_gradient[rest], gradient[rest])
        assert not np.isfinite(got[bad]).any()


def test_single_precision_of_a_force_field_with_correction_maps():
    """ff19SB, thermal conformations: 0.01 kT, forces to 1e-4."""
    from boltzgen.system.prepare import prepare

    molecule = prepare(sequence="ACE-ALA-NME", forcefield=("amber19-all.xml",), implicit="implicit/gbn2.xml")
    noise = np.random.default_rng(0).normal(scale=0.003, size=(30, molecule.n_atoms, 3))
    x = molecule.reference_positions + noise
    potential = assert_agrees(molecule.openmm_system(), x, force_tolerance=1e-9)
    energy, gradient = value_and_gradient(potential.energy, x)
    energy32, gradient32 = value_and_gradient(potential.energy, torch.tensor(x).float())
    assert np.abs(energy - energy32).max() < 0.025
    assert np.abs(gradient - gradient32).max() < 1e-4 * np.abs(gradient).max()


@pytest.mark.parametrize("method", ["differences", "add_differences", "at_both", "at_each"])
def test_sums_over_pairs_by_matrices_are_those_by_indices(method, monkeypatch):
    """Matrices are what runs on accelerators."""
    sums = PairSums(7, *np.triu_indices(7, 1))
    c = {name: torch.tensor(array) for name, array in sums.arrays.items()}
    shape = {"differences": (7, 3, 5), "at_both": (21, 5), "at_each": (2, 21, 5)}.get(method, (21, 3, 5))
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    results = []
    for by_index in (True, False):
        monkeypatch.setattr(sums, "_by_index", lambda like, answer=by_index: answer)
        out = torch.ones(7, 3, 5, dtype=torch.float64)
        if method == "add_differences":
            sums.add_differences(c, out, values)
        else:
            out = getattr(sums, method)(c, values)
        results.append(out)
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)
