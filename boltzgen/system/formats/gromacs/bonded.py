"""Bonded terms with the parameters that grompp gives them, where their lines leave them to the types.

The rules of grompp 2022 (src/gromacs/gmxpreprocess/toppush.cpp), which the manual states in "Parameter
files" and "Topology file": among dihedral types the first with the fewest wildcards wins; lines of function
9 that follow one another make one sum; a line that repeats earlier parameters is dropped; other repetition
replaces, or, for function 9, is an error. Functions 1 and 9 share one table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from boltzgen.errors import InputError
from boltzgen.system.formats.gromacs.preprocess import Line
from boltzgen.system.formats.gromacs.topology import TopologyFile, number
from boltzgen.system.formats.numbers import is_real

#: Section -> atoms, and for each function that is supported the number of its parameters.
FUNCTIONS = {
    "bonds": (2, {"1": 2, "2": 2}),
    "angles": (3, {"1": 2, "2": 2, "5": 4}),
    "dihedrals": (4, {"1": 3, "2": 2, "3": 6, "4": 3, "5": 4, "9": 3}),
}
_TYPES = {"bonds": "bondtypes", "angles": "angletypes", "dihedrals": "dihedraltypes"}

#: Functions that share one table of types.
_TABLE = {"9": "1"}


@dataclass(frozen=True)
class Entry:
    """One line of a table of types: atom types, parameters as they are written."""

    atoms: tuple[str, ...]
    parameters: tuple[str, ...]


class BondedTypes:
    """The tables of [ bondtypes ], [ angletypes ] and [ dihedraltypes ] of one topology."""

    def __init__(self, top: TopologyFile) -> None:
        self._tables: dict[tuple[str, str], list[Entry]] = {}
        for section, types in _TYPES.items():
            for line in top.of_parameters(types):
                self._add(section, line)

    def terms(self, section: str, line: Line, bonded: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
        """(function, parameters) of each term that `line` of `section` stands for.

        `bonded` holds the bonded types of its atoms. InputError for a function that is not supported, and
        where nothing fits.
        """
        n_atoms, functions = FUNCTIONS[section]
        function = line.words[n_atoms] if len(line.words) > n_atoms else ""
        if function not in functions:
            raise InputError(
                f"{line.place}: function {function or '(none)'} of [ {section} ] is not supported; "
                f"{', '.join(functions)} are."
            )
        own = line.words[n_atoms + 1 :]
        wanted = functions[function]
        if len(own) >= wanted:
            for index in range(wanted):
                number(line, n_atoms + 1 + index)
            return [(function, own[:wanted])]
        if own:
            raise InputError(
                f"{line.place}: {len(own)} parameters; function {function} of [ {section} ] has {wanted}."
            )
        table = self._tables.get((section, _TABLE.get(function, function)), [])
        found = _matching(table, tuple(bonded), wildcards=section == "dihedrals")
        if not found:
            raise InputError(
                f"{line.place}: no {_TYPES[section]} line of function {function} fits the atom types "
                f"{' '.join(bonded)}; #include the force field that has it."
            )
        return [(function, entry.parameters) for entry in found]

    def _add(self, section: str, line: Line) -> None:
        n_atoms, functions = FUNCTIONS[section]
        words = _four_atoms(line.words) if section == "dihedrals" else line.words
        function = words[n_atoms] if len(words) > n_atoms else ""
        if function not in functions:
            return  # an error where a molecule asks for it, as in grompp
        entry = Entry(tuple(words[:n_atoms]), tuple(words[n_atoms + 1 : n_atoms + 1 + functions[function]]))
        if len(entry.parameters) < functions[function]:
            raise InputError(f"{line.place} is too short for function {function} of [ {_TYPES[section]} ].")
        bad = next((word for word in entry.parameters if not is_real(word)), None)
        if bad is not None:
            raise InputError(f"{line.place}: {bad[:40]!r} is not a number.")
        table = self._tables.setdefault((section, _TABLE.get(function, function)), [])
        same = [place for place, one in enumerate(table) if _same_atoms(one.atoms, entry.atoms)]
        if any(_equal(table[place], entry) for place in same):
            return
        if function == "9":
            if same and table[-1].atoms != entry.atoms:
                raise InputError(
                    f"{line.place}: a second block of parameters for the dihedral type "
                    f"{' '.join(entry.atoms)}; GROMACS allows one block, its lines together."
                )
            table.append(entry)
        elif same:
            for place in same:
                table[place] = Entry(table[place].atoms, entry.parameters)
        else:
            table.append(entry)


def _four_atoms(words: tuple[str, ...]) -> tuple[str, ...]:
    """A line of [ dihedraltypes ] with two types gets wildcards ``X`` in the two free places."""
    if len(words) > 2 and len(words[2]) == 1 and words[2].isdigit():
        if words[2] == "2":
            return (words[0], "X", "X", words[1], *words[2:])
        return ("X", words[0], words[1], "X", *words[2:])
    return words


def _same_atoms(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return other in (one, one[::-1])


def _equal(one: Entry, other: Entry) -> bool:
    return [float(p) for p in one.parameters] == [float(p) for p in other.parameters]


def _matching(table: Sequence[Entry], bonded: tuple[str, ...], *, wildcards: bool) -> list[Entry]:
    """The entry of `table` that fits best, and those of the same atoms that follow it."""
    best, place = -1, -1
    for index, entry in enumerate(table):
        fits = max(_fit(entry.atoms, bonded, wildcards), _fit(entry.atoms, bonded[::-1], wildcards))
        if fits > best:
            best, place = fits, index
    if place < 0:
        return []
    end = place + 1
    while wildcards and end < len(table) and table[end].atoms == table[place].atoms:
        end += 1
    return list(table[place:end])


def _fit(types: tuple[str, ...], bonded: tuple[str, ...], wildcards: bool) -> int:
    """How many atoms agree by name; -1 where one does not fit."""
    exact = 0
    for wanted, own in zip(types, bonded):
        if wanted == own:
            exact += 1
        elif not (wildcards and wanted == "X"):
            return -1
    return exact
