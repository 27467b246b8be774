"""The features of each coordinate: physics and graph only, the same for any naming and order of the atoms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from boltzgen.conditioning.base_widths import bonded_minimum
from boltzgen.conditioning.context import PLACEMENT_STYLES, MoleculeFeatures
from boltzgen.coordinates.base import KINDS, Coordinates, CoordinateTable
from boltzgen.coordinates.internal import InternalCoordinates
from boltzgen.coordinates.support import unlink
from boltzgen.potentials.molecular_mechanics import MolecularMechanics
from boltzgen.potentials.records.parameters import ForceFieldParameters
from boltzgen.system.graph.adjacency import bond_distances
from boltzgen.system.graph.geometry import dihedral_angles
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import THERMAL_UNITS, thermal_energy

#: Elements with a feature of their own; all others share the last.
ELEMENTS = (1, 6, 7, 8, 9, 15, 16, 17, 35, 53)
ATOM_FEATURES = len(ELEMENTS) + 1 + 8
HARMONICS = 6
ORDER_WAVES = 4

#: Sizes of rings with a feature of their own; larger ones share the last.
RING_SIZES = (3, 4, 5, 6, 7)

#: Raised whenever a column changes its meaning: a model reads only the features that it was trained on.
#: Models of before then need a step in `boltzgen.config.upgrades`, exact or a refusal.
FEATURES_VERSION = 1

#: Columns of the tokens: physics; place in the canonical order; ring membership.
PHYSICS = range(len(KINDS) + 8 + 4 * (ATOM_FEATURES + 1) + 2 * HARMONICS)
ORDER = range(PHYSICS.stop, PHYSICS.stop + 2 * ORDER_WAVES)
RINGS = range(ORDER.stop, ORDER.stop + 4 * len(RING_SIZES))
N_FEATURES = RINGS.stop


def molecule_features(
    system: MolecularSystem, coordinates: InternalCoordinates, potential: MolecularMechanics
) -> MoleculeFeatures:
    """What a flow may know of `system`, described in `coordinates`, under `potential`."""
    centre, whitening = bonded_minimum(coordinates, potential.bonded_energy)
    table = coordinates.table
    location, width = _location_and_width(table, centre, whitening)
    atoms = atom_features(system, potential.force_field)
    positions = _at_minimum(coordinates, centre)
    distance = bond_distances(system.n_atoms, system.bonds)
    placed = table.atoms[:, 0]
    columns = [
        _one_hot(table),
        _own_features(table, location, width),
        _features_of_atoms(table, atoms),
        torsion_series(table, potential.force_field, system.bonds, positions),
        _order_waves(table.dimension),
        _rings(table, coordinates.graph.rings),
    ]
    return _pack(
        system.fingerprint,
        np.concatenate(columns, axis=1),
        distance[placed][:, placed],
        table,
        centre,
        whitening,
        THERMAL_UNITS["kJ/mol"],
    )


def model_features(name: str, coordinates: Coordinates, width: float) -> MoleculeFeatures:
    """A model system (a double well, say); `width`: standard deviation of its base in every dimension."""
    table = coordinates.table
    size = table.dimension
    columns = [
        _one_hot(table),
        _own_features(table, np.array(table.reference), np.full(size, width)),
        np.zeros((size, 4 * (ATOM_FEATURES + 1) + 2 * HARMONICS)),
        _order_waves(size),
        np.zeros((size, len(RINGS))),
    ]
    steps = np.abs(np.arange(size)[:, None] - np.arange(size)[None, :])
    return _pack(
        name,
        np.concatenate(columns, axis=1),
        steps,
        table,
        np.array(table.reference),
        width * np.eye(size),
        THERMAL_UNITS["kT"],
    )


def _pack(
    fingerprint: str,
    tokens: np.ndarray,
    distance: np.ndarray,
    table: CoordinateTable,
    centre: np.ndarray,
    whitening: np.ndarray,
    thermal_energy_unit: float,
) -> MoleculeFeatures:
    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.array(array, dtype=np.float64))

    return MoleculeFeatures(
        fingerprint=fingerprint,
        tokens=tensor(tokens),
        graph_distance=torch.as_tensor(distance.astype(np.int64)),
        circular=torch.as_tensor(np.array(table.circular, dtype=bool)),
        lower=tensor(table.lower),
        upper=tensor(table.upper),
        centre=tensor(centre),
        whitening=tensor(whitening),
        thermal_energy_unit=thermal_energy_unit,
        placements=torch.as_tensor(placements(table)),
    )


def placements(table: CoordinateTable) -> np.ndarray:
    """(N, 7) int64, see `MoleculeFeatures.placements`: the tree of a molecule, without atom indices."""
    placed = table.atoms[:, 0]
    if not table.dimension or placed[0] < 0:
        return np.zeros((0, 7), dtype=np.int64)
    order = placed_atoms(table)
    place = {atom: k for k, atom in enumerate(order)} | {-1: -1}
    result = np.full((len(order), 7), -1, dtype=np.int64)
    result[0, 6] = PLACEMENT_STYLES.index("open")
    for k, atom in enumerate(order[1:], start=1):
        rows = np.flatnonzero(placed == atom)
        kinds = {table.kind[row] for row in rows}
        style = "closure" if "distance" in kinds else "bend" if "bend" in kinds else "open"
        result[k, :3] = [place[int(other)] for other in table.atoms[rows[-1], 1:]]
        result[k, 3 : 3 + len(rows)] = rows
        result[k, 6] = PLACEMENT_STYLES.index(style)
    return result


def placed_atoms(table: CoordinateTable) -> list[int]:
    """The index of each atom of a molecule in order of placement, that of the rows of `placements`."""
    return [int(table.atoms[0, 1]), *dict.fromkeys(table.atoms[:, 0].tolist())]


def atom_features(system: MolecularSystem, force_field: ForceFieldParameters) -> np.ndarray:
    """(N, ATOM_FEATURES): element, mass, charge, Lennard-Jones and solvent parameters, degree."""
    numbers = np.asarray(system.atomic_numbers)
    elements = np.array([[float(z == e) for e in ELEMENTS] for z in numbers])
    other = 1.0 - elements.sum(axis=1, keepdims=True)
    degree = np.bincount(np.asarray(system.bonds).ravel(), minlength=system.n_atoms)
    born_radius, born_scale = force_field.descreening()
    scaled = [
        np.log(np.maximum(system.masses, 0.1) / 10.0),
        force_field.charge,
        force_field.sigma / 0.3,
        np.sqrt(np.abs(force_field.epsilon)),
        born_radius / 0.15,
        born_scale,
        degree / 4.0,
        numbers / 10.0,
    ]
    return np.concatenate([elements, other, np.stack(scaled, axis=1)], axis=1)


def _at_minimum(coordinates: Coordinates, centre: np.ndarray) -> np.ndarray:
    """(N, 3) nm: torsions as in the reference, all else at the minimum of the bonded terms.

    So that features do not depend on how the reference is strained.
    """
    table = coordinates.table
    linear = np.flatnonzero(~np.asarray(table.circular))
    lower, upper = torch.as_tensor(table.lower[linear]), torch.as_tensor(table.upper[linear])
    values = torch.as_tensor(np.array(table.reference))
    values[linear] = unlink(torch.as_tensor(centre), lower, upper)[0]
    return np.asarray(coordinates.decode(values[None])[0][0])


def torsion_series(
    table: CoordinateTable, force_field: ForceFieldParameters, bonds: np.ndarray, positions: np.ndarray
) -> np.ndarray:
    """(D, 2 * HARMONICS) Fourier series of each torsion's axis, in units of 10 kJ/mol.

    Every torsion term about the axis counts, moved by its offset from the coordinate at `positions`:
    ``sum k cos(n phi - phase)`` becomes ``sum a_n cos(n phi) + b_n sin(n phi)``. Impropers do not count: no
    turn about two of their atoms moves them by its own angle.
    """
    series = np.zeros((table.dimension, HARMONICS, 2))
    bonded = {frozenset(pair) for pair in np.asarray(bonds).reshape(-1, 2).tolist()}
    axes = [
        frozenset((b, c)) if {frozenset((a, b)), frozenset((b, c)), frozenset((c, d))} <= bonded else None
        for a, b, c, d in force_field.torsion_atoms.tolist()
    ]
    angles = dihedral_angles(positions, force_field.torsion_atoms)
    for row, (kind, atoms) in enumerate(zip(table.kind, table.atoms, strict=True)):
        if kind != "torsion":
            continue
        own = dihedral_angles(positions, atoms[None])[0]
        for term, axis in enumerate(axes):
            order = int(force_field.torsion_periodicity[term])
            if axis == frozenset(atoms[1:3].tolist()) and 1 <= order <= HARMONICS:
                phase = force_field.torsion_phase[term] - order * (angles[term] - own)
                series[row, order - 1] += force_field.torsion_barrier[term] * np.array(
                    [np.cos(phase), np.sin(phase)]
                )
    return series.reshape(table.dimension, -1) / 10.0


def _one_hot(table: CoordinateTable) -> np.ndarray:
    return np.array([[float(kind == k) for k in KINDS] for kind in table.kind])


def _own_features(table: CoordinateTable, location: np.ndarray, width: np.ndarray) -> np.ndarray:
    """(D, 8): circular, where the base sits (raw, cos, sin), how wide it is, which half circle."""
    bounded = np.isfinite(table.upper) & ~table.circular
    middle = np.where(
        bounded, 0.5 * (np.where(bounded, table.lower, 0.0) + np.where(bounded, table.upper, 0.0)), 0.0
    )
    return np.stack(
        [
            np.asarray(table.circular, dtype=float),
            np.clip(location, -10.0, 10.0),
            np.cos(location),
            np.sin(location),
            np.log(width),
            np.sin(middle),
            np.cos(middle),
            np.asarray(bounded, dtype=float),
        ],
        axis=1,
    )


def _location_and_width(
    table: CoordinateTable, centre: np.ndarray, whitening: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Centre (D,) in the coordinates' own units and width (D,) at 300 K in the link's; circles: 0 and pi."""
    linear = np.flatnonzero(~np.asarray(table.circular))
    lower, upper = torch.as_tensor(table.lower[linear]), torch.as_tensor(table.upper[linear])
    location, width = np.zeros(table.dimension), np.full(table.dimension, math.pi)
    location[linear] = unlink(torch.as_tensor(centre), lower, upper)[0].numpy()
    width[linear] = np.sqrt(thermal_energy(300.0) * (whitening**2).sum(axis=1))
    return location, width


def _features_of_atoms(table: CoordinateTable, atoms: np.ndarray) -> np.ndarray:
    """(D, 4 * (ATOM_FEATURES + 1)): features of the placed atom and its references, absent ones flagged."""
    present = table.atoms >= 0
    gathered = atoms[np.where(present, table.atoms, 0)] * present[:, :, None]
    return np.concatenate([gathered, present[:, :, None].astype(float)], axis=2).reshape(table.dimension, -1)


def _rings(table: CoordinateTable, rings: Sequence[Sequence[int]]) -> np.ndarray:
    """(D, 4 * len(RING_SIZES)): sizes of the rings that the placed atom and its references are in."""
    result = np.zeros((table.dimension, 4, len(RING_SIZES)))
    for ring in rings:
        size = min(len(ring), RING_SIZES[-1]) - RING_SIZES[0]
        result[:, :, size] = np.maximum(result[:, :, size], np.isin(table.atoms, list(ring)))
    return result.reshape(table.dimension, -1)


def _order_waves(size: int) -> np.ndarray:
    """(D, 2 * ORDER_WAVES): sines of the place in the canonical order; they tell symmetric groups apart."""
    place = np.arange(size)[:, None] * (0.5 ** np.arange(ORDER_WAVES))[None, :]
    return np.concatenate([np.sin(place), np.cos(place)], axis=1)
