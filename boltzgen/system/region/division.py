"""Takes the energy inside a region out of an OpenMM System, so that another potential may give it.

The hybrid energy is ``U = U_MM(all) - U_MM(internal to the region) + U_ML(region)`` (mechanical embedding:
what the region and its surroundings feel of each other stays the force field's). Internal are the bonded
terms whose atoms all belong to the region, and the pair terms of two of its atoms. An implicit solvent is a
property of the whole molecule and stays on all atoms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import combinations
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from boltzgen.errors import UnsupportedError
from boltzgen.system.formats.openmm_xml import deserialize_system, serialize_system

if TYPE_CHECKING:
    import openmm

#: Tag of one term in the XML of each force whose terms name their atoms.
BONDED_TERMS = {
    "HarmonicBondForce": "Bond",
    "HarmonicAngleForce": "Angle",
    "PeriodicTorsionForce": "Torsion",
    "RBTorsionForce": "Torsion",
    "CMAPTorsionForce": "Torsion",
    "CustomBondForce": "Bond",
    "CustomAngleForce": "Angle",
    "CustomTorsionForce": "Torsion",
    "CustomCompoundBondForce": "Bond",
}
#: Forces between all pairs of atoms, less those that they are told to leave out.
PAIR_FORCES = ("NonbondedForce", "CustomNonbondedForce")
#: Implicit solvent, which stays on all atoms.
SOLVENT_FORCES = ("GBSAOBCForce", "CustomGBForce", "LCPOForce")
#: Forces on single atoms, or without an energy: nothing in them is internal to a region.
ONE_BODY_FORCES = ("CustomExternalForce", "CMMotionRemover", "AndersenThermostat")

Pair = tuple[int, int]


def without_internal_terms(system: openmm.System, atoms: Iterable[int]) -> openmm.System:
    """A copy of `system` without the energy inside the region `atoms`.

    Raises
    ------
    UnsupportedError: a force whose energy cannot be divided, by name.
    """
    region = frozenset(int(atom) for atom in atoms)
    rest = _divided(system, lambda members: not members <= region, keep=(*SOLVENT_FORCES, *ONE_BODY_FORCES))
    _leave_out_pairs(rest, set(combinations(sorted(region), 2)))
    return rest


def only_internal_terms(system: openmm.System, atoms: Iterable[int]) -> openmm.System:
    """A copy of `system` with the energy inside the region `atoms` alone; the other atoms feel nothing.

    With `without_internal_terms` it adds up to the energy of `system`. Raises UnsupportedError as that does.
    """
    region = frozenset(int(atom) for atom in atoms)
    inner = _divided(system, lambda members: members <= region, keep=())
    pairs = set(combinations(range(system.getNumParticles()), 2)) - set(combinations(sorted(region), 2))
    _leave_out_pairs(inner, pairs)
    return inner


def _divided(
    system: openmm.System, wanted: Callable[[frozenset[int]], bool], keep: tuple[str, ...]
) -> openmm.System:
    """A copy with the bonded terms whose atoms are `wanted`, all pair forces, and the classes in `keep`.

    Terms can be taken out of the XML but not out of a force object, which only grows.
    """
    root = ElementTree.fromstring(serialize_system(system))
    forces = root.find("Forces")
    assert forces is not None
    for index, force in enumerate(list(forces)):
        name = force.get("type", "")
        if name in BONDED_TERMS:
            _keep_terms(force, BONDED_TERMS[name], wanted)
        elif name in SOLVENT_FORCES or name in ONE_BODY_FORCES:
            if name not in keep:
                forces.remove(force)
        elif name not in PAIR_FORCES:
            raise UnsupportedError(
                f"The system's force {index} ({name}) cannot be divided into what is inside a region and "
                "what is not, so `ml` cannot take its place; prepare the molecule with a force field "
                "without it."
            )
    return deserialize_system(ElementTree.tostring(root, encoding="unicode"), "the System without its region")


def _keep_terms(force: ElementTree.Element, tag: str, wanted: Callable[[frozenset[int]], bool]) -> None:
    """Take the terms that are not `wanted` out of one bonded force."""
    for parent in force.iter():
        for term in [child for child in parent if child.tag == tag]:
            if not wanted(_members(term)):
                parent.remove(term)


def _members(term: ElementTree.Element) -> frozenset[int]:
    """Atoms of a term: attributes p1, p2, ... (CMAP: a1 to a4 and b1 to b4)."""
    names = [name for name in term.keys() if name[0] in "pab" and name[1:].isdigit()]
    return frozenset(int(term.attrib[name]) for name in names)


def _leave_out_pairs(system: openmm.System, pairs: set[Pair]) -> None:
    """Make no pair force of `system` (changed in place) act between `pairs`, each sorted."""
    for force in system.getForces():
        name = type(force).__name__
        if name == "NonbondedForce":
            _zero_exceptions(force, pairs)
        elif name == "CustomNonbondedForce":
            known = {_sorted(force.getExclusionParticles(k)) for k in range(force.getNumExclusions())}
            for first, second in sorted(pairs - known):
                force.addExclusion(first, second)


def _zero_exceptions(force: openmm.NonbondedForce, pairs: set[Pair]) -> None:
    known = set()
    for index in range(force.getNumExceptions()):
        first, second, _, sigma, _ = force.getExceptionParameters(index)
        pair = _sorted((first, second))
        known.add(pair)
        if pair in pairs:
            force.setExceptionParameters(index, first, second, 0.0, sigma, 0.0)
    for index in range(force.getNumExceptionParameterOffsets()):
        parameter, exception, *_ = force.getExceptionParameterOffset(index)
        if _sorted(force.getExceptionParameters(exception)[:2]) in pairs:
            force.setExceptionParameterOffset(index, parameter, exception, 0.0, 0.0, 0.0)
    for first, second in sorted(pairs - known):
        force.addException(first, second, 0.0, 1.0, 0.0)


def _sorted(pair: Iterable[int]) -> Pair:
    first, second = pair
    return (min(first, second), max(first, second))
