"""The base of straight groups: as wide as their own angle term says, on the line and around it."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
import torch
from toy_molecules import make_system

from boltzgen.conditioning.base_widths import WIDEST
from boltzgen.coordinates.support import unlink
from boltzgen.generator import Target
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import GAS_CONSTANT

KT = GAS_CONSTANT * 300.0
#: An isocyanate-like chain H-X-Y-Z-W: bent at X, straight at Y and Z, on the x axis exactly.
LENGTHS = (0.101, 0.131, 0.118, 0.121)
BONDS = ((0, 1), (1, 2), (2, 3), (3, 4))
STIFFNESS = {1: 310.0, 2: 420.0, 3: 275.0}


def chain(straight: float, barrier: float = 0.0) -> MolecularSystem:
    """`straight`: equilibrium of the angles at Y and Z, rad. `barrier`: of the torsions about the line."""
    positions = np.zeros((5, 3))
    positions[0] = [LENGTHS[0] * np.cos(2.1), LENGTHS[0] * np.sin(2.1), 0.0]
    positions[2:, 0] = np.cumsum(LENGTHS[1:])
    stretch, bend, turn = (
        openmm.HarmonicBondForce(),
        openmm.HarmonicAngleForce(),
        openmm.PeriodicTorsionForce(),
    )
    for (i, j), length in zip(BONDS, LENGTHS, strict=True):
        stretch.addBond(i, j, length, 270000.0)
    for apex, stiffness in STIFFNESS.items():
        bend.addAngle(apex - 1, apex, apex + 1, 2.1 if apex == 1 else straight, stiffness)
    for first in (0, 1):
        turn.addTorsion(first, first + 1, first + 2, first + 3, 2, np.pi, barrier)
    return make_system(
        "chain",
        ["H", "N", "C", "C", "N"],
        [1, 7, 6, 6, 7],
        [1.0, 14.0, 12.0, 12.0, 14.0],
        BONDS,
        positions,
        [stretch, bend, turn],
    )


def base_of_bends(system: MolecularSystem) -> tuple[np.ndarray, np.ndarray]:
    """Centre and covariance at 300 K of the bends, by the atom in the middle: (apexes, 2), (apexes, 2, 2)."""
    target = Target.from_system(system)
    table = target.coordinates.table
    rows = np.flatnonzero(~table.circular)
    bends = [k for k, row in enumerate(rows) if table.kind[row] == "bend"]
    apexes = [int(table.atoms[rows[k], 1]) for k in bends[::2]]
    whitening = target.features.whitening.numpy()
    covariance = KT * whitening @ whitening.T
    others = [k for k in range(len(rows)) if k not in bends]
    assert np.abs(covariance[np.ix_(bends, others)]).max() < 1e-15
    order = np.argsort(apexes)
    centre = target.features.centre.numpy()[bends].reshape(-1, 2)[order]
    blocks = np.array([covariance[k : k + 2, k : k + 2] for k in bends[::2]])[order]
    return centre, blocks


@pytest.mark.parametrize("barrier", [0.0, 7.0])
def test_a_straight_angle_is_as_wide_as_its_spring(barrier):
    """kT/k for each component of the tilt; a barrier about the line, as a wrong file has, ruins nothing."""
    centre, covariance = base_of_bends(chain(np.pi, barrier))
    assert np.all(centre == 0.0) and covariance.shape == (2, 2, 2)
    for apex, block in zip((2, 3), covariance, strict=True):
        assert block == pytest.approx(KT / STIFFNESS[apex] * np.eye(2), rel=0.2 if barrier else 1e-6)


def test_around_a_circle_of_minima_the_base_reaches_over_it():
    """At 172 degrees: the tilt 2 tan(t/2) of the minimum, squared, and kT over the curvature there."""
    tilt = np.deg2rad(8.0)
    centre, covariance = base_of_bends(chain(np.pi - tilt))
    radius, slope = 2 * np.tan(tilt / 2), 1 / np.cos(tilt / 2) ** 2  # of 2 tan(t/2)
    assert np.all(centre == 0.0)
    for apex, block in zip((2, 3), covariance, strict=True):
        expected = radius**2 + KT * slope**2 / STIFFNESS[apex]
        assert block == pytest.approx(expected * np.eye(2), rel=1e-2)


def test_where_nothing_holds_an_atom_near_the_line_the_base_is_at_its_widest():
    """An angle that is straight in the reference alone: its term has its minimum at 60 degrees."""
    _, covariance = base_of_bends(chain(np.deg2rad(60.0)))
    assert covariance == pytest.approx(np.array([WIDEST**2 * np.eye(2)] * 2))


@pytest.mark.parametrize("straight", [180.0, 172.0])
def test_weights_of_fresh_draws_are_even(straight):
    """Drawn from the base alone, the exact density against the energy: what a flow starts from."""
    target = Target.from_system(chain(np.deg2rad(straight)))
    table, features = target.coordinates.table, target.features
    generator = torch.Generator().manual_seed(4)
    rows, linear = 4000, torch.as_tensor(~table.circular)
    noise = torch.randn(rows, int(linear.sum()), generator=generator, dtype=torch.float64)
    points = features.centre + KT**0.5 * noise @ features.whitening.T
    values = torch.zeros(rows, table.dimension, dtype=torch.float64)
    lower, upper = torch.as_tensor(table.lower)[linear], torch.as_tensor(table.upper)[linear]
    values[:, linear], slope = unlink(points, lower, upper)
    circle = 2 * torch.pi * torch.rand(rows, int((~linear).sum()), generator=generator, dtype=torch.float64)
    values[:, ~linear] = circle - torch.pi
    positions, log_det = target.coordinates.decode(values)
    log_w = -target.reduced_energy(positions, 300.0) + 0.5 * (noise**2).sum(1) + slope.sum(1) + log_det
    weights = torch.softmax(log_w, 0)
    assert 1 / float((weights**2).sum()) > (0.8 if straight == 180.0 else 0.2) * rows
