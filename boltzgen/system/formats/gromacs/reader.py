"""From a GROMACS topology to OpenMM: bonded terms through OpenMM's reader, pairs by `nonbonded`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boltzgen.system.formats.gromacs.bonded import FUNCTIONS, BondedTypes
from boltzgen.system.formats.gromacs.nonbonded import add_nonbonded, charges_of, type_of
from boltzgen.system.formats.gromacs.preprocess import preprocess
from boltzgen.system.formats.gromacs.topology import (
    MoleculeType,
    TopologyFile,
    atoms_of,
    number,
    read_sections,
)

if TYPE_CHECKING:
    import openmm
    from openmm import app

#: Defined from the start, as in OpenMM's reader: water with bonds instead of constraints.
DEFINES = {"FLEXIBLE": ""}

#: Largest difference (dalton) between the mass of an atom type and that of the element it is taken for.
SAME_MASS = 0.6


class GromacsTopology:
    """A topology by grompp's rules; `topology` and `createSystem` are those of OpenMM's readers."""

    def __init__(self, path: Path, include: Path | None = None) -> None:
        lines, asked = preprocess(path, include, DEFINES)
        self.file = read_sections(path, lines)
        self.notes = _notes(self.file, asked)
        self._bonded = _read_bonded(resolved_text(self.file))

    @property
    def topology(self) -> app.Topology:
        return self._bonded.topology

    @property
    def names(self) -> list[tuple[str, str]]:
        """Residue and atom names as the file has them; OpenMM's topology has those of the PDB."""
        return [
            (line.words[3], line.words[4])
            for kind, count in self.file.molecules
            for _ in range(count)
            for line in kind.lines("atoms")
        ]

    def createSystem(self, **options: Any) -> openmm.System:
        """The System in vacuum, without cutoff; `options` are those of OpenMM's reader."""
        import openmm

        system = self._bonded.createSystem(**options)
        for index in reversed(range(system.getNumForces())):
            if isinstance(system.getForce(index), openmm.NonbondedForce):
                system.removeForce(index)
        add_nonbonded(system, self.file)
        return system


def _read_bonded(text: str) -> app.GromacsTopFile:
    from openmm import app

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resolved.top"
        path.write_text(text, encoding="utf-8")
        return app.GromacsTopFile(str(path), includeDir=folder)


def _notes(top: TopologyFile, asked: set[str]) -> tuple[str, ...]:
    notes = []
    if asked:
        notes.append(f"{top.path.name}: FLEXIBLE is defined, so that water has bonds and no constraints.")
    states = [line.place for kind, _ in top.molecules for line in kind.lines("atoms") if len(line.words) > 8]
    if states:
        notes.append(f"{states[0]} and {len(states) - 1} more have a second state (B); state A is used.")
    return tuple(notes)


def resolved_text(top: TopologyFile) -> str:
    """`top` with every bonded parameter written out, and no interaction between pairs but charges."""
    types = BondedTypes(top)
    text = ["[ defaults ]", "1 2 no 1.0 1.0", "[ atomtypes ]"]
    names: dict[tuple[str, str], str] = {}
    molecules: list[str] = []
    for kind in {id(kind): kind for kind, _ in top.molecules}.values():
        molecules += [f"[ moleculetype ]\n{kind.name} 1", "[ atoms ]"]
        charges = charges_of(kind, top)
        for line, charge in zip(kind.lines("atoms"), charges):
            own = type_of(line, top)
            key = names.setdefault((own.name, line.words[4]), f"T{len(names) + 1}")
            mass = number(line, 7) if len(line.words) > 7 else own.mass
            # OpenMM knows atoms' elements from their types alone: a type for each type and name
            words = [line.words[0], key, *line.words[2:6], repr(charge), repr(mass)]
            molecules.append(" ".join(words))
        molecules += list(_bonded_lines(kind, top, types))
    for (name, atom), key in names.items():
        own = top.atom_types[name]
        element = own.number if own.number is not None else _element(atom, own.mass)
        text.append(f"{key} {own.bonded} {element} {own.mass:.6f} 0.0 A 1.0 0.0")
    for line in top.of_parameters("cmaptypes"):
        text += ["[ cmaptypes ]", " ".join(line.words)]
    text += molecules
    text += ["[ system ]", "resolved", "[ molecules ]"]
    text += [f"{kind.name} {count}" for kind, count in top.molecules]
    return "\n".join(text) + "\n"


def _bonded_lines(kind: MoleculeType, top: TopologyFile, types: BondedTypes) -> Iterator[str]:
    bonded = [type_of(line, top).bonded for line in kind.lines("atoms")]
    for section, (count, _) in FUNCTIONS.items():
        yield f"[ {section} ]"
        for line in kind.lines(section):
            atoms = atoms_of(line, count, len(bonded))
            for function, parameters in types.terms(section, line, [bonded[atom] for atom in atoms]):
                if section == "dihedrals" and function == "5":
                    function, parameters = "3", _ryckaert_bellemans(parameters)
                yield " ".join([*(str(atom + 1) for atom in atoms), function, *parameters])
    for section in ("constraints", "settles", "cmap"):
        yield f"[ {section} ]"
        for line in kind.lines(section):
            yield " ".join(line.words)


def _ryckaert_bellemans(fourier: tuple[str, ...]) -> tuple[str, ...]:
    """Coefficients C0 to C5 of the Fourier form F1 to F4 (GROMACS manual, "Fourier dihedral function")."""
    f1, f2, f3, f4 = map(float, fourier)
    return tuple(map(repr, (f2 + (f1 + f3) / 2, (3 * f3 - f1) / 2, 4 * f4 - f2, -2 * f3, -4 * f4, 0.0)))


def _element(name: str, mass: float) -> int:
    """The atomic number that name and mass agree on; else that of the first letter; 0 for none."""
    from openmm.app import element

    letters = "".join(letter for letter in name if letter.isalpha())
    for size in (2, 1):
        try:
            found = element.get_by_symbol(letters[:size].capitalize())
        except KeyError:
            continue
        if size == 1 or abs(found.mass._value - mass) < SAME_MASS:
            return int(found.atomic_number)
    return 0
