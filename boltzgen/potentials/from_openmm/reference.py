"""OpenMM's Reference platform, in float64: what every potential of an OpenMM System is held to."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm
import torch
from openmm import unit

from boltzgen.errors import BoltzgenError, InputError
from boltzgen.potentials.base import Potential
from boltzgen.potentials.molecular_mechanics import MolecularMechanics
from boltzgen.system.graph.adjacency import adjacency, side
from boltzgen.system.graph.geometry import angles

if TYPE_CHECKING:
    from boltzgen.system.molecular_system import MolecularSystem

#: Agreement with OpenMM Reference that `check_against_reference` demands (relative, float64).
REFERENCE_TOLERANCE = 1e-6

#: kJ/mol/nm, kT over the width of a stiff coordinate. At a minimum the forces of the terms, which are larger,
#: cancel; in single precision what is left of them is no measure.
THERMAL_FORCE = 100.0

#: nm; the noise of the perturbed conformations grows to this. Bonds at 300 K vibrate by 0.003 to 0.005 nm.
_LARGEST_NOISE = 0.01

#: rad; the forces of Reference, by acos, keep fewer digits than are compared where an angle is this straight.
_STRAIGHT = 1e-4

#: Conformations with one bond turned by a random angle, which noise alone never reaches.
_TURNED = 5

#: OpenMM's force groups; forces beyond them share the last.
_GROUPS = 32

#: The names of the terms that a force becomes; those of custom forces begin with their place in the System.
_TERMS = {
    "HarmonicBondForce": ("bond",),
    "HarmonicAngleForce": ("angle",),
    "PeriodicTorsionForce": ("torsion",),
    "RBTorsionForce": ("torsion",),
    "CMAPTorsionForce": ("cmap",),
    "NonbondedForce": ("nonbonded",),
    "GBSAOBCForce": ("solvent", "custom_gb"),
    "CustomGBForce": ("solvent", "custom_gb"),
    "LCPOForce": ("surface_area",),
}


@dataclass(frozen=True)
class Reference:
    """What OpenMM Reference says of a batch of conformations.

    energy: (batch,) kJ/mol; force: (batch, N, 3) kJ/mol/nm.
    by_force: energy (batch,) of each of the System's forces, by its index (the last of `_GROUPS` takes
        what is left).
    """

    energy: np.ndarray
    force: np.ndarray
    by_force: Mapping[int, np.ndarray]

    @property
    def scale(self) -> np.ndarray:
        """Sum of the absolute energies of the forces (batch,), at least 1 kJ/mol."""
        return np.maximum(1.0, sum((np.abs(energy) for energy in self.by_force.values()), np.zeros(1)))


def reference_of(system: openmm.System, positions: np.ndarray) -> Reference:
    """Energies and forces of `positions` (batch, N, 3) nm, force by force, on OpenMM's Reference platform."""
    grouped = copy.deepcopy(system)
    groups = range(min(grouped.getNumForces(), _GROUPS))
    for index, force in enumerate(grouped.getForces()):
        force.setForceGroup(min(index, _GROUPS - 1))
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(grouped, openmm.VerletIntegrator(0.001), platform)
    by_force, total = np.zeros((len(groups), len(positions))), np.zeros(np.shape(positions))
    for row, frame in enumerate(positions):
        context.setPositions(frame)
        for group in groups:
            state = context.getState(energy=True, forces=True, groups={group})
            by_force[group, row] = state.getPotentialEnergy().value_in_unit_system(unit.md_unit_system)
            total[row] += state.getForces(asNumpy=True).value_in_unit_system(unit.md_unit_system)
    return Reference(by_force.sum(axis=0), total, dict(enumerate(by_force)))


def reference_energies(system: openmm.System, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """OpenMM Reference's energies (batch,) kJ/mol and forces (batch, N, 3) kJ/mol/nm of `positions` in nm."""
    found = reference_of(system, positions)
    return found.energy, found.force


def perturbed(system: MolecularSystem, n_perturbed: int, seed: int) -> np.ndarray:
    """(1 + n_perturbed + 5, N, 3) nm: the reference, with noise up to 0.01 nm, with single bonds turned."""
    reference = np.asarray(system.reference_positions, dtype=np.float64)
    random = np.random.default_rng(seed)
    noise = random.normal(scale=_LARGEST_NOISE, size=(n_perturbed, *reference.shape))
    noise *= np.linspace(0.1, 1.0, n_perturbed)[:, None, None]
    turned = [_turned(reference, system.bonds, random) for _ in range(_TURNED)]
    turned += random.normal(scale=0.3 * _LARGEST_NOISE, size=(_TURNED, *reference.shape))
    return np.concatenate([reference[None], reference + noise, turned])


def _straight(positions: np.ndarray, bonds: np.ndarray) -> np.ndarray:
    """(batch,) whether any angle between two bonds at one atom is within `_STRAIGHT` of straight."""
    around = enumerate(adjacency(positions.shape[1], bonds))
    triples = [(one, middle, other) for middle, ends in around for one, other in combinations(ends, 2)]
    return np.any(angles(positions, np.array(triples)) > np.pi - _STRAIGHT, axis=1)


def _turned(positions: np.ndarray, bonds: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """`positions` with all atoms on one side of a random bond turned about it; in rings, nothing turns."""
    neighbours = adjacency(len(positions), bonds)
    for first, second in random.permutation(bonds):
        turning = side(neighbours, int(first), int(second))
        if turning is None or not 2 <= len(turning) <= len(positions) - 2:
            continue
        axis = positions[second] - positions[first]
        axis /= np.linalg.norm(axis)
        arms, angle = positions[sorted(turning)] - positions[second], random.uniform(0.5, 2 * np.pi - 0.5)
        moved = positions.copy()
        moved[sorted(turning)] = (  # Rodrigues' formula
            positions[second]
            + np.cos(angle) * arms
            + np.sin(angle) * np.cross(axis, arms)
            + (1 - np.cos(angle)) * (arms @ axis)[:, None] * axis
        )
        return moved
    return positions.copy()


def check_against_reference(
    system: MolecularSystem,
    potential: Potential,
    *,
    n_perturbed: int = 10,
    seed: int = 1,
    tolerance: float = REFERENCE_TOLERANCE,
    largest_force: float = np.inf,
) -> dict[str, Any]:
    """Compare `potential` with OpenMM Reference on the reference positions and perturbed ones, in float64.

    The relative energy difference is ``|dE| / max(1 kJ/mol, sum of the |energies| of the System's forces)``,
    that of the forces ``max |dF| / max(THERMAL_FORCE, max |F|)`` a conformation. The result is JSON-able.
    Conformations on which a force exceeds `largest_force` in kJ/mol/nm are left out, and the forces of those
    with a straight angle, whose gradient is 0/0: both sides then have rounding errors above `tolerance`.

    Raises
    ------
    BoltzgenError
        When either exceeds `tolerance`: the potential is wrong and must not be used. It names the force that
        differs most.
    """
    positions = perturbed(system, n_perturbed, seed)
    expected = reference_of(system.openmm_system(), positions)
    if np.isfinite(largest_force):
        positions = positions[np.abs(expected.force).max(axis=(1, 2)) <= largest_force]
        if not len(positions):
            raise InputError(f"The atoms of {system.name!r} overlap; prepare it again with `minimize=True`.")
        expected = reference_of(system.openmm_system(), positions)
    x = torch.tensor(positions, requires_grad=True)
    energy = potential.energy(x)
    (gradient,) = torch.autograd.grad(energy.sum(), x)
    energy_difference = np.abs(energy.detach().numpy() - expected.energy) / expected.scale
    force_difference = np.abs(gradient.numpy() + expected.force).max(axis=(1, 2))
    force_difference /= np.maximum(THERMAL_FORCE, np.abs(expected.force).max(axis=(1, 2)))
    force_difference[_straight(positions, system.bonds)] = 0.0
    by_force = {}
    if isinstance(potential, MolecularMechanics):
        by_force = _by_force(system.openmm_system(), expected, potential.energy_by_term(x.detach()))
    result = {
        "platform": "Reference",
        "openmm": openmm.version.version,
        "conformations": len(positions),
        "max_relative_energy_difference": float(energy_difference.max()),
        "max_relative_force_difference": float(force_difference.max()),
        "max_relative_energy_difference_by_force": by_force,
        "tolerance": tolerance,
    }
    worst = max(result["max_relative_energy_difference"], result["max_relative_force_difference"])
    if not worst <= tolerance:
        raise BoltzgenError(
            f"The potential of {system.name!r} differs from OpenMM Reference by {worst:.1e} (relative; "
            f"allowed {tolerance:.0e}), {_culprit(by_force, tolerance)}so it cannot be trusted. Please "
            "report this system."
        )
    return result


def _by_force(
    system: openmm.System, expected: Reference, terms: Mapping[str, torch.Tensor]
) -> dict[str, float]:
    """Largest ``|dE|`` over the scale of each kind of force, by its name in the System."""
    wanted: dict[tuple[str, ...], np.ndarray] = {}  # terms that belong together -> energy of their forces
    labels: dict[tuple[str, ...], str] = {}
    for index, energy in expected.by_force.items():
        name = type(system.getForce(index)).__name__
        place = f"force {index} ({name})"
        found = _TERMS.get(name, tuple(term for term in terms if term.startswith(place)))
        key = found or (place,)
        wanted[key] = wanted.get(key, 0.0) + energy
        labels[key] = labels.get(key, name if name in _TERMS else place)
    differences = {}
    for key, energy in wanted.items():
        got = sum((terms[term].numpy() for term in key if term in terms), np.zeros(1))
        differences[labels[key]] = float((np.abs(got - energy) / expected.scale).max())
    return differences


def _culprit(by_force: Mapping[str, float], tolerance: float) -> str:
    if not by_force:
        return ""
    name = max(by_force, key=lambda label: np.nan_to_num(by_force[label], nan=np.inf))
    if by_force[name] <= tolerance:
        return "in the forces, while the energies agree, "
    return f"most in {name} ({by_force[name]:.1e}), "
