"""What a small molecule may not be, and what to do about it.

Every check raises an `InputError` or `UnsupportedError` of one or two sentences that names the atom, or
returns without a word. `where` is how messages call the input; molecules are RDKit's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from boltzgen.errors import InputError, UnsupportedError
from boltzgen.system.parametrise.mmff import VARIANTS
from boltzgen.system.small_molecule.fields import elements_of, title_of
from boltzgen.system.small_molecule.rdkit_messages import printed_by

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rdkit import Chem
    from rdkit.ForceField.rdForceField import MMFFMolProperties

#: e; MMFF94 states charges and increments to four digits.
_CHARGE_TOLERANCE = 0.01

_OTHER_FIELD = (
    "bring the molecule with parameters of another force field, as prmtop, GROMACS top or OpenMM System XML"
)
_TABLE_ROW = re.compile(r"^[A-Z][a-z]?\s+#\s*(\d+)\s+(\d+)\s", re.MULTILINE)


class UntypedChargeError(UnsupportedError):
    """The charges of MMFF94's atom types do not add up to the formal charge."""


def label_of(atom: Chem.Atom) -> str:
    """How messages call an atom: element and running number from 1, in the order of the input."""
    return f"{atom.GetSymbol()} (atom {atom.GetIdx() + 1})"


def labels_of(atoms: Iterable[Chem.Atom]) -> str:
    """The labels of at most four of `atoms`."""
    labels = [label_of(atom) for atom in atoms]
    return ", ".join(labels[:4]) + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")


def check_chemistry(molecule: Chem.Mol, where: str) -> None:
    """Refuse a molecule (not yet sanitized) whose valences or aromatic rings make no sense."""
    from rdkit import Chem

    for problem in Chem.DetectChemistryProblems(molecule):
        kind = problem.GetType()
        if kind == "AtomValenceException":
            atom = molecule.GetAtomWithIdx(problem.GetAtomIdx())
            neighbours = sum(bond.GetBondTypeAsDouble() for bond in atom.GetBonds())
            raise InputError(
                f"{where}: {label_of(atom)} with charge {atom.GetFormalCharge():+d} has bonds of total order "
                f"{neighbours:g}, which is more than its valence allows; correct its bonds or its formal "
                "charge."
            )
        if kind == "KekulizeException":
            atoms = [molecule.GetAtomWithIdx(index) for index in problem.GetAtomIndices()]
            raise InputError(
                f"{where}: the aromatic ring of {labels_of(atoms)} has no arrangement of double bonds; a "
                "hydrogen on nitrogen ([nH]) or a charge is missing."
            )
        raise InputError(f"{where}: {problem.Message()}. Correct the structure.")


def check_molecule(molecule: Chem.Mol, where: str, field: str) -> None:
    """Refuse what is not one neutral or charged closed-shell molecule of elements that `field` has."""
    from rdkit import Chem

    if molecule.GetNumAtoms() == 0:
        raise InputError(f'{where} holds no atoms; give a molecule, for example `smiles="CCO"`.')
    fragments = Chem.GetMolFrags(molecule, asMols=True, sanitizeFrags=False)
    if len(fragments) > 1:
        words = [Chem.MolToSmiles(Chem.RemoveHs(piece, sanitize=False)) for piece in fragments]
        largest = max(range(len(words)), key=lambda index: fragments[index].GetNumHeavyAtoms())
        raise UnsupportedError(
            f"{where} holds {len(fragments)} molecules that no bond joins ({', '.join(words[:4])}); boltzgen "
            f"samples one. Leave out counter-ions and solvent, for example `smiles={words[largest]!r}`."
        )
    _check_elements(molecule, where, field)
    if molecule.GetNumHeavyAtoms() == 1 and not any(
        atom.GetTotalNumHs(includeNeighbors=True) for atom in molecule.GetAtoms()
    ):
        raise UnsupportedError(f"{where} is a single atom, which has no conformations to sample.")
    radicals = [atom for atom in molecule.GetAtoms() if atom.GetNumRadicalElectrons() > 0]
    if radicals:
        raise UnsupportedError(
            f"{where}: {labels_of(radicals)} has an unpaired electron, for which {title_of(field)} has no "
            f"parameters; add the missing hydrogen or charge, or {_OTHER_FIELD}."
        )


def _check_elements(molecule: Chem.Mol, where: str, field: str) -> None:
    from rdkit import Chem

    elements = elements_of(field)
    symbols = " ".join(Chem.GetPeriodicTable().GetElementSymbol(number) for number in sorted(elements))
    for atom in molecule.GetAtoms():
        if atom.GetAtomicNum() == 0:
            raise InputError(
                f"{where}: atom {atom.GetIdx() + 1} is a placeholder (* or R), not an element; write out the "
                "whole molecule."
            )
        if atom.GetAtomicNum() not in elements:
            raise UnsupportedError(
                f"{where}: {title_of(field)} has no parameters for {_element_name(atom)} ({label_of(atom)}), "
                f"only for {symbols}; {_OTHER_FIELD}."
            )
        if field not in VARIANTS and atom.GetTotalDegree() > 4:
            raise UnsupportedError(
                f"{where}: {title_of(field)} has no angles about an atom of {atom.GetTotalDegree()} "
                f"neighbours ({label_of(atom)}); {_OTHER_FIELD}."
            )


def _element_name(atom: Chem.Atom) -> str:
    from openmm.app import Element

    return str(Element.getByAtomicNumber(atom.GetAtomicNum()).name)


def check_hydrogens(molecule: Chem.Mol, where: str, remedy: str) -> None:
    """Refuse atoms whose hydrogens are not among the atoms."""
    lacking = [atom for atom in molecule.GetAtoms() if atom.GetTotalNumHs() > 0]
    if lacking:
        count = sum(atom.GetTotalNumHs() for atom in lacking)
        raise InputError(
            f"{where} lacks {count} hydrogen{'s'[: count > 1]}, first on {labels_of(lacking)}; {remedy}"
        )


def check_typed(molecule: Chem.Mol, properties: MMFFMolProperties | None, where: str) -> MMFFMolProperties:
    """`properties`, or an UnsupportedError: an atom has no type, or the charges do not fit the formal ones.

    The latter happens where RDKit gives a type for want of a better one: CO2 gets that of carboxylates.
    """
    from rdkit import Chem

    if properties is not None:
        charges = [properties.GetMMFFPartialCharge(index) for index in range(molecule.GetNumAtoms())]
        formal = Chem.GetFormalCharge(molecule)
        if abs(sum(charges) - formal) > _CHARGE_TOLERANCE:
            raise UntypedChargeError(
                f"{where} has the charge {formal:+d}, but RDKit's MMFF94 charges of it add up to "
                f"{sum(charges):+.2f}: it has no atom types for this molecule; {_OTHER_FIELD}."
            )
        return properties
    atoms = [molecule.GetAtomWithIdx(index) for index in _untyped(molecule)]
    named = ", ".join(f"{_element_name(atom)}, {label_of(atom)}" for atom in atoms[:2])
    raise UnsupportedError(
        f"{where}: MMFF94 has no atom type for {named or 'one of the atoms'} in this bonding; check bond "
        f"orders and charges, or {_OTHER_FIELD}."
    )


def _untyped(molecule: Chem.Mol) -> list[int]:
    """Atoms to which RDKit's typer gives type 0; only its printed table says which they are."""
    from rdkit.Chem import rdForceFieldHelpers

    table = printed_by(lambda: rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule, mmffVerbosity=2))
    return [int(number) - 1 for number, kind in _TABLE_ROW.findall(table) if int(kind) == 0]
