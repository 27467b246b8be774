"""Every way to an energy: bad rows stay alone, order and company change nothing, gradients are slopes.

One test for all kinds of potentials: plain terms, fused kernels, correction maps, every kind of Born model,
cutoffs, expressions, small molecules, hybrids, the bridge to OpenMM.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import openmm
import pytest
import torch
from torch import Tensor

from boltzgen.potentials.from_openmm.translate import translate_openmm
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.prepare import prepare

Energy = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """An energy, a sound conformation (N, 3) nm, and two atoms that repel each other."""

    energy: Energy
    start: np.ndarray
    bonded: tuple[int, int]
    apart: tuple[int, int]


def _peptide(**options) -> object:
    return prepare(sequence="ACE-ALA-NME", **{"forcefield": ("amber99sbildn.xml",), **options})


def _with_cutoffs() -> tuple[object, openmm.System]:
    molecule = _peptide(implicit="amber99_obc.xml")
    system = copy.deepcopy(molecule.openmm_system())
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce | openmm.GBSAOBCForce):
            force.setNonbondedMethod(type(force).CutoffNonPeriodic)
            force.setCutoffDistance(0.6)
    return molecule, system


def _with_a_born_model_of_its_own() -> tuple[object, openmm.System]:
    """OBC2 with one more term, so that it is evaluated as the expressions that it states."""
    molecule = _peptide(implicit="obc2")
    system = copy.deepcopy(molecule.openmm_system())
    (force,) = (f for f in system.getForces() if isinstance(f, openmm.CustomGBForce))
    force.addEnergyTerm("0.1*B^2*charge^2", openmm.CustomGBForce.SingleParticle)
    return molecule, system


def _with_expressions() -> tuple[object, openmm.System]:
    """Custom forces of every class that has a reader, over harmonic bonds."""
    molecule = _peptide()
    system = copy.deepcopy(molecule.openmm_system())
    bond = openmm.CustomBondForce("3*(r-0.3)^4")
    angle = openmm.CustomAngleForce("7*(theta-1.9)^3")
    torsion = openmm.CustomTorsionForce("2*cos(theta)^3 + sin(2*theta)")
    compound = openmm.CustomCompoundBondForce(4, "distance(p1,p4)*angle(p1,p2,p3) + dihedral(p1,p2,p3,p4)^2")
    pairs = openmm.CustomNonbondedForce("eps*(0.1/r)^9; eps = sqrt(eps1*eps2)")
    pairs.addPerParticleParameter("eps")
    for index in range(system.getNumParticles()):
        pairs.addParticle([0.1 + 0.01 * index])
    for i, j in molecule.bonds:
        pairs.addExclusion(int(i), int(j))
    bond.addBond(4, 10)
    angle.addAngle(4, 6, 8)
    torsion.addTorsion(4, 6, 8, 14)
    compound.addBond([1, 4, 6, 8])
    for force in (bond, angle, torsion, compound, pairs):
        system.addForce(force)
    return molecule, system


SYSTEMS = {
    "cutoffs": _with_cutoffs,
    "expressions": _with_expressions,
    "Born model of its own": _with_a_born_model_of_its_own,
}

PREPARED = {
    "fused": {"implicit": "amber99_obc.xml"},
    "correction map, GBn2": {"forcefield": ("amber19-all.xml",), "implicit": "gbn2"},
    "HCT": {"implicit": "hct"},
    "hybrid": {"ml": "xtb-ala2-small"},
    "bridge": {"implicit": "amber99_obc.xml", "bridge": True, "platform": "Reference"},
}

KINDS = ("plain", "small molecule", *PREPARED, *SYSTEMS)


@pytest.fixture(scope="module", params=KINDS)
def case(request) -> Iterator[Case]:
    kind = request.param
    if kind in SYSTEMS:
        molecule, system = SYSTEMS[kind]()
        potential = translate_openmm(system, molecule.bonds)
    else:
        options = PREPARED.get(kind, PREPARED["fused"])
        molecule = prepare(smiles="CC(=O)NC1CCOC1") if kind == "small molecule" else _peptide(**options)
        potential = potential_of(molecule)
    far = int(np.linalg.norm(molecule.reference_positions - molecule.reference_positions[4], axis=1).argmax())
    yield Case(
        energy=potential.energy_plain if kind == "plain" else potential.energy,
        start=molecule.reference_positions,
        bonded=tuple(int(i) for i in next(b for b in molecule.bonds if 4 in b)),
        apart=(4, far),
    )
    potential.close()


def value_and_gradient(function: Energy, positions: Tensor) -> tuple[Tensor, Tensor]:
    x = positions.clone().requires_grad_()
    value = function(x)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient


def batch(case: Case, rows: int, dtype: torch.dtype = torch.float64) -> Tensor:
    noise = np.random.default_rng(8).normal(scale=0.004, size=(rows, *case.start.shape))
    return torch.tensor(case.start + noise).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_bad_rows_are_alone(case, dtype):
    """Coincident atoms, NaN, infinity and huge coordinates: never an exception, never a neighbour changed."""
    good = batch(case, 29, dtype)
    energy, gradient = value_and_gradient(case.energy, good)
    broken = good.clone()
    broken[2, 3, 1] = torch.nan
    broken[5, case.bonded[0]] = broken[5, case.bonded[1]]
    broken[8, case.apart[0]] = broken[8, case.apart[1]]
    broken[11] = 0.0
    broken[14] *= 1e25
    broken[17, 0, 0] = torch.inf
    broken[20, 1] = -1e30
    broken[23] += 1e6  # far away as a whole: precision is lost, nothing else
    broken[26, 2] += 1e4  # one atom far away
    bad = torch.arange(2, 27, 3)
    rest = torch.tensor(np.setdiff1d(np.arange(29), bad))
    got_energy, got_gradient = value_and_gradient(case.energy, broken)
    torch.testing.assert_close(got_energy[rest], energy[rest], rtol=0, atol=0)
    torch.testing.assert_close(got_gradient[rest], gradient[rest], rtol=0, atol=0)
    assert not torch.isfinite(got_energy[[2, 17]]).any()
    assert torch.isfinite(energy).all()


def test_gradients_of_bad_rows_are_zero(case):
    """So that a loss which masks a row does not multiply 0 by NaN; plain terms promise it not."""
    if case.energy.__name__ == "energy_plain":
        pytest.skip("the definition of record is plain autograd")
    x = batch(case, 5)
    x[1, 3], x[3, 0, 2] = torch.nan, torch.inf
    x[2] = 0.0
    energy, gradient = value_and_gradient(case.energy, x)
    assert torch.isfinite(gradient).all()
    assert not gradient[~torch.isfinite(energy)].any()


def test_order_changes_no_row(case):
    """Bit for bit, also with a bad row among them."""
    x = batch(case, 37)
    x[7, 3] = torch.nan
    order = torch.randperm(37, generator=torch.Generator().manual_seed(2))
    energy, gradient = value_and_gradient(case.energy, x)
    shuffled, shuffled_gradient = value_and_gradient(case.energy, x[order])
    assert torch.equal(shuffled.nan_to_num(nan=1e9), energy[order].nan_to_num(nan=1e9))
    assert torch.equal(shuffled_gradient.nan_to_num(), gradient[order].nan_to_num())


def test_company_changes_no_row(case):
    """A row alone, in a pair and in a batch has one energy, to rounding; an empty batch has none."""
    x = batch(case, 6)
    whole, whole_gradient = value_and_gradient(case.energy, x)
    for rows in (slice(0, 1), slice(2, 4)):
        energy, gradient = value_and_gradient(case.energy, x[rows])
        torch.testing.assert_close(energy, whole[rows], rtol=1e-11, atol=1e-9)
        torch.testing.assert_close(gradient, whole_gradient[rows], rtol=1e-9, atol=1e-7)
    energy, gradient = value_and_gradient(case.energy, x[:0])
    assert energy.shape == (0,)
    assert gradient.shape == (0, *case.start.shape)


def test_gradients_are_slopes(case):
    """Central differences in float64 along random directions, by Richardson's extrapolation.

    The steps are short, since the second derivative of a network with CELU activations has jumps.
    """
    x = batch(case, 3)
    gradient = value_and_gradient(case.energy, x)[1]
    generator = torch.Generator().manual_seed(4)
    for _ in range(4):
        direction = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        with torch.no_grad():
            one, two = (
                (case.energy(x + h * direction) - case.energy(x - h * direction)) / (2 * h)
                for h in (1e-6, 2e-6)
            )
        change = (4 * one - two) / 3  # the error of fourth order in the step is left
        expected = (gradient * direction).sum((1, 2))
        size = gradient.flatten(1).norm(dim=1).max()
        torch.testing.assert_close(change, expected, rtol=0, atol=1e-6 * size.item())
