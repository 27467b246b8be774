"""MMFF94 and MMFF94s: from an RDKit molecule to an OpenMM System with the same energy.

RDKit assigns types, charges and parameters; the forms are in `mmff_forces`. The terms stand in an order that
follows from the order of the atoms alone, so that the same molecule has the same fingerprint.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import BoltzgenError
from boltzgen.system.parametrise import mmff_forces
from boltzgen.system.parametrise.mmff_nonbonded import nonbonded_atoms

if TYPE_CHECKING:
    import openmm
    from rdkit import Chem
    from rdkit.ForceField.rdForceField import MMFFMolProperties

#: Force-field words of `prepare`, and RDKit's names.
VARIANTS = {"mmff94": "MMFF94", "mmff94s": "MMFF94s"}

#: MMFF types of centres whose bends have the linear form: CSP, =N=, NR%.
_LINEAR_TYPES = frozenset({4, 53, 61})


def mmff_properties(molecule: Chem.Mol, variant: str = "mmff94") -> MMFFMolProperties | None:
    """RDKit's types, charges and parameters of `molecule` (with hydrogens); None when a type is missing."""
    from rdkit.Chem import rdForceFieldHelpers

    return rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule, mmffVariant=VARIANTS[variant])


def mmff_system(molecule: Chem.Mol, properties: MMFFMolProperties) -> openmm.System:
    """The OpenMM System of `molecule`, hydrogens included, under the parameters `properties`.

    The energy is that of RDKit's ``MMFFGetMoleculeForceField`` with its default settings.
    """
    import openmm
    from openmm import app

    system = openmm.System()
    for atom in molecule.GetAtoms():
        system.addParticle(app.Element.getByAtomicNumber(atom.GetAtomicNum()).mass)
    distance = _graph_distance(molecule)
    atoms = nonbonded_atoms(molecule, properties)
    pairs = list(zip(*(side.tolist() for side in np.triu_indices(len(distance), 1)), strict=True))
    excluded = [pair for pair in pairs if distance[pair] < 3]
    bends, linear = _angles(molecule, properties)
    forces = [
        mmff_forces.bond_force(list(_bonds(molecule, properties))),
        mmff_forces.angle_force(bends),
        mmff_forces.linear_angle_force(linear),
        mmff_forces.stretch_bend_force(list(_stretch_bends(molecule, properties))),
        mmff_forces.out_of_plane_force(list(_out_of_plane(molecule, properties))),
        mmff_forces.torsion_force(list(_torsions(molecule, properties))),
        mmff_forces.nonbonded_force(atoms, excluded),
        mmff_forces.correction_14_force(atoms.charge, [pair for pair in pairs if distance[pair] == 3]),
    ]
    for force in forces:
        if _has_terms(force):
            system.addForce(force)
    return system


def _has_terms(force: openmm.Force) -> bool:
    getters = ("getNumBonds", "getNumAngles", "getNumTorsions", "getNumParticles")
    return any(getattr(force, getter)() for getter in getters if hasattr(force, getter))


def _graph_distance(molecule: Chem.Mol) -> np.ndarray:
    from rdkit.Chem import rdmolops

    return np.asarray(rdmolops.GetDistanceMatrix(molecule)).astype(int)


def _neighbours(molecule: Chem.Mol, index: int) -> list[int]:
    return sorted(atom.GetIdx() for atom in molecule.GetAtomWithIdx(index).GetNeighbors())


def _bond_pairs(molecule: Chem.Mol) -> list[tuple[int, int]]:
    return sorted(
        (min(ends), max(ends))
        for ends in ((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds())
    )


def _stated(parameters: Any, what: str, *atoms: int) -> Any:
    """`parameters` as RDKit states them; its empirical rules leave no gap for atoms that have types."""
    if parameters is None:
        raise BoltzgenError(f"RDKit has no MMFF94 {what} parameters for atoms {[a + 1 for a in atoms]}.")
    return parameters


def _bonds(molecule: Chem.Mol, properties: MMFFMolProperties) -> Iterator[tuple[int, int, float, float]]:
    for i, j in _bond_pairs(molecule):
        _, constant, length = _stated(properties.GetMMFFBondStretchParams(molecule, i, j), "bond", i, j)
        yield i, j, constant, length


def _angle_atoms(molecule: Chem.Mol) -> Iterator[tuple[int, int, int]]:
    """Atoms i, j, k of every angle around j; i < k."""
    for j in range(molecule.GetNumAtoms()):
        for i, k in combinations(_neighbours(molecule, j), 2):
            yield i, j, k


def _angles(
    molecule: Chem.Mol, properties: MMFFMolProperties
) -> tuple[list[tuple[int, int, int, float, float]], list[tuple[int, int, int, float]]]:
    """The cubic bends, and those of linear centres."""
    bends, linear = [], []
    for i, j, k in _angle_atoms(molecule):
        found = properties.GetMMFFAngleBendParams(molecule, i, j, k)
        _, constant, angle = _stated(found, "angle", i, j, k)
        if properties.GetMMFFAtomType(j) in _LINEAR_TYPES:
            linear.append((i, j, k, constant))
        else:
            bends.append((i, j, k, constant, angle))
    return bends, linear


def _stretch_bends(
    molecule: Chem.Mol, properties: MMFFMolProperties
) -> Iterator[tuple[int, int, int, float, float, float, float, float]]:
    for i, j, k in _angle_atoms(molecule):
        found = properties.GetMMFFStretchBendParams(molecule, i, j, k)
        if found is None or properties.GetMMFFAtomType(j) in _LINEAR_TYPES:
            continue
        _, first, second = found
        length = properties.GetMMFFBondStretchParams(molecule, i, j)[2]
        other = properties.GetMMFFBondStretchParams(molecule, k, j)[2]
        angle = properties.GetMMFFAngleBendParams(molecule, i, j, k)[2]
        yield i, j, k, first, second, length, other, angle


def _out_of_plane(
    molecule: Chem.Mol, properties: MMFFMolProperties
) -> Iterator[tuple[int, int, int, int, float]]:
    for j in range(molecule.GetNumAtoms()):
        around = _neighbours(molecule, j)
        if len(around) != 3:
            continue
        i, k, m = around
        constant = properties.GetMMFFOopBendParams(molecule, i, j, k, m)
        if constant:
            yield j, i, k, m, constant


def _torsions(
    molecule: Chem.Mol, properties: MMFFMolProperties
) -> Iterator[tuple[int, int, int, int, float, float, float]]:
    """About bonds between tetrahedral or trigonal atoms, as RDKit builds them."""
    from rdkit.Chem import HybridizationType

    turning = (HybridizationType.SP2, HybridizationType.SP3)
    for j, k in _bond_pairs(molecule):
        if not all(molecule.GetAtomWithIdx(end).GetHybridization() in turning for end in (j, k)):
            continue
        for i in _neighbours(molecule, j):
            for m in _neighbours(molecule, k):
                if i == k or m == j or i == m:
                    continue
                found = properties.GetMMFFTorsionParams(molecule, i, j, k, m)
                if found is not None:
                    _, first, second, third = found
                    yield i, j, k, m, first, second, third
