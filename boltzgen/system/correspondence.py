"""Whether the atoms of a file of coordinates are those of the topology, one by one, and bonded as it says.

Three things are compared, the surest first: names and elements, where both files have them; masses, where the
topology is a System XML, which has no names; and the lengths of the bonds, of whatever source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from boltzgen.errors import InputError
from boltzgen.system.checks import SUPPORTED_ELEMENTS, label_of
from boltzgen.system.formats.sites import Site
from boltzgen.system.graph.adjacency import adjacency, connected_pieces
from boltzgen.system.graph.bonds_from_forces import bonds_from_forces
from boltzgen.system.molecular_system import canonical_bonds
from boltzgen.system.terms.bond_parameters import springs_of

if TYPE_CHECKING:
    import openmm
    from openmm import app

    from boltzgen.system.formats.readers import RawMolecule

#: A bond this many times as long as at its equilibrium is none: atoms are missing, or in another order.
LONGEST = 1.4
#: Limits where names cannot tell: a C-C bond is 1.40 times a C-H bond, and that 0.71 times a C-C bond.
NAMELESS = (0.75, 1.3)
#: nm; a spring with a shorter equilibrium is no bond.
_SHORTEST = 0.05
#: Dalton; hydrogen, with mass moved to it from its heavy atom, is lighter than this, all else heavier.
_LIGHT = 4.5
#: Dalton; a mass this near an element's is that element's (CH2 and N are 0.020 apart).
_SAME_MASS = 0.012
#: Signed volumes of unit vectors below this have no hand.
_FLAT = 0.1
_REMEDY = (
    "Give coordinates whose atoms stand in the order of the topology (those that were written with it; "
    "cpptraj, ParmEd and `gmx pdb2gmx` write both)."
)


# --- names and elements -----------------------------------------------------------------------------------


def check_order(raw: RawMolecule) -> list[str]:
    """Refuse coordinates whose names or elements are not those of an Amber or GROMACS topology, atom by atom.

    Returns
    -------
    A note where the two follow different conventions for names; then `check_lengths` is stricter.

    Raises
    ------
    InputError: names both atoms of the first place at which they differ.
    """
    if raw.stated is None or raw.own is None:
        return []
    atoms = list(raw.topology.atoms())
    _check_elements(raw, atoms)
    own, stated = list(raw.own), list(raw.stated)
    _check_same_names(raw, [(s.residue, s.name) for s in own], [(s.residue, s.name) for s in stated], 0)
    for residue in raw.topology.residues():
        inside = [atom.index for atom in residue.atoms()]
        mine, theirs = ([sites[index].name for index in inside] for sites in (own, stated))
        _check_same_names(raw, mine, theirs, inside[0])
        heavy = [not _is_hydrogen(atoms[index]) for index in inside]
        for name in _common([n for n, h in zip(mine, heavy) if h], [n for n, h in zip(theirs, heavy) if h]):
            if mine.index(name) != theirs.index(name):
                _refuse(raw, inside[0] + min(mine.index(name), theirs.index(name)))
        stems = [[_stem(name) for name in names] for names in (mine, theirs)]
        for stem in _common(*stems):
            places = [[k for k, other in enumerate(names) if other == stem] for names in stems]
            if places[0] != places[1]:
                _refuse(raw, inside[0] + min(a for a, b in zip(*places) if a != b))
        _check_hand(raw, inside, mine, theirs)
    others = [index for index, (mine, theirs) in enumerate(zip(own, stated)) if mine.name != theirs.name]
    if not others:
        return []
    return [
        f"{len(others)} atoms have other names in {_file(raw)} than in {raw.path.name} (first "
        f"{stated[others[0]]} for {own[others[0]]}); their order was checked by elements and bond lengths."
    ]


def follows_names(raw: RawMolecule) -> bool:
    """Whether no name of an atom differs between coordinates and topology; True where one has no names."""
    if raw.stated is None or raw.own is None:
        return True
    return all(mine.name == theirs.name for mine, theirs in zip(raw.own, raw.stated))


def _file(raw: RawMolecule) -> str:
    return (raw.coordinates or raw.path).name


def _refuse(raw: RawMolecule, index: int) -> None:
    assert raw.own is not None and raw.stated is not None
    raise InputError(
        f"{_file(raw)} has its atoms in another order than {raw.path.name}: atom {index + 1} is "
        f"{raw.stated[index]} there, and {raw.own[index]} in the topology. {_REMEDY}"
    )


def _check_same_names(raw: RawMolecule, own: Sequence, stated: Sequence, first: int) -> None:
    """Refuse the same names in another order."""
    if Counter(own) == Counter(stated):
        for index, (mine, theirs) in enumerate(zip(own, stated)):
            if mine != theirs:
                _refuse(raw, first + index)


def _common(own: Sequence[str], stated: Sequence[str]) -> list[str]:
    """What both hold equally often, in the order of `own`."""
    counts, others = Counter(own), Counter(stated)
    return [name for name in counts if counts[name] == others[name]]


def _stem(name: str) -> str:
    """A name without the digits and primes that number atoms of one kind: 1HB, HB2 and HB3 are HB."""
    return name.strip("0123456789'*\"")


def _is_hydrogen(atom: app.topology.Atom) -> bool:
    return atom.element is not None and atom.element.atomic_number == 1


def _check_elements(raw: RawMolecule, atoms: Sequence[app.topology.Atom]) -> None:
    assert raw.own is not None and raw.stated is not None
    for atom, mine, theirs in zip(atoms, raw.own, raw.stated, strict=True):
        if atom.element is None or (mine.name == theirs.name and not theirs.element):
            continue
        possible = _elements_of(theirs)
        if possible and atom.element.atomic_number not in possible:
            _refuse(raw, atom.index)


def _elements_of(site: Site) -> set[int]:
    """The atomic numbers that a site may have: the one it states, or those that its name may mean."""
    if site.element:
        number = _number(site.element)
        return set() if number is None else {number}
    letters = site.name.lstrip("0123456789")
    one, two = _number(letters[:1]), _number(letters[:2]) if letters[1:2].isalpha() else None
    if one not in SUPPORTED_ELEMENTS:
        return set()
    return {number for number in (one, two) if number is not None}


def _number(symbol: str) -> int | None:
    from openmm.app import element

    try:
        return int(element.get_by_symbol(symbol.strip().capitalize()).atomic_number)
    except KeyError:
        return None


def _mass(number: int) -> float:
    from openmm.app import element

    return float(element.Element.getByAtomicNumber(number).mass._value)


def _check_hand(raw: RawMolecule, inside: list[int], own: list[str], stated: list[str]) -> None:
    """Refuse a D amino acid where only bond lengths, which cannot tell, would say that it is meant."""
    corners = ("CA", "N", "C", "CB")
    if not set(corners) <= set(own):
        return
    places = [own.index(name) for name in corners]
    if all(own[place] == stated[place] for place in places):
        return
    centre, *around = raw.positions[[inside[place] for place in places]]
    vectors = np.array(around) - centre
    volume = np.linalg.det(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    if volume < -_FLAT:  # N, C, CB of L amino acids turn to the right
        index = inside[next(place for place in places if own[place] != stated[place])]
        _refuse(raw, index)


# --- masses -----------------------------------------------------------------------------------------------


def check_masses(raw: RawMolecule, system: openmm.System) -> None:
    """Refuse a System XML whose masses are not those of the elements of its coordinates, atom by atom.

    Hydrogens may have taken mass from their heavy atoms, and a united atom weighs what its hydrogens weigh.
    """
    atoms = list(raw.topology.atoms())
    masses = [system.getParticleMass(atom.index)._value for atom in atoms]
    if raw.kind != "xml" or len(set(masses)) == 1 or min(masses) <= 0.0:
        return
    known = {atom.element.mass._value: atom.element.symbol for atom in atoms if atom.element is not None}
    moved = any(1.3 < mass < _LIGHT for mass in masses)
    for atom, mass in zip(atoms, masses, strict=True):
        if atom.element is None:
            continue
        own = atom.element.mass._value
        if raw.stated is not None and not raw.stated[atom.index].element:
            # without a column for the element OpenMM's is a guess: another reading of the name may fit
            readings = [_mass(number) for number in _elements_of(raw.stated[atom.index])]
            own = min([own, *readings], key=lambda candidate: abs(candidate - mass))
        other = next((s for m, s in known.items() if abs(m - mass) < _SAME_MASS), "")
        if (mass < _LIGHT) != (own < _LIGHT) or (not moved and other and abs(mass - own) > 2 * _SAME_MASS):
            meant = other or ("H" if mass < _LIGHT else "no hydrogen")
            raise InputError(
                f"{_file(raw)} has its atoms in another order than {raw.path.name}: {label_of(atom)} "
                f"is {atom.element.symbol}, but particle {atom.index + 1} of the System weighs {mass:.3f} "
                f"dalton ({meant}). {_REMEDY}"
            )


# --- bonds ------------------------------------------------------------------------------------------------


def bonds_of(raw: RawMolecule, system: openmm.System) -> tuple[np.ndarray, list[str]]:
    """The bonds (M, 2) of the molecule, and notes: those of the topology, or of the terms of a System XML.

    The PDB beside a System XML states what its CONECT records and residue names do; where the System's terms
    join all atoms, they decide, and the note names what the PDB has more or less.
    """
    stated = canonical_bonds([(bond[0].index, bond[1].index) for bond in raw.topology.bonds()])
    if raw.kind != "xml":
        return stated, []
    atoms, file = list(raw.topology.atoms()), _file(raw)
    terms = _without_restraints(bonds_from_forces(system, stated), stated, atoms, system)
    complete = len(connected_pieces(adjacency(len(atoms), terms))) == 1
    lacking, more = _difference(terms, stated), _difference(stated, terms)
    notes = []
    if len(lacking):
        notes.append(
            f"{_count(lacking)} come{'s' * (len(lacking) == 1)} from the forces of {raw.path.name}; {file} "
            f"does not state them ({_listed(lacking, atoms)})."
        )
    if complete and len(more):
        notes.append(
            f"{_count(more)} of {file} without a term in {raw.path.name} ({_listed(more, atoms)}): left out, "
            "for the System decides."
        )
        return terms, notes
    if len(more) and len(terms):
        notes.append(
            f"{_count(more)} of {file} without a term in {raw.path.name} ({_listed(more, atoms)}): kept, "
            "since the terms alone do not join all atoms."
        )
    return canonical_bonds([*stated.tolist(), *terms.tolist()]), notes


def _difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    found = {tuple(pair) for pair in first.tolist()} - {tuple(pair) for pair in second.tolist()}
    return canonical_bonds(sorted(found))


def _count(pairs: np.ndarray) -> str:
    return f"{len(pairs)} bond{'s' * (len(pairs) > 1)}"


def _listed(bonds: np.ndarray, atoms: Sequence[app.topology.Atom]) -> str:
    shown = [f"{label_of(atoms[i])} - {label_of(atoms[j])}" for i, j in bonds[:3]]
    return ", ".join([*shown, *(["..."] if len(bonds) > 3 else [])])


def _without_restraints(
    terms: np.ndarray, stated: np.ndarray, atoms: Sequence[app.topology.Atom], system: openmm.System
) -> np.ndarray:
    """`terms` less springs far too long for a bond of their elements, which the file does not state."""
    said = {tuple(pair) for pair in stated.tolist()}
    springs = springs_of(system, terms)
    kept = []
    for i, j in terms.tolist():
        covalent = None if (i, j) in said else _covalent(atoms[i], atoms[j])
        if covalent is None or springs.get((i, j), (0.0, 0.0))[0] <= LONGEST * covalent:
            kept.append((i, j))
    # beads have long bonds, and names that look like elements: without those bonds they fall apart
    whole = len(connected_pieces(adjacency(len(atoms), kept))) == 1
    return canonical_bonds(kept) if whole else terms


def _covalent(first: app.topology.Atom, second: app.topology.Atom) -> float | None:
    """nm; the sum of two covalent radii (RDKit's table), None where an element is unknown."""
    if first.element is None or second.element is None:
        return None
    from rdkit import Chem

    table = Chem.GetPeriodicTable()
    radii = [table.GetRcovalent(int(atom.element.atomic_number)) for atom in (first, second)]
    return 0.1 * float(sum(radii))


def check_lengths(raw: RawMolecule, system: openmm.System, bonds: np.ndarray) -> None:
    """Refuse coordinates that deny a bond: `LONGEST` times its equilibrium length, before any minimisation.

    The equilibrium is that of the System's terms; for a bond without one, the sum of the covalent radii.
    """
    atoms = list(raw.topology.atoms())
    springs = springs_of(system, bonds)
    shortest, longest = (0.0, LONGEST) if follows_names(raw) else NAMELESS
    denied = []
    for i, j in bonds.tolist():
        wanted = springs[i, j][0] if (i, j) in springs else _covalent(atoms[i], atoms[j])
        found = float(np.linalg.norm(raw.positions[i] - raw.positions[j]))
        if wanted is not None and wanted > _SHORTEST and not shortest <= found / wanted <= longest:
            denied.append((abs(np.log(found / wanted)), i, j, found, wanted))
    if not denied:
        return
    _, i, j, found, wanted = max(denied)
    path = raw.coordinates or raw.path
    sentence = (
        f"{path}: {label_of(atoms[i])} and {label_of(atoms[j])} are bonded, but {found:.3f} nm apart "
        f"(the bond's equilibrium is {wanted:.3f} nm){_and_more(len(denied) - 1)}."
    )
    raise InputError(f"{sentence} {_what_to_do(raw, path)}")


def _and_more(count: int) -> str:
    return "" if count == 0 else f", and {count} more pair{'s' * (count > 1)} like them"


def _what_to_do(raw: RawMolecule, path: Path) -> str:
    if raw.kind in ("pdb", "mmcif"):
        return (
            "If residues or atoms are missing in between, or a CONECT record is wrong, mend the file "
            f"(`pdbfixer {path.name} --add-residues --add-atoms=heavy --output=OUT.pdb`, "
            "which needs SEQRES records), or keep one piece and cap it."
        )
    if raw.coordinates is None:
        return "Its bonds and coordinates do not fit; draw or embed the molecule anew."
    return (
        f"Its atoms stand in another order than in {raw.path.name}, belong to another molecule, or are split "
        f"by a periodic box: {_REMEDY[0].lower()}{_REMEDY[1:]}"
    )
