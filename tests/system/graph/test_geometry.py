"""Angles and dihedral angles in NumPy: closed forms, MDTraj, and torch's own."""

from __future__ import annotations

import mdtraj
import numpy as np
import pytest
import torch

from boltzgen.coordinates.geometry import dihedral
from boltzgen.system.graph.geometry import angle, angles, dihedral_angle, dihedral_angles


def placed(length: float, theta: float, phi: float) -> np.ndarray:
    """(4, 3) chain a-c-p-g of unequal bonds, turned in space, whose angle at p is theta and torsion phi.

    Seen along c -> p the bond to g is `phi` clockwise of that to a, which is IUPAC's sign.
    """
    chain = np.array(
        [
            [0.7 * np.sin(1.9), 0.0, 0.7 * np.cos(1.9)],
            [0.0, 0.0, 0.0],
            [0.0, 0.0, length],
            [0.0, 0.0, length],
        ]
    )
    chain[3] += 1.3 * np.array([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), -np.cos(theta)])
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    return chain @ (rotation * np.sign(np.linalg.det(rotation))) + 0.4


@pytest.mark.parametrize("phi", [-3.1, -1.2, -1e-7, 1e-9, 0.4, 1.5707, 3.14159])
@pytest.mark.parametrize("theta", [0.02, 1.1, 2.0, 3.12])
def test_closed_form(theta, phi):
    chain = placed(0.9, theta, phi)
    assert dihedral_angle(chain, 0, 1, 2, 3) == pytest.approx(phi, abs=1e-12, rel=1e-10)
    assert dihedral_angle(chain, 3, 2, 1, 0) == pytest.approx(phi, abs=1e-12, rel=1e-10)
    assert angle(chain, 1, 2, 3) == pytest.approx(theta, rel=1e-12)
    assert angle(chain, 0, 1, 2) == pytest.approx(1.9, rel=1e-12)
    mirrored = chain * [1, -1, 1]
    assert dihedral_angle(mirrored, 0, 1, 2, 3) == pytest.approx(-phi, abs=1e-12, rel=1e-10)


def test_mdtraj_and_torch():
    """Random conformations, a batch of batches, and the same numbers row by row."""
    generator = np.random.default_rng(8)
    x = generator.normal(scale=0.3, size=(2, 5, 9, 3)).astype(np.float32)
    four = np.array([generator.permutation(9)[:4] for _ in range(7)])
    three = four[:, :3]
    frames = mdtraj.Trajectory(x.reshape(10, 9, 3), None)
    found, bends = dihedral_angles(x, four), angles(x, three)
    assert found.shape == (2, 5, 7) and bends.shape == (2, 5, 7)
    expected = mdtraj.compute_dihedrals(frames, four, periodic=False, opt=False).reshape(2, 5, 7)
    np.testing.assert_allclose(np.remainder(found - expected + np.pi, 2 * np.pi), np.pi, atol=2e-5)
    expected = mdtraj.compute_angles(frames, three, periodic=False, opt=False).reshape(2, 5, 7)
    np.testing.assert_allclose(bends, expected, atol=2e-5)
    components = torch.as_tensor(x.reshape(10, 9, 3).astype(float)).permute(2, 1, 0)
    by_torch = dihedral(*(components[:, column] for column in four.T))
    np.testing.assert_allclose(found.reshape(10, 7), by_torch.T.numpy(), atol=1e-12)
    assert dihedral_angle(x[1, 2], *four[4]) == found[1, 2, 4]


def test_where_no_dihedral_is_defined_it_is_zero_and_nan_stays():
    chain = placed(0.9, 1.2, 0.7)
    with np.errstate(all="raise"):
        assert dihedral_angle(np.zeros((4, 3)), 0, 1, 2, 3) == 0.0
    chain[2] = np.nan
    assert np.isnan(dihedral_angle(chain, 0, 1, 2, 3))
