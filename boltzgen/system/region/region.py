"""The machine-learned region of a hybrid: which atoms it has, what charge, and the hydrogens that close it.

Where the region's edge cuts a bond, a link hydrogen takes the place of the atom outside. It is no atom of its
own: it stands on the bond, ``r_link = r_inside + g (r_outside - r_inside)`` with a constant g, as in ONIOM
(Dapprich, Komaromi, Byun, Morokuma and Frisch, J. Mol. Struct. THEOCHEM 461, 1 (1999)), so that the energy
stays a function of the atoms and its forces reach both ends of the bond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from boltzgen.errors import InputError, UnsupportedError
from boltzgen.system.energy_model import LinkAtom
from boltzgen.system.graph.bond_orders import BondOrders, perceive
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.terms.charges import partial_charges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from boltzgen.system.molecular_system import MolecularSystem

#: nm; covalent radii of Cordero et al., Dalton Trans. 2832 (2008), for the elements that prepare supports.
COVALENT_RADII = {
    1: 0.031,
    5: 0.084,
    6: 0.076,
    7: 0.071,
    8: 0.066,
    9: 0.057,
    14: 0.111,
    15: 0.107,
    16: 0.105,
    17: 0.102,
    34: 0.120,
    35: 0.120,
    53: 0.139,
}

#: nm; a link hydrogen nearer than this to another link hydrogen or to a strange atom makes no molecule.
CLOSEST_LINK = 0.1

#: e; charges of a region that are further than this from a whole number do not say which one is meant.
CHARGE_DOUBT = 0.2


def select_region(system: MolecularSystem, selection: str) -> tuple[int, ...]:
    """Atom indices, ascending, of an MDTraj `selection` such as ``all``, ``resid 1`` or ``index 0 to 9``.

    Raises
    ------
    InputError: the selection does not parse, or is empty.
    """
    example = "write one like 'all', 'resid 1' or 'resname ALA'"
    topology = system.mdtraj_topology()
    try:
        chosen = topology.select(selection)
    except Exception as error:  # the parser of MDTraj raises exceptions of many classes
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(
            f"`ml_region={selection!r}` is not an MDTraj selection ({reason}); {example}."
        ) from error
    if len(chosen) == 0:
        raise InputError(f"`ml_region={selection!r}` selects no atom of {system.name!r}; {example}.")
    return tuple(sorted({int(atom) for atom in chosen}))


def total_charge(system: MolecularSystem) -> int | None:
    """The molecule's charge in e, rounded; None when no force holds charges."""
    charges = partial_charges(system.openmm_system())
    return None if charges is None else round(float(charges.sum()))


def region_charge(system: MolecularSystem, atoms: Sequence[int]) -> int:
    """Charge in e of a region: of its formal charges, or else of the force field's charges on it.

    Raises
    ------
    InputError: neither says a whole number.
    """
    whole = total_charge(system)
    if len(atoms) == system.n_atoms and whole is not None:
        return whole
    orders = None if whole is None else perceive(system, whole)
    if orders is not None:
        return int(orders.formal_charge[list(atoms)].sum())
    charges = partial_charges(system.openmm_system())
    found = None if charges is None else float(charges[list(atoms)].sum())
    if found is None or abs(found - round(found)) > CHARGE_DOUBT:
        raise InputError(
            f"The charge of the machine-learned region of {system.name!r} cannot be told (charges on its "
            f"atoms: {'none' if found is None else f'{found:+.2f} e'}); give it: "
            "`ml_options={'charge': '0'}`."
        )
    return round(found)


def link_atoms(system: MolecularSystem, atoms: Sequence[int]) -> tuple[LinkAtom, ...]:
    """The link hydrogens of the region `atoms`, one for each bond that its edge cuts, in the bonds' order.

    Raises
    ------
    UnsupportedError: a bond is cut that is not single, lies in a ring or ends at a hydrogen; or a link
    hydrogen would touch another one or an atom of the region that it is not bonded to.
    """
    region = set(atoms)
    cut = [
        (int(first), int(second)) if int(first) in region else (int(second), int(first))
        for first, second in system.bonds
        if (int(first) in region) != (int(second) in region)
    ]
    if not cut:
        return ()
    graph = MolecularGraph.from_system(system)
    whole = total_charge(system)
    orders = None if whole is None else perceive(system, whole)
    for inside, outside in cut:
        reason = _why_not(system, graph, orders, inside, outside)
        if reason:
            raise UnsupportedError(
                f"The edge of `ml_region` cuts the bond {_bond(system, inside, outside)}, which {reason}; "
                "move the edge to a single bond between two carbon atoms, best one of four neighbours each."
            )
    links = tuple(LinkAtom(inside, outside, _scale(system, inside, outside)) for inside, outside in cut)
    _check_distances(system, atoms, links)
    return links


def _why_not(
    system: MolecularSystem, graph: MolecularGraph, orders: BondOrders | None, inside: int, outside: int
) -> str:
    """Why the bond must not be cut, as the end of a sentence; empty when it may."""
    pair = (min(inside, outside), max(inside, outside))
    numbers = system.atomic_numbers[[inside, outside]]
    if (numbers <= 0).any():
        return "ends at an atom whose element is not known"
    if (numbers == 1).any():
        return "ends at a hydrogen"
    unknown = [int(number) for number in numbers if int(number) not in COVALENT_RADII]
    if unknown:
        return f"ends at an element (atomic number {unknown[0]}) without a link distance"
    if pair in graph.ring_bonds:
        return "lies in a ring"
    if any({bond.c, bond.p} == {inside, outside} for bond in graph.isomer_bonds):
        return "has the character of a double bond"
    if orders is not None:
        return "" if orders.order[pair] == 1.0 else "is not single"
    ends = [len(graph.neighbours[atom]) for atom in (inside, outside)]
    if ends != [4, 4]:
        return "cannot be shown to be single (no Lewis structure was found for the molecule)"
    return ""


def _scale(system: MolecularSystem, inside: int, outside: int) -> float:
    """g of the link hydrogen: the ratio of the two bonds' lengths by covalent radii."""
    within, without = (COVALENT_RADII[int(system.atomic_numbers[atom])] for atom in (inside, outside))
    return (within + COVALENT_RADII[1]) / (within + without)


def _check_distances(system: MolecularSystem, atoms: Sequence[int], links: Sequence[LinkAtom]) -> None:
    x = system.reference_positions
    names = system.atom_names
    places = [x[link.inside] + link.scale * (x[link.outside] - x[link.inside]) for link in links]
    for k, (link, place) in enumerate(zip(links, places, strict=True)):
        others = [(atom, x[atom]) for atom in atoms if atom != link.inside]
        others += [(links[m].outside, places[m]) for m in range(k)]
        for atom, position in others:
            distance = float(np.linalg.norm(place - position))
            if distance < CLOSEST_LINK:
                raise UnsupportedError(
                    f"The link hydrogen of the cut bond {_bond(system, link.inside, link.outside)} would be "
                    f"{distance:.3f} nm from {'that of ' if atom not in atoms else ''}{names[atom]}; "
                    "take more atoms into `ml_region`, or fewer."
                )


def link_warnings(system: MolecularSystem, links: Sequence[LinkAtom]) -> list[str]:
    """What is doubtful about the cuts: bonds that are not between two carbon atoms."""
    polar = [
        _bond(system, link.inside, link.outside)
        for link in links
        if (system.atomic_numbers[[link.inside, link.outside]] != 6).any()
    ]
    if not polar:
        return []
    return [
        f"The edge of `ml_region` cuts the polar bond {polar[0]}; a hydrogen is a poor stand-in there, a cut "
        "between two carbon atoms disturbs less."
    ]


def is_zwitterion(system: MolecularSystem, atoms: Sequence[int]) -> bool:
    """Whether `atoms` hold formal charges of both signs (an amino acid with free ends, say)."""
    whole = total_charge(system)
    orders = None if whole is None else perceive(system, whole)
    return orders is not None and orders.is_zwitterion(atoms)


def _bond(system: MolecularSystem, first: int, second: int) -> str:
    names = system.atom_names
    return f"{names[first]} - {names[second]}"
