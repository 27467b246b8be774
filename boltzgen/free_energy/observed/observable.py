"""The records: a name as people write it, what it measures on conformations, and the numbers.

A name is ``BASE``, ``BASE(words)``, ``BASE:where`` or ``BASE(words):where``: ``rg``,
``hbond(Wernet-Nilsson)``, ``J3-HN-HA:3``, ``J3(9.4,-1.1,0.4):H1-C1-O1-H2``. An atom is a zero-based index,
a name that only one atom has, or ``RESIDUE.NAME`` (``2.HA``); atoms are parted by ``-``, atoms of one group
are joined by ``+``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import InputError

if TYPE_CHECKING:
    import mdtraj


@dataclass(frozen=True)
class Observable:
    """A column of numbers: its name, its unit (``1`` for none) and the values (n,), NaN where not defined.

    power: the mean that experiment sees is ``<v^power>^(1/power)``; 1 is the arithmetic mean.
    further: what belongs to the number in a result file (JSON types), e.g. the Karplus ``relation``.
    note: what a reader must know of it, once for all columns that have the same.
    """

    name: str
    unit: str
    values: np.ndarray
    power: int = 1
    further: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, eq=False)
class Molecule:
    """What measures are made for: MDTraj's topology, and charges (N,) in e and masses (N,) in dalton.

    charges, masses: None where the prepared system is not at hand; `missing` then says why, and what to do.
    """

    topology: mdtraj.Topology
    charges: np.ndarray | None = None
    masses: np.ndarray | None = None
    missing: str = ""

    @cached_property
    def elements(self) -> list[str]:
        """Symbols (N,); empty where unknown."""
        return ["" if atom.element is None else atom.element.symbol for atom in self.topology.atoms]

    @cached_property
    def neighbours(self) -> list[list[int]]:
        """The bonded atoms of each atom, in order; InputError where the topology has no bonds."""
        found: list[list[int]] = [[] for _ in range(self.topology.n_atoms)]
        for bond in self.topology.bonds:
            found[bond[0].index].append(bond[1].index)
            found[bond[1].index].append(bond[0].index)
        if not any(found):
            raise InputError("the topology stored with the samples has no bonds; prepare and sample again.")
        return [sorted(one) for one in found]


@dataclass(frozen=True)
class Measure:
    """Columns of numbers: names (m,), a unit, and `evaluate`: positions (n, N, 3) nm, finite -> (n, m).

    power, further (one a column, or none), note: see `Observable`. seen_only: a column that is 0 in every
    sample is left out.
    """

    names: tuple[str, ...]
    unit: str
    evaluate: Callable[[np.ndarray], np.ndarray]
    power: int = 1
    further: tuple[Mapping[str, Any], ...] = ()
    note: str = ""
    seen_only: bool = False


@dataclass(frozen=True)
class Asked:
    """A name as it was written, and its parts; `words` and `where` are empty where not given."""

    text: str
    base: str
    words: str
    where: str

    @classmethod
    def of(cls, text: str) -> Asked:
        """InputError where a bracket stays open."""
        match = re.fullmatch(r"([^(:]*)(?:\(([^)]*)\))?(?::(.+))?", text.strip())
        if match is None:
            raise InputError(
                f"observable {text!r}: expected NAME, NAME(words), NAME:where or NAME(words):where."
            )
        return cls(text, match[1].strip(), (match[2] or "").strip(), (match[3] or "").strip())

    def require_bare(self) -> None:
        """InputError where words or a place were given to an observable of the whole molecule."""
        if self.words or self.where:
            raise InputError(f"observable {self.text!r}: {self.base} stands alone; write {self.base}.")

    def choice(self, known: tuple[str, ...]) -> str:
        """The word in brackets, one of `known`; the first where none was given."""
        if not self.words:
            return known[0]
        found = [name for name in known if name.lower() == self.words.lower()]
        if not found:
            raise InputError(
                f"observable {self.text!r}: {self.words!r} is unknown; {self.base} has {', '.join(known)}."
            )
        return found[0]

    def groups(self, topology: mdtraj.Topology, count: int) -> list[tuple[int, ...]]:
        """The `count` groups of atoms of `where`, none with an atom twice or of another group."""
        parts = self.where.split("-") if self.where else []
        if len(parts) != count:
            example = "-".join(["ATOM"] * count)
            raise InputError(
                f"observable {self.text!r}: expected {self.base}:{example}, {count} atoms parted by '-' "
                f"(a zero-based index, a name, or RESIDUE.NAME); got {self.where!r}."
            )
        found = [tuple(_atom(self.text, one.strip(), topology) for one in part.split("+")) for part in parts]
        every = [atom for group in found for atom in group]
        if len(set(every)) != len(every):
            raise InputError(f"observable {self.text!r}: an atom is named twice.")
        return found

    def atoms(self, topology: mdtraj.Topology, count: int) -> tuple[int, ...]:
        """The `count` single atoms of `where`."""
        groups = self.groups(topology, count)
        if any(len(group) != 1 for group in groups):
            raise InputError(f"observable {self.text!r}: {self.base} takes single atoms, no groups.")
        return tuple(group[0] for group in groups)


def label(topology: mdtraj.Topology, atom: int) -> str:
    """How `atom` is called: its name where no other atom has it, else ``RESIDUE.NAME``, else its index."""
    one = topology.atom(atom)
    full = f"{one.residue.resSeq}.{one.name}"
    atoms = list(topology.atoms)
    if re.search(r"[-+.:()]", one.name) or one.name.isdigit():
        return str(atom)
    if sum(other.name == one.name for other in atoms) == 1:
        return str(one.name)
    alike = sum(f"{other.residue.resSeq}.{other.name}" == full for other in atoms)
    return full if alike == 1 else str(atom)


def _atom(text: str, word: str, topology: mdtraj.Topology) -> int:
    if word.isdigit():
        if int(word) >= topology.n_atoms:
            raise InputError(
                f"observable {text!r}: atom {word} is outside 0 to {topology.n_atoms - 1}, the atoms of the "
                "molecule."
            )
        return int(word)
    residue, _, name = word.rpartition(".")
    found = [
        atom.index
        for atom in topology.atoms
        if atom.name == name and residue in ("", str(atom.residue.resSeq))
    ]
    if len(found) == 1:
        return int(found[0])
    if found:
        choices = ", ".join(label(topology, atom) for atom in found[:6])
        raise InputError(f"observable {text!r}: {word} names {len(found)} atoms; choose one of {choices}.")
    names = ", ".join(label(topology, atom) for atom in range(min(topology.n_atoms, 12)))
    raise InputError(
        f"observable {text!r}: the molecule has no atom {word!r}; its atoms are {names}"
        f"{' ...' if topology.n_atoms > 12 else ''} (or 0 to {topology.n_atoms - 1})."
    )
