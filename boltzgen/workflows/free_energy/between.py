"""``free-energy between``: the free-energy difference between two systems with the same atoms.

All estimators that the ends allow answer the same question, and must agree:

* one-sided: ``ln Z`` of each target from its own flow;
* flow and simulation: ``ln Z`` of each target by BAR between its flow and frames of its simulation;
* targeted map: target samples of A and of B taken both ways through the latent space of the two flows;
* no map: ``u_B - u_A`` on target samples of both.

Target samples are decorrelated frames of simulations where given, else the weighted samples of the flows.
(Unweighted flow samples sent through the map would only repeat the ratio of two one-sided answers.)
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from boltzgen.checks import check_number
from boltzgen.config.devices import check_device
from boltzgen.errors import InputError, StoppedError
from boltzgen.files import sha256_file
from boltzgen.free_energy.combination import (
    EstimateRecord,
    agreement,
    difference,
    paired_difference,
)
from boltzgen.free_energy.estimate import DIFFERENCE, SCHEMA, Estimate, document
from boltzgen.free_energy.partition import log_partition
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.work import WorkSamples, bennett
from boltzgen.interrupts import StopRequest
from boltzgen.loaders.records import Kelvin, OpenRecord, read_record
from boltzgen.progress import Progress, silent
from boltzgen.provenance import VERSION
from boltzgen.report.estimates import work_figure
from boltzgen.workflows.free_energy.cycle import relative_to_leg
from boltzgen.workflows.free_energy.ends import (
    End,
    TargetSamples,
    read_end,
    require_comparable,
    target_samples,
)
from boltzgen.workflows.free_energy.results import (
    FreeEnergyResult,
    result_path,
    statistics_of,
    write_results,
)
from boltzgen.workflows.free_energy.targeted_map import (
    Work,
    direct_work,
    mapped_work,
    target_work,
    why_not_mapped,
)
from boltzgen.workflows.subjects import subject_of_ensemble, subject_of_pair
from boltzgen.workflows.timing.differences import expected_between
from boltzgen.workflows.timing.expectation import Expect

ONE_SIDED = "one-sided: partition functions of both flows"
SIMULATED = "BAR, flow and simulation of each system"
MAPPED = "BAR, map of both flows"
DIRECT = "BAR, no map"

#: What is computed when the temperatures differ: a number without unit, for no one kT belongs to it.
DIMENSIONLESS = "f_B - f_A = -ln(Z_B / Z_A), each at its own temperature"


@dataclass(frozen=True)
class _Asked:
    """How estimates are made, and what they are of."""

    statistics: Statistics
    unit: str
    quantity: str
    data_temperature: float | None
    stop: StopRequest


def between(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    data_a: str | os.PathLike[str] | None = None,
    data_b: str | os.PathLike[str] | None = None,
    data_temperature: float | None = None,
    samples: int = 10_000,
    relative_to: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    n_bootstrap: int = 1000,
    seed: int = 0,
    stop: StopRequest | None = None,
    progress: Progress = silent,
    expect: Expect | None = None,
) -> FreeEnergyResult:
    """``dG(A->B) = G_B - G_A`` between the targets of two OUT folders with the same atoms.

    data_a, data_b: simulations (MD folders or trajectories) of the two systems at the temperatures of the
    samples, best not seen in training. data_temperature: K, of files among them that do not say it (DCD,
    XTC). samples: flow samples of each end sent to the other where there is no simulation; 0 leaves the
    one-sided answer alone. relative_to: result file of another leg, which is subtracted (thermodynamic
    cycle). device: ``cpu`` or ``cuda``.
    n_bootstrap, seed: replicates of the bootstrap, its seed.
    stop: polled between batches of a map, which is then left out.
    expect: told how long it will take before it begins.

    Writes `output` (default ``between.json``), CSV and figure beside it; the best estimate comes first.
    At two temperatures the answer is the dimensionless ``f_B - f_A = -ln(Z_B/Z_A)``.

    Returns
    -------
    FreeEnergyResult: the estimates (kT, or the unit that each names) with standard errors, 95 % intervals,
        verdicts and reasons; ``to_json()`` is the content of the file.

    Raises
    ------
    InputError: something given cannot be used. Poor statistics never raise; see `FreeEnergyResult.check`.

    Example
    -------
    >>> import boltzgen as bg
    >>> _ = bg.sample("RUN", "SYS", "HOT", 100, temperature=600.0, seed=3)
    >>> found = bg.free_energy_between("OUT", "HOT", samples=50, n_bootstrap=50)
    >>> found.estimates[0].unit, found.path.name
    ('1', 'between.json')
    """
    statistics = statistics_of(n_bootstrap, seed)
    check_device(device)
    if samples < 0 or samples == 1:
        raise InputError(f"`samples={samples}`: give 0 (one-sided only) or at least 2.")
    check_number(samples, "samples", least=0)
    path = result_path(output, Path("between.json"))
    leg = None if relative_to is None else _read_leg(Path(relative_to))
    need = samples > 0 or data_a is not None or data_b is not None
    with ExitStack() as opened:
        first = read_end(Path(a), str(a), device=device, need=need)
        opened.callback(first.close)
        second = read_end(Path(b), str(b), device=device, need=need)
        opened.callback(second.close)
        require_comparable(first, second)
        one_temperature = abs(first.temperature - second.temperature) < 1e-6
        temperature = first.ensemble.temperature if one_temperature else None
        asked = _Asked(
            statistics,
            "kT" if one_temperature else "1",
            DIFFERENCE if one_temperature else DIMENSIONLESS,
            data_temperature,
            stop or StopRequest(),
        )
        if leg is not None:
            _require_one_cycle(leg, asked.unit, temperature)
        if expect is not None:
            expect(expected_between(first, second, samples if need else 0))
        found, works, record = _all_estimates(first, second, (data_a, data_b), samples, asked, progress)
    estimates = agreement(found)
    content_origin = {
        "A": {**first.record, **record["targets"][0]},
        "B": {**second.record, **record["targets"][1]},
        "bootstrap": n_bootstrap,
        "seed": seed,
        "version": VERSION,
    }
    answer = estimates[0].value
    if leg is not None:
        estimates = [relative_to_leg(estimates[0], leg, content_origin), *estimates]
        content_origin["relative_to"] = {"file": str(relative_to), "sha256": sha256_file(str(relative_to))}
    content = document(
        estimates,
        temperature,
        content_origin,
        temperatures_K=[end.temperature if end.ensemble.is_molecular else None for end in (first, second)],
        work=record["work"],
        left_out=record["left_out"],
    )
    a_subject, b_subject = (subject_of_ensemble(end.ensemble, end.folder) for end in (first, second))
    of = subject_of_pair(a_subject, b_subject, temperature)
    label = "ΔG (kT)" if one_temperature else "f_B − f_A"
    figure = write_results(
        content,
        path,
        lambda file: work_figure(file, estimates, works, answer=answer, label=label, subject=of),
    )
    return FreeEnergyResult(tuple(estimates), content, path, figure)


Works = dict[str, tuple[np.ndarray, np.ndarray]]


def _all_estimates(
    a: End, b: End, data: tuple[Any, Any], samples: int, asked: _Asked, progress: Progress
) -> tuple[list[Estimate], Works, dict[str, Any]]:
    """Every estimate that the ends allow, the work of each map, and a record of what was used."""
    found, works = [_one_sided(a, b, asked)], Works()
    record: dict[str, Any] = {"targets": [{}, {}], "work": {}, "left_out": {}}
    if a.system is None or b.system is None:
        why = a.missing or b.missing
        record["left_out"] = dict.fromkeys((SIMULATED, MAPPED, DIRECT), why)
        return found, works, record
    chosen_rows = _rows(a, b, samples)
    targets = [
        target_samples(end, source, rows, asked.data_temperature)
        for end, source, rows in zip((a, b), data, chosen_rows, strict=True)
    ]
    record["targets"] = [{"target_samples": target.record} for target in targets]
    drawn = a.ensemble.walkers is None and b.ensemble.walkers is None
    if drawn and all(target.simulated for target in targets):
        try:
            found.append(_simulated(a, b, targets, asked, record))
        except StoppedError as stopped:
            record["left_out"][SIMULATED] = str(stopped)
    else:
        needs = "frames of both systems" if drawn else "draws of both flows, and walkers are none"
        record["left_out"][SIMULATED] = f"it needs {needs}"
    maps = [(DIRECT, direct_work), (MAPPED, mapped_work)]
    why_not = why_not_mapped(a.system, b.system)
    if why_not is not None:
        record["left_out"][MAPPED] = why_not
        maps.pop()
    for done, (name, work) in enumerate(maps):
        progress(done, len(maps), {"now": name})
        try:
            forward = work(a.system, b.system, targets[0].positions, targets[0].u, asked.stop)
            backward = work(b.system, a.system, targets[1].positions, targets[1].u, asked.stop)
        except StoppedError as stopped:
            record["left_out"][name] = str(stopped)
            continue
        found.append(_bar(a, b, targets, forward, backward, name, asked))
        works[name] = (forward.work, backward.work)
        record["work"][name] = _work_record(forward, backward)
    progress(len(maps), len(maps), None)
    return found, works, record


def _one_sided(a: End, b: End, asked: _Asked) -> Estimate:
    common: dict[str, Any] = {
        "A": a.name,
        "B": b.name,
        "estimator": ONE_SIDED,
        "unit": asked.unit,
        "quantity": asked.quantity,
    }
    drawn = a.ensemble.walkers is None and b.ensemble.walkers is None
    if drawn and len(a.ensemble) == len(b.ensemble):
        return paired_difference(
            a.ensemble.log_w,
            b.ensemble.log_w,
            asked.statistics,
            **common,
            coverage_a=a.ensemble.coverage,
            coverage_b=b.ensemble.coverage,
        )
    log_z_a, log_z_b = (
        log_partition(
            end.ensemble.log_w,
            asked.statistics.about(end.ensemble),
            name=end.name,
        )
        for end in (a, b)
    )
    return difference(log_z_a, log_z_b, name=f"{a.name} -> {b.name}", **common)


def _simulated(
    a: End, b: End, targets: list[TargetSamples], asked: _Asked, record: dict[str, Any]
) -> Estimate:
    """Each ``f = -ln Z`` by BAR between the flow (normalised: f = 0) and frames of its target."""
    free_energies = []
    for end, target in zip((a, b), targets, strict=True):
        assert end.system is not None
        backward = target_work(end.system, target.positions, stop=asked.stop)
        forward = Work(-end.ensemble.log_w, end.ensemble.rejected(), 0)
        free_energies.append(
            bennett(
                WorkSamples(forward.work, drawn=True),
                WorkSamples(backward.work),
                asked.statistics,
                A=f"flow of {end.name}",
                B=end.name,
                estimator=SIMULATED,
                findings=target.findings,
            )
        )
        record["work"][f"{SIMULATED}: {end.name}"] = _work_record(forward, backward)
    return difference(
        free_energies[1],
        free_energies[0],
        name=f"{a.name} -> {b.name}",
        A=a.name,
        B=b.name,
        estimator=SIMULATED,
        unit=asked.unit,
        quantity=asked.quantity,
    )


def _bar(
    a: End,
    b: End,
    targets: list[TargetSamples],
    forward: Work,
    backward: Work,
    name: str,
    asked: _Asked,
) -> Estimate:
    first, second = [
        WorkSamples(work.work, target.log_w, target.k_hat)
        for work, target in zip((forward, backward), targets, strict=True)
    ]
    found = [finding for target in targets for finding in target.findings]
    return bennett(
        first,
        second,
        asked.statistics,
        A=a.name,
        B=b.name,
        estimator=name,
        findings=found,
        unit=asked.unit,
        quantity=asked.quantity,
    )


def _rows(a: End, b: End, samples: int) -> tuple[slice, slice]:
    """Rows of each end to send to the other: never the same ones of both.

    With one seed, row n of both ends was drawn from the same latent, and the map takes one to the other:
    both directions would then be one sample counted twice.
    """
    shared = min(len(a.ensemble), len(b.ensemble))
    first = max(min(samples, shared // 2), 2)
    return slice(0, first), slice(first, first + samples)


def _work_record(forward: Work, backward: Work) -> dict[str, Any]:
    return {
        "lost_A": forward.lost,
        "lost_B": backward.lost,
        "energy_evaluations": forward.energy_evaluations + backward.energy_evaluations,
    }


class _Leg(OpenRecord):
    """The result file of another leg, as far as it is looked at."""

    estimates: Annotated[list[EstimateRecord], Field(min_length=1)]
    temperature_K: Kelvin | None
    temperatures_K: list[Kelvin | None]
    provenance: dict[str, Any] = {}


def _read_leg(path: Path) -> dict[str, Any]:
    return read_record(
        _Leg,
        path,
        schema=SCHEMA,
        missing="no such file; give what another `free_energy_between()` wrote.",
        remedy="give what another `free_energy_between()` wrote.",
        of="a result of `free_energy_between()`",
    )


def _require_one_cycle(leg: dict[str, Any], unit: str, temperature: float | None) -> None:
    other, at = leg["estimates"][0].get("unit"), leg["temperature_K"]
    if other != unit:
        raise InputError("one leg is at one temperature, the other between two; a cycle needs equal legs.")
    if at != temperature:
        words = [f"{t:g} K" if t is not None else "a model system's" for t in (temperature, at)]
        raise InputError(f"the legs differ in temperature ({words[0]} and {words[1]}); a cycle needs one.")
