"""A molecule as people draw it: the structural formula with the number of each atom, as SVG or PNG.

Numbers are indices of atoms, from 0, as tables, states files and arrays of positions have them. Hydrogens on
carbon are left out of the drawing, not of the counting.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boltzgen.errors import InputError
from boltzgen.files import write_atomic
from boltzgen.system.graph.bond_orders import lewis_structure
from boltzgen.system.terms.charges import partial_charges

if TYPE_CHECKING:
    from rdkit import Chem

    from boltzgen.system.molecular_system import MolecularSystem

#: Pixels of a bond, and of the margins around a drawing of `_LEAST` at least.
_BOND, _MARGIN, _LEAST = 42.0, 80, 240

#: Endings of files that a drawing can be written to.
FORMATS = (".svg", ".png")


def write_structure(path: str | os.PathLike[str], system: MolecularSystem) -> Path:
    """Draw `system` into the file `path`, SVG or PNG by its ending; InputError for another ending."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"`picture={os.fspath(path)!r}`: a drawing is {' or '.join(FORMATS)}; end it so.")
    write_atomic(path, structure_svg(system) if suffix == ".svg" else structure_png(system))
    return Path(path)


def structure_svg(system: MolecularSystem) -> str:
    """The drawing of `system` as an SVG document."""
    from rdkit.Chem.Draw import rdMolDraw2D

    molecule = _drawable(system)
    canvas = rdMolDraw2D.MolDraw2DSVG(*_size(molecule))
    _draw(canvas, molecule)
    return str(canvas.GetDrawingText())


def structure_png(system: MolecularSystem) -> bytes:
    """The drawing of `system` as a PNG picture."""
    from rdkit.Chem.Draw import rdMolDraw2D

    molecule = _drawable(system)
    canvas = rdMolDraw2D.MolDraw2DCairo(*_size(molecule))
    _draw(canvas, molecule)
    return bytes(canvas.GetDrawingText())


def _drawable(system: MolecularSystem) -> Chem.Mol:
    """The Lewis structure of `system` laid out in the plane, with the index of each atom as its note."""
    from rdkit import Chem
    from rdkit.Chem import rdDepictor

    charges = partial_charges(system.openmm_system())
    charge = 0 if charges is None else round(float(charges.sum()))
    found = lewis_structure(system, charge)
    molecule = Chem.RWMol(_single_bonds(system) if found is None else found)
    if found is not None:
        Chem.AssignStereochemistryFrom3D(molecule, replaceExistingTags=True)
    for atom in molecule.GetAtoms():
        atom.SetProp("atomNote", str(atom.GetIdx()))
        if atom.GetAtomicNum() == 0:
            atom.SetProp("atomLabel", system.atom_names[atom.GetIdx()].atom)
    drawn = _without_hydrogens_on_carbon(molecule.GetMol()) if found is not None else molecule.GetMol()
    drawn.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(drawn)
    Chem.Kekulize(drawn, clearAromaticFlags=True)
    rdDepictor.SetPreferCoordGen(False)
    rdDepictor.Compute2DCoords(drawn, canonOrient=True)
    if found is not None:
        Chem.WedgeMolBonds(drawn, drawn.GetConformer())
    return drawn


def _single_bonds(system: MolecularSystem) -> Chem.Mol:
    """What is drawn where no Lewis structure is found (united atoms, beads): the bonds as they are."""
    from rdkit import Chem

    molecule = Chem.RWMol()
    for number in system.atomic_numbers:
        atom = Chem.Atom(int(max(number, 0)))
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    for first, second in system.bonds:
        molecule.AddBond(int(first), int(second), Chem.BondType.SINGLE)
    return molecule


def _without_hydrogens_on_carbon(molecule: Chem.Mol) -> Chem.Mol:
    """`molecule` without the hydrogens on carbon; hands stay what they are (a plain removal turns them)."""
    from rdkit import Chem

    kept = [
        atom
        for atom in molecule.GetAtoms()
        if atom.GetAtomicNum() == 1 and atom.GetDegree() == 1 and atom.GetNeighbors()[0].GetAtomicNum() != 6
    ]
    for atom in kept:
        atom.SetAtomMapNum(1)
    words: Any = Chem.RemoveHsParameters()
    words.removeMapped = False
    words.showWarnings = False
    words.updateExplicitCount = True
    found = Chem.RemoveHs(molecule, words, sanitize=False)
    for atom in found.GetAtoms():
        atom.SetAtomMapNum(0)
    return found


def _size(molecule: Chem.Mol) -> tuple[int, int]:
    """Width and height in pixels that give every bond the same length."""
    places = molecule.GetConformer().GetPositions()
    wide, high = places.max(axis=0)[:2] - places.min(axis=0)[:2]
    return tuple(max(_LEAST, round(_BOND / 1.5 * span) + 2 * _MARGIN) for span in (wide, high))  # type: ignore[return-value]


def _draw(canvas: object, molecule: Chem.Mol) -> None:
    options = canvas.drawOptions()  # type: ignore[attr-defined]
    options.annotationFontScale = 0.6
    options.prepareMolsBeforeDrawing = False
    options.fixedBondLength = _BOND
    canvas.DrawMolecule(molecule)  # type: ignore[attr-defined]
    canvas.FinishDrawing()  # type: ignore[attr-defined]
