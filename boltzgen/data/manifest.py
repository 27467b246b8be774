"""What ``MD/manifest.json`` holds; it is checked when it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from boltzgen.contents import what_it_is
from boltzgen.loaders.records import Count, Digest, FileName, Kelvin, OpenRecord, Record, read_record

SCHEMA = "boltzgen.trajectory/1"


def _kelvin(word: str) -> str:
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"{word[:40]!r} is no temperature in K")
    return word


class _System(Record):
    """Which molecule was simulated."""

    name: str = ""
    fingerprint: str | None
    n_atoms: Count | None = None


class _Settings(OpenRecord):
    """What the run was asked for; the keys are those of its engine's settings."""

    temperatures: list[Kelvin] | None = None
    time: Annotated[float, Field(ge=0)]
    timestep: Annotated[float, Field(gt=0)]
    equilibration: Annotated[float, Field(ge=0)] = 0.0
    replicas: Annotated[int, Field(ge=1)] | None = None
    engine: str = "openmm"


class _Pair(Record):
    """Exchanges between two neighbours of the ladder."""

    low_K: Kelvin
    high_K: Kelvin
    attempts: Count
    accepted: Count
    acceptance: float | None


class _Exchange(OpenRecord):
    """Exchanges of the whole run."""

    pairs: list[_Pair] = []
    round_trips: Count


class _Moves(Record):
    """Metropolis moves about bonds."""

    bonds: Count
    tried: Count
    taken: Count


class _RingMoves(Record):
    """Metropolis moves that turn rings over."""

    flips: Count
    nitrogens: Count
    tried: Count
    taken: Count


class _Starts(Record):
    """Where the replicas began."""

    source: str
    number: Count


class _Crossed(Record):
    """How often replicas entered and left a state that the coldest frames show."""

    name: str
    share: float
    entered: Count
    left: Count


class _Crossings(Record):
    """Of all states, and the sentences on those whose populations are the starts'."""

    states: list[_Crossed]
    cautions: list[str]


class _Torch(OpenRecord):
    """What the torch engine tells besides."""

    walks: Annotated[int, Field(ge=1)] = 1
    restarts: Count = 0
    torsion_moves: _Moves | None = None
    drift: dict[str, float | None] | None = None


class TrajectoryManifest(OpenRecord):
    """``MD/manifest.json``; `boltzgen.data.trajectory.write_trajectory` lets its caller add keys."""

    status: Literal["complete", "partial", "failed"]
    reason: str = ""
    system: _System
    settings: _Settings | None = None
    temperatures_K: Annotated[list[Kelvin], Field(min_length=1)]
    platform: str = ""
    starts: _Starts | None = None
    files: list[FileName] = []
    frames: dict[Annotated[str, AfterValidator(_kelvin)], Count] = {}
    exchange: _Exchange | None = None
    statistical_inefficiency: dict[str, float | None] = {}
    wall_seconds: Annotated[float, Field(ge=0)] = 0.0
    energy_evaluations: Count | None = None
    crossings: _Crossings | None = None
    torch: _Torch | None = None
    ring_moves: _RingMoves | None = None
    sha256: dict[FileName, Digest] = {}
    versions: dict[str, Any] = {}


def doubts_of(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Sentences on what the frames of `manifest` leave out or know from their starts alone.

    States of rings that no frame shows although they lie within a few kT of the lowest, rings that no move
    turns over, and populations of states that replicas hardly entered or left.
    """
    rings, crossings = manifest.get("rings") or {}, manifest.get("crossings") or {}
    return (*rings.get("missing", ()), *rings.get("unmoved", ()), *crossings.get("cautions", ()))


def unmoved_in(data: str | PathLike[str]) -> list[tuple[str, str]]:
    """What the MD folder `data` says of rings that no move turned over: (verdict, reason); none of a file."""
    if not Path(data).is_dir():
        return []
    rings = read_manifest(Path(data)).get("rings") or {}
    return [("caution", sentence) for sentence in rings.get("unmoved", ())]


def read_manifest(folder: Path, remedy: str = "simulate again.") -> dict[str, Any]:
    """The manifest of the MD folder `folder`; InputError when it is none, or damaged."""
    return read_record(
        TrajectoryManifest,
        folder / "manifest.json",
        schema=SCHEMA,
        missing="no such file; expected what `simulate()` writes.",
        remedy=remedy + what_it_is(folder),
        of="the manifest of a simulation",
    )
