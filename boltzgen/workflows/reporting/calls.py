"""Calls of verbs as text, and names for what they make: steps that can be pasted as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from boltzgen.files import is_there


def call(verb: str, *given: Any, **options: Any) -> str:
    """``verb("given", option=value)``; paths and text in double quotes, as messages write them."""
    words = [_written(value) for value in given]
    words += [f"{name}={_written(value)}" for name, value in options.items()]
    return f"{verb}({', '.join(words)})"


def beside(path: Path, name: str) -> Path:
    """`name` in the folder around `path`, with a number where something is there already."""
    place, number = path.parent / name, 2
    stem, dot, suffix = name.partition(".")
    while is_there(place):
        place, number = path.parent / f"{stem}{number}{dot}{suffix}", number + 1
    return place


def located(source: Any, beside: Path) -> str:
    """Where `source`, named as it was seen from the folder of a command, lies: seen from here, or from around
    the folder `beside` that the command made. As it is where it is found nowhere, or is shipped."""
    name = str(source)
    for base in (Path(), *beside.absolute().parents[:3]):
        if is_there(base / name):
            return str(base / name)
    return name


def _written(value: Any) -> str:
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_written(one) for one in value)}]"
    return repr(value)
