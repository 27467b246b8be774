"""What can be asked of `sample` and of `check`, with the defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TypedDict

from boltzgen.trust.probe import BUDGET

#: Samples whose density and energy `check` recomputes; of a larger ensemble a part, the heaviest among them.
ROWS = 20_000


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Options of `sample`.

    Attributes
    ----------
    temperature: K; the model's own when not given.
    proposal_temperatures: K at which the flow draws, in equal shares; `temperature` when not given. The
        weights are for `temperature` either way.
    seed: of the draws. The samples of a smaller `number` are the first of a larger one's.
    batch_size: samples between two reports of progress, where a stop is heard, or ``auto``: a block of draws,
        the fewest. No sample depends on it.
    dtype: arithmetic of the flow, ``float32`` or ``float64``; weights are float64 in any case.
    device: ``cpu`` or ``cuda``.
    data: trajectory that training never saw, for the coverage check; of an MD folder used in training,
        give the held-out part or another run.
    data_temperature: K at which `data` was simulated, for files that do not say it (DCD, XTC).
    refine: ``smc`` or ``mala`` carries the draws to the target by moves; see `boltzgen.refine.annealed`.
    refine_budget: moves of each sample, an energy each; by default as many as a pilot population says.
    compile_energies: True compiles the energy and the draws of the flow; None the energy alone, when the
        number of samples is large enough to gain by it, and of chains the passes of the flow too.
    chains: walkers that redraw parts of a conformation with the flow, in place of independent draws; see
        `boltzgen.refine.chains` and docs/chains.md. What follows is for them, by default as in
        `boltzgen.refine.chains.settings`:
    walkers: in all, as many in each group; 32 a group by default. groups: at least 2, that never talk.
    stride: sweeps from one row of a walker to its next. warm_up: sweeps before the first row.
    pilot: draws of each group, of which one is its start.
    ladder: ``auto``, ``none``, ``tempered`` or ``temperatures``.
    """

    temperature: float | None = None
    proposal_temperatures: Sequence[float] = ()
    seed: int = 0
    batch_size: int | str = "auto"
    dtype: str = "float64"
    device: str = "cpu"
    data: str | PathLike[str] | None = None
    data_temperature: float | None = None
    refine: str | None = None
    refine_budget: int | None = None
    compile_energies: bool | None = None
    chains: bool = False
    walkers: int | None = None
    groups: int | None = None
    stride: int | None = None
    warm_up: int | None = None
    pilot: int | None = None
    ladder: str | None = None


class SampleKeywords(TypedDict, total=False):
    """The fields of `SampleOptions` as keyword arguments."""

    temperature: float | None
    proposal_temperatures: Sequence[float]
    seed: int
    batch_size: int | str
    dtype: str
    device: str
    data: str | PathLike[str] | None
    data_temperature: float | None
    refine: str | None
    refine_budget: int | None
    compile_energies: bool | None
    chains: bool
    walkers: int | None
    groups: int | None
    stride: int | None
    warm_up: int | None
    pilot: int | None
    ladder: str | None


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Options of `check`.

    Attributes
    ----------
    model, system: where the samples came from; by default what the manifest names.
    probe: run replica exchange of `budget` energy evaluations from several starts, and compare.
    data, data_temperature: trajectory that training never saw, as for `sample`.
    rows: samples whose density and energy are recomputed. seed: of the probe and of the choice of rows.
    starts: of the probe, beside the reference and samples: ``auto`` (the lowest conformers of rings),
        ``reference`` (none), ``conformers``, or a file of structures, as for `simulate`.
    platform: OpenMM platform of the probe; ``auto``: the fastest.
    """

    model: str | PathLike[str] | None = None
    system: str | PathLike[str] | None = None
    probe: bool = False
    budget: int = BUDGET
    data: str | PathLike[str] | None = None
    data_temperature: float | None = None
    rows: int = ROWS
    seed: int = 0
    starts: str | PathLike[str] = "auto"
    platform: str = "auto"


class CheckKeywords(TypedDict, total=False):
    """The fields of `CheckOptions` as keyword arguments."""

    model: str | PathLike[str] | None
    system: str | PathLike[str] | None
    probe: bool
    budget: int
    data: str | PathLike[str] | None
    data_temperature: float | None
    rows: int
    seed: int
    starts: str | PathLike[str]
    platform: str
