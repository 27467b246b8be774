"""Puckers against closed forms: ideal tetrahedral chair and boat, and rings built from their coordinates."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from boltzgen.system.graph.puckers import cremer_pople, pucker
from boltzgen.workflows.preparation.prepare import prepare

BOND = 0.154


def moved(ring: np.ndarray, start: int = 0, backwards: bool = False) -> np.ndarray:
    """The same ring turned in space, numbered from another atom or the other way round."""
    turned = Rotation.from_euler("xyz", (0.3, 1.1, -2.0)).apply(ring) + np.array([0.7, -1.3, 0.2])
    turned = np.roll(turned, start, axis=0)
    return turned[::-1] if backwards else turned


def chair() -> np.ndarray:
    """Tetrahedral: neighbours a third of a bond apart in height."""
    turn = np.arange(6) * np.pi / 3
    radius = BOND * np.sqrt(8) / 3
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), BOND / 6 * (-1.0) ** np.arange(6)], axis=1)


def boat() -> np.ndarray:
    """Tetrahedral: atoms 1, 2, 4, 5 in a plane (z = 0), 0 and 3 above it."""
    half, out, up = BOND / 2, BOND * np.sqrt(6) / 3, BOND * np.sqrt(2) / 3
    rows = [(half + BOND / 3, 0.0, up), (half, out, 0.0), (-half, out, 0.0)]
    return np.array([*rows, (-half - BOND / 3, 0.0, up), (-half, -out, 0.0), (half, -out, 0.0)])


def ring_of(count: int, amplitude: float, theta: float, phi: float) -> np.ndarray:
    """Cremer and Pople's equations the other way, on a polygon that runs clockwise for them."""
    j = np.arange(count)
    height = np.sqrt(2 / count) * amplitude * np.sin(theta) * np.cos(phi + 4 * np.pi * j / count)
    if count == 6:
        height = height + amplitude * np.cos(theta) * (-1.0) ** j / np.sqrt(6)
    turn = 2 * np.pi * j / count
    return np.stack([0.145 * np.cos(turn), -0.145 * np.sin(turn), height], axis=1)


@pytest.mark.parametrize(("start", "backwards"), [(0, False), (1, False), (4, True)])
def test_ideal_chair_and_boat(start, backwards):
    for ring in (chair(), boat()):
        lengths = np.linalg.norm(ring - np.roll(ring, 1, axis=0), axis=1)
        np.testing.assert_allclose(lengths, BOND, rtol=1e-12)
    amplitude, theta, _ = cremer_pople(moved(chair(), start, backwards))
    assert amplitude == pytest.approx(BOND / np.sqrt(6))
    assert np.sin(theta) == pytest.approx(0.0, abs=1e-7)
    assert pucker(moved(chair(), start, backwards)) == "chair"
    _, theta, phi = cremer_pople(moved(boat(), start, backwards))
    assert theta == pytest.approx(np.pi / 2)
    assert np.sin(3 * phi) == pytest.approx(0.0, abs=1e-7)
    assert pucker(moved(boat(), start, backwards)) == "boat"


@pytest.mark.parametrize(
    ("count", "theta", "phi", "name"),
    [
        (6, 8.0, 40.0, "chair"),
        (6, 171.0, 200.0, "chair"),
        (6, 90.0, 122.0, "boat"),
        (6, 88.0, 151.0, "twist"),
        (6, 54.7, 241.0, "envelope"),
        (6, 129.2, 31.0, "half-chair"),
        (5, 90.0, 110.0, "envelope"),
        (5, 90.0, 55.0, "twist"),
    ],
)
def test_coordinates_come_back_and_have_their_names(count, theta, phi, name):
    ring = ring_of(count, 0.047, np.radians(theta), np.radians(phi))
    amplitude, found, angle = cremer_pople(ring)
    assert (amplitude, found, angle) == pytest.approx((0.047, np.radians(theta), np.radians(phi)), abs=1e-9)
    for start in range(count):
        assert pucker(moved(ring, start, backwards=bool(start % 2))) == name


def test_flat_rings_and_other_sizes():
    assert pucker(ring_of(6, 0.004, 1.0, 2.0)) == pucker(ring_of(5, 0.0, 1.0, 2.0)) == "flat"
    assert pucker(chair()[:4]) == ""


def test_prepare_names_the_puckers():
    found = prepare(smiles="C1CCNCC1c1ccccc1", check=True)
    assert found.rings == (6, 6) and found.puckers == ("chair, C6 equatorial, H7 equatorial on N1", "flat")


def test_many_rings_at_once():
    rings = np.array(
        [chair(), moved(chair(), 1), boat(), ring_of(6, 0.047, 1.1, 2.0), np.full((6, 3), np.nan)]
    )
    together = np.array(cremer_pople(rings.reshape(5, 1, 6, 3)))
    assert together.shape == (3, 5, 1)
    np.testing.assert_allclose(together[:, :4, 0].T, [cremer_pople(ring) for ring in rings[:4]], atol=1e-12)
    assert np.isnan(together[:, 4]).all()
    assert together[1, 0, 0] + together[1, 1, 0] == pytest.approx(np.pi), (
        "numbered from the next atom: the other pole"
    )
