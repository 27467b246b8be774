"""What a page takes from files of answers: keys held against their types; all others are left alone."""

from __future__ import annotations

from typing import Any, Literal

from boltzgen.loaders.records import OpenRecord

Verdict = Literal["ok", "caution", "unreliable"]
ByUnit = dict[str, float | None]


class StateShare(OpenRecord):
    """The population of one state."""

    name: str
    population: float | None = None
    standard_error: float | None = None


class OneEstimate(OpenRecord):
    """One number of ``free_energy.json`` or of ``answer.json``."""

    name: str
    A: str | None = None
    B: str | None = None
    estimator: str = ""
    unit: str = "kT"
    value: ByUnit
    standard_error: ByUnit = {}
    interval95: dict[str, list[float | None]] = {}
    overlap: float | None = None
    verdict: Verdict
    reasons: list[str] = []


class FreeEnergyFile(OpenRecord):
    """``free_energy.json``; that of MBAR has states of another kind, which are not shown here."""

    estimates: list[OneEstimate] = []
    states: list[dict[str, Any]] = []


class _Road(OpenRecord):
    """Which way was taken, and why."""

    name: str = ""
    reason: str = ""


class _Well(StateShare):
    """A conformer."""

    labels: str = ""
    degeneracy: int = 1
    population: float


class _Conformers(OpenRecord):
    """Those of a small molecule."""

    wells: list[_Well] = []


class AnswerFile(OpenRecord):
    """``answer.json``."""

    status: str = ""
    sentences: list[str] = []
    populations: list[StateShare] = []
    mirror_images: list[StateShare] = []
    conformers: _Conformers | None = None
    free_energies: list[OneEstimate] = []
    verdict: Verdict | None = None
    reasons: list[str] = []
    next: list[str] = []
    not_checked: list[str] = []
    road: _Road = _Road()


class RunFile(OpenRecord):
    """``run.json``: the steps with the commands that do the same."""

    steps: list[dict[str, Any]] = []


class SummaryFile(OpenRecord):
    """``summary.json``."""

    kept: int | None = None
    ess: float | None
    largest_weight_share: float | None
    k_hat: float | None = None
    log_z: float | None = None
    log_z_standard_error: float | None = None
    verdict: Verdict
    reasons: list[str] = []


#: Key in `boltzgen.report.page.record.Material` -> what the file must hold.
KNOWN: dict[str, type[OpenRecord]] = {
    "answer": AnswerFile,
    "run": RunFile,
    "free_energy": FreeEnergyFile,
    "summary": SummaryFile,
}
