"""``sample``: a model and a prepared molecule become an ensemble with exact densities and weights."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

import torch

from boltzgen.checks import check_dtype, check_number, check_seed, check_temperature, check_temperatures
from boltzgen.conditioning.familiarity import temperatures_outside
from boltzgen.config.devices import check_device
from boltzgen.config.model import Model, load_model
from boltzgen.contents import check_output
from boltzgen.dynamics.ring_moves import RingMoves
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.ensemble.join import concatenate
from boltzgen.ensemble.store import save_ensemble, summary
from boltzgen.errors import BoltzgenError, InputError, PartialError, UnreliableError
from boltzgen.flows.temperature_mixture import asked_at
from boltzgen.folders import alone_in
from boltzgen.generator import SLOW_BATCH, BoltzmannGenerator, Target, read_target
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress, silent
from boltzgen.refine.refinement import EXPECTED_MOVES, Refinement, draw_refined
from boltzgen.trust.coverage import coverage_of_frames, read_check_frames, with_findings
from boltzgen.trust.determinant import require_determinants
from boltzgen.trust.rings import missing_from, ring_minima, unmoved_in_file
from boltzgen.workflows.options import takes
from boltzgen.workflows.sampling.chain_files import ChainFiles, begun
from boltzgen.workflows.sampling.chained import (
    chain_settings,
    chain_task,
    ensemble_of,
    require_rows,
    walked_or_failed,
)
from boltzgen.workflows.sampling.check import combined
from boltzgen.workflows.sampling.compiling import decided, share_within
from boltzgen.workflows.sampling.options import SampleKeywords, SampleOptions
from boltzgen.workflows.sampling.records import Summary
from boltzgen.workflows.subjects import words_of
from boltzgen.workflows.timing.expectation import Expect
from boltzgen.workflows.timing.sampling import energies_a_row, expected, expected_chains, moves_of

#: Seconds of a batch under a limit of time, where the batches would take longer than the second number.
BATCH_SECONDS, LONGEST_BATCH = 2.0, 4.0


@takes(SampleOptions)
def sample(
    model: str | PathLike[str],
    system: str | PathLike[str],
    output: str | PathLike[str],
    number: int,
    *,
    overwrite: bool = False,
    strict: bool = False,
    stop: StopRequest | None = None,
    progress: Progress = silent,
    expect: Expect | None = None,
    **options: Unpack[SampleKeywords],
) -> Summary:
    """Draw `number` samples of `system`, each with its density, energy and weight, into the folder `output`.

    Parameters
    ----------
    model: a run, a model folder or the name of a shipped model.
    system: SYS, ``example:NAME``, or ``model:NAME`` for a model system.
    output: the OUT folder; docs/files.md says what is in it.
    overwrite: replace samples that `output` already holds.
    expect: told how long it will take before it begins.
    options: the fields of `SampleOptions`: temperature, proposal_temperatures, seed, batch_size, dtype,
        device, data, data_temperature, refine, refine_budget, compile_energies, chains, walkers, groups,
        stride, warm_up, pilot, ladder.

    Returns
    -------
    Summary: the content of ``OUT/summary.json``; `boltzgen.load_samples` reads the samples themselves.

    Raises
    ------
    InputError: something given cannot be used. PartialError: stopped; what was drawn is saved, and with
    ``chains`` the same call goes on. UnsupportedError: ``chains`` of a flow without a latent space.
    BoltzgenError: a log-determinant is wrong (see `boltzgen.trust.determinant`); nothing is drawn.
    UnreliableError: with `strict`, when the verdict is ``unreliable``; everything is written first.

    Notes
    -----
    Importance sampling with an exact density: Noe, Olsson, Koehler, Wu, Science 365, eaaw1147 (2019). The
    density is of positions with overall translation and rotation integrated out, lengths in nm.

    Example
    -------
    >>> import boltzgen as bg
    >>> found = bg.sample("RUN", "SYS", "OUT", 200, temperature=300.0, seed=1)
    >>> found.requested, found.verdict in ("ok", "caution", "unreliable")
    (200, True)
    """
    asked = SampleOptions(**options)
    check_device(asked.device)
    check_output(output, "ensemble")
    with alone_in(output) as folder:
        if not asked.chains:
            _refuse_samples(folder, overwrite)
        files = ChainFiles(folder, overwrite=overwrite)
        ensemble, failure = _drawn(model, system, number, asked, stop, progress, expect, files)
        complete = failure is None and len(ensemble) == number
        save_ensemble(ensemble, folder, status="complete" if complete else "partial")
        if complete:
            files.finish()
    found = Summary(summary(ensemble))
    if failure is not None:
        kept = f"{failure} What was sampled before, {len(ensemble)} of {number}, is saved in {output}."
        raise type(failure)(kept, result=found) from failure
    if not complete:
        drawn = f"Stopped after {len(ensemble)} of {number} samples; they are saved in {output}."
        raise PartialError(drawn, result=found)
    if strict and found.verdict == "unreliable":
        reasons = "; ".join(found.reasons)
        raise UnreliableError(f"{output}: the verdict is unreliable: {reasons}.", result=found)
    return found


def _refuse_samples(folder: Path, overwrite: bool) -> None:
    """InputError where `folder` holds samples, or chains that were begun, and they may not be replaced."""
    if (folder / "manifest.json").exists() and not overwrite:
        raise InputError(f"{folder} already holds samples; name another folder, or add `overwrite=True`.")
    if begun(folder) and not overwrite:
        raise InputError(
            f"{folder} holds chains that were begun; go on with `chains=True`, or add `overwrite=True`."
        )


def _drawn(
    model: str | PathLike[str],
    system: str | PathLike[str],
    number: int,
    asked: SampleOptions,
    stop: StopRequest | None,
    progress: Progress,
    expect: Expect | None,
    files: ChainFiles,
) -> tuple[Ensemble, BoltzgenError | None]:
    """The samples that `sample` was asked for, or those before `stop`, and why chains failed, if they did."""
    trained = load_model(Path(model))
    molecule, target = read_target(str(system), isomers=trained.isomers)
    kelvin = trained.temperature if asked.temperature is None else asked.temperature
    _check(number, kelvin, asked)
    refinement = Refinement.of(asked.refine, asked.refine_budget)
    settings, failure = chain_settings(asked), None
    if settings is not None:
        require_rows(number, settings)
    typed = trained.flow.to(device=asked.device, dtype=getattr(torch, asked.dtype))
    flow = asked_at(typed, asked.proposal_temperatures)
    generator = BoltzmannGenerator(flow, target.to(asked.device))
    if settings is not None:
        _ = generator.latent_flow  # refused before anything is written
    frames = (
        None
        if asked.data is None
        else read_check_frames(molecule, asked.data, kelvin, target, asked.data_temperature)
    )
    rings = None if settings is None or molecule is None else RingMoves.of(molecule) or None
    a_sample = 1 if refinement is None else 1 + (refinement.moves or EXPECTED_MOVES)
    a_sample = a_sample if settings is None else energies_a_row(generator.target, number, settings)
    with closing(target):  # the worker processes of its potential, if there are any
        rows = None if asked.batch_size == "auto" else int(asked.batch_size)
        told, share = None, None
        if expect is not None:
            told = (
                expected(generator, number, kelvin, moves=moves_of(asked.refine, asked.refine_budget))
                if settings is None
                else expected_chains(generator, number, kelvin, settings, rings)
            )
            share = share_within(stop, told.seconds)
            rows = _rows_within(stop, rows, told.seconds / number)
        task = (
            {}
            if settings is None
            else chain_task(number, kelvin, asked, settings, target, trained.record, rings)
        )
        before = files.compilation(task)
        compilation, passes = decided(generator, kelvin, number * a_sample, asked, settings, before, share)
        if expect is not None and told is not None:
            expect(passes.told(told))
        passes.compile(stop)
        require_determinants(generator, kelvin)
        if settings is not None:
            files.begin(task, {name: compilation[name] for name in ("used", "draws")})
            walked, failure = walked_or_failed(
                generator, number, kelvin, settings, asked.seed, rings, stop, progress, files
            )
            drawn = ensemble_of(walked, generator, kelvin, settings)
            flow_log_w = None
        elif refinement is None:
            draws = generator.draw(number, kelvin, seed=asked.seed, rows=rows)
            drawn = _until_stopped(draws, number, stop, progress)
            flow_log_w = drawn.log_w
        else:
            drawn, flow_log_w = draw_refined(
                generator, refinement, number, kelvin, seed=asked.seed, stop=stop, progress=progress
            )
        notes, familiar = _notes(trained, target, kelvin, asked.proposal_temperatures)
        record = {
            "command": sys.argv,
            "seed": asked.seed,
            "requested": number,
            "dtype": asked.dtype,
            "model": str(model),
            "compilation": compilation,
            "system": str(system),
            "subject": words_of(str(system), molecule),
            "notes": notes,
            "familiarity": familiar,
            "proposal_temperatures": list(asked.proposal_temperatures),
        }
        ensemble = replace(drawn, provenance={**drawn.provenance, **record})
        if frames is not None:
            coverage = coverage_of_frames(
                generator, ensemble, flow_log_w, frames, str(asked.data), kelvin, trained.record
            )
            ensemble = replace(ensemble, coverage=coverage)
    if molecule is not None:
        minima = ring_minima(molecule, trained.isomers)
        found = missing_from(molecule, ensemble, minima, kelvin)
        if frames is not None and asked.data is not None:
            found += unmoved_in_file(molecule, minima, frames, asked.data)
        if ensemble.coverage is not None:
            ensemble = replace(ensemble, coverage=with_findings(ensemble.coverage, found))
        elif found:
            ensemble = replace(ensemble, coverage=combined([], found, {}))
    return ensemble, failure


def _rows_within(stop: StopRequest | None, rows: int | None, each: float) -> int | None:
    """Samples between two looks at the clock, of `each` seconds: `rows` (None: as `draw` will have it).

    Under a limit of time, what takes `BATCH_SECONDS` where that would be too many.
    """
    slow = stop is not None and stop.max_time is not None and (rows or SLOW_BATCH) * each > LONGEST_BATCH
    return max(1, int(BATCH_SECONDS / each)) if slow else rows


def _until_stopped(
    draws: Iterator[Ensemble], number: int, stop: StopRequest | None, progress: Progress
) -> Ensemble:
    """All of `draws`, or those before `stop` asked to end."""
    parts, drawn = [], 0
    began = time.monotonic()
    for part in draws:
        parts.append(part)
        drawn += len(part)
        progress(drawn, number, None)
        if stop is not None and not stop.leaves((time.monotonic() - began) / len(parts) / 2):
            break
    return concatenate(parts)


def _check(number: int, temperature: float, asked: SampleOptions) -> None:
    check_number(number)
    check_temperature(temperature)
    check_temperatures(asked.proposal_temperatures, "proposal_temperatures")
    batch_size = asked.batch_size
    word = str(batch_size)
    if batch_size != "auto" and not (word.isdecimal() and len(word) < 100 and int(word) > 0):
        raise InputError(f"`batch_size={batch_size!r}` is neither auto nor a positive whole number.")
    if batch_size != "auto":
        check_number(int(batch_size), "batch_size")
    check_dtype(asked.dtype)
    check_seed(asked.seed)


def _notes(
    trained: Model, target: Target, temperature: float, proposals: Sequence[float]
) -> tuple[list[str], dict[str, Any] | None]:
    """What the model did not learn of the molecule and the temperatures (K); the score of a new molecule."""
    domains = {entry["fingerprint"]: entry.get("domain") for entry in trained.record["systems"]}
    notes: list[str] = []
    record: dict[str, Any] | None = None
    if target.fingerprint not in domains:
        notes, record = _unseen(trained, target, proposals or [temperature])
    elif domains[target.fingerprint] not in (None, target.domain):
        notes.append("the model was trained on another isomer of this system")
    notes += temperatures_outside([temperature, *proposals], trained.temperatures)
    return list(dict.fromkeys(notes)), record


def _unseen(
    trained: Model, target: Target, asked_at: Sequence[float]
) -> tuple[list[str], dict[str, Any] | None]:
    """How far a molecule that was not trained on, `asked_at` temperatures (K), lies from those that were."""
    found = target.familiarity(trained.seen, asked_at)
    if found is None:
        return ["the model was not trained on this system"], None
    first = f"the model was not trained on this system; unfamiliarity {found.score:.3g} (0: nothing new)"
    return [first, *found.reasons], {"score": found.score, "reasons": list(found.reasons)}
