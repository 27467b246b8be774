"""What can be asked of `prepare` as keyword arguments; `PrepareOptions` says what each means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from boltzgen.system.options import PrepareOptions


class PrepareKeywords(TypedDict, total=False):
    """The fields of `boltzgen.system.options.PrepareOptions` as keyword arguments."""

    sequence: str | None
    smiles: str | None
    capped: bool
    coordinates: str | Path | None
    include: str | Path | None
    forcefield: Sequence[str]
    charges: str | None
    implicit: str
    surface: str
    radii: str | None
    constraints: str
    add_hydrogens: bool
    ph: float
    minimize: bool | None
    name: str | None
    free_rotations: Sequence[str]
    bridge: bool
    platform: str
    workers: int
    ml: str | None
    ml_region: str
    ml_options: Mapping[str, str]


def usual_options() -> dict[str, Any]:
    """Each keyword with the value that it has where nobody gives one."""
    return dict(vars(PrepareOptions()))
