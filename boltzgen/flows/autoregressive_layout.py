"""Which coordinates belong to which atom, and what of one atom another of its coordinates may see."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional

from boltzgen.conditioning.context import MoleculeFeatures
from boltzgen.flows import autoregressive_geometry as geometry
from boltzgen.flows.autoregressive_geometry import Atom
from boltzgen.flows.transforms import HARMONICS

#: Coordinates that place one atom.
SLOTS = 3

#: Inputs from the coordinates of one atom: waves of its torsion, and a number for each linear slot.
N_WAVES = 2 * len(HARMONICS)
N_VALUES = N_WAVES + SLOTS


@dataclass(frozen=True)
class Layout:
    """Which coordinates belong to which atom.

    Attributes
    ----------
    atoms: in order of placement; `drawn`: those that coordinates place.
    atom, slot: of each coordinate; the slot is its place in the order of drawing within the atom.
    circular, column: of each coordinate; column among those of its sort.
    """

    atoms: tuple[Atom, ...]
    has_positions: bool
    drawn: tuple[int, ...]
    atom: tuple[int, ...]
    slot: tuple[int, ...]
    circular: tuple[bool, ...]
    column: tuple[int, ...]

    @classmethod
    def of(cls, molecule: MoleculeFeatures) -> Layout:
        atoms, circular = geometry.atoms_of(molecule), tuple(molecule.circular.tolist())
        size = len(circular)
        atom, slot = [0] * size, [0] * size
        for number, own in enumerate(atoms):
            for place_in_atom, row in enumerate(reversed(own.rows)):
                atom[row], slot[row] = number, place_in_atom
        column = tuple(circular[:row].count(circular[row]) for row in range(size))
        drawn = tuple(number for number, own in enumerate(atoms) if own.rows)
        return cls(atoms, len(molecule.placements) > 0, drawn, tuple(atom), tuple(slot), circular, column)

    @property
    def turns(self) -> tuple[tuple[int, ...], ...]:
        """The coordinates of each atom in the order of drawing: torsion, angle, bond."""
        return tuple(own.rows[::-1] for own in self.atoms)

    def live(self, number: int, slots: int = SLOTS) -> list[int]:
        """Which of N_VALUES the first `slots` drawn coordinates of an atom give, in their order."""
        found: list[int] = []
        for slot, row in enumerate(self.turns[number][:slots]):
            found += range(N_WAVES) if self.circular[row] else [N_WAVES + slot]
        return found

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where the live values of each atom begin among those of all, and how many all are."""
        sizes = [len(self.live(number)) for number in range(len(self.atoms))]
        return tuple(accumulate(sizes, initial=0))

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """How many atoms, one hanging on the other, must be placed before each."""
        found: list[int] = []
        for own in self.atoms:
            found.append(1 + max((found[reference] for reference in own.references), default=-1))
        return tuple(found)

    @cached_property
    def all_live(self) -> tuple[int, ...]:
        """The live ones of the (atoms, N_VALUES) values."""
        return tuple(
            number * N_VALUES + value for number in range(len(self.atoms)) for value in self.live(number)
        )

    def visible(self, like: Tensor) -> Tensor:
        """(d, 1 + N_VALUES, 1): 1 where a coordinate may see a one, and what those drawn before it give."""
        mask = torch.zeros(len(self.atom), 1 + N_VALUES, 1, dtype=like.dtype, device=like.device)
        mask[:, 0] = 1.0
        for row, slot in enumerate(self.slot):
            mask[row, [1 + value for value in self.live(self.atom[row], slot)]] = 1.0
        return mask

    def inputs(self, linear: Tensor, circular: Tensor) -> Tensor:
        """(atoms, N_VALUES, b) what the coordinates of each atom give the network.

        linear: (columns, b), a number each. circular: (columns, N_WAVES, b).
        """
        inputs = linear.new_zeros(len(self.atoms) * N_VALUES, linear.shape[-1])
        places: tuple[list[int], list[int]] = ([], [])
        for row, slot in enumerate(self.slot):
            start = self.atom[row] * N_VALUES
            if self.circular[row]:
                places[1].extend(range(start, start + N_WAVES))
            else:
                places[0].append(start + N_WAVES + slot)
        for rows, found in zip(places, (linear, circular.flatten(0, 1)), strict=True):
            inputs = inputs.index_copy(0, torch.tensor(rows, dtype=torch.long, device=inputs.device), found)
        return inputs.unflatten(0, (-1, N_VALUES))

    def tokens(self) -> list[list[int]]:
        """(atoms, SLOTS + 1): coordinates that describe each atom, -1 for none.

        The first atom, which no coordinate places, is described by the bond that leads to the second.
        """
        table = []
        for own in self.atoms:
            rows = list(reversed(own.rows))
            table.append([*rows, *[-1] * (SLOTS - len(rows)), -1 if rows else 0])
        return table

    def graph_distance(self, of_rows: Tensor) -> Tensor:
        """(atoms, atoms) bonds between atoms, from those between the atoms that coordinates place."""
        if len(self.drawn) == len(self.atoms):
            return of_rows
        rows = [own.rows[0] for own in self.atoms[1:]]
        among = of_rows[rows][:, rows]
        bonded = [
            k
            for k, own in enumerate(self.atoms[1:])
            if own.references[0] == 0 or (own.style == "closure" and own.references[1] == 0)
        ]
        to_first = 1 + among[bonded].amin(dim=0)
        whole = functional.pad(among, (1, 0, 1, 0))
        whole[0, 1:], whole[1:, 0] = to_first, to_first
        return whole
