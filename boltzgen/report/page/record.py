"""What a page is made from and made of: `Material` goes in, a `Section` comes out of each part.

Nothing here reads a file: `boltzgen.workflows.reporting` does, and leaves out what is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from boltzgen.data.record import Trajectory
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.report.axes import Subject
from boltzgen.report.citations import Citations
from boltzgen.system.molecular_system import MolecularSystem

SCHEMA = "boltzgen.report/1"


@dataclass(frozen=True)
class Picture:
    """A figure: `svg` stands in the page and, under `name`, beside it; `words` say what it shows."""

    name: str
    svg: str
    words: str


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes
    ----------
    name: its key among the page's numbers, and where a link leads. title: its heading.
    html: its content without the heading, everything escaped.
    numbers: what it says as JSON; None where not known. pictures: the figures in `html`.
    """

    name: str
    title: str
    html: str
    numbers: Any
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, eq=False)
class Material:
    """All that was found; what was not is None, or empty.

    Attributes
    ----------
    source: the path that was asked about, as it was given. kind: what lies there (SYS, MD, RUN, OUT, DIR).
    temperature: K, of samples and frames.
    molecule, ensemble: as loaded. frames: the simulation's at `temperature`; checks: those
        that no training saw.
    answer, run: ``answer.json`` and ``run.json`` of a DIR; free_energy: ``free_energy.json``.
    manifest, summary: of the ensemble; simulation: the manifest of the frames; system: ``system.json``.
    training: ``environment.json``, ``config`` and ``model`` of a run; metrics: its rows.
    files: (path, SHA-256) of what was read. notes: sentences on what could not be used.
    steps: what can be done next, in sentences with a call between backticks.
    words: turns names of arguments in sentences into those of the caller's language.
    """

    source: str
    kind: str
    subject: Subject = field(default_factory=Subject)
    temperature: float | None = None
    molecule: MolecularSystem | None = None
    ensemble: Ensemble | None = None
    frames: Trajectory | None = None
    checks: Trajectory | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    free_energy: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    simulation: Mapping[str, Any] = field(default_factory=dict)
    system: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Sequence[Mapping[str, Any]] = ()
    citations: Citations | None = None
    files: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    steps: Sequence[str] = ()
    words: Callable[[str], str] = str


def part(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping under `key`; empty where there is none."""
    found = record.get(key)
    return found if isinstance(found, Mapping) else {}


def several(record: Mapping[str, Any], key: str) -> list[Any]:
    """The list under `key`; one value as a list of it; empty where there is none."""
    found = record.get(key)
    if found is None:
        return []
    return list(found) if isinstance(found, list | tuple) else [found]
