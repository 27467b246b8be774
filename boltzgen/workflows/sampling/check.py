"""``check``: an ensemble examined again: its record, its densities, and what its flow may have missed."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from boltzgen.checks import check_number, check_seed
from boltzgen.config.model import load_model
from boltzgen.config.shipped import shipped_models
from boltzgen.dynamics.starts import starts_of
from boltzgen.ensemble.diagnostics import NO_COVERAGE, normalised_weights, worst
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.manifest import read_manifest
from boltzgen.ensemble.store import load_ensemble
from boltzgen.ensemble.stored_coverage import store_coverage
from boltzgen.errors import InputError, UnreliableError
from boltzgen.flows.temperature_mixture import asked_at
from boltzgen.folders import alone_in
from boltzgen.generator import BoltzmannGenerator, Target, read_target, temperature_of
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress, silent
from boltzgen.refine.refinement import flow_log_weights
from boltzgen.system.examples import EXAMPLE
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.trust.audit import Findings, audit_rows, check_files
from boltzgen.trust.coverage import coverage_of_frames, read_check_frames, with_findings
from boltzgen.trust.determinant import spot_check
from boltzgen.trust.judgement import TorsionColumn, classified, judge_probe, state_columns
from boltzgen.trust.probe import ProbeFrames, check_probe, run_probe
from boltzgen.trust.rings import (
    RingColumn,
    RingWalks,
    missing_from,
    ring_minima,
    unmoved_cautions,
    unmoved_in_file,
)
from boltzgen.workflows.options import takes
from boltzgen.workflows.sampling.options import ROWS, CheckKeywords, CheckOptions
from boltzgen.workflows.sampling.records import Coverage, Summary
from boltzgen.workflows.timing.checking import expected_check, rows_within
from boltzgen.workflows.timing.expectation import Expect

#: Joint states of the ensemble that the probe starts from, beside the reference and the puckers.
MOST_STARTS = 5
#: Conformers or structures of a file that it starts from beside those; each exchange has some eight replicas.
MOST_GIVEN = 8


@dataclass(frozen=True)
class Examination:
    """The new ``summary.json`` and the coverage record in the manifest (None: nothing was learned)."""

    summary: Summary
    coverage: Coverage | None

    @property
    def verdict(self) -> str:
        """``ok``, ``caution`` or ``unreliable``."""
        return self.summary.verdict

    def to_json(self) -> dict[str, Any]:
        """``summary`` as in ``OUT/summary.json``, ``coverage`` as in ``OUT/manifest.json``."""
        return {
            "summary": self.summary.to_json(),
            "coverage": None if self.coverage is None else self.coverage.to_json(),
        }


@takes(CheckOptions)
def check(
    folder: str | PathLike[str],
    *,
    strict: bool = False,
    stop: StopRequest | None = None,
    progress: Progress = silent,
    expect: Expect | None = None,
    **options: Unpack[CheckKeywords],
) -> Examination:
    """Examine the samples in `folder` (OUT), and write what was found into its manifest and summary.

    Files against their hashes, copies among the samples, densities and energies recomputed from the
    positions, log-determinants against autograd; with ``probe`` or ``data`` what the flow may have missed.

    Parameters
    ----------
    expect: told how long it will take before it begins. With it and a limit of `stop`, fewer samples may be
        recomputed.
    options: the fields of `CheckOptions`: model, system, probe, budget, data, data_temperature, rows, seed,
        starts, platform.

    Returns
    -------
    Examination: the new summary, and the coverage record where something was compared or found.

    Raises
    ------
    InputError, UnsupportedError: something given cannot be used. UnreliableError: with `strict`, when the
    verdict is ``unreliable``; everything is written first.

    Example
    -------
    >>> import boltzgen as bg
    >>> found = bg.check("OUT", rows=100)
    >>> found.summary.requested, found.coverage
    (200, None)
    """
    asked = CheckOptions(**options)
    check_number(asked.rows, "rows")
    check_seed(asked.seed)
    out = Path(folder)
    read_manifest(out)  # what is no OUT folder is refused before it is locked
    with alone_in(out):
        found, coverage = _examined(out, asked, stop or StopRequest(), progress, expect)
    result = Examination(found, None if coverage is None else Coverage(coverage))
    if strict and found.verdict == "unreliable":
        reasons = "; ".join(found.reasons)
        raise UnreliableError(f"{out}: the verdict is unreliable: {reasons}.", result=result)
    return result


def _examined(
    out: Path, asked: CheckOptions, stop: StopRequest, progress: Progress, expect: Expect | None
) -> tuple[Summary, dict[str, Any] | None]:
    """The new summary and coverage record of `check`, both written."""
    probe, data, seed = asked.probe, asked.data, asked.seed
    ensemble = load_ensemble(out, compare=False)  # `check_files` tells what was changed
    if "reweighted_from" in ensemble.provenance:
        raise InputError(
            f"{out} was reweighted from {ensemble.provenance['reweighted_from']}, and no flow belongs to its "
            "energy: check that folder, and compare it with a simulation of the new system by "
            "`free_energy_mbar([OUT, MD])`."
        )
    trained = load_model(Path(_named(out, ensemble, "model", asked.model)))
    molecule, target = read_target(
        str(_named(out, ensemble, "system", asked.system)), isomers=trained.isomers
    )
    _check_same(out, ensemble, target)
    kelvin = temperature_of(ensemble)
    given: list[np.ndarray] = []
    if probe:
        whole = check_probe(molecule, asked.budget)
        if asked.starts not in ("auto", "reference"):
            given = list(starts_of(whole, asked.starts, MOST_GIVEN).positions)
    frames = (
        None if data is None else read_check_frames(molecule, data, kelvin, target, asked.data_temperature)
    )
    flow = asked_at(trained.flow.double(), ensemble.provenance.get("proposal_temperatures"))
    generator = BoltzmannGenerator(flow, target)
    rows, platform = min(asked.rows, len(ensemble)), asked.platform
    with closing(target):
        if expect is not None:
            probed = molecule if probe else None
            found, each, platform = expected_check(
                generator, kelvin, rows, probed, asked.budget, asked.platform
            )
            expect(found)
            rows = rows_within(stop, rows, each, before_a_probe=probe)
        findings, numbers = examine(generator, ensemble, kelvin, rows=rows, seed=seed)
        minima = None if molecule is None else ring_minima(molecule, trained.isomers)
        if molecule is not None:
            findings = [*findings, *missing_from(molecule, ensemble, minima, kelvin)]
        findings = [*check_files(out), *findings]
        records = []
        if frames is not None or probe:
            flow_log_w = flow_log_weights(generator, ensemble, kelvin, seed=seed)
        if frames is not None:
            compared = coverage_of_frames(
                generator, ensemble, flow_log_w, frames, str(data), kelvin, trained.record
            )
            assert molecule is not None and data is not None  # frames are of a molecule
            records.append(with_findings(compared, unmoved_in_file(molecule, minima, frames, data)))
        if probe and molecule is not None:
            columns = state_columns(target, molecule.atom_names)
            reference, *drawn = probe_starts(target, ensemble, columns, seed)
            near = [] if minima is None or asked.starts != "auto" else minima.near(kelvin)
            starts = [reference, *given, *drawn, *near]
            seen = run_probe(
                molecule,
                starts,
                kelvin,
                budget=asked.budget,
                seed=seed,
                platform=platform,
                stop=stop,
                progress=progress,
            )
            walks = RingWalks(seen.positions, seen.crossings)
            told = unmoved_cautions(molecule, minima, kelvin, "probe", walks)
            judged = judge_probe(generator, ensemble, flow_log_w, seen, kelvin, columns)
            records.append(with_findings(judged, [("caution", sentence) for sentence in told]))
    coverage = combined(records, findings, numbers, former=ensemble.coverage)
    return Summary(store_coverage(out, ensemble, coverage)), coverage


def examine(
    generator: BoltzmannGenerator, ensemble: Ensemble, temperature: float, *, rows: int = ROWS, seed: int = 0
) -> tuple[Findings, dict[str, Any]]:
    """Findings on the record and the densities of `ensemble`, and the numbers behind them."""
    audit = audit_rows(generator, ensemble, temperature, rows=rows, seed=seed)
    determinants = spot_check(generator, temperature)
    findings = list(audit.findings)
    if not determinants.passed:
        findings.insert(0, ("unreliable", determinants.reason()))
    numbers = {
        **audit.numbers,
        "log_det_difference": {"flow": determinants.flow, "coordinates": determinants.coordinates},
        "energy_evaluations": audit.energy_evaluations,
    }
    return findings, numbers


def probe_and_judge(
    generator: BoltzmannGenerator, ensemble: Ensemble, molecule: MolecularSystem, frames: ProbeFrames
) -> dict[str, Any]:
    """The coverage record of `ensemble` from the `frames` of a probe of `molecule` that was run before."""
    if ensemble.temperature is None:
        raise InputError("`probe=True` is for molecules; a model system has no temperature ladder.")
    columns = state_columns(generator.target, molecule.atom_names)
    flow_log_w = None if ensemble.walkers is not None else ensemble.log_w
    return judge_probe(generator, ensemble, flow_log_w, frames, ensemble.temperature, columns)


def probe_starts(
    target: Target, ensemble: Ensemble, columns: list[TorsionColumn | RingColumn], seed: int
) -> list[np.ndarray]:
    """(N, 3) conformations: the reference, and one sample from each of the heaviest joint states."""
    starts = [target.reference[0].cpu().numpy()]
    weights = normalised_weights(ensemble.log_w)
    rows = np.flatnonzero(weights > 0)
    if not len(rows) or not columns:
        return starts
    rng = np.random.default_rng(seed)
    found = classified(target, columns, ensemble.positions[rows])
    states, of_row = np.unique(found, axis=0, return_inverse=True)
    shares = np.bincount(of_row.reshape(-1), weights=weights[rows], minlength=len(states))
    for state in np.argsort(-shares)[:MOST_STARTS]:
        here = rows[of_row.reshape(-1) == state]
        chosen = rng.choice(here, p=weights[here] / weights[here].sum())
        starts.append(np.asarray(ensemble.positions[chosen], dtype=np.float64))
    return starts


def combined(
    records: list[dict[str, Any]],
    findings: Findings,
    numbers: dict[str, Any],
    *,
    former: dict[str, Any] | None = None,
) -> dict[str, Any] | None:
    """One coverage record of `records`, else of the `former` one, with the `findings` of `examine`.

    None when nothing was found and nothing was compared: then coverage remains unchecked. The verdict that
    the comparison alone gave is kept as ``before_examination`` (null without one), so that a later
    examination that finds nothing wrong neither keeps old findings nor passes for a comparison.
    """
    before = {} if former is None else former.get("before_examination", {})
    if not records and former is not None and before is not None:
        records = [{**former, **before}]
    if not records:
        if not findings:
            return None
        verdict, reasons = worst([*findings, ("caution", NO_COVERAGE)])
        return {
            "source": "the samples alone",
            "forward_ess": None,
            "verdict": verdict,
            "reasons": reasons,
            "examination": numbers,
            "before_examination": None,
        }
    judged = [(record["verdict"], reason) for record in records for reason in record["reasons"]]
    verdict, reasons = worst([*findings, *judged])
    before_verdict, before_reasons = worst(judged)
    return {
        **records[0],
        **records[-1],
        "verdict": verdict,
        "reasons": reasons,
        "examination": numbers,
        "source": " and ".join(dict.fromkeys(str(record["source"]) for record in records)),
        "before_examination": {"verdict": before_verdict, "reasons": before_reasons},
    }


def _named(out: Path, ensemble: Ensemble, key: str, given: str | PathLike[str] | None) -> str | PathLike[str]:
    """`given`, or what the manifest names; InputError when neither is there."""
    if given is not None:
        return given
    named = ensemble.provenance.get(key)
    if not named:
        raise InputError(f"{out / 'manifest.json'} names no {key}; give it as `{key}`.")
    shipped = str(named).startswith(("model:", EXAMPLE)) or str(named) in shipped_models()
    if not shipped and not Path(named).exists():
        raise InputError(
            f"{out / 'manifest.json'} names the {key} {named}, which is not there; give `{key}`."
        )
    return str(named)


def _check_same(out: Path, ensemble: Ensemble, target: Target) -> None:
    if ensemble.system_fingerprint != target.fingerprint:
        raise InputError(
            f"{out} holds samples of another system or force field than {target.name!r} (fingerprints "
            f"{ensemble.system_fingerprint[:8]} and {target.fingerprint[:8]}); give the right `system`."
        )
    if ensemble.domain != target.domain:
        raise InputError(
            f"{out}: the samples have the domain {ensemble.domain!r}, the model {target.domain!r}; give the "
            "one that drew them as `model`."
        )


def with_coverage(ensemble: Ensemble, coverage: dict[str, Any] | None) -> Ensemble:
    """`ensemble` with this coverage record, in memory."""
    return replace(ensemble, coverage=coverage)
