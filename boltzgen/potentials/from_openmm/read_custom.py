"""Readers of OpenMM's custom forces: a force object becomes `CustomForce` records.

A force is known by its class name and read by its getters, so that this file needs no OpenMM.
Requests for derivatives by global parameters have no effect on the energy and are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from boltzgen.errors import InputError, UnsupportedError
from boltzgen.potentials.expressions.language import evaluate, parse
from boltzgen.potentials.from_openmm.read_native import cutoff_of, numbers
from boltzgen.potentials.records.custom_forces import CustomForce
from boltzgen.potentials.records.tabulated import TabulatedFunction
from boltzgen.system.graph.adjacency import bond_distances
from boltzgen.system.terms.charges import CHARGE_NAMES

#: (force, its name in messages, context) -> fields of `ForceFieldParameters`, ``custom`` above all.
Reader = Callable[[Any, str, "ReadingContext"], dict[str, list[Any]]]

#: Bonds within which the atoms of a term must lie to count as bonded; two for pairs (Urey-Bradley).
BONDS_OF_PAIR, BONDS_OF_TERM = 2, 3


@dataclass(frozen=True)
class ReadingContext:
    """What a reader knows beside the force: the number of atoms and, where known, the bonds (M, 2)."""

    n_atoms: int
    bonds: np.ndarray | None = None

    @cached_property
    def _distances(self) -> np.ndarray | None:
        return None if self.bonds is None else bond_distances(self.n_atoms, self.bonds)

    def within(self, atoms: np.ndarray, bonds: int) -> np.ndarray:
        """(T,): whether all atoms of each row of `atoms` (T, n) are within so many bonds of each other."""
        if self._distances is None:
            return np.zeros(len(atoms), dtype=bool)
        found = self._distances[atoms[:, :, None], atoms[:, None, :]]
        joined = found < self.n_atoms  # a path has fewer bonds than there are atoms
        return (joined & (found <= bonds)).all(axis=(1, 2))


def globals_of(force: Any, where: str) -> dict[str, float]:
    """Global parameters at their default values."""
    count = force.getNumGlobalParameters()
    values = numbers((force.getGlobalParameterDefaultValue(n) for n in range(count)), where)
    return {force.getGlobalParameterName(n): float(value) for n, value in enumerate(values)}


def _as_arrays(values: dict[str, float]) -> dict[str, np.ndarray]:
    return {name: np.array(value) for name, value in values.items()}


def tables_of(force: Any, where: str) -> dict[str, TabulatedFunction]:
    """Tabulated functions by name."""
    tables = {}
    for index in range(force.getNumTabulatedFunctions()):
        name, function = force.getTabulatedFunctionName(index), force.getTabulatedFunction(index)
        try:
            tables[name] = table_of(function)
        except InputError as error:
            raise InputError(f"In the system's {where}, function {name!r}: {error}") from error
    return tables


def table_of(function: Any) -> TabulatedFunction:
    """The record of one of OpenMM's tabulated functions."""
    kind = type(function).__name__
    if kind not in {f"{c}{d}DFunction" for c in ("Continuous", "Discrete") for d in (1, 2, 3)}:
        raise UnsupportedError(f"a tabulated function of the class {kind} is not translated.")
    dimensions = int(kind.removesuffix("DFunction")[-1])
    given = function.getFunctionParameters()
    if dimensions == 1:
        values, limits = (given[0], given[1:]) if kind.startswith("Continuous") else (given, [])
        sizes = [len(values)]
    else:
        sizes, values, limits = given[:dimensions], given[dimensions], given[dimensions + 1 :]
    pairs = tuple((float(limits[n]), float(limits[n + 1])) for n in range(0, len(limits), 2))
    array = np.array(values, dtype=np.float64).reshape(sizes, order="F")
    return TabulatedFunction(array, pairs, bool(pairs) and function.getPeriodic())


def _per_term(force: Any, count: int, names: str, get: Callable[[int], Any], where: str) -> tuple[Any, ...]:
    """The atoms (T, n) and the parameters (T,) by name of terms that a getter gives as (atoms..., values)."""
    rows = [get(index) for index in range(count)]
    atoms = [row[0] if len(row) == 2 and not isinstance(row[0], int) else row[:-1] for row in rows]
    values = [numbers(row[-1], f"{where}, term {index},") for index, row in enumerate(rows)]
    own = [getattr(force, f"get{names}Name")(n) for n in range(getattr(force, f"getNum{names}s")())]
    table = np.array(values, dtype=np.float64).reshape(count, len(own))
    return np.array(atoms, dtype=np.int64).reshape(count, -1), dict(zip(own, table.T, strict=True))


def _reader(terms: str, names: str) -> Reader:
    """The reader of a force whose terms have atoms of their own: ``getNumBonds``, ``getBondParameters``."""

    def read(force: Any, where: str, context: ReadingContext) -> dict[str, list[Any]]:
        count = getattr(force, f"getNum{terms}s")()
        get = getattr(force, f"get{terms}Parameters")
        atoms, parameters = _per_term(force, count, names, get, where)
        if type(force).__name__ == "CustomCentroidBondForce":
            atoms = _single_atoms(force, where)[atoms]
        return {"custom": _records(force, where, context, atoms, parameters)}

    return read


def _single_atoms(force: Any, where: str) -> np.ndarray:
    """(G,) the atom of each group of a centroid force."""
    groups = [list(force.getGroupParameters(n)[0]) for n in range(force.getNumGroups())]
    if large := [n for n, group in enumerate(groups) if len(group) != 1]:
        raise UnsupportedError(
            f"The system's {where} has a group of {len(groups[large[0]])} atoms (group {large[0]}); "
            "centroids are translated for groups of one atom."
        )
    return np.array([group[0] for group in groups], dtype=np.int64)


def _records(
    force: Any, where: str, context: ReadingContext, atoms: np.ndarray, parameters: dict[str, np.ndarray]
) -> list[CustomForce]:
    """One record of the bonded terms and one of the others, where there are any."""
    if atoms.size and (atoms.min() < 0 or atoms.max() >= context.n_atoms):
        raise InputError(f"The system's {where} names atom {atoms.max()}; there are {context.n_atoms}.")
    whole = CustomForce(
        kind=type(force).__name__,
        where=where,
        expression=force.getEnergyFunction(),
        atoms=atoms,
        parameters={**_as_arrays(globals_of(force, where)), **parameters},
        functions=tables_of(force, where) if hasattr(force, "getNumTabulatedFunctions") else {},
    )
    internal = _internal(whole.kind, atoms, context)
    return [
        whole.part(mask, bonded=bonded)
        for mask, bonded in ((internal, True), (~internal, False))
        if any(mask)
    ]


def _internal(kind: str, atoms: np.ndarray, context: ReadingContext) -> np.ndarray:
    """(T,) whether each term counts as bonded; where bonds are unknown, angles and torsions do."""
    if kind == "CustomExternalForce":
        return np.zeros(len(atoms), dtype=bool)
    if context.bonds is None:
        return np.full(len(atoms), kind in ("CustomAngleForce", "CustomTorsionForce"))
    return context.within(atoms, BONDS_OF_PAIR if atoms.shape[1] == 2 else BONDS_OF_TERM)


def _read_pairs(force: Any, where: str, context: ReadingContext) -> dict[str, list[Any]]:
    """A CustomNonbondedForce: one term for each interacting pair, its cutoff and switching function.

    Its long-range correction, which OpenMM applies in periodic boxes alone, is passed over.
    """
    per_particle = [force.getPerParticleParameterName(n) for n in range(force.getNumPerParticleParameters())]
    count = force.getNumParticles()
    if count != context.n_atoms:
        raise InputError(f"The system's {where} has {count} particles; there are {context.n_atoms} atoms.")
    rows = [numbers(force.getParticleParameters(n), f"{where}, particle {n},") for n in range(count)]
    table = np.array(rows, dtype=np.float64).reshape(count, len(per_particle))
    own = dict(zip(per_particle, table.T, strict=True))
    tables, constants = tables_of(force, where), globals_of(force, where)
    own.update(_computed_values(force, where, own, constants, tables))
    atoms = np.array(list(_pairs(force, count)), dtype=np.int64).reshape(-1, 2)
    parameters = _as_arrays(constants)
    for name, values in own.items():
        parameters[f"{name}1"], parameters[f"{name}2"] = values[atoms[:, 0]], values[atoms[:, 1]]
    cutoff = cutoff_of(force, where)
    switched = cutoff is not None and force.getUseSwitchingFunction()
    switch = float(numbers([force.getSwitchingDistance()], where)[0]) if switched else None
    if switch is not None and cutoff is not None and not 0 <= switch < cutoff:
        raise InputError(
            f"The system's {where} switches from {switch:g} nm; that must be below its cutoff, {cutoff:g} nm."
        )
    record = CustomForce(
        kind=type(force).__name__,
        where=where,
        expression=force.getEnergyFunction(),
        atoms=atoms,
        parameters=parameters,
        functions=tables,
        cutoff=cutoff,
        switching_distance=switch,
    )
    return {"custom": [record] if len(atoms) else [], "described": [own]}


def atoms_described(descriptions: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What the parameters of pair forces say of the atoms: charges (the sum over forces), sigma, epsilon."""
    named = {"charge": CHARGE_NAMES, "sigma": ("sigma",), "epsilon": ("epsilon",)}
    found = {}
    for field, names in named.items():
        chosen = [[own[name] for name in names if name in own][:1] for own in descriptions]
        found[field] = [values for one in chosen for values in one]
    return {
        field: np.sum(values, axis=0) if field == "charge" else values[0]
        for field, values in found.items()
        if values
    }


def _computed_values(
    force: Any,
    where: str,
    own: dict[str, np.ndarray],
    constants: dict[str, float],
    tables: dict[str, TabulatedFunction],
) -> dict[str, np.ndarray]:
    """Per-particle values that follow from the parameters alone."""
    variables = {name: torch.tensor(value) for name, value in own.items()}
    variables |= {name: torch.tensor(value, dtype=torch.float64) for name, value in constants.items()}
    computed = {}
    for index in range(force.getNumComputedValues()):
        name, text = force.getComputedValueParameters(index)
        try:
            expression = parse(text, {table: function.arity for table, function in tables.items()})
            value = evaluate(expression, variables, tables)
        except InputError as error:
            raise InputError(f"In the system's {where}, computed value {name!r}: {error}") from error
        computed[name] = value.expand(force.getNumParticles()).numpy()
    return computed


def _pairs(force: Any, n_atoms: int) -> Iterator[tuple[int, int]]:
    """Interacting pairs; one that is in two interaction groups comes twice, as in OpenMM."""
    excluded = {frozenset(force.getExclusionParticles(index)) for index in range(force.getNumExclusions())}
    groups = force.getNumInteractionGroups()
    if not groups:
        for first in range(n_atoms):
            for second in range(first + 1, n_atoms):
                if frozenset((first, second)) not in excluded:
                    yield first, second
    for index in range(groups):
        one, two = (set(members) for members in force.getInteractionGroupParameters(index))
        for first in sorted(one):
            for second in sorted(two):
                again = first > second and second in one and first in two
                if first != second and not again and frozenset((first, second)) not in excluded:
                    yield first, second


READERS: dict[str, Reader] = {
    "CustomBondForce": _reader("Bond", "PerBondParameter"),
    "CustomAngleForce": _reader("Angle", "PerAngleParameter"),
    "CustomTorsionForce": _reader("Torsion", "PerTorsionParameter"),
    "CustomExternalForce": _reader("Particle", "PerParticleParameter"),
    "CustomCompoundBondForce": _reader("Bond", "PerBondParameter"),
    "CustomCentroidBondForce": _reader("Bond", "PerBondParameter"),
    "CustomNonbondedForce": _read_pairs,
}
