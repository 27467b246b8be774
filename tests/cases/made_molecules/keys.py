"""What no two splits may share: the scaffold of rings, the skeleton of chains."""

from __future__ import annotations

from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold


def split_key(molecule: Chem.Mol) -> str:
    """The Murcko scaffold of a molecule with rings, the skeleton of one without; no charges, no stereo."""
    scaffold = MurckoScaffold.GetScaffoldForMol(molecule)
    return f"ring {_graph(scaffold)}" if scaffold.GetNumAtoms() else f"chain {skeleton(molecule)}"


def skeleton(molecule: Chem.Mol) -> str:
    """The graph of the heavy atoms: elements and which are bound; no orders, charges, hydrogens, stereo."""
    plain = Chem.RWMol(molecule)
    for bond in plain.GetBonds():
        bond.SetBondType(Chem.BondType.SINGLE)
        bond.SetIsAromatic(False)
    for atom in plain.GetAtoms():
        atom.SetIsAromatic(False)
    return _graph(plain.GetMol())


def first_block(molecule: Chem.Mol) -> str:
    """The part of the InChIKey that tells formula and connections."""
    return str(Chem.MolToInchiKey(molecule)).split("-")[0]


def _graph(molecule: Chem.Mol) -> str:
    plain = Chem.RWMol(molecule)
    Chem.RemoveStereochemistry(plain)
    for atom in plain.GetAtoms():
        atom.SetFormalCharge(0)
        atom.SetNumExplicitHs(0)
        atom.SetNoImplicit(True)
    return str(Chem.MolToSmiles(plain.GetMol()))
