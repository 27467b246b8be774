"""Do the sections of an Amber prmtop hold what its POINTERS say, and do they agree with each other?

OpenMM's reader takes numbers as they come: a section that has lost a line shifts all values behind it.
Source: "AMBER parameter/topology file specification", https://ambermd.org/prmtop.pdf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from boltzgen.errors import InputError
from boltzgen.system.formats.numbers import is_real, is_whole

#: The first of POINTERS, in order; what follows them (boxes, caps, perturbations) has other checks.
_POINTERS = (
    "NATOM NTYPES NBONH MBONA NTHETH MTHETA NPHIH MPHIA NHPARM NPARM NNB NRES NBONA NTHETA NPHIA NUMBND "
    "NUMANG NPTRA NATYP NPHB"
).split()

#: Sections of words; every other known one holds numbers.
_WORDS = frozenset(("ATOM_NAME", "RESIDUE_LABEL", "AMBER_ATOM_TYPE", "TREE_CHAIN_CLASSIFICATION"))

#: Sections of whole numbers and how many values each holds, by the names of `_POINTERS`.
_WHOLE = {
    "ATOMIC_NUMBER": "NATOM",
    "ATOM_TYPE_INDEX": "NATOM",
    "NUMBER_EXCLUDED_ATOMS": "NATOM",
    "EXCLUDED_ATOMS_LIST": "NNB",
    "NONBONDED_PARM_INDEX": "NTYPES*NTYPES",
    "RESIDUE_POINTER": "NRES",
    "BONDS_INC_HYDROGEN": "NBONH*3",
    "BONDS_WITHOUT_HYDROGEN": "NBONA*3",
    "ANGLES_INC_HYDROGEN": "NTHETH*4",
    "ANGLES_WITHOUT_HYDROGEN": "NTHETA*4",
    "DIHEDRALS_INC_HYDROGEN": "NPHIH*5",
    "DIHEDRALS_WITHOUT_HYDROGEN": "NPHIA*5",
}

_REAL = {
    "CHARGE": "NATOM",
    "MASS": "NATOM",
    "RADII": "NATOM",
    "SCREEN": "NATOM",
    "BOND_FORCE_CONSTANT": "NUMBND",
    "BOND_EQUIL_VALUE": "NUMBND",
    "ANGLE_FORCE_CONSTANT": "NUMANG",
    "ANGLE_EQUIL_VALUE": "NUMANG",
    "DIHEDRAL_FORCE_CONSTANT": "NPTRA",
    "DIHEDRAL_PERIODICITY": "NPTRA",
    "DIHEDRAL_PHASE": "NPTRA",
    "SCEE_SCALE_FACTOR": "NPTRA",
    "SCNB_SCALE_FACTOR": "NPTRA",
    "LENNARD_JONES_ACOEF": "NTYPES*NTYPES",
    "LENNARD_JONES_BCOEF": "NTYPES*NTYPES",
    "HBOND_ACOEF": "NPHB",
    "HBOND_BCOEF": "NPHB",
}

_NAMES = {
    "ATOM_NAME": "NATOM",
    "AMBER_ATOM_TYPE": "NATOM",
    "TREE_CHAIN_CLASSIFICATION": "NATOM",
    "RESIDUE_LABEL": "NRES",
}

#: Sections of atoms and parameters: atoms to a row, and the name of what the last column counts.
_TERMS = {
    "BONDS_INC_HYDROGEN": (2, "NUMBND"),
    "BONDS_WITHOUT_HYDROGEN": (2, "NUMBND"),
    "ANGLES_INC_HYDROGEN": (3, "NUMANG"),
    "ANGLES_WITHOUT_HYDROGEN": (3, "NUMANG"),
    "DIHEDRALS_INC_HYDROGEN": (4, "NPTRA"),
    "DIHEDRALS_WITHOUT_HYDROGEN": (4, "NPTRA"),
}


def check_values(sections: Mapping[str, Sequence[str]], path: Path) -> None:
    """Raise InputError unless the sections of `path` (name -> values) are whole and consistent.

    Checked: every value is a number where numbers belong; the lengths are those that POINTERS states;
    pointers to atoms, types and parameters exist; periodicities are whole (OpenMM would cut them);
    exclusions hold all atoms that bonds, angles and torsions join, each once.
    """
    pointers = _pointers(sections, path)
    for name, rule in _WHOLE.items():
        _check_section(sections, name, _length(name, rule, pointers), path)
        _check_kind(sections, name, path, whole=True)
    for name, rule in _REAL.items():
        _check_section(sections, name, _length(name, rule, pointers), path)
        _check_kind(sections, name, path, whole=False)
    for name, rule in _NAMES.items():
        _check_section(sections, name, _length(name, rule, pointers), path)
    whole = {name: [int(value) for value in sections[name]] for name in _WHOLE if name in sections}
    _check_types(whole, pointers, path)
    for name, (atoms, count) in _TERMS.items():
        _check_terms(whole.get(name, []), atoms, pointers["NATOM"], pointers[count], name, path)
    for value in sections.get("DIHEDRAL_PERIODICITY", ()):
        if float(value) % 1.0:
            _refuse(path, "DIHEDRAL_PERIODICITY", f"the periodicity {value} is not a whole number")
    _check_joined(whole, path)
    _check_exclusions(whole, pointers["NATOM"], path)
    _check_lennard_jones(sections, path)


def _refuse(path: Path, section: str, what: str) -> None:
    raise InputError(f"{path} is damaged: in its section {section}, {what}. Write it again.")


def _pointers(sections: Mapping[str, Sequence[str]], path: Path) -> dict[str, int]:
    values = sections.get("POINTERS", ())
    if len(values) < 30:
        _refuse(path, "POINTERS", f"there are {len(values)} numbers where 30 or more belong")
    _check_kind(sections, "POINTERS", path, whole=True)
    found = {name: int(value) for name, value in zip(_POINTERS, values, strict=False)}
    for name, value in found.items():
        if value < 0:
            _refuse(path, "POINTERS", f"{name} is {value}")
    return found


def _length(name: str, rule: str, pointers: Mapping[str, int]) -> int:
    if name.startswith("LENNARD_JONES"):
        return pointers["NTYPES"] * (pointers["NTYPES"] + 1) // 2
    first, _, second = rule.partition("*")
    return pointers[first] * (pointers[second] if second in pointers else int(second or 1))


def _check_section(sections: Mapping[str, Sequence[str]], name: str, length: int, path: Path) -> None:
    """Sections may be missing (older programs leave some out); one that is there is whole."""
    found = sections.get(name)
    if found is not None and len(found) != length:
        _refuse(path, name, f"there are {len(found)} values where POINTERS says {length}")


def _check_kind(sections: Mapping[str, Sequence[str]], name: str, path: Path, *, whole: bool) -> None:
    test = is_whole if whole else is_real
    for value in sections.get(name, ()):
        if not test(value.strip()):
            _refuse(path, name, f"{value.strip()[:40]!r} is not a {'whole number' if whole else 'number'}")


def _check_types(whole: Mapping[str, Sequence[int]], pointers: Mapping[str, int], path: Path) -> None:
    types, pairs = pointers["NTYPES"], pointers["NTYPES"] * (pointers["NTYPES"] + 1) // 2
    for value in whole.get("ATOM_TYPE_INDEX", ()):
        if not 1 <= value <= types:
            _refuse(path, "ATOM_TYPE_INDEX", f"{value} is no type; there are {types}")
    matrix = whole.get("NONBONDED_PARM_INDEX", ())
    for place, value in enumerate(matrix):
        if value != matrix[place % types * types + place // types]:
            _refuse(path, "NONBONDED_PARM_INDEX", "the pair of two types differs from the same pair reversed")
        if value == 0 or not -pointers["NPHB"] <= value <= pairs:
            _refuse(path, "NONBONDED_PARM_INDEX", f"{value} is no pair of types; there are {pairs}")
    starts = list(whole.get("RESIDUE_POINTER", ()))
    if starts and (starts[0] != 1 or sorted(set(starts)) != starts or starts[-1] > pointers["NATOM"]):
        _refuse(path, "RESIDUE_POINTER", "the first atoms of the residues do not ascend from 1")


def _check_terms(values: Sequence[int], atoms: int, n_atoms: int, count: int, name: str, path: Path) -> None:
    """Rows of coordinate indices (three times the atom) and one number of a parameter, from 1."""
    for start in range(0, len(values), atoms + 1):
        row = values[start : start + atoms + 1]
        places = [abs(value) for value in row[:atoms]]
        if any(value % 3 or value >= 3 * n_atoms for value in places) or min(row[: min(atoms, 2)]) < 0:
            _refuse(path, name, f"the row {' '.join(map(str, row))} names an atom that does not exist")
        if len(set(places)) != atoms:
            _refuse(path, name, f"the row {' '.join(map(str, row))} names an atom twice")
        if not 1 <= row[atoms] <= count:
            _refuse(path, name, f"the row {' '.join(map(str, row))} names parameter {row[atoms]} of {count}")


def _check_exclusions(whole: Mapping[str, Sequence[int]], n_atoms: int, path: Path) -> None:
    """Each atom's list ascends, is of later atoms, and holds those that its bonded terms join."""
    counts, listed = whole.get("NUMBER_EXCLUDED_ATOMS"), whole.get("EXCLUDED_ATOMS_LIST")
    if counts is None or listed is None:
        return
    name = "EXCLUDED_ATOMS_LIST"
    if min(counts, default=0) < 0 or sum(counts) != len(listed):
        _refuse(path, "NUMBER_EXCLUDED_ATOMS", f"the sum is not the {len(listed)} of {name}")
    excluded: set[tuple[int, int]] = set()
    start = 0
    for atom, count in enumerate(counts):
        own = listed[start : start + count]
        start += count
        if list(own) == [0]:  # Amber's way to say none
            continue
        if any(not atom + 1 < other <= n_atoms for other in own) or len(set(own)) != len(own):
            _refuse(
                path, name, f"atom {atom + 1} excludes {' '.join(map(str, own))}: not later atoms, each once"
            )
        excluded.update((atom, other - 1) for other in own)
    near: set[tuple[int, int]] = set()  # bonds and angles stand before torsions in `_TERMS`
    for section, (atoms, _) in _TERMS.items():
        values = whole.get(section, ())
        for start in range(0, len(values), atoms + 1):
            row = values[start : start + atoms]
            if atoms == 4 and (row[2] < 0 or row[3] < 0):  # no pair of first and last atom
                continue
            first, last = sorted((row[0] // 3, abs(row[-1]) // 3))
            if atoms < 4:
                near.add((first, last))
            elif (first, last) in near:
                shown = f"atoms {first + 1} and {last + 1}, which end a torsion"
                _refuse(path, section, f"{shown} that counts their pair, are two bonds apart or less")
            if (first, last) not in excluded:
                _refuse(path, name, f"atoms {first + 1} and {last + 1}, joined in {section}, are missing")


def _check_joined(whole: Mapping[str, Sequence[int]], path: Path) -> None:
    """The atoms of an angle or torsion hang together by bonds."""
    bonds: set[frozenset[int]] = set()
    for section in ("BONDS_INC_HYDROGEN", "BONDS_WITHOUT_HYDROGEN"):
        values = whole.get(section, ())
        bonds.update(frozenset(values[start : start + 2]) for start in range(0, len(values), 3))
    for section, (atoms, _) in _TERMS.items():
        values = whole.get(section, ())
        for start in range(0, len(values) if atoms > 2 else 0, atoms + 1):
            row = [abs(value) for value in values[start : start + atoms]]
            reached, left = {row[0]}, set(row[1:])
            while found := {b for b in left if any(frozenset((a, b)) in bonds for a in reached)}:
                reached |= found
                left -= found
            if left:
                named = " ".join(str(value // 3 + 1) for value in row)
                _refuse(path, section, f"no bonds join the atoms {named}")


def _check_lennard_jones(sections: Mapping[str, Sequence[str]], path: Path) -> None:
    """A and B are both positive or both zero: OpenMM takes radius and depth from both, and 0 from one."""
    first, second = (sections.get(f"LENNARD_JONES_{letter}COEF", ()) for letter in "AB")
    for a, b in zip(first, second, strict=False):
        if min(float(a), float(b)) < 0 or (float(a) == 0) != (float(b) == 0):
            _refuse(path, "LENNARD_JONES_BCOEF", f"A {a} and B {b} are no radius and depth")
