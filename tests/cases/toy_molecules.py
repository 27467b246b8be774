"""Two small force fields for the tests of `dynamics` and `data`, with everything known about them."""

from __future__ import annotations

import numpy as np

from boltzgen.system.formats.pdb_text import AtomName, format_pdb
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import GAS_CONSTANT

#: Bonds of the chain: nm, kJ/mol/nm2; soft, so that the b^2 of the measure matters.
CHAIN_BONDS = ((0.15, 3000.0), (0.17, 4500.0), (0.13, 6000.0), (0.16, 3600.0))


def _system(name, symbols, numbers, masses, bonds, positions, forces) -> MolecularSystem:
    import openmm

    system = openmm.System()
    for mass in masses:
        system.addParticle(mass)
    for force in forces:
        system.addForce(force)
    names = [AtomName("A", "TOY", "1", "", f"{s or 'B'}{i + 1}", True) for i, s in enumerate(symbols)]
    bonds = np.array(bonds)
    return MolecularSystem(
        name=name,
        atomic_numbers=np.array(numbers),
        masses=np.array(masses),
        bonds=bonds,
        reference_positions=np.asarray(positions),
        system_xml=openmm.XmlSerializer.serialize(system),
        topology_pdb=format_pdb(names, symbols, np.asarray(positions), bonds),
    )


def chain() -> MolecularSystem:
    """Five beads with four independent harmonic bonds and nothing else."""
    import openmm

    force = openmm.HarmonicBondForce()
    bonds = [(i, i + 1) for i in range(len(CHAIN_BONDS))]
    for (i, j), (length, constant) in zip(bonds, CHAIN_BONDS, strict=True):
        force.addBond(i, j, length, constant)
    count = len(CHAIN_BONDS) + 1
    steps = np.array([[length, 0.03 * (-1) ** i, 0.02 * i] for i, (length, _) in enumerate(CHAIN_BONDS)])
    positions = np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])
    return _system("chain", [""] * count, [0] * count, [12.0] * count, bonds, positions, [force])


def bond_grid(length: float, constant: float, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Energies and probabilities of one bond on a grid: p(b) ~ b^2 exp(-U/kT), by brute force."""
    b = np.linspace(1e-4, length + 0.3, 20001)
    energy = 0.5 * constant * (b - length) ** 2
    weight = b**2 * np.exp(-energy / (GAS_CONSTANT * temperature))
    return energy, weight / weight.sum()


def exact_energy(temperature: float) -> float:
    """Mean potential energy of the chain in kJ/mol."""
    grids = (bond_grid(length, k, temperature) for length, k in CHAIN_BONDS)
    return sum(float(energy @ p) for energy, p in grids)


def halopropane() -> MolecularSystem:
    """CHFCl-CH2-CH2Br with bonds and angles: a stereocentre (atom 0), labelled CH2 (atoms 1 and 7)."""
    import openmm

    symbols = ["C", "C", "H", "F", "Cl", "H", "H", "C", "H", "H", "Br"]
    numbers = [6, 6, 1, 9, 17, 1, 1, 6, 1, 1, 35]
    masses = [12.0, 12.0, 1.0, 19.0, 35.5, 1.0, 1.0, 12.0, 1.0, 1.0, 79.9]
    bonds = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 5), (1, 6), (1, 7), (7, 8), (7, 9), (7, 10)]
    lengths = [0.153, 0.109, 0.138, 0.177, 0.109, 0.109, 0.153, 0.109, 0.109, 0.194]
    directions = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3.0)
    positions = np.zeros((11, 3))
    positions[1] = directions[0] * lengths[0]
    for atom, direction in zip((2, 3, 4), directions[1:], strict=True):
        positions[atom] = direction * lengths[atom - 1]
    for atom, direction in zip((5, 6, 7), -directions[1:], strict=True):
        positions[atom] = positions[1] + direction * lengths[atom - 1]
    for atom, direction in zip((8, 9, 10), directions[[0, 1, 2]], strict=True):
        positions[atom] = positions[7] + direction * lengths[atom - 1]
    stretch, bend = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for (i, j), length in zip(bonds, lengths, strict=True):
        stretch.addBond(i, j, length, 250000.0)
    around = {0: (1, 2, 3, 4), 1: (0, 5, 6, 7), 7: (1, 8, 9, 10)}
    for centre, ends in around.items():
        for k, a in enumerate(ends):
            for b in ends[k + 1 :]:
                bend.addAngle(a, centre, b, np.arccos(-1.0 / 3.0), 400.0)
    return _system("halopropane", symbols, numbers, masses, bonds, positions, [stretch, bend])
