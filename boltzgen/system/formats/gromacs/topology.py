"""The sections of a GROMACS topology as records; sections that would be dropped are refused by name.

Source: GROMACS 2022 reference manual, tables "Definition of the topology file" and "Molecule directives".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from boltzgen.errors import InputError
from boltzgen.system.formats.bounds import MOST_ATOMS
from boltzgen.system.formats.gromacs.preprocess import Line
from boltzgen.system.formats.numbers import is_real, is_whole

#: Sections that hold parameters, by the name that grompp compares.
PARAMETERS = (
    "defaults",
    "atomtypes",
    "bondtypes",
    "pairtypes",
    "angletypes",
    "dihedraltypes",
    "cmaptypes",
    "nonbondparams",
    "constrainttypes",
)
#: Sections of one molecule.
MOLECULE = (
    "atoms",
    "bonds",
    "pairs",
    "pairsnb",
    "angles",
    "dihedrals",
    "exclusions",
    "constraints",
    "settles",
    "cmap",
)
#: Sections without energy here: names, and Born radii of GROMACS before 2019, which grompp no longer reads.
WITHOUT_ENERGY = ("system", "implicitgenbornparams", "implicitsurfaceparams")
#: Sections that are energy or atoms which no reader of ours gives: refused, where they hold a line.
REFUSED = {
    "positionrestraints": "restraints to positions",
    "distancerestraints": "restraints of distances",
    "orientationrestraints": "restraints of orientations",
    "anglerestraints": "restraints of angles",
    "anglerestraintsz": "restraints of angles",
    "dihedralrestraints": "restraints of dihedral angles",
    "polarization": "polarisation",
    "waterpolarization": "polarisation",
    "tholepolarization": "polarisation",
    "intermolecularinteractions": "interactions between molecules",
}


@dataclass(frozen=True)
class AtomType:
    """One line of [ atomtypes ]; `number` is the atomic number, None where the line has none."""

    name: str
    bonded: str
    number: int | None
    mass: float
    charge: float
    particle: str
    v: float
    w: float


@dataclass
class MoleculeType:
    """One [ moleculetype ]: its name, nrexcl, and the lines of each section."""

    name: str
    nrexcl: int
    sections: dict[str, list[Line]] = field(default_factory=dict)

    def lines(self, section: str) -> list[Line]:
        return self.sections.get(section, [])


@dataclass
class TopologyFile:
    """What the lines say. rule: 1, 2 or 3; generate: whether [ pairs ] without parameters are made.

    molecules: (type, how many), in the order of the coordinates.
    """

    path: Path
    rule: int = 0
    generate: bool = False
    fudge_lj: float = 1.0
    fudge_qq: float = 1.0
    atom_types: dict[str, AtomType] = field(default_factory=dict)
    parameters: dict[str, list[Line]] = field(default_factory=dict)
    types: dict[str, MoleculeType] = field(default_factory=dict)
    molecules: list[tuple[MoleculeType, int]] = field(default_factory=list)

    def of_parameters(self, section: str) -> list[Line]:
        return self.parameters.get(section, [])


def read_sections(path: Path, lines: Sequence[Line]) -> TopologyFile:
    """The topology of `lines`; InputError with file and line for what is missing, wrong or not to be had."""
    top, section, current = TopologyFile(path), "", None
    counts: list[tuple[Line, str]] = []
    for line in lines:
        if line.words[0].startswith("["):
            section = line.words[0][1:]
            _check_section(section, line.place)
        elif section == "":
            raise InputError(f"{line.place}: data before the first directive; is {path} a topology?")
        elif section in REFUSED:
            raise InputError(
                f"{line.place}: the section holds {REFUSED[section]}, which boltzgen has no term for; take "
                "it out, or bring the energy as an OpenMM System XML."
            )
        elif section == "moleculetype":
            current = MoleculeType(line.words[0], whole_number(line, 1))
            top.types[current.name] = current
        elif section in MOLECULE:
            if current is None:
                raise InputError(f"{line.place}: this section stands before the first [ moleculetype ].")
            current.sections.setdefault(section, []).append(line)
        elif section == "molecules":
            counts.append((line, line.words[0]))
        elif section in PARAMETERS:
            top.parameters.setdefault(section, []).append(line)
    _read_defaults(top)
    for line in top.of_parameters("atomtypes"):
        one = _atom_type(line)
        top.atom_types[one.name] = one
    atoms = 0
    for line, name in counts:
        if name not in top.types:
            raise InputError(f"{line.place}: no [ moleculetype ] is called {name!r}.")
        count = whole_number(line, 1)
        atoms += count * len(top.types[name].lines("atoms"))
        if not 0 <= count <= MOST_ATOMS or atoms > MOST_ATOMS:
            raise InputError(
                f"{line.place}: {line.words[1]} molecules of {name!r} are more than the {MOST_ATOMS} "
                "atoms that a topology may have; boltzgen samples one molecule, keep that alone."
            )
        top.molecules.append((top.types[name], count))
    for kind in top.types.values():
        for index, line in enumerate(kind.lines("atoms")):
            if whole_number(line, 0) != index + 1:
                raise InputError(f"{line.place}: atom {line.words[0]} stands where atom {index + 1} belongs.")
    if not top.molecules:
        raise InputError(f"{path} has no [ molecules ]; it is truncated, or an .itp file. Write it again.")
    return top


def _check_section(section: str, place: str) -> None:
    if section in (*PARAMETERS, *MOLECULE, *WITHOUT_ENERGY, *REFUSED, "moleculetype", "molecules"):
        return
    if section.startswith(("virtualsites", "dummies")):
        raise InputError(f"{place}: virtual sites are not supported; give an all-atom topology without them.")
    raise InputError(f"{place}: the directive [ {section} ] is not one that boltzgen knows.")


def number(line: Line, index: int) -> float:
    """The number in column `index` of `line`; InputError where it is missing or none."""
    if index >= len(line.words):
        raise InputError(f"{line.place} is too short: {' '.join(line.words)!r} lacks column {index + 1}.")
    if not is_real(line.words[index]) or not math.isfinite(value := float(line.words[index])):
        raise InputError(f"{line.place}: {line.words[index][:40]!r} is not a number.")
    return value


def whole_number(line: Line, index: int) -> int:
    """The whole number in column `index` of `line`; InputError where it is missing or another."""
    value = number(line, index)
    if not is_whole(line.words[index]):
        raise InputError(f"{line.place}: {line.words[index]!r} is not a whole number.")
    return int(value)


def numbers(line: Line, first: int, count: int) -> tuple[float, ...]:
    return tuple(number(line, first + index) for index in range(count))


def atoms_of(line: Line, count: int, n_atoms: int) -> tuple[int, ...]:
    """The first `count` columns as atoms counted from 0."""
    found = tuple(whole_number(line, index) - 1 for index in range(count))
    for atom in found:
        if not 0 <= atom < n_atoms:
            raise InputError(f"{line.place} names atom {atom + 1}; the molecule has {n_atoms}.")
    return found


def _read_defaults(top: TopologyFile) -> None:
    lines = top.of_parameters("defaults")
    if not lines:
        raise InputError(f"{top.path} has no [ defaults ]; #include the force field before the molecule.")
    line = lines[0]
    if whole_number(line, 0) != 1:
        raise InputError(f"{line.place}: nbfunc {line.words[0]} (Buckingham) is not supported; only 1 is.")
    top.rule = whole_number(line, 1)
    if top.rule not in (1, 2, 3):
        raise InputError(f"{line.place}: combination rule {line.words[1]} is not 1, 2 or 3.")
    top.generate = len(line.words) > 2 and line.words[2].lower() == "yes"
    top.fudge_lj = number(line, 3) if len(line.words) > 3 else 1.0
    top.fudge_qq = number(line, 4) if len(line.words) > 4 else 1.0
    if len(line.words) > 5 and number(line, 5) != 12.0:
        raise InputError(f"{line.place}: the repulsion power {line.words[5]} is not 12.")


def _atom_type(line: Line) -> AtomType:
    """Columns are told apart as grompp does, by the particle type, a single letter."""
    words = list(line.words)
    marks = {place for place in (3, 4, 5) if place < len(words) and len(words[place]) == 1}
    marks = {place for place in marks if words[place].isalpha()}
    if 5 in marks:
        bonded, atomic, rest = words[1], words[2], words[3:]
    elif 3 in marks:
        bonded, atomic, rest = words[0], None, words[1:]
    elif 4 in marks and words[1][0].isalpha():
        bonded, atomic, rest = words[1], None, words[2:]
    elif 4 in marks:
        bonded, atomic, rest = words[0], words[1], words[2:]
    else:
        raise InputError(f"{line.place}: no particle type (A, V, S or D) in its columns.")
    short = Line((words[0], *rest), line.place)
    mass, charge, v, w = (number(short, index) for index in (1, 2, 4, 5))
    return AtomType(words[0], bonded, None if atomic is None else int(atomic), mass, charge, rest[2], v, w)
