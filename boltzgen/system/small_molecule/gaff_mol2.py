"""mol2 files with GAFF's atom types, as antechamber writes them, read as the molecule that they are of.

RDKit and Open Babel take such types for elements (``ca`` for calcium). Here elements come from the types and
bonds from the file. Bond orders in it are not Corina's (nitro groups and carboxylates have single bonds), so
that they and the formal charges are perceived from the bonds and the net charge: that of the partial charges.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from boltzgen.errors import InputError
from boltzgen.system.formats.numbers import is_real
from boltzgen.system.graph.bond_orders import with_bond_orders

if TYPE_CHECKING:
    from rdkit import Chem

#: Atom types of GAFF and GAFF2 by element, as their tables list them.
_TYPES = {
    1: "h1 h2 h3 h4 h5 ha hb hc hn ho hp hs hw hx",
    6: "c cs c1 c2 c3 c5 c6 ca cp cq cc cd ce cf cg ch cx cy cu cv cz",
    7: "n n1 n2 n3 n4 n5 n6 n7 n8 n9 n+ na nb nc nd ne nf nh ni nj nk nl nm nn no np nq ns nt nu nv nx ny nz",
    8: "o oh op oq os ow",
    9: "f",
    15: "p2 p3 p4 p5 pb pc pd pe pf px py",
    16: "s s2 s4 s6 sh ss sp sq sx sy",
    17: "cl",
    35: "br",
    53: "i",
}
#: Type -> atomic number.
ELEMENTS = {kind: number for number, kinds in _TYPES.items() for kind in kinds.split()}
#: Neighbours of a carbon by its type; where they are fewer, hydrogens are missing.
_NEIGHBOURS = {
    **dict.fromkeys("c3 c5 c6 cx cy".split(), 4),
    **dict.fromkeys("c cs c2 ca cp cq cc cd ce cf cu cv cz".split(), 3),
    **dict.fromkeys("cg ch".split(), 2),
}
#: e; what the partial charges may add up to beside a whole number.
_TOLERANCE = 0.1


def has_gaff_types(atoms: Sequence[Sequence[str]]) -> bool:
    """Whether every one of `atoms`, the words of the lines of the section ATOM, has a type of GAFF."""
    return bool(atoms) and all(len(words) > 5 and words[5] in ELEMENTS for words in atoms)


def read_gaff_mol2(
    atoms: Sequence[Sequence[str]], bonds: Sequence[Sequence[str]], where: str, remedy: str
) -> Chem.Mol:
    """The molecule of the words of each line of the sections ATOM and BOND; `remedy` ends a refusal.

    Atoms have the properties that RDKit's reader of mol2 gives them. InputError where bonds and net charge
    make no molecule.
    """
    places = [[float(word) for word in words[2:5]] for words in atoms]
    pairs = [(int(words[1]) - 1, int(words[2]) - 1) for words in bonds]
    if any(not 0 <= atom < len(atoms) for pair in pairs for atom in pair):
        raise InputError(f"{where}: a bond names an atom that is not there; it may be truncated. {remedy}")
    for number, words in enumerate(atoms):
        found, asked = sum(number in pair for pair in pairs), _NEIGHBOURS.get(words[5])
        if asked is not None and found != asked:
            raise InputError(
                f"{where}: atom {number + 1} ({words[1]}) of GAFF's type {words[5]} has {found} neighbours "
                f"instead of {asked}; its hydrogens, or types, are not whole. {remedy}"
            )
    stated = [float(words[8]) if len(words) > 8 and is_real(words[8]) else None for words in atoms]
    known = None not in stated and any(stated)
    total = sum(charge or 0.0 for charge in stated)
    charge = round(total)
    if abs(total - charge) > _TOLERANCE:
        raise InputError(
            f"{where}: its partial charges add up to {total:+.3f} e, which is no whole number; correct them."
        )
    molecule = with_bond_orders([ELEMENTS[words[5]] for words in atoms], pairs, places, charge)
    if molecule is None or (not known and _is_charged(molecule)):
        told = f"a net charge of {charge:+d} e" if known else "no charge, as it states no partial charges,"
        raise InputError(
            f"{where}: its elements (by GAFF's atom types), its bonds and {told} make no molecule. {remedy}"
        )
    for atom, words in zip(molecule.GetAtoms(), atoms, strict=True):
        atom.SetProp("_TriposAtomName", words[1])
        atom.SetProp("_TriposAtomType", words[5])
        if len(words) > 8:
            atom.SetProp("_TriposPartialCharge", words[8])
    return molecule


def _is_charged(molecule: Chem.Mol) -> bool:
    """Whether a formal charge stands on an atom without its opposite beside it, as in a nitro group."""
    return any(
        atom.GetFormalCharge()
        and not any(atom.GetFormalCharge() * other.GetFormalCharge() < 0 for other in atom.GetNeighbors())
        for atom in molecule.GetAtoms()
    )
