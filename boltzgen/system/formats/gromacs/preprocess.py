"""The preprocessor of GROMACS topologies: from files with directives to lines of data, each with its place.

Follows the manual (GROMACS 2022, "Topology file", "Preprocessor"): ``#include``, ``#define``, ``#undef``,
``#ifdef``, ``#ifndef``, ``#else``, ``#endif``, ``#error``; ``;``, or a ``*`` in front, begins a comment, a
trailing ``\\`` joins lines. Everything else that begins with ``#`` is refused, where OpenMM's and ParmEd's
readers pass over it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from boltzgen.errors import InputError
from boltzgen.system.formats.bounds import LARGEST_FILE, LONGEST_TEXT, read_text

#: A preprocessor that includes this deep includes itself.
DEEPEST = 50

#: Files that are read, each as often as it is included.
MOST_FILES = 1000


@dataclass(frozen=True)
class Line:
    """One line of data: its words after the defines were replaced, and where it stands."""

    words: tuple[str, ...]
    place: str


@dataclass
class _State:
    """What lines change for those that follow: defines, and the open conditions with their files."""

    defines: dict[str, str]
    folders: tuple[Path, ...]
    conditions: list[_Condition] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    files: int = 0
    characters: int = 0

    @property
    def reads(self) -> bool:
        return all(condition.holds for condition in self.conditions)


@dataclass
class _Condition:
    holds: bool
    place: str
    has_else: bool = False


def preprocess(path: Path, include: Path | None, defines: dict[str, str]) -> tuple[list[Line], set[str]]:
    """The lines of data of `path`, and which of `defines` a condition asked for.

    A directive ``[ name ]`` is a line whose one word begins with ``[``: its name in lower case, with ``-``
    and ``_`` taken out, since grompp compares names so.

    Raises
    ------
    InputError: a file that is not there, an unknown command, ``#error``, conditions that do not match up.
    """
    folders = tuple(folder for folder in (include, _installed()) if folder is not None)
    state = _State(dict(defines), folders)
    lines = list(_lines_of(path, state, depth=0))
    if state.conditions:
        raise InputError(
            f"{state.conditions[-1].place}: this condition has no #endif; the file is truncated."
        )
    return lines, state.used & set(defines)


def _installed() -> Path | None:
    """The topologies of an installed GROMACS, as ``GMXDATA`` names them or where Debian puts them."""
    named = os.environ.get("GMXDATA")
    places = [Path(named) / "top"] if named else []
    places += [Path("/usr/local/gromacs/share/gromacs/top"), Path("/usr/share/gromacs/top")]
    return next((place for place in places if place.is_dir()), None)


def _lines_of(path: Path, state: _State, depth: int) -> Iterator[Line]:
    if depth > DEEPEST:
        raise InputError(f"{path} is included {DEEPEST} deep; does a file include itself?")
    text = read_text(path, errors="replace")
    state.files, state.characters = state.files + 1, state.characters + len(text)
    if state.files > MOST_FILES or state.characters > LARGEST_FILE:
        raise InputError(
            f"{path} and its #include files are too large, or include each other again and again."
        )
    pending = ""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = pending + raw.split(";")[0].rstrip()
        _check_length(line, path, number)
        if line.endswith("\\"):
            pending = line[:-1] + " "
            continue
        pending, line = "", line.strip()
        place = f"{path}, line {number}"
        if line.startswith("#"):
            yield from _command(line, place, path, state, depth)
        elif line and not line.startswith("*") and state.reads:
            yield _data(line, place, state.defines)


def _data(line: str, place: str, defines: dict[str, str]) -> Line:
    if line.startswith("["):
        if not line.endswith("]"):
            raise InputError(f"{place}: the directive {line!r} has no closing bracket.")
        return Line((f"[{directive_name(line.strip('[] '))}",), place)
    for name, value in defines.items():  # once each, in their order, as grompp does
        if name in line:
            line = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", value.replace("\\", r"\\"), line)
            if len(line) > LONGEST_TEXT:
                raise InputError(f"{place}: its #define makes a line of more than {LONGEST_TEXT} characters.")
    return Line(tuple(line.split()), place)


def _check_length(line: str, path: Path, number: int) -> None:
    if len(line) > LONGEST_TEXT:
        raise InputError(
            f"{path}, line {number} has more than {LONGEST_TEXT} characters; is it a GROMACS topology?"
        )


def directive_name(text: str) -> str:
    """A directive as grompp compares it: without case, ``-``, ``_`` and spaces."""
    return re.sub(r"[-_\s]", "", text).lower()


def _command(line: str, place: str, path: Path, state: _State, depth: int) -> Iterator[Line]:
    command, _, rest = line[1:].strip().partition(" ")
    rest = rest.strip()
    if command in ("ifdef", "ifndef"):
        name = _name(rest, place)
        state.used.add(name)
        state.conditions.append(_Condition((name in state.defines) == (command == "ifdef"), place))
    elif command == "else":
        condition = _open_condition(state, place, command)
        if condition.has_else:
            raise InputError(f"{place}: a second #else for the condition of {condition.place}.")
        condition.holds, condition.has_else = not condition.holds, True
    elif command == "endif":
        _open_condition(state, place, command)
        state.conditions.pop()
    elif not state.reads:
        return
    elif command == "define":
        name, _, value = rest.partition(" ")
        state.defines[_name(name, place)] = value.strip()
    elif command == "undef":
        state.defines.pop(_name(rest, place), None)
    elif command == "include":
        yield from _lines_of(_included(rest.strip("\"'<> "), place, path, state), state, depth + 1)
    elif command == "error":
        raise InputError(f"{place} stops with #error: {rest or 'no reason given'}.")
    else:
        raise InputError(
            f"{place}: the preprocessor command #{command} is not known to GROMACS; it knows #include, "
            "#define, #undef, #ifdef, #ifndef, #else, #endif and #error."
        )


def _name(text: str, place: str) -> str:
    if not text.split():
        raise InputError(f"{place}: the preprocessor command lacks a name.")
    return text.split()[0]


def _open_condition(state: _State, place: str, command: str) -> _Condition:
    if not state.conditions:
        raise InputError(f"{place}: #{command} without #ifdef or #ifndef before it.")
    return state.conditions[-1]


def _included(name: str, place: str, path: Path, state: _State) -> Path:
    for folder in (path.parent, *state.folders):
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"{place}: the file {name} of #include is not there; give the force field's folder, `include=DIR`."
    )
