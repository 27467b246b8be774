"""The mol2 files that go between AmberTools' programs: atom names, GAFF types and charges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boltzgen.errors import BoltzgenError

if TYPE_CHECKING:
    from rdkit import Chem


@dataclass(frozen=True)
class TypedAtom:
    """One line of the section ATOM; charge in e."""

    name: str
    kind: str
    charge: float


def typed_atoms(text: str, molecule: Chem.Mol) -> list[TypedAtom]:
    """The atoms of a mol2 that antechamber wrote of `molecule`.

    BoltzgenError where their number, or an element by its name, is not the molecule's: they would be in
    another order.
    """
    body = text.partition("@<TRIPOS>ATOM\n")[2].partition("@<TRIPOS>")[0]
    rows = [line.split() for line in body.splitlines() if line.strip()]
    found = [TypedAtom(row[1], row[5], float(row[8])) for row in rows if len(row) > 8]
    names = [atom.name.rstrip("0123456789").upper() for atom in found]
    if names != [atom.GetSymbol().upper() for atom in molecule.GetAtoms()]:
        raise BoltzgenError(
            f"antechamber wrote {len(found)} atoms in another order than the {molecule.GetNumAtoms()} given."
        )
    return found


def format_mol2(
    molecule: Chem.Mol, names: Sequence[str], kinds: Sequence[str], charges: Sequence[float]
) -> str:
    """A mol2 of `molecule` (one conformer) with the given names, types and charges (e), for tleap."""
    places = molecule.GetConformer().GetPositions()
    lines = ["@<TRIPOS>MOLECULE", "MOL", f"{len(names)} {molecule.GetNumBonds()} 1 0 0", "SMALL"]
    lines += ["USER_CHARGES", "", "@<TRIPOS>ATOM"]
    for number, (name, kind, charge, (x, y, z)) in enumerate(
        zip(names, kinds, charges, places, strict=True), start=1
    ):
        lines.append(f"{number:5d} {name:4s} {x:12.6f} {y:12.6f} {z:12.6f} {kind:3s} 1 MOL {charge:14.8f}")
    lines.append("@<TRIPOS>BOND")
    for number, bond in enumerate(molecule.GetBonds(), start=1):
        lines.append(f"{number:5d} {bond.GetBeginAtomIdx() + 1:5d} {bond.GetEndAtomIdx() + 1:5d} 1")
    return "\n".join([*lines, "@<TRIPOS>SUBSTRUCTURE", "1 MOL 1 ****", ""])
