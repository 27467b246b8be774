"""A reader under test: a small folder of sound files, one of which is damaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Target:
    """One reader.

    files: name -> contents of the sound folder.
    damaged: the name of the file that mutations change.
    read: from the folder to what it holds; raises a BoltzgenError for what it refuses.
    verify: from folder and result to a complaint, None where another reader agrees; it may raise anything
        when it cannot read the folder itself, which then says nothing.
    weight: share of the mutations.
    """

    name: str
    files: dict[str, bytes]
    damaged: str
    read: Callable[[Path], Any]
    verify: Callable[[Path, Any], str | None] = lambda folder, result: None
    weight: float = 1.0
