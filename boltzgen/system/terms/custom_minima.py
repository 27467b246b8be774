"""Where the terms of custom bond and angle forces are lowest, and how stiff they are there.

The expression is not read: copies of every different term stand side by side in one OpenMM System, each at
its own length or angle, and the forces tell the slope of all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import openmm

#: Lengths (nm) and angles (rad) among which minima are looked for.
LENGTHS = np.arange(0.05, 0.8, 0.005)
ANGLES = np.linspace(0.35, np.pi - 1e-3, 80)

#: Halvings of a bracket; the grid's spacing over 2^40 is far below rounding of a bond length.
_HALVINGS = 40
_STEP = 1e-4

Slope = Callable[[np.ndarray], np.ndarray]
#: Atoms of a term -> place of its minimum and second derivative there.
Minima = dict[tuple[int, ...], tuple[float, float]]


def custom_bond_minima(force: openmm.CustomBondForce) -> Minima:
    """Length (nm) and force constant (kJ/mol/nm2) for each sorted pair of atoms that `force` joins.

    Terms without a minimum inside `LENGTHS` are left out; of several on one pair the last counts.
    """
    terms = [force.getBondParameters(index) for index in range(force.getNumBonds())]
    rows = [((min(i, j), max(i, j)), tuple(parameters)) for i, j, parameters in terms]
    return _minima(rows, LENGTHS, lambda parameters: _bond_slope(force, parameters), closed=False)


def custom_angle_minima(force: openmm.CustomAngleForce) -> Minima:
    """Angle (rad) and force constant (kJ/mol/rad2) for each (a, centre, p), a < p, that `force` bends.

    A term that falls all the way to a straight angle has its minimum there.
    """
    terms = [force.getAngleParameters(index) for index in range(force.getNumAngles())]
    rows = [((min(i, k), j, max(i, k)), tuple(parameters)) for i, j, k, parameters in terms]
    return _minima(rows, ANGLES, lambda parameters: _angle_slope(force, parameters), closed=True)


def _minima(
    rows: Sequence[tuple[tuple[int, ...], tuple[float, ...]]],
    grid: np.ndarray,
    slope_of: Callable[[list[tuple[float, ...]]], Slope],
    *,
    closed: bool,
) -> Minima:
    """`closed`: the end of the grid is a place of symmetry (a straight angle) and may hold the minimum."""
    kinds = sorted({parameters for _, parameters in rows})
    if not kinds:
        return {}
    slope = slope_of(kinds)
    place = _lowest(slope, grid, len(kinds))
    stiffness = (slope(place + _STEP) - slope(place - _STEP)) / (2.0 * _STEP)
    if closed:
        end = np.full(len(kinds), grid[-1])
        straight = np.isnan(place) & (slope(end) < 0.0)
        # near a straight angle the slope is odd in the distance from it
        stiffness = np.where(straight, -slope(end) / (np.pi - end), stiffness)
        place = np.where(straight, np.pi, place)
    found = dict(zip(kinds, zip(place.tolist(), stiffness.tolist(), strict=True), strict=True))
    return {atoms: found[parameters] for atoms, parameters in rows if found[parameters][1] > 0.0}


def _lowest(slope: Slope, grid: np.ndarray, count: int) -> np.ndarray:
    """(count,) the lowest local minimum between the ends of `grid`; NaN where there is none."""
    slopes = np.stack([slope(np.full(count, point)) for point in grid])
    steps = 0.5 * (slopes[1:] + slopes[:-1]) * np.diff(grid)[:, None]
    energy = np.concatenate([np.zeros((1, count)), np.cumsum(steps, axis=0)])
    inside = (slopes[:-1] < 0.0) & (slopes[1:] >= 0.0)
    height = np.where(inside, np.minimum(energy[:-1], energy[1:]), np.inf)
    bracket = np.argmin(height, axis=0)
    low, high = grid[bracket].copy(), grid[bracket + 1].copy()
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        rising = slope(middle) >= 0.0
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    return np.where(np.isfinite(height.min(axis=0)), 0.5 * (low + high), np.nan)


def _bond_slope(force: openmm.CustomBondForce, kinds: list[tuple[float, ...]]) -> Slope:
    """Lengths (K,) -> slopes (K,) in kJ/mol/nm of the K terms."""
    import openmm

    copy = openmm.CustomBondForce(force.getEnergyFunction())
    for index in range(force.getNumPerBondParameters()):
        copy.addPerBondParameter(force.getPerBondParameterName(index))
    _copy_globals(force, copy)
    for index, parameters in enumerate(kinds):
        copy.addBond(2 * index, 2 * index + 1, parameters)
    forces_at = _evaluator(copy, 2 * len(kinds))

    def slope(lengths: np.ndarray) -> np.ndarray:
        positions = np.zeros((len(kinds), 2, 3))
        positions[:, 1, 0] = np.where(np.isfinite(lengths), lengths, 0.1)
        return -forces_at(positions)[1::2, 0]

    return slope


def _angle_slope(force: openmm.CustomAngleForce, kinds: list[tuple[float, ...]]) -> Slope:
    """Angles (K,) -> slopes (K,) in kJ/mol/rad of the K terms."""
    import openmm

    copy = openmm.CustomAngleForce(force.getEnergyFunction())
    for index in range(force.getNumPerAngleParameters()):
        copy.addPerAngleParameter(force.getPerAngleParameterName(index))
    _copy_globals(force, copy)
    for index, parameters in enumerate(kinds):
        copy.addAngle(3 * index, 3 * index + 1, 3 * index + 2, parameters)
    forces_at = _evaluator(copy, 3 * len(kinds))

    def slope(angles: np.ndarray) -> np.ndarray:
        angles = np.where(np.isfinite(angles), angles, 1.0)
        cosine, sine = np.cos(angles), np.sin(angles)
        positions = np.zeros((len(kinds), 3, 3))
        positions[:, 0, 0] = 1.0
        positions[:, 2, 0], positions[:, 2, 1] = cosine, sine
        found = forces_at(positions)[2::3]
        return -(found[:, 1] * cosine - found[:, 0] * sine)

    return slope


def _copy_globals(source: openmm.Force, target: openmm.Force) -> None:
    for index in range(source.getNumGlobalParameters()):
        target.addGlobalParameter(
            source.getGlobalParameterName(index), source.getGlobalParameterDefaultValue(index)
        )


def _evaluator(force: openmm.Force, n_particles: int) -> Callable[[np.ndarray], np.ndarray]:
    """Positions (..., 3) nm -> forces (n_particles, 3) kJ/mol/nm of `force` alone."""
    import openmm
    from openmm import unit

    system = openmm.System()
    for _ in range(n_particles):
        system.addParticle(1.0)
    system.addForce(force)
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )

    def forces_at(positions: np.ndarray) -> np.ndarray:
        context.setPositions(positions.reshape(-1, 3))
        state = context.getState(getForces=True)
        return state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)

    return forces_at
