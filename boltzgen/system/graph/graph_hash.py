"""A hash of the molecular graph that names, the order of atoms and stereo do not change."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from boltzgen.system.graph.adjacency import adjacency
from boltzgen.system.graph.refinement import Key, by_neighbours, refined

if TYPE_CHECKING:
    from boltzgen.system.molecular_system import MolecularSystem

Colours = list[str]


def graph_hash(system: MolecularSystem) -> str:
    """Hexadecimal hash of elements and bonds: the same for the same constitution, whatever the force field.

    Bond orders and charges are not looked at, since hydrogens are atoms of the graph: another protonation
    state is another graph. Where no element is known (united atoms) the mass stands for it.

    Weisfeiler-Lehman colours, refined once more for each atom with that atom marked, which also tells apart
    regular ring systems that the colours alone confuse (decalin and bicyclopentyl).
    """
    neighbours = adjacency(system.n_atoms, system.bonds)
    elements = [
        f"Z{int(number)}" if number else f"m{float(mass):.1f}"
        for number, mass in zip(system.atomic_numbers, system.masses, strict=True)
    ]
    colours = _refined(elements, neighbours)
    marked: dict[int, str] = {}
    for atom in range(system.n_atoms):
        twin = _first_twin(atom, colours, neighbours)
        alone = [f"marked {c}" if i == atom else c for i, c in enumerate(colours)]
        marked[atom] = marked[twin] if twin != atom else _digest(sorted(_refined(alone, neighbours)))
    return _digest([str(system.n_atoms), *sorted(marked.values())], size=16)


def _refined(colours: Colours, neighbours: Sequence[Sequence[int]]) -> Colours:
    """`colours` with those of neighbours mixed in, by digests that mean the same in another molecule."""

    def renamed(keys: list[Key]) -> Colours:
        return [_digest([own, *around]) for own, around in keys]

    return refined(colours, by_neighbours(neighbours), renamed)


def _first_twin(atom: int, colours: Colours, neighbours: Sequence[Sequence[int]]) -> int:
    """The first atom that hangs by one bond where `atom` does and is like it (hydrogens of a methyl)."""
    if len(neighbours[atom]) != 1:
        return atom
    around = neighbours[neighbours[atom][0]]
    return min(n for n in around if len(neighbours[n]) == 1 and colours[n] == colours[atom])


def _digest(words: Sequence[str], size: int = 8) -> str:
    return blake2b("\n".join(words).encode(), digest_size=size).hexdigest()
