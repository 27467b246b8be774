"""The verb ``show``: what a folder is, how it was made, whether it is whole, what it says, what is next."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from boltzgen.errors import InputError
from boltzgen.workflows.reporting.folders import Found, recognise
from boltzgen.workflows.reporting.kinds import said_of
from boltzgen.workflows.reporting.numbers import part
from boltzgen.workflows.reporting.shown import Said, Shown
from boltzgen.workflows.reporting.wholeness import faults_of

#: The file of each kind that is written last, whose time is that of the folder.
_LAST = {
    "SYS": "system.json",
    "MD": "manifest.json",
    "DATA": "dataset.json",
    "RUN": "model/model.json",
    "MODEL": "model.json",
    "OUT": "manifest.json",
    "BENCH": "transfer.json",
    "WELLS": "conformers.json",
    "TRANSFERS": "transfers.json",
    "DIR": "run.json",
}


def show(path: str | PathLike[str], *, picture: str | PathLike[str] | None = None) -> Shown:
    """What lies at `path`, in half a second: neither torch nor a trajectory is loaded.

    Parameters
    ----------
    path: a folder that a verb wrote, free_energy.json, a configuration, a file of states, or the name of a
        shipped model, molecule (``example:NAME``) or configuration.
    picture: of a prepared molecule: its drawing with the number of each atom, an SVG or PNG file to write.

    Returns
    -------
    Shown: kind, status, how it was made, numbers, tables (of SYS: atoms, torsions and rings by the names of a
        states file), and calls to go on with. A folder with missing or changed files has the status
        ``damaged``.

    Raises
    ------
    InputError: nothing is there, nothing of boltzgen, or its record cannot be read.

    Example
    -------
    >>> import boltzgen as bg
    >>> found = bg.show("SYS")
    >>> found.kind, found.whole, [table.title for table in found.tables]
    ('SYS', True, ['atoms', 'torsions'])
    """
    try:
        return _shown(path, picture)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError) as error:
        raise InputError(
            f"{path}: its record is not as boltzgen writes it ({type(error).__name__}: {error}); it may be "
            "damaged, copy it anew or make it again."
        ) from error


def _shown(path: str | PathLike[str], picture: str | PathLike[str] | None) -> Shown:
    """`show` itself; records of kinds that are not held against a schema may hold anything."""
    found = recognise(path)
    if picture is not None and found.kind != "SYS":
        raise InputError(f"`picture={str(picture)!r}`: {path} is {found.what}; a drawing is of a SYS folder.")
    given = _given(Path(path), found)
    faults, compared = faults_of(found)
    status = "damaged" if faults else found.status
    reason = "; ".join(faults) if faults else found.reason
    said = Said() if faults else said_of(given, found)
    drawn = None
    if picture is not None and not faults:
        from boltzgen.report.structure import write_structure
        from boltzgen.system.molecular_system import MolecularSystem

        drawn = write_structure(picture, MolecularSystem.load(found.path))
    return Shown(
        given,
        found.kind,
        found.what,
        status,
        reason,
        faults,
        compared,
        _made(found),
        said.numbers,
        said.tables,
        said.reasons,
        said.steps,
        drawn,
    )


def _given(path: Path, found: Found) -> Path:
    """The name of `found` in commands: `path` as it was given, or the folder whose file that was."""
    shipped = not path.exists()
    return path if shipped or found.path == path else found.path


def _made(found: Found) -> dict[str, Any]:
    """How it was made: command, seed, versions, and when."""
    record, environment = found.record, {}
    if found.kind == "RUN":
        record = {"seed": found.record["config"].get("seed"), **_environment(found.path)}
        environment = {name: record[name] for name in ("python", "torch", "openmm") if record.get(name)}
    origin = part(record, "provenance")
    versions = part(record, "versions") or part(origin, "versions") or environment
    if found.kind == "MODEL":
        versions = {"boltzgen": record.get("boltzgen_version")}
    told = {
        "command": _command(record.get("command") or origin.get("command")),
        **(_preparation(origin) if found.kind == "SYS" else {}),
        "seed": record.get("seed", origin.get("seed")),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
        "when": _when(found),
    }
    return {name: value for name, value in told.items() if value not in (None, "")}


def _preparation(origin: Mapping[str, Any]) -> dict[str, Any]:
    """From what, and with which force field, a molecule was prepared."""
    given, options = part(origin, "input"), part(origin, "options")
    source = " ".join(str(given[key]) for key in given if key != "kind" and isinstance(given[key], str))
    forcefield = options.get("forcefield")
    return {
        "from": f"{given.get('kind', '')} {source}".strip(),
        "force field": " ".join(forcefield) if isinstance(forcefield, list) else "of the input",
        "solvent": options.get("implicit"),
    }


def _environment(folder: Path) -> Mapping[str, Any]:
    from boltzgen.files import is_there, read_json

    place = folder / "environment.json"
    record = read_json(place) if is_there(place) else {}
    return record if isinstance(record, dict) else {}


def _command(value: Any) -> str:
    """The command line as it can be typed again; the program by its name."""
    if isinstance(value, list) and value:
        return shlex.join([Path(str(value[0])).name, *map(str, value[1:])])
    return value if isinstance(value, str) else ""


def _when(found: Found) -> str:
    place = found.path / _LAST.get(found.kind, "")
    if not place.exists():
        place = found.path
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(place.stat().st_mtime))
