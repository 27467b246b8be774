"""O=N-O-H under a force field whose E and Z are an integral over one angle."""

from __future__ import annotations

import numpy as np

from boltzgen.system.formats.pdb_text import AtomName, format_pdb
from boltzgen.system.molecular_system import MolecularSystem

#: Terms of the torsion: periodicity, phase (rad), kJ/mol; the barrier is some 55.
NITROUS_TORSION = ((1, 0.3, 3.6), (2, np.pi, 28.0))
_LENGTHS, _BENDS = (0.117, 0.143, 0.096), (1.93, 1.78)


def nitrous_acid() -> MolecularSystem:
    """Bonds, angles and one torsion, each alone: nothing couples them."""
    import openmm

    bonds, angles, torsion = (
        openmm.HarmonicBondForce(),
        openmm.HarmonicAngleForce(),
        openmm.PeriodicTorsionForce(),
    )
    for atom, (length, constant) in enumerate(zip(_LENGTHS, (600000.0, 200000.0, 400000.0), strict=True)):
        bonds.addBond(atom, atom + 1, length, constant)
    for atom, (bend, constant) in enumerate(zip(_BENDS, (500.0, 400.0), strict=True)):
        angles.addAngle(atom, atom + 1, atom + 2, bend, constant)
    for n, phase, constant in NITROUS_TORSION:
        torsion.addTorsion(0, 1, 2, 3, n, phase, constant)
    system, masses, symbols = openmm.System(), (16.0, 14.0, 16.0, 1.008), ("O", "N", "O", "H")
    for mass in masses:
        system.addParticle(mass)
    for force in (bonds, angles, torsion):
        system.addForce(force)
    first = _LENGTHS[0] * np.array([np.cos(_BENDS[0]), np.sin(_BENDS[0]), 0.0])
    last = np.array([_LENGTHS[1], 0.0, 0.0]) - _LENGTHS[2] * np.array(
        [np.cos(_BENDS[1]), np.sin(_BENDS[1]), 0.0]
    )
    positions = np.array([first, [0.0, 0.0, 0.0], [_LENGTHS[1], 0.0, 0.0], last])
    pairs = np.array([(0, 1), (1, 2), (2, 3)])
    names = [AtomName("A", "TOY", "1", "", f"{symbol}{k + 1}", True) for k, symbol in enumerate(symbols)]
    return MolecularSystem(
        name="nitrous acid",
        atomic_numbers=np.array([8, 7, 8, 1]),
        masses=np.array(masses),
        bonds=pairs,
        reference_positions=positions,
        system_xml=openmm.XmlSerializer.serialize(system),
        topology_pdb=format_pdb(names, list(symbols), positions, pairs),
    )
