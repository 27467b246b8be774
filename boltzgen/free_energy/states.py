"""Conformational states: the states file, and which sample lies in which state.

    coordinates:                      # optional; phi, psi, omega, chi1 ... are ready
      turn: {distance: ["resid 0 and name O", "resid 2 and name N"]}     # nm
    states:
      - name: right
        where: {phi: [0, 180]}        # degrees, [low, high), low > high wraps around
      - name: closed
        where: {phi: [-180, 0], turn: [0.0, 0.35]}                       # all must hold
      - name: other
        where: rest                   # everything in no other state
    differences: [[closed, right]]    # G_right - G_closed; default: first state to each other

A list of ranges means any of them: ``phi: [[-180, -120], [120, 180]]``. JSON works as well.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzgen.errors import InputError
from boltzgen.files import parse_json, read_text
from boltzgen.free_energy.variables import Variable, declared_variable, ready_variable
from boltzgen.loaders.yaml_text import LARGEST_YAML, parse_yaml

if TYPE_CHECKING:
    import mdtraj

Range = tuple[float, float]

_KEYS = ("states", "coordinates", "differences")


@dataclass(frozen=True)
class State:
    """A region of conformations: every variable inside one of its ranges; `rest` is all other space."""

    name: str
    where: tuple[tuple[Variable, tuple[Range, ...]], ...] = ()
    rest: bool = False


@dataclass(frozen=True)
class StateSet:
    """The states of one file and the differences (A, B) asked for, meaning ``G_B - G_A``."""

    states: tuple[State, ...]
    differences: tuple[tuple[str, str], ...]

    def masks(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        """State name -> (n,) bool, for positions (n, N, 3) nm or (n, d).

        A sample whose variables are NaN lies in no state. Raises InputError when a sample lies in
        two states.
        """
        values: dict[Variable, np.ndarray] = {}
        for state in self.states:
            for variable, _ in state.where:
                if variable not in values:
                    values[variable] = variable.evaluate(positions)
        found = {state.name: _mask(state, values) for state in self.states if not state.rest}
        taken = np.zeros(len(positions), dtype=bool)
        for name, mask in found.items():
            self._refuse_overlap(name, mask & taken, found)
            taken |= mask
        known = np.ones(len(positions), dtype=bool)
        for value in values.values():
            known &= np.isfinite(value)
        found.update({state.name: ~taken & known for state in self.states if state.rest})
        return {state.name: found[state.name] for state in self.states}

    def _refuse_overlap(self, name: str, both: np.ndarray, found: Mapping[str, np.ndarray]) -> None:
        if not both.any():
            return
        other = next(n for n, mask in found.items() if n != name and (mask & both).any())
        raise InputError(
            f"the states {other} and {name} overlap: {int(both.sum())} samples lie in both; "
            "change the ranges so that each conformation has one state."
        )


def read_states(
    path: str | os.PathLike[str], topology: mdtraj.Topology | None, dimension: int = 0
) -> StateSet:
    """The states in the YAML or JSON file `path`, bound to the atoms of `topology`.

    `topology` is None for a model system of `dimension` coordinates. Raises InputError naming the
    file and the entry for anything that is not as the head of this module shows.
    """
    content = _content(path, "no such file; expected a states file (YAML or JSON).")
    try:
        return parse_states(content, topology, dimension)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def parse_states(content: Any, topology: mdtraj.Topology | None, dimension: int = 0) -> StateSet:
    """`read_states` for content that is already in memory (nested dictionaries and lists)."""
    top = _mapping(content, "the file", _KEYS, ("states",))
    declared = _declared(top, topology, dimension)

    def variable(name: str) -> Variable:
        return declared[name] if name in declared else ready_variable(name, topology, dimension)

    entries = top["states"]
    if not isinstance(entries, list) or len(entries) < 2:
        raise InputError("'states' must be a list of at least two states.")
    states = tuple(_state(number, entry, variable) for number, entry in enumerate(entries, start=1))
    names = [state.name for state in states]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two states are called {name}; names must differ.")
    if sum(state.rest for state in states) > 1:
        raise InputError("only one state can be 'rest'.")
    return StateSet(states, _differences(top.get("differences"), names))


def read_coordinates(
    path: str | os.PathLike[str], topology: mdtraj.Topology | None, dimension: int = 0
) -> dict[str, Variable]:
    """The variables under ``coordinates`` in a file as `read_states` takes it; states may be missing."""
    content = _content(path, "no such file; expected declared coordinates (YAML or JSON).")
    try:
        top = _mapping(content, "the file", _KEYS, ("coordinates",))
        return _declared(top, topology, dimension)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _declared(top: Any, topology: mdtraj.Topology | None, dimension: int) -> dict[str, Variable]:
    return {
        str(name): declared_variable(str(name), declaration, topology, dimension)
        for name, declaration in _plain_mapping(top.get("coordinates") or {}, "coordinates").items()
    }


def _state(number: int, entry: Any, variable: Any) -> State:
    fields = _mapping(entry, f"state {number}", ("name", "where"), ("name", "where"))
    name, where = fields["name"], fields["where"]
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"state {number}: the name must be text, not {name!r}.")
    if where == "rest":
        return State(name, rest=True)
    conditions = _plain_mapping(where, f"state {name}: 'where'")
    if not conditions:
        raise InputError(
            f"state {name}: 'where' names no coordinate; give ranges such as {{phi: [0, 180]}} or 'rest'."
        )
    bound = []
    for key, ranges in conditions.items():
        try:
            bound.append((chosen := variable(str(key)), _ranges(chosen, ranges)))
        except InputError as error:
            raise InputError(f"state {name}: {error}") from error
    return State(name, tuple(bound))


def _ranges(variable: Variable, given: Any) -> tuple[Range, ...]:
    nested = isinstance(given, list) and given and all(isinstance(item, list) for item in given)
    return tuple(_range(variable, item) for item in (given if nested else [given]))


def _range(variable: Variable, given: Any) -> Range:
    def number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)

    if not isinstance(given, list) or len(given) != 2 or not all(map(number, given)):
        raise InputError(f"{variable.name}: a range is [low, high], two numbers; got {given!r}.")
    low, high = float(given[0]), float(given[1])
    if variable.periodic:
        if not (abs(low) <= 360 and abs(high) <= 360 and 0 < abs(high - low) <= 360):
            raise InputError(
                f"{variable.name}: [{low:g}, {high:g}] is not a range of degrees within one turn."
            )
    elif low >= high:
        raise InputError(f"{variable.name}: the range [{low:g}, {high:g}] is empty; low must be below high.")
    return low, high


def _differences(given: Any, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    if given is None:
        return tuple((names[0], name) for name in names[1:])
    if not isinstance(given, list) or not given:
        raise InputError("'differences' must be a list of pairs such as [[left, right]].")
    for pair in given:
        if not isinstance(pair, list) or len(pair) != 2 or pair[0] == pair[1]:
            raise InputError(f"a difference is a pair of two states [A, B]; got {pair!r}.")
        for name in pair:
            if name not in names:
                raise InputError(
                    f"the difference {pair!r} names {name!r}, which is not a state ({', '.join(names)})."
                )
    return tuple((pair[0], pair[1]) for pair in given)


def _mask(state: State, values: Mapping[Variable, np.ndarray]) -> np.ndarray:
    conditions = [
        np.logical_or.reduce(
            [_inside(values[variable], low, high, variable.periodic) for low, high in ranges]
        )
        for variable, ranges in state.where
    ]
    return np.logical_and.reduce(conditions)


def _inside(value: np.ndarray, low: float, high: float, periodic: bool) -> np.ndarray:
    """``low <= value < high``, on the circle for a periodic variable; False for NaN."""
    if not periodic:
        return (value >= low) & (value < high)
    if abs(high - low) == 360:
        return np.isfinite(value)
    return np.remainder(value - low, 360.0) < (high - low) % 360.0


def _content(path: str | os.PathLike[str], missing: str) -> Any:
    """What the YAML or JSON file `path` holds."""
    name = os.fspath(path)
    text = read_text(path, missing=missing, kind="a text file", largest=LARGEST_YAML)
    if name.endswith(".json"):
        return parse_json(text, name, "write it as docs/states.md shows.")
    return parse_yaml(text, source=name)


def _mapping(given: Any, what: str, allowed: Sequence[str], required: Sequence[str]) -> dict[str, Any]:
    fields = _plain_mapping(given, what)
    for key in fields:
        if key not in allowed:
            near = difflib.get_close_matches(str(key), allowed, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(allowed)}."
            raise InputError(f"{what}: unknown key {key!r}; {hint}")
    for key in required:
        if key not in fields:
            raise InputError(f"{what}: the key '{key}' is missing.")
    return fields


def _plain_mapping(given: Any, what: str) -> dict[Any, Any]:
    if not isinstance(given, dict):
        shown = "nothing" if given is None else type(given).__name__
        raise InputError(f"{what} must be a mapping of keys to values, not {shown}.")
    return given
