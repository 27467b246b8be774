"""Small molecules: from SMILES, SDF or mol2 to a molecule with every hydrogen and three-dimensional places.

Charges and tautomer are the input's. Stereo is that of the SMILES; what a SMILES leaves open is chosen once,
with a note; a file with three-dimensional coordinates keeps its coordinates, and so its stereo.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from boltzgen.errors import BoltzgenError, InputError
from boltzgen.system.formats.bounds import check_smiles_text
from boltzgen.system.formats.parsing import refusing
from boltzgen.system.formats.pdb_text import STANDARD_RESIDUES
from boltzgen.system.parametrise.mmff import VARIANTS, mmff_properties
from boltzgen.system.small_molecule import checks as checks
from boltzgen.system.small_molecule.conformers import with_best_conformer
from boltzgen.system.small_molecule.rdkit_messages import rdkit_log
from boltzgen.system.small_molecule.stereo import (
    Stereo,
    check_extension,
    check_smiles,
    open_either,
    stereo_of,
    with_stereo_of_coordinates,
)

if TYPE_CHECKING:
    from openmm import app
    from rdkit import Chem

DEFAULT_RESIDUE = "UNL"


@dataclass(frozen=True)
class SmallMolecule:
    """One molecule as RDKit understands it.

    molecule: with every hydrogen and one conformer (Angstrom).
    title: what the input calls it, "" for nothing.
    smiles: isomeric SMILES of what was understood, stereo from the coordinates.
    notes: what people should know.
    stereo: what the input states of it, what was chosen, and what to say when the domain is known.
    """

    molecule: Chem.Mol
    title: str
    smiles: str
    notes: tuple[str, ...]
    stereo: Stereo

    @property
    def positions(self) -> np.ndarray:
        """(N, 3) nm."""
        return np.array(self.molecule.GetConformer().GetPositions(), dtype=np.float64) * 0.1

    def topology(self) -> app.Topology:
        """OpenMM topology of one residue; atoms are called by element and number (C1, H1, ...)."""
        from openmm import app

        topology = app.Topology()
        residue = topology.addResidue(self._residue_name(), topology.addChain("A"), "1")
        atoms = [
            topology.addAtom(name, app.Element.getByAtomicNumber(atom.GetAtomicNum()), residue)
            for name, atom in zip(atom_names(self.molecule), self.molecule.GetAtoms(), strict=True)
        ]
        for bond in self.molecule.GetBonds():
            topology.addBond(atoms[bond.GetBeginAtomIdx()], atoms[bond.GetEndAtomIdx()])
        return topology

    def _residue_name(self) -> str:
        """The title where it can be a residue's name and is no amino acid's; otherwise `DEFAULT_RESIDUE`."""
        name = self.title.upper()
        fits = 0 < len(name) <= 3 and name.isalnum() and name.isascii()
        return name if fits and name not in STANDARD_RESIDUES | {"HOH", "WAT", "SOL"} else DEFAULT_RESIDUE


def atom_names(molecule: Chem.Mol) -> list[str]:
    """Names of element symbol and running number within the element; mol2's own where they are unique."""
    key = "_TriposAtomName"
    own = [atom.GetProp(key).strip() if atom.HasProp(key) else "" for atom in molecule.GetAtoms()]
    if len(set(own)) == len(own) and all(0 < len(name) <= 4 and name.isalnum() for name in own):
        return own
    counts: dict[str, int] = {}
    names = []
    for atom in molecule.GetAtoms():
        symbol = atom.GetSymbol().upper()
        counts[symbol] = counts.get(symbol, 0) + 1
        names.append(f"{symbol}{counts[symbol]}")
    return names


def from_smiles(smiles: str, *, field: str = "mmff94", relax: bool = True) -> SmallMolecule:
    """The molecule of a SMILES, the best of many conformers and, with `relax`, minimised under MMFF94.

    Raises
    ------
    InputError, UnsupportedError: the text is no SMILES, or no molecule that the force field `field` can
    describe.
    """
    from rdkit import Chem

    check_smiles_text(smiles)
    where = f"the SMILES {smiles}"
    with rdkit_log() as lines, refusing(where, "a SMILES"):
        molecule = Chem.MolFromSmiles(smiles, sanitize=False)
        reason = _smiles_reason(lines)
        if molecule is None:
            raise InputError(f"{where} cannot be read{reason}. Check brackets and ring numbers.")
        checks.check_chemistry(molecule, where)
        plain, molecule = molecule, Chem.MolFromSmiles(smiles)
        checks.check_molecule(molecule, where, field)
        check_extension(smiles, where)
        check_smiles(plain, molecule, where)
        notes = drop_labels(molecule)
        title = molecule.GetProp("_Name").strip() if molecule.HasProp("_Name") else ""
        molecule = Chem.AddHs(molecule)
        return built(molecule, title, where, field=field, relax=relax, notes=notes)


def built(
    molecule: Chem.Mol, title: str, where: str, *, field: str, relax: bool, notes: list[str]
) -> SmallMolecule:
    """`molecule`, which has its hydrogens, with new coordinates that keep its stereo."""
    _check_types(molecule, where, field)
    open_either(molecule)
    placed = with_stereo_of_coordinates(with_best_conformer(molecule, where, field=field, relax=relax))
    if not placed.HasSubstructMatch(molecule, useChirality=True):
        raise BoltzgenError(
            f"{where}: the three-dimensional structure that RDKit built has another stereo than was asked "
            "for; give the molecule as an SDF with three-dimensional coordinates."
        )
    smiles = written_smiles(placed)
    return SmallMolecule(placed, title, smiles, tuple(notes), stereo_of(molecule, placed, smiles, where))


def as_read(molecule: Chem.Mol, title: str, where: str, *, field: str, notes: list[str]) -> SmallMolecule:
    """`molecule` with the coordinates of its file."""
    _check_types(molecule, where, field)
    molecule = with_stereo_of_coordinates(molecule)
    smiles = written_smiles(molecule)
    return SmallMolecule(molecule, title, smiles, tuple(notes), stereo_of(None, molecule, smiles, where))


def _check_types(molecule: Chem.Mol, where: str, field: str) -> None:
    """Refuse what MMFF94 has no types for, where it is the force field; others say so when they type."""
    if field in VARIANTS:
        checks.check_typed(molecule, mmff_properties(molecule, field), where)


def written_smiles(molecule: Chem.Mol) -> str:
    """Isomeric SMILES without explicit hydrogens."""
    from rdkit import Chem

    return str(Chem.MolToSmiles(Chem.RemoveHs(molecule)))


def _smiles_reason(lines: list[str]) -> str:
    """The part of RDKit's complaint that says where and why, in brackets."""
    prefix = "SMILES Parse Error: "
    found = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
    kept = [text.split(" while parsing")[0].rstrip(":") for text in found if not text.startswith("Failed")]
    return f" ({'; '.join(kept)})" if kept else ""


def drop_labels(molecule: Chem.Mol) -> list[str]:
    """Remove isotope labels and atom-map numbers, which no energy depends on, in place.

    A stereocentre or double bond whose neighbours differ by labels alone has no stereo without them.
    """
    from rdkit import Chem

    labelled = [atom for atom in molecule.GetAtoms() if atom.GetIsotope()]
    for atom in molecule.GetAtoms():
        atom.SetIsotope(0)
        atom.SetAtomMapNum(0)
    if not labelled:
        return []
    whole = Chem.AddHs(molecule)
    Chem.AssignStereochemistry(whole, cleanIt=True, force=True)
    lost = []
    for atom in molecule.GetAtoms():
        if atom.GetChiralTag() != whole.GetAtomWithIdx(atom.GetIdx()).GetChiralTag():
            atom.SetChiralTag(Chem.CHI_UNSPECIFIED)
            lost.append(atom)
    for bond in molecule.GetBonds():
        if (
            bond.GetStereo() > Chem.BondStereo.STEREOANY
            and not whole.GetBondWithIdx(bond.GetIdx()).GetStereo()
        ):
            bond.SetStereo(Chem.BondStereo.STEREONONE)
            lost += [bond.GetBeginAtom(), bond.GetEndAtom()]
    if lost:
        for bond in (bond for atom in labelled for bond in atom.GetBonds()):
            bond.SetBondDir(Chem.BondDir.NONE)
    stereo = [f"The stereo at {checks.labels_of(lost)} is one of isotope labels alone."] if lost else []
    return [
        *stereo,
        f"The isotope labels of {checks.labels_of(labelled)} are left out: every atom has the average mass "
        "of its element, and free energies of conformations do not depend on masses.",
    ]
