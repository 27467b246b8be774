"""Weisfeiler-Lehman refinement: colours of atoms split by those around them, until they split no further."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

Colour = TypeVar("Colour", bound=Hashable)
Key = tuple[Any, tuple[Any, ...]]


def refined(
    colours: list[Colour],
    around: Callable[[list[Colour], int], Sequence[Any]],
    renamed: Callable[[list[Key]], list[Colour]],
) -> list[Colour]:
    """`colours` (N,) split by what stands around the atoms, again and again, until their number stays.

    Parameters
    ----------
    around: of all colours and one atom, what the atom sees, in any order.
    renamed: new colours of the keys ``(own colour, sorted view)`` of all atoms; equal keys, equal colours.
    """
    kinds = 0
    while len(set(colours)) > kinds:
        kinds = len(set(colours))
        colours = renamed([(own, tuple(sorted(around(colours, atom)))) for atom, own in enumerate(colours)])
    return colours


def by_neighbours(neighbours: Sequence[Sequence[int]]) -> Callable[[list[Any], int], list[Any]]:
    """A view for `refined`: the colours of the bonded atoms."""
    return lambda colours, atom: [colours[other] for other in neighbours[atom]]


def dense(keys: list[Any]) -> list[int]:
    """The rank, from 0, of each key among the different keys."""
    index = {key: k for k, key in enumerate(sorted(set(keys)))}
    return [index[key] for key in keys]
