"""Molecules that come with the package, named ``example:NAME`` wherever a SYS folder is accepted."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path

from boltzgen.errors import InputError

#: What the name of a shipped system begins with.
EXAMPLE = "example:"


def shipped_systems() -> dict[str, Path]:
    """Name -> SYS folder of every molecule that is shipped prepared."""
    folder = Path(str(resources.files("boltzgen"))) / "examples"
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/system.json"))}


def system_folder(source: str | Path) -> Path:
    """The SYS folder that `source` names: a folder, or ``example:NAME``.

    Raises InputError, with the nearest name, for an example that is not shipped.
    """
    name = str(source)
    if not name.startswith(EXAMPLE):
        return Path(source)
    known = shipped_systems()
    name = name.removeprefix(EXAMPLE)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise InputError(
            f"{source}: no such example. Did you mean {EXAMPLE}{near}? Known: {', '.join(known)}."
        )
    return known[name]
