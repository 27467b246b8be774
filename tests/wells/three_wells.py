"""A chain of four united atoms with three wells, everything of which is known by quadrature.

Bonds and angles are drawn from their exact Boltzmann densities, the torsion evenly: weighted samples with a
known ln Z. The two gauche wells are mirror images of one another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from butane import ANGLE, ANGLE_CONSTANT, BOND_CONSTANT, BOND_LENGTH, MASSES, butane_positions, butane_system

from boltzgen.coordinates.domain import Domain
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.store import save_ensemble
from boltzgen.system.formats.pdb_text import AtomName, format_pdb
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import GAS_CONSTANT

TEMPERATURE = 330.0
BETA = 1.0 / (GAS_CONSTANT * TEMPERATURE)
#: V1, V2, V3 of ``sum V_n/2 (1 +- cos n phi)``, kJ/mol.
TORSION = (5.1, -1.7, 14.3)
NAMES = [AtomName("A", "BUT", "1", "", f"C{k}", True) for k in range(1, 5)]
BONDS = np.array([(0, 1), (1, 2), (2, 3)])


def torsion_energy(phi: np.ndarray) -> np.ndarray:
    v1, v2, v3 = TORSION
    return 0.5 * (v1 * (1 + np.cos(phi)) + v2 * (1 - np.cos(2 * phi)) + v3 * (1 + np.cos(3 * phi)))


def chain_of_four(torsion: tuple[float, ...] = TORSION) -> MolecularSystem:
    import openmm

    system = butane_system(torsion)
    positions = butane_positions()
    return MolecularSystem(
        name="four",
        atomic_numbers=np.zeros(4, dtype=int),
        masses=np.array(MASSES),
        bonds=BONDS,
        reference_positions=positions,
        system_xml=openmm.XmlSerializer.serialize(system),
        topology_pdb=format_pdb(NAMES, [""] * 4, positions, BONDS),
    )


@dataclass(frozen=True)
class Exact:
    """Of trans and of both gauche wells together: shares, mean reduced energies, entropies (k); ln Z."""

    shares: np.ndarray
    energies: np.ndarray
    entropies: np.ndarray
    log_z: float


def exact() -> Exact:
    r = np.linspace(BOND_LENGTH - 0.04, BOND_LENGTH + 0.04, 20001)
    theta = np.linspace(1e-6, np.pi - 1e-6, 20001)
    phi = np.linspace(-np.pi, np.pi, 200001)
    own, stretched, bent = torsion_energy(phi), _stretch(r), _bend(theta)
    z_bond, u_bond = _moments(r, 2 * np.log(r), BETA * stretched)
    z_angle, u_angle = _moments(theta, np.log(np.sin(theta)), BETA * bent)
    top = np.abs(phi[np.argmax(np.where((phi > 1.5) & (phi < 2.7), own, -np.inf))])
    trans, density = np.abs(phi) > top, np.exp(-BETA * own)
    parts = np.array([np.trapezoid(np.where(inside, density, 0.0), phi) for inside in (trans, ~trans)])
    sums = [np.trapezoid(np.where(inside, density * BETA * own, 0.0), phi) for inside in (trans, ~trans)]
    energies = 3 * u_bond + 2 * u_angle + np.array(sums) / parts
    log_z = 3 * np.log(z_bond) + 2 * np.log(z_angle) + np.log(parts)
    whole = float(np.logaddexp.reduce(log_z))
    return Exact(parts / parts.sum(), energies, energies + log_z, whole)


def samples(number: int, seed: int, **record) -> Ensemble:
    """Independent weighted samples."""
    rng = np.random.default_rng(seed)
    r = np.linspace(BOND_LENGTH - 0.04, BOND_LENGTH + 0.04, 20001)
    theta = np.linspace(1e-6, np.pi - 1e-6, 20001)
    bonds = [_drawn(r, 2 * np.log(r) - BETA * _stretch(r), number, rng) for _ in range(3)]
    angles = [_drawn(theta, np.log(np.sin(theta)) - BETA * _bend(theta), number, rng) for _ in range(2)]
    phi = rng.uniform(-np.pi, np.pi, number)
    u_known = BETA * (sum(_stretch(b) for b in bonds) + sum(_bend(a) for a in angles))
    z_bond, _ = _moments(r, 2 * np.log(r), BETA * _stretch(r))
    z_angle, _ = _moments(theta, np.log(np.sin(theta)), BETA * _bend(theta))
    log_q = -u_known - 3 * np.log(z_bond) - 2 * np.log(z_angle) - np.log(2 * np.pi)
    system = chain_of_four()
    fields = {
        "temperature": TEMPERATURE,
        "measure": "shape",
        "system_fingerprint": system.fingerprint,
        "domain": Domain(MolecularGraph.from_system(system), "reference").label,
        "topology_pdb": system.topology_pdb,
        "coverage": {"verdict": "ok", "reasons": [], "forward_ess": 0.5},
    }
    return Ensemble.from_densities(
        placed(bonds, angles, phi), log_q, u_known + BETA * torsion_energy(phi), **(fields | record)
    )


def placed(bonds, angles, phi) -> np.ndarray:
    """(n, 4, 3) nm from three bonds, two angles and the torsion."""
    x = np.zeros((len(phi), 4, 3))
    x[:, 0, 0], x[:, 0, 1] = bonds[0] * np.cos(angles[0]), bonds[0] * np.sin(angles[0])
    x[:, 2, 0] = bonds[1]
    x[:, 3, 0] = bonds[1] - bonds[2] * np.cos(angles[1])
    radius = bonds[2] * np.sin(angles[1])
    x[:, 3, 1], x[:, 3, 2] = radius * np.cos(phi), radius * np.sin(phi)
    return x


def at_rest(phi) -> np.ndarray:
    """Conformations with bonds and angles at rest and torsions `phi` (n,) rad."""
    phi = np.asarray(phi, dtype=float)
    return placed([np.full(len(phi), BOND_LENGTH)] * 3, [np.full(len(phi), ANGLE)] * 2, phi)


def write(folder: Path, number: int = 3000, seed: int = 5) -> Ensemble:
    """SYS and OUT in `folder`; the samples."""
    found = samples(number, seed)
    chain_of_four().save(folder / "SYS")
    save_ensemble(replace(found, provenance={"system": "SYS", "seed": seed}), folder / "OUT")
    return found


def _stretch(r):
    return 0.5 * BOND_CONSTANT * (r - BOND_LENGTH) ** 2


def _bend(theta):
    return 0.5 * ANGLE_CONSTANT * (theta - ANGLE) ** 2


def _moments(x, log_measure, u) -> tuple[float, float]:
    density = np.exp(log_measure - u)
    z = float(np.trapezoid(density, x))
    return z, float(np.trapezoid(density * u, x)) / z


def _drawn(x, log_density, number: int, rng) -> np.ndarray:
    cumulative = np.cumsum(np.exp(log_density - log_density.max()))
    return np.interp(rng.uniform(0, cumulative[-1], number), cumulative, x)
