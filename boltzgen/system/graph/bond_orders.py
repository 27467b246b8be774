"""Bond orders and formal charges of a molecule, perceived by RDKit from its bonds and its total charge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rdkit import Chem

    from boltzgen.system.molecular_system import MolecularSystem

#: Valence assignments that the perception may try before it gives up.
_MOST_TRIALS = 20000


@dataclass(frozen=True)
class BondOrders:
    """One Lewis structure of a molecule.

    Attributes
    ----------
    order: sorted atom pair of each bond -> 1, 2, 3, or 1.5 in an aromatic ring.
    formal_charge: (N,) int, e.
    """

    order: dict[tuple[int, int], float]
    formal_charge: np.ndarray

    def is_zwitterion(self, atoms: Sequence[int]) -> bool:
        """Whether some of `atoms` are positive and some negative, neighbours (a nitro group) not counted."""
        charge = np.zeros(len(self.formal_charge))
        charge[list(atoms)] = self.formal_charge[list(atoms)]
        for first, second in self.order:
            if charge[first] * charge[second] < 0:
                charge[first] = charge[second] = 0.0
        return bool((charge > 0).any() and (charge < 0).any())


def perceive(system: MolecularSystem, charge: int) -> BondOrders | None:
    """The Lewis structure of `system` with `charge` e in all; None where none is found.

    The bonds are those of the system; only their orders are perceived (the procedure of Kim and Kim, Bull.
    Korean Chem. Soc. 36, 1769 (2015), in RDKit).
    """
    molecule = lewis_structure(system, charge)
    if molecule is None:
        return None
    order = {
        (min(pair), max(pair)): bond.GetBondTypeAsDouble()
        for bond in molecule.GetBonds()
        for pair in [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())]
    }
    return BondOrders(order, np.array([atom.GetFormalCharge() for atom in molecule.GetAtoms()]))


def isomer_labels(system: MolecularSystem, charge: int) -> dict[tuple[int, ...], str]:
    """R, S, E, Z (r, s where they depend on others) of atoms and of sorted pairs of bonded atoms.

    By the rules of Cahn, Ingold and Prelog, for the reference positions; empty where no Lewis structure is
    found. For people only: nothing is computed from a letter.
    """
    from rdkit import Chem
    from rdkit.Chem import rdCIPLabeler

    molecule = lewis_structure(system, charge)
    if molecule is None:
        return {}
    Chem.AssignStereochemistryFrom3D(molecule, replaceExistingTags=True)
    rdCIPLabeler.AssignCIPLabels(molecule)
    found: dict[tuple[int, ...], str] = {}
    for atom in molecule.GetAtoms():
        if atom.HasProp("_CIPCode"):
            found[(atom.GetIdx(),)] = str(atom.GetProp("_CIPCode"))
    for bond in molecule.GetBonds():
        if bond.HasProp("_CIPCode"):
            pair = (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
            found[min(pair), max(pair)] = str(bond.GetProp("_CIPCode"))
    return found


def lewis_structure(system: MolecularSystem, charge: int) -> Chem.Mol | None:
    """RDKit's molecule: perceived bond orders and formal charges, the reference positions; or None."""
    if (system.atomic_numbers <= 0).any():
        return None
    bonds = [(int(first), int(second)) for first, second in system.bonds]
    places = 10.0 * np.asarray(system.reference_positions)
    return with_bond_orders(system.atomic_numbers.tolist(), bonds, places.tolist(), charge)


def with_bond_orders(
    atomic_numbers: Sequence[int],
    bonds: Sequence[tuple[int, int]],
    places: Sequence[Sequence[float]],
    charge: int,
) -> Chem.Mol | None:
    """RDKit's molecule of atoms at `places` (Angstrom) and their `bonds`, with perceived orders; or None.

    charge: formal, e in all.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDetermineBonds

    molecule = Chem.RWMol()
    for number in atomic_numbers:
        atom = Chem.Atom(int(number))
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    for first, second in bonds:
        molecule.AddBond(first, second, Chem.BondType.SINGLE)
    conformer = Chem.Conformer(len(atomic_numbers))
    for index, place in enumerate(places):
        conformer.SetAtomPosition(index, list(place))
    molecule.AddConformer(conformer)
    silence = rdBase.BlockLogs()  # failures are answered with None, not with lines on the terminal
    try:
        rdDetermineBonds.DetermineBondOrders(
            molecule, charge=charge, embedChiral=False, maxIterations=_MOST_TRIALS
        )
        Chem.SanitizeMol(molecule)
    except (ValueError, RuntimeError):  # no structure fits, or too many to try
        return None
    finally:
        del silence
    formal = np.array([atom.GetFormalCharge() for atom in molecule.GetAtoms()])
    if formal.sum() != charge or any(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms()):
        return None
    return molecule
