"""Custom forces against OpenMM Reference: energies and forces of every class, in every variant."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
import torch
from custom_force_cases import (
    CHAIN,
    FORCES,
    N,
    bond,
    compound,
    external,
    geometries,
    pairs,
    with_parameters,
)
from potential_checks import reference, system_of, value_and_gradient

from boltzgen.errors import InputError, UnsupportedError
from boltzgen.potentials.from_openmm.read_custom import ReadingContext
from boltzgen.potentials.from_openmm.translate import translate_openmm
from boltzgen.potentials.molecular_mechanics import MolecularMechanics
from boltzgen.potentials.records.custom_forces import CustomForce
from boltzgen.potentials.terms.expression_term import ExpressionTerm


@pytest.mark.parametrize("kind", ["thermal", "distorted"])
@pytest.mark.parametrize("name", FORCES)
def test_agrees_with_openmm_reference(name, kind):
    """To 1e-8 (what is reached is rounding), by autograd of the terms and by the kernels."""
    x = geometries(kind)
    for seed in range(2):
        system = system_of(N, FORCES[name](seed))
        expected_energy, expected_force = reference(system, x)
        potential = translate_openmm(system)
        size = np.abs(expected_force).max(axis=(1, 2))
        got = [value_and_gradient(f, torch.tensor(x)) for f in (potential.energy_plain, potential.energy)]
        for energy, gradient in got:
            error = np.abs(energy - expected_energy) / np.maximum(1, np.abs(expected_energy))
            assert error.max() < 1e-10
            assert (np.abs(gradient + expected_force).max(axis=(1, 2)) / size).max() < 1e-8
        np.testing.assert_allclose(got[1][0], got[0][0], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(got[1][1], got[0][1], rtol=1e-9, atol=1e-9 * size.max())


def test_the_geometries_meet_every_branch():
    """Guards the test above: pairs on both sides of the cutoff and of the switch, tables left and entered."""
    r = np.linalg.norm(geometries("distorted")[:, :, None] - geometries("distorted")[:, None], axis=-1)
    for border in (0.2, 0.3, 0.4, 0.45, 0.8):
        assert (r < border).mean() > 0.05
        assert (r > border).mean() > 0.03


def test_all_together_and_by_term():
    forces = [make(3) for make in FORCES.values()]
    x = geometries("thermal")
    potential = translate_openmm(system_of(N, *forces, openmm.CMMotionRemover()))
    expected_energy, expected_force = reference(system_of(N, *(make(3) for make in FORCES.values())), x)
    energy, gradient = value_and_gradient(potential.energy, torch.tensor(x))
    np.testing.assert_allclose(energy, expected_energy, rtol=1e-11)
    np.testing.assert_allclose(-gradient, expected_force, rtol=1e-8, atol=1e-8 * np.abs(expected_force).max())
    parts = potential.energy_by_term(torch.tensor(x))
    assert len(parts) == len(forces)
    assert any("force 4 (CustomCompoundBondForce)" in name for name in parts)
    for index, make in enumerate(FORCES.values()):
        alone, _ = reference(system_of(N, make(3)), x)
        (name,) = [name for name in parts if name.startswith(f"force {index} ")]
        np.testing.assert_allclose(parts[name], alone, rtol=1e-9)


def test_single_precision():
    x = torch.tensor(geometries("thermal"))
    for name, make in FORCES.items():
        potential = translate_openmm(system_of(N, make(1)))
        energy, gradient = value_and_gradient(potential.energy, x)
        energy32, gradient32 = value_and_gradient(potential.energy, x.float())
        assert energy32.dtype == gradient32.dtype == np.float32
        np.testing.assert_allclose(energy32, energy, rtol=2e-4, atol=1e-3, err_msg=name)
        # where a pair is at a knot of a table or at the cutoff, rounding may move it across
        assert np.abs(gradient32 - gradient).max() < 2e-3 * np.abs(gradient).max(), name
        np.testing.assert_array_equal(potential.energy(x), energy)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_bad_row_stays_alone(dtype):
    good = torch.tensor(geometries("thermal", 40)).to(dtype)
    broken = good.clone()
    broken[3, 4, 1] = torch.nan
    broken[7, 5] = broken[7, 4]
    broken[11] *= 1e25
    broken[15, 0, 0] = torch.inf
    broken[19, 8] = broken[19, 2]
    broken[23] = 0.0
    rest = np.setdiff1d(np.arange(40), [3, 7, 11, 15, 19, 23])
    potential = translate_openmm(system_of(N, *(make(2) for make in FORCES.values())))
    for function in (potential.energy, potential.energy_plain):
        energy, gradient = value_and_gradient(function, good)
        got_energy, got_gradient = value_and_gradient(function, broken)
        tolerance = 1e-4 if dtype == torch.float32 else 1e-12
        np.testing.assert_allclose(got_energy[rest], energy[rest], rtol=tolerance)
        scale = tolerance * np.abs(gradient).max()
        np.testing.assert_allclose(got_gradient[rest], gradient[rest], rtol=tolerance, atol=scale)
        assert not np.isfinite(got_energy[[3, 15, 19, 23]]).any()
    energy, gradient = potential.energy_and_gradient(broken)
    assert torch.isfinite(gradient).all()
    assert not gradient[~torch.isfinite(energy)].any()


def test_without_autograd_and_second_derivatives():
    potential = translate_openmm(system_of(N, bond(0), compound(0), pairs(0, 0.5, 0.3)))
    x = torch.tensor(geometries("thermal", 3))
    energy, gradient = potential.energy_and_gradient(x)
    with torch.inference_mode():
        inside_energy, inside_gradient = potential.energy_and_gradient(x * 1.0)
        assert torch.equal(potential.energy(x), energy)
    assert torch.equal(inside_energy, energy)
    assert torch.equal(inside_gradient, gradient)
    leaf = x[:1].clone().requires_grad_()
    (slope,) = torch.autograd.grad(potential.energy_plain(leaf).sum(), leaf, create_graph=True)
    (curvature,) = torch.autograd.grad(slope[0, 3, 1], leaf)
    step = torch.zeros_like(x[:1])
    step[0, 3, 1] = 1e-5
    ends = [potential.energy_and_gradient(x[:1] + sign * step)[1] for sign in (1, -1)]
    torch.testing.assert_close(curvature, (ends[0] - ends[1]) / 2e-5, rtol=1e-4, atol=1e-3)
    batch = x.repeat(700, 1, 1)  # several blocks
    many, slopes = potential.energy_and_gradient(batch)
    torch.testing.assert_close(many, energy.repeat(700), rtol=1e-12, atol=0)
    torch.testing.assert_close(slopes, gradient.repeat(700, 1, 1), rtol=1e-9, atol=1e-8)
    assert potential.energy(x[:0]).shape == (0,)


def test_bonded_energy_is_of_neighbours_alone():
    """Angles, torsions and compounds within three bonds, pairs within two, nothing else."""
    bonds = openmm.CustomBondForce("r^2")
    for i, j in ((0, 1), (0, 2), (0, 3), (2, 8)):
        bonds.addBond(i, j)
    torsions = openmm.CustomTorsionForce("cos(theta)")
    torsions.addTorsion(0, 1, 2, 3)
    torsions.addTorsion(0, 1, 2, 4)
    out = openmm.CustomCompoundBondForce(3, "distance(p1,p2)*angle(p1,p2,p3)")
    out.addBond([4, 5, 6])
    out.addBond([4, 5, 8])
    system = system_of(N, bonds, torsions, out, pairs(0), external(0))
    x = torch.tensor(geometries("thermal"))
    potential = translate_openmm(system, CHAIN)
    inside = [(force.kind, force.atoms.tolist()) for force in potential.force_field.custom if force.bonded]
    assert inside == [
        ("CustomBondForce", [[0, 1], [0, 2]]),
        ("CustomTorsionForce", [[0, 1, 2, 3]]),
        ("CustomCompoundBondForce", [[4, 5, 6]]),
    ]
    near_bonds, near_torsion = openmm.CustomBondForce("r^2"), openmm.CustomTorsionForce("cos(theta)")
    near_bonds.addBond(0, 1)
    near_bonds.addBond(0, 2)
    near_torsion.addTorsion(0, 1, 2, 3)
    near = openmm.CustomCompoundBondForce(3, "distance(p1,p2)*angle(p1,p2,p3)")
    near.addBond([4, 5, 6])
    expected = reference(system_of(N, near_bonds, near_torsion, near), x.numpy())[0]
    np.testing.assert_allclose(potential.bonded_energy(x), expected, rtol=1e-10)
    np.testing.assert_allclose(potential.energy(x), reference(system, x.numpy())[0], rtol=1e-10)
    unknown = translate_openmm(system)
    assert {f.kind for f in unknown.force_field.custom if f.bonded} == {"CustomTorsionForce"}


@pytest.mark.parametrize(
    ("text", "invariant"),
    [
        ("distance(p1,p2)^2", True),
        ("pointdistance(x1,y1,z1,x2,y2,z2)", True),
        ("(x1-x2)^2+(y1-y2)^2+(z1-z2)^2", True),
        ("x1*x2+y1*y2+z1*z2", False),  # turns with the molecule, but does not move with it
        ("x1-x2", False),
        ("(x1-x2)*(y1-y2)+0*z1", False),
    ],
)
def test_what_moves_with_the_molecule(text, invariant):
    assert translate_openmm(system_of(N, _particles(text))).invariant is invariant
    assert not translate_openmm(system_of(N, _particles(text), external(0))).invariant


def test_charges_of_pair_forces_describe_the_atoms():
    p = translate_openmm(system_of(N, pairs(0), pairs(1))).force_field
    own = [[make.getParticleParameters(i)[4] for i in range(N)] for make in (pairs(0), pairs(1))]
    np.testing.assert_allclose(p.charge, np.sum(own, axis=0))
    nonbonded = openmm.NonbondedForce()
    for _ in range(N):
        nonbonded.addParticle(0.25, 0.1, 0.0)
    assert set(translate_openmm(system_of(N, pairs(0), nonbonded)).force_field.charge) == {0.25}
    born = openmm.GBSAOBCForce()
    for _ in range(N):
        born.addParticle(0.2, 0.15, 0.8)
    system = system_of(N, pairs(0), born)  # charges that only describe must not interact
    x = geometries("thermal")
    np.testing.assert_allclose(
        translate_openmm(system).energy(torch.tensor(x)), reference(system, x)[0], rtol=1e-10
    )


def _bond_force(text: str) -> openmm.CustomBondForce:
    force = with_parameters(openmm.CustomBondForce(text), "Bond", ("k",))
    force.addBond(0, 1, [2.0])
    return force


@pytest.mark.parametrize(
    ("force", "words"),
    [
        (lambda: _bond_force("k*(r-"), ["force 1 (CustomBondForce)", "'k*(r-'", "it ends where"]),
        (lambda: _bond_force("k*theta"), ["force 1 (CustomBondForce)", "'theta'", "neither a parameter"]),
        (lambda: _particles("distance(p1,x1)"), ["takes particles, p1, p2"]),
        (lambda: _particles("distance(p1,p3)"), ["takes particles, p1, p2"]),
        (lambda: _particles("p1"), ["'p1'", "neither a parameter"]),
        (lambda: _table([0.0, 1.0, 2.0]), ["force 1", "'f'", "cannot be interpolated"]),
        (lambda: pairs(0, 0.4, 0.5), ["CustomNonbondedForce", "switches from 0.5 nm", "0.4 nm"]),
        (lambda: _computed("2*"), ["computed value 'q'", "it ends where"]),
        (lambda: _computed("unknown*2"), ["computed value 'q'", "no value for unknown"]),
        (lambda: _not_finite(), ["CustomBondForce", "term 0", "not a finite number"]),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(force, words):
    with pytest.raises(InputError) as caught:
        translate_openmm(system_of(N, bond(0), force()))
    message = str(caught.value)
    assert "\n" not in message
    for word in [*words, "force 1"]:
        assert word in message


def _particles(text: str) -> openmm.Force:
    force = openmm.CustomCompoundBondForce(2, text)
    force.addBond([0, 1])
    return force


def _table(values: list[float]) -> openmm.Force:
    force = _particles("f(distance(p1,p2))")
    force.addTabulatedFunction("f", openmm.Continuous1DFunction(values, 0.0, 1.0, True))
    return force


def _computed(text: str) -> openmm.Force:
    force = openmm.CustomNonbondedForce("q1*q2/r")
    force.addComputedValue("q", text)
    for _ in range(N):
        force.addParticle([])
    return force


def _not_finite() -> openmm.Force:
    force = with_parameters(openmm.CustomBondForce("k*r"), "Bond", ("k",))
    force.addBond(0, 1, [float("nan")])
    return force


def test_what_is_refused_says_what_else_to_do():
    large = openmm.CustomCentroidBondForce(2, "distance(g1,g2)")
    large.addGroup([0, 1])
    large.addGroup([2])
    large.addBond([0, 1])
    periodic = pairs(0)
    periodic.setNonbondedMethod(periodic.CutoffPeriodic)
    for force, words in ((large, ["group 0", "2 atoms", "`bridge=True`"]), (periodic, ["periodic box"])):
        with pytest.raises(UnsupportedError) as refusal:
            translate_openmm(system_of(N, force))
        for word in [*words, type(force).__name__, "force 0"]:
            assert word in str(refusal.value)


def test_records_are_frozen_and_constants_have_every_shape():
    force = CustomForce("CustomBondForce", "force 0", "k", CHAIN, {"k": np.array(3.0)})
    with pytest.raises(ValueError, match="read-only"):
        force.atoms[0, 0] = 4
    x = torch.tensor(geometries("thermal", 4))
    torch.testing.assert_close(ExpressionTerm(force)(x), torch.full((4,), 24.0, dtype=torch.float64))
    steps = CustomForce("CustomBondForce", "force 0", "k", CHAIN, {"k": np.arange(8.0)})
    torch.testing.assert_close(ExpressionTerm(steps)(x), torch.full((4,), 28.0, dtype=torch.float64))
    kernel_only = translate_openmm(system_of(N, _constant()))
    energy, gradient = kernel_only.energy_and_gradient(x)
    assert energy.tolist() == [2.0] * 4
    assert not gradient.any()
    assert isinstance(kernel_only, MolecularMechanics)


def _constant() -> openmm.Force:
    force = openmm.CustomBondForce("2")
    force.addBond(0, 1)
    return force


def test_terms_lie_within_bonds_along_paths_only():
    """In a chain 0-1-2-3 with atom 4 apart; in molecules of two and three atoms no path is no distance."""
    chain = ReadingContext(5, np.array([[1, 0], [1, 2], [3, 2]]))
    assert chain.within(np.array([[0, 2], [0, 3], [3, 4], [1, 1]]), 2).tolist() == [True, False, False, True]
    assert chain.within(np.array([[0, 1, 3], [3, 2, 1], [0, 2, 4]]), 3).tolist() == [True, True, False]
    assert not ReadingContext(5).within(np.array([[0, 1]]), 2).any()
    assert not ReadingContext(2, np.zeros((0, 2), dtype=int)).within(np.array([[0, 1]]), 2).any()
    assert ReadingContext(3, np.array([[0, 1]])).within(np.array([[1, 0], [1, 2]]), 3).tolist() == [
        True,
        False,
    ]
