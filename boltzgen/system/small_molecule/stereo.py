"""What an input says of stereo, what was chosen for it, and whether the domain holds that.

A sentence here never claims what the domain does not hold. The hands of axes (allenes, biaryls that cannot
turn) and of nitrogen are not part of it: an input that states one is refused, one that does not is told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from boltzgen.errors import UnsupportedError
from boltzgen.system.small_molecule import axes
from boltzgen.system.small_molecule.checks import label_of

if TYPE_CHECKING:
    from rdkit import Chem

    from boltzgen.system.graph.molecular_graph import MolecularGraph

#: RDKit drops the stereo of double bonds in smaller rings.
_SMALLEST_RING = 8
#: Bridged rings up to this size hold their bridgeheads in one way only.
_LARGEST_FORCED_RING = 7

_WEDGES = re.compile(r"\bw[UD]?:")


@dataclass(frozen=True)
class StereoElement:
    """A stereocentre (one atom) or a double bond (two), its name for people, and whether the input says it.

    label: R, S, E, Z or the like, "" where there is none.
    """

    atoms: tuple[int, ...]
    name: str
    label: str
    stated: bool


@dataclass(frozen=True)
class Stereo:
    """All that is to be said of a molecule's stereo. smiles: of the isomer that was built."""

    elements: tuple[StereoElement, ...]
    axes: tuple[str, ...]
    smiles: str
    from_coordinates: bool

    def notes(self, graph: MolecularGraph, where: str) -> list[str]:
        """Sentences about what was chosen and what is not kept.

        Raises
        ------
        UnsupportedError: the input states what the domain does not hold.
        """
        kept = graph.tetrahedral | {frozenset((bond.c, bond.p)) for bond in graph.isomer_bonds}
        held = {e: (frozenset(e.atoms) if len(e.atoms) == 2 else e.atoms[0]) in kept for e in self.elements}
        lost = [element for element in self.elements if not held[element]]
        stated = [element.name for element in lost if element.stated]
        if stated and not self.from_coordinates:
            raise UnsupportedError(
                f"{where} states the isomer of {_listed(stated)}, which boltzgen does not keep: it may "
                "invert or turn while it is sampled. Leave that out, and both isomers are sampled together."
            )
        notes = []
        chosen = [e for e in self.elements if held[e] and not e.stated]
        if chosen:
            words = [f"{element.name} {element.label}".strip() for element in chosen]
            notes.append(
                f"The input leaves stereo open; chosen, and kept in every sample: {_listed(words)}. To "
                f"choose yourself, write the isomer: {self.smiles}"
            )
        if lost:
            words = [element.name for element in lost]
            notes.append(f"Both isomers of {_listed(words)} belong to the domain: it may invert or turn.")
        if self.axes:
            notes.append(f"Both hands of {_listed(list(self.axes))} belong to the domain; neither is kept.")
        return notes


def _listed(words: list[str]) -> str:
    return ", ".join(words[:6]) + (f" and {len(words) - 6} more" if len(words) > 6 else "")


def stereo_of(asked: Chem.Mol | None, placed: Chem.Mol, smiles: str, where: str) -> Stereo:
    """The stereo of `placed`, assigned from its coordinates.

    asked: the same atoms with the stereo of the input, which leaves open what it does not state; None where
    the coordinates of `placed` are the input's and state all.

    Raises
    ------
    UnsupportedError: the coordinates of the input show the hand of an axis.
    """
    names = axes.axes_of(placed)
    if names and asked is None:
        raise UnsupportedError(
            f"{where}: its coordinates show one hand of {_listed(names)}, which boltzgen does not keep. If "
            f"both hands together are meant, give it without coordinates, as `smiles={smiles!r}`."
        )
    elements = _elements(placed if asked is None else asked, placed)
    if not any(element.stated for element in elements) and _nothing_to_choose(placed, elements, smiles):
        elements = ()
    return Stereo(elements, tuple(names), smiles, asked is None)


def _elements(asked: Chem.Mol, placed: Chem.Mol) -> tuple[StereoElement, ...]:
    from rdkit import Chem
    from rdkit.Chem import rdCIPLabeler

    labelled = Chem.Mol(placed)
    rdCIPLabeler.AssignCIPLabels(labelled)
    found = []
    for element in Chem.FindPotentialStereo(asked):
        stated = element.specified == Chem.StereoSpecified.Specified
        index = int(element.centeredOn)
        if element.type == Chem.StereoType.Atom_Tetrahedral:
            atom = labelled.GetAtomWithIdx(index)
            if atom.GetChiralTag() == Chem.ChiralType.CHI_UNSPECIFIED or _is_caged_nitrogen(atom):
                continue
            found.append(StereoElement((index,), label_of(atom), _label(atom), stated))
        elif element.type == Chem.StereoType.Bond_Double:
            bond = labelled.GetBondWithIdx(index)
            ends = (bond.GetBeginAtom(), bond.GetEndAtom())
            if bond.GetStereo() == Chem.BondStereo.STEREONONE or any(map(axes.is_cumulated, ends)):
                continue
            symbols = "=".join(end.GetSymbol() for end in ends)
            name = f"{symbols} (atoms {ends[0].GetIdx() + 1} and {ends[1].GetIdx() + 1})"
            pair = tuple(end.GetIdx() for end in ends)
            found.append(StereoElement(pair, name, _label(bond), stated))
    return tuple(found)


def _label(owner: Chem.Atom | Chem.Bond) -> str:
    return str(owner.GetProp("_CIPCode")) if owner.HasProp("_CIPCode") else ""


def _is_caged_nitrogen(atom: Chem.Atom) -> bool:
    """A nitrogen with three neighbours and all its bonds in rings: the rings hold its side."""
    return atom.GetAtomicNum() == 7 and atom.GetDegree() == 3 and all(b.IsInRing() for b in atom.GetBonds())


def _nothing_to_choose(molecule: Chem.Mol, elements: tuple[StereoElement, ...], smiles: str) -> bool:
    """Whether all `elements` are bridgeheads of small rings, which allow one isomer, its own mirror image."""
    from rdkit import Chem

    rings = [set(ring) for ring in molecule.GetRingInfo().AtomRings()]
    if not all(len(element.atoms) == 1 and _is_forced(element.atoms[0], rings) for element in elements):
        return False
    mirrored = Chem.Mol(molecule)
    for atom in mirrored.GetAtoms():
        atom.InvertChirality()
    return str(Chem.MolToSmiles(Chem.RemoveHs(mirrored))) == smiles


def _is_forced(atom: int, rings: list[set[int]]) -> bool:
    own = [ring for ring in rings if atom in ring]
    return any(_allow_one_way(first, second) for first, second in combinations(own, 2))


def _allow_one_way(first: set[int], second: set[int]) -> bool:
    small, large = sorted((len(first), len(second)))
    if len(first & second) > 2:
        return large <= _LARGEST_FORCED_RING
    return large <= 4 or (small == 3 and large == 5)


def open_stereo_of_rings(molecule: Chem.Mol) -> tuple[list[int], list[int]]:
    """Atoms where rings meet, and double bonds in rings, whose stereo `molecule` leaves open.

    There an isomer may be strained beyond what anybody means: a bridgehead that points into its cage, a trans
    fusion of small rings.
    """
    from rdkit import Chem

    rings = molecule.GetRingInfo()
    atoms, bonds = [], []
    for element in Chem.FindPotentialStereo(molecule):
        index = int(element.centeredOn)
        if element.specified == Chem.StereoSpecified.Specified:
            continue
        if element.type == Chem.StereoType.Atom_Tetrahedral and rings.NumAtomRings(index) > 1:
            atoms.append(index)
        elif element.type == Chem.StereoType.Bond_Double and rings.NumBondRings(index) > 0:
            bonds.append(index)
    return atoms, bonds


def check_smiles(plain: Chem.Mol, molecule: Chem.Mol, where: str) -> None:
    """Refuse a SMILES that states stereo which RDKit drops, or which no domain holds.

    plain: as written, not sanitized. molecule: sanitized.
    """
    from rdkit import Chem

    whole = Chem.Mol(plain)  # hydrogens that are written keep their numbers, which `molecule` has lost
    Chem.SanitizeMol(whole)
    for atom in whole.GetAtoms():
        if plain.GetAtomWithIdx(atom.GetIdx()).GetChiralTag() == Chem.ChiralType.CHI_UNSPECIFIED:
            continue
        if axes.is_cumulated(atom):
            _refuse_axis(where, f"the allene at {label_of(atom)}")
        if atom.GetAtomicNum() == 7 and atom.GetTotalDegree() == 3 and not _is_caged_nitrogen(atom):
            raise UnsupportedError(
                f"{where} states the hand of {label_of(atom)}, which boltzgen does not keep: a nitrogen of "
                "three neighbours inverts while it is sampled. Leave its @ out, and both sides are sampled."
            )
    for bond in plain.GetBonds():
        marked = [_marks(bond, end) for end in (bond.GetBeginAtom(), bond.GetEndAtom())]
        if bond.GetBondTypeAsDouble() == 2 and any(marked):
            _check_marks(whole, bond, marked, where)
    check_drawing(whole, molecule, where)


def _check_marks(
    molecule: Chem.Mol, bond: Chem.Bond, marked: list[list[tuple[int, bool]]], where: str
) -> None:
    """Refuse the slashes about a double bond of a cumulene, or those that make it E in a small ring."""
    ends = [molecule.GetAtomWithIdx(end) for end in (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())]
    if any(map(axes.is_cumulated, ends)):
        _refuse_axis(where, f"the cumulated double bonds at {label_of(ends[0])}")
    pair = {end.GetIdx() for end in ends}
    rings = [set(ring) for ring in molecule.GetRingInfo().AtomRings() if pair <= set(ring)]
    if not (all(marked) and rings and len(min(rings, key=len)) < _SMALLEST_RING):
        return
    ring = min(rings, key=len)
    above = [side if atom in ring else not side for atom, side in (mark[0] for mark in marked)]
    if above[0] != above[1]:
        raise UnsupportedError(
            f"{where} states an E double bond ({label_of(ends[0])}, {label_of(ends[1])}) in a ring of "
            f"{len(ring)} atoms, which RDKit does not build. Give a three-dimensional structure as SDF, or "
            "write the Z isomer."
        )


def _marks(bond: Chem.Bond, end: Chem.Atom) -> list[tuple[int, bool]]:
    """(neighbour, whether it lies above) of each bond at `end`, other than `bond`, with a slash."""
    from rdkit import Chem

    found = []
    for other in end.GetBonds():
        if other.GetIdx() != bond.GetIdx() and other.GetBondDir() in (
            Chem.BondDir.ENDUPRIGHT,
            Chem.BondDir.ENDDOWNRIGHT,
        ):
            rises = other.GetBondDir() == Chem.BondDir.ENDUPRIGHT  # from its first atom to its second
            found.append(
                (other.GetOtherAtomIdx(end.GetIdx()), rises == (other.GetBeginAtomIdx() == end.GetIdx()))
            )
    return found


def check_drawing(whole: Chem.Mol, molecule: Chem.Mol, where: str) -> None:
    """Refuse wedges at axes, and marks of mixtures (``&1``, ``o1``), in a drawing or a CXSMILES extension."""
    from rdkit import Chem

    mixed = (Chem.StereoGroupType.STEREO_AND, Chem.StereoGroupType.STEREO_OR)
    if any(group.GetGroupType() in mixed for group in molecule.GetStereoGroups()):
        smiles = str(Chem.MolToSmiles(Chem.RemoveHs(molecule)))
        raise UnsupportedError(
            f"{where} marks stereocentres as a mixture, or as one of two (& or o); boltzgen samples one "
            f"isomer. Write it without these marks, for example `smiles={smiles!r}`."
        )
    for bond in molecule.GetBonds():
        if bond.GetStereo().name.startswith("STEREOATROP"):
            ends = (bond.GetBeginAtom(), bond.GetEndAtom())
            _refuse_axis(where, f"the bond {label_of(ends[0])} - {label_of(ends[1])}")
    for bond in whole.GetBonds():
        if bond.GetBondDir().name in ("BEGINWEDGE", "BEGINDASH"):
            for partner in bond.GetBeginAtom().GetNeighbors():
                if axes.is_cumulated(partner):
                    _refuse_axis(where, f"the allene at {label_of(partner)}")


def _refuse_axis(where: str, what: str) -> None:
    raise UnsupportedError(
        f"{where} states the hand or isomer of an axis, {what}, which boltzgen does not keep. If both "
        "together are meant, write the molecule without it."
    )


def split_extension(text: str) -> tuple[str, str, str]:
    """(SMILES, CXSMILES extension between bars, name) of a line such as ``CCO |...| ethanol``."""
    smiles, _, rest = text.strip().partition(" ")
    found = re.match(r"\s*\|([^|]*)\|", rest)
    return (smiles, found[1], rest[found.end() :].strip()) if found else (smiles, "", rest.strip())


def check_extension(text: str, where: str) -> None:
    """Refuse wedges in a CXSMILES extension: without coordinates they say nothing that RDKit keeps."""
    if _WEDGES.search(split_extension(text)[1]):
        raise UnsupportedError(
            f"{where} states wedges in its extension |{split_extension(text)[1]}|, as for an axis that "
            "cannot turn (an atropisomer), whose hand boltzgen does not keep. Leave the extension out, if "
            "both hands together are meant; write the hands of atoms as @ and @@."
        )


def with_stereo_of_coordinates(molecule: Chem.Mol) -> Chem.Mol:
    """A copy of `molecule` whose stereo is that of its coordinates."""
    from rdkit import Chem

    copy = Chem.RWMol(molecule)
    open_either(copy)
    phosphines = [a for a in copy.GetAtoms() if a.GetAtomicNum() == 15 and a.GetTotalDegree() == 3]
    for atom in phosphines:  # RDKit reads the hand of sulfonium from coordinates, of phosphine not
        atom.SetAtomicNum(16)
        atom.SetFormalCharge(atom.GetFormalCharge() + 1)
    Chem.AssignStereochemistryFrom3D(copy, replaceExistingTags=True)
    for atom in phosphines:
        atom.SetAtomicNum(15)
        atom.SetFormalCharge(atom.GetFormalCharge() - 1)
    if phosphines:
        Chem.AssignStereochemistry(copy, cleanIt=True, force=True)
    return copy.GetMol()


def open_either(molecule: Chem.Mol) -> None:
    """Take the crosses off double bonds, in place: RDKit would never say which isomer such a bond became."""
    from rdkit import Chem

    for bond in molecule.GetBonds():
        if bond.GetStereo() == Chem.BondStereo.STEREOANY or bond.GetBondDir() == Chem.BondDir.EITHERDOUBLE:
            bond.SetStereo(Chem.BondStereo.STEREONONE)
            bond.SetBondDir(Chem.BondDir.NONE)
