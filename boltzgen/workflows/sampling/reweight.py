"""``reweight``: the samples of one target as weighted samples of another energy or temperature.

Rows are evaluated in the order of their cheap weights (`boltzgen.ensemble.thinning`), so that a run may end
after any of them: at a budget, at the precision asked, or when it is stopped. Energies computed are kept in
``reweight.npz``, and another run with ``resume="auto"`` goes on from them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from boltzgen.checks import check_seed, check_temperature
from boltzgen.contents import check_output
from boltzgen.ensemble.diagnostics import kish_ess, log_z
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.reweighted import at_temperature, candidates, second_stage, with_energies
from boltzgen.ensemble.store import load_ensemble, save_ensemble, summary
from boltzgen.ensemble.thinning import PriorityOrder
from boltzgen.errors import InputError, StoppedError, UnreliableError
from boltzgen.files import sha256_file
from boltzgen.folders import alone_in
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress, silent
from boltzgen.workflows.sampling.records import Reweighting, Summary
from boltzgen.workflows.sampling.reweight_files import (
    SCHEMA,
    begin_record,
    read_energies,
    write_energies,
    write_record,
)
from boltzgen.workflows.sampling.reweight_target import NewTarget, new_target
from boltzgen.workflows.timing.checking import expected_reweighting
from boltzgen.workflows.timing.expectation import Expect

#: Evaluations before the precision is first looked at, and by which factor they grow between two looks. Looks
#: come at fixed numbers, so that a stopped run that goes on ends where one without a stop would have ended.
FIRST_LOOK, LOOK_GROWTH = 100, 1.25

#: What must be the same in a run that goes on.
IDENTITY = ("samples_sha256", "from_fingerprint", "to_fingerprint", "temperature_K", "seed")

#: Seconds of one batch (a stop waits for it), seconds between two savings, most rows of a batch.
BATCH_SECONDS, SAVE_EVERY, LARGEST_BATCH = 2.0, 30.0, 4096


@dataclass(frozen=True)
class Limits:
    """Where a run ends: after `expensive` evaluations, or at the precision asked, whichever comes first.

    until_ess: effective number of samples. until_error: standard error of ln Z.
    """

    expensive: int | None = None
    until_ess: float | None = None
    until_error: float | None = None

    def __post_init__(self) -> None:
        if self.expensive is not None and self.expensive < 2:
            raise InputError(f"`expensive={self.expensive}`: evaluate at least two samples.")
        for name, value in (("until_ess", self.until_ess), ("until_error", self.until_error)):
            if value is not None and not (np.isfinite(value) and value > 0):
                raise InputError(f"`{name}={value:g}`: give a positive number.")

    @property
    def precision(self) -> bool:
        return self.until_ess is not None or self.until_error is not None

    def reached(self, ensemble: Ensemble) -> bool:
        """Whether the samples are as precise as asked, in every respect that was asked."""
        log_w = ensemble.log_w
        if not self.precision or np.isfinite(log_w).sum() < 2:
            return False
        error, n_effective = log_z(log_w)[1], kish_ess(log_w) * log_w.size
        if ensemble.walkers is not None:
            found = ensemble.diagnostics()
            error, n_effective = found.log_z_standard_error, found.n_effective
        enough = self.until_ess is None or n_effective >= self.until_ess
        precise = self.until_error is None or (error is not None and error <= self.until_error)
        return enough and precise


def reweight(
    folder: str | PathLike[str],
    output: str | PathLike[str],
    *,
    to: str | PathLike[str] | None = None,
    temperature: float | None = None,
    expensive: int | None = None,
    until_ess: float | None = None,
    until_error: float | None = None,
    seed: int = 0,
    resume: str = "never",
    strict: bool = False,
    stop: StopRequest | None = None,
    progress: Progress = silent,
    expect: Expect | None = None,
) -> Reweighting:
    """Weigh the samples in `folder` (OUT) for another target and write the OUT folder `output`.

    Parameters
    ----------
    to: SYS folder with the same atoms, or ``model:NAME``. temperature: K. At least one of both; a temperature
        alone takes the stored energies of a molecule, which do not change with it, and evaluates nothing.
    expensive, until_ess, until_error: see `Limits`; by default every row is evaluated.
    seed: of the order in which rows are evaluated. expect: told how long it will take before it begins.
    resume: ``auto`` goes on with the run in `output`, if there is one, also to a higher precision.

    Returns
    -------
    Reweighting: the content of ``reweight.json`` (what it cost, before and after) and the new summary.

    Raises
    ------
    InputError, UnsupportedError: something given cannot be used. StoppedError: `stop` was requested; what was
    evaluated is a usable ensemble of status ``partial``. UnreliableError: with `strict`, when the verdict is
    ``unreliable``; everything is written first.

    Notes
    -----
    Rows are chosen by weight without bias, see `boltzgen.ensemble.thinning` and docs/reweighting.md.

    Example
    -------
    >>> import boltzgen as bg
    >>> found = bg.reweight("OUT", "OUT320", temperature=320.0)
    >>> found.energy_evaluations, found.summary.requested
    (0, 200)
    """
    limits = Limits(expensive, until_ess, until_error)
    _check(to, temperature, seed, resume)
    source, out = Path(folder), Path(output)
    ensemble = load_ensemble(source)
    if source.resolve() == out.resolve():
        raise InputError(
            f"`output={str(out)!r}` is the folder of the samples themselves; choose another one."
        )
    energies = to is not None or not ensemble.is_molecular
    task = _task(source, ensemble, to, temperature, seed)
    if not energies and (limits.expensive is not None or limits.precision):
        raise InputError(
            "`expensive`, `until_ess` and `until_error` save evaluations; another temperature alone takes "
            "none."
        )
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; `output` must name a folder to be made.")
    check_output(out, "ensemble")
    with alone_in(out):
        former = read_energies(out, resume)
        if not energies:
            assert temperature is not None
            begin_record(out, task)
            result = _write_scaled(out, ensemble, temperature, task)
        else:
            target = new_target(source, ensemble, None if to is None else str(to), temperature)
            with closing(target):
                task["to_fingerprint"] = target.fingerprint
                run = _Run(ensemble, target, out, task, limits)
                run.begin(former, expect)
                result = run.to_the_end(stop or StopRequest(), progress)
    if strict and result.summary.verdict == "unreliable":
        reasons = "; ".join(result.summary.reasons)
        raise UnreliableError(f"{out}: the verdict is unreliable: {reasons}.", result=result)
    return result


def _check(to: Any, temperature: float | None, seed: int, resume: str) -> None:
    if to is None and temperature is None:
        raise InputError("give `to=SYS`, `temperature=T`, or both: what to reweight to.")
    if temperature is not None:
        check_temperature(temperature)
    check_seed(seed)
    if resume not in ("auto", "never"):
        raise InputError(f"`resume={resume!r}` is unknown; use auto (go on if there is a run) or never.")


def _task(source: Path, ensemble: Ensemble, to: Any, temperature: float | None, seed: int) -> dict[str, Any]:
    """What energies belong to: a run goes on only with the same."""
    return {
        "from": str(source),
        "samples_sha256": sha256_file(source / "samples.npz"),
        "from_fingerprint": ensemble.system_fingerprint,
        "from_temperature_K": ensemble.temperature,
        "to": None if to is None else str(to),
        "to_fingerprint": ensemble.system_fingerprint,
        "temperature_K": temperature or ensemble.temperature,
        "seed": seed,
    }


def _provenance(ensemble: Ensemble, task: dict[str, Any], evaluations: int) -> dict[str, Any]:
    """The record of the new ensemble.

    Its rows have the density of `drawn_by`, not of a flow on the new target: no ``model`` is named.
    """
    former = ensemble.provenance
    drawn_by = former.get("drawn_by") or {
        **{key: former.get(key) for key in ("model", "system", "seed")},
        "temperature_K": ensemble.temperature,
    }
    names = ("seed", "dtype", "rows", "subject", "chains")
    kept: dict[str, Any] = {key: former[key] for key in names if key in former}
    return {
        **kept,
        "command": sys.argv,
        "requested": len(ensemble),
        "energy_evaluations": evaluations,
        "reweighted_from": task["from"],
        "drawn_by": drawn_by,
        "notes": list(former.get("notes", ())),
    }


def _numbers(ensemble: Ensemble) -> dict[str, Any]:
    found = ensemble.diagnostics()
    return {
        "n_effective": found.n_effective,
        "k_hat": found.k_hat,
        "log_z": found.log_z,
        "log_z_standard_error": found.log_z_standard_error,
        "verdict": found.verdict,
    }


def _write_scaled(out: Path, ensemble: Ensemble, temperature: float, task: dict[str, Any]) -> Reweighting:
    new = at_temperature(ensemble, temperature, _provenance(ensemble, task, 0))
    save_ensemble(new, out)
    record = {
        "schema": SCHEMA,
        "task": task,
        "status": "complete",
        "ended": "stored energies, scaled",
        "rows": len(ensemble),
        "candidates": int(candidates(ensemble).sum()),
        "evaluated": 0,
        "energy_evaluations": 0,
        "seconds": 0.0,
        "limits": None,
        "second_stage": None,
        "before": _numbers(ensemble),
        "after": _numbers(new),
    }
    write_record(out, record)
    return Reweighting(record, Summary(summary(new)))


@dataclass
class _Run:
    """New energies row by row, in the order of the cheap weights."""

    ensemble: Ensemble
    target: NewTarget
    out: Path
    task: dict[str, Any]
    limits: Limits
    order: PriorityOrder = field(init=False)
    u: np.ndarray = field(init=False)
    seconds: float = 0.0

    def begin(self, former: dict[str, Any] | None, expect: Expect | None) -> None:
        """Fix the order, and take over the energies of the run before."""
        inside = candidates(self.ensemble) & (self.target.reason == "")
        rng = np.random.default_rng(self.task["seed"])
        self.order = PriorityOrder.draw(self.ensemble.log_w, inside, rng)
        if not len(self.order.rows):
            raise InputError(f"{self.task['from']}: no sample has a density inside the domain; sample again.")
        self.u = np.empty(0)
        if former is not None:
            same = all(former["task"].get(key) == self.task[key] for key in IDENTITY)
            if not same or not np.array_equal(former["rows"], self.order.rows[: len(former["rows"])]):
                raise InputError(
                    f"{self.out} was begun with other samples, another target, temperature or seed; resume "
                    "with the first command (only the limits may change), or choose another folder."
                )
            self.u, self.seconds = former["u"], former["seconds"]
        if expect is not None:
            left = self.order.rows[len(self.u) : self._most()]
            expect(expected_reweighting(self.target, self.ensemble, left))
        self._keep()

    def to_the_end(self, stop: StopRequest, progress: Progress) -> Reweighting:
        """Evaluate up to the limits, or until `stop`, and write the folder."""
        ended = None
        try:
            for look in self._looks():
                if not self._evaluate(look, stop, progress):
                    break
                if self.limits.reached(self._reweighted()):
                    ended = "precision reached"
                    break
            else:
                whole = len(self.u) >= len(self.order.rows)
                ended = "all rows evaluated" if whole else "as many rows evaluated as asked"
        finally:
            self._keep()
        result = self._write(ended)
        if ended is None:
            raise StoppedError(
                f"{stop.reason} after {len(self.u)} of at most {self._most()} evaluations; "
                f"they are saved and used in {self.out}.",
                result=result,
            )
        return result

    def _most(self) -> int:
        return min(len(self.order.rows), self.limits.expensive or len(self.order.rows))

    def _looks(self) -> Iterator[int]:
        """Numbers of evaluations after which the precision is looked at; the last is the largest allowed."""
        most, look = self._most(), FIRST_LOOK
        while self.limits.precision and look < most:
            if look >= len(self.u):
                yield look
            look = int(np.ceil(look * LOOK_GROWTH))
        yield most

    def _evaluate(self, number: int, stop: StopRequest, progress: Progress) -> bool:
        """Energies of the first `number` rows; False when `stop` came first."""
        rows, saved = 16, time.monotonic()
        while len(self.u) < number:
            if stop.requested:
                return False
            start = time.monotonic()
            chosen = self.order.rows[len(self.u) : min(len(self.u) + rows, number)]
            new = self.target.reduced_energy(self.ensemble.positions[chosen])
            self.u = np.concatenate([self.u, new])
            spent = time.monotonic() - start
            self.seconds += spent
            fitting = len(chosen) * BATCH_SECONDS / max(spent, 1e-6)
            rows = int(np.clip(fitting, 1, min(2 * rows, LARGEST_BATCH)))
            progress(len(self.u), self._most(), None)
            if time.monotonic() - saved > SAVE_EVERY:
                self._keep()
                saved = time.monotonic()
        return True

    def _keep(self) -> None:
        write_energies(self.out, self.task, self.order.rows[: len(self.u)], self.u, self.seconds)

    def _reweighted(self, provenance: dict[str, Any] | None = None) -> Ensemble:
        molecular = self.ensemble.is_molecular
        return with_energies(
            self.ensemble,
            self.order,
            self.u,
            self.target.reason,
            temperature=self.target.temperature if molecular else None,
            system_fingerprint=self.target.fingerprint,
            topology_pdb=self.target.topology_pdb,
            provenance=provenance or _provenance(self.ensemble, self.task, 0),
        )

    def _write(self, ended: str | None) -> Reweighting:
        provenance = _provenance(self.ensemble, self.task, len(self.u)) | {"subject": self.target.subject}
        left = len(self.order.rows) - len(self.u)
        if left:
            provenance["notes"].append(
                f"the new energy was computed for {len(self.u)} of {len(self.order.rows)} samples, chosen by "
                'weight; a higher `expensive` with `resume="auto"` computes more'
            )
        if self.limits.precision and ended not in (None, "precision reached"):
            provenance["notes"].append(
                "the precision asked was not reached; draw more samples, or allow more evaluations"
            )
        new = self._reweighted(provenance)
        status = "partial" if ended is None else "complete"
        save_ensemble(new, self.out, status=status)
        record = {
            "schema": SCHEMA,
            "task": self.task,
            "status": status,
            "ended": ended or "stopped",
            "rows": len(new),
            "candidates": len(self.order.rows),
            "evaluated": len(self.u),
            "energy_evaluations": len(self.u),
            "seconds": self.seconds,
            "limits": vars(self.limits),
            "second_stage": second_stage(self.order, self.ensemble.u, self.u),
            "before": _numbers(self.ensemble),
            "after": _numbers(new),
        }
        write_record(self.out, record)
        return Reweighting(record, Summary(summary(new)))
