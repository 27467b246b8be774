"""``free-energy mbar``: one answer from many folders of samples.

A *state* is a system at a temperature. Samples come from flows (OUT) and from simulations (MD). Every sample,
wherever it was drawn, is evaluated in every state, and MBAR weighs them all
(`boltzgen.free_energy.multistate`). Samples of flows enter by their densities, which are normalised: with
them ``ln Z`` of each state is absolute, without them the differences remain.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from boltzgen.checks import HOTTEST, check_number
from boltzgen.config.devices import check_device
from boltzgen.errors import InputError
from boltzgen.free_energy.estimate import DIFFERENCE, Estimate, document
from boltzgen.free_energy.multistate import MultistateResult
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress, silent
from boltzgen.provenance import VERSION
from boltzgen.report.axes import Subject
from boltzgen.report.estimates import overlap_figure
from boltzgen.workflows.free_energy.ends import End, read_end
from boltzgen.workflows.free_energy.mbar_states import (
    SampledState,
    states_of,
    systems_of,
)
from boltzgen.workflows.free_energy.pool import pooled
from boltzgen.workflows.free_energy.results import (
    FreeEnergyResult,
    result_path,
    statistics_of,
    write_results,
)
from boltzgen.workflows.subjects import words_of
from boltzgen.workflows.timing.differences import expected_mbar, polling
from boltzgen.workflows.timing.expectation import Expect

#: A difference between two temperatures belongs to no one kT.
DIMENSIONLESS = "f_B - f_A = -ln(Z_B / Z_A), each at its own temperature"


def mbar(
    folders: Sequence[str | os.PathLike[str]],
    *,
    systems: Sequence[str | os.PathLike[str]] = (),
    temperatures: Sequence[float] = (),
    reference: str | None = None,
    samples: int = 20_000,
    output: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    n_bootstrap: int = 1000,
    seed: int = 0,
    stop: StopRequest | None = None,
    progress: Progress = silent,
    expect: Expect | None = None,
) -> FreeEnergyResult:
    """Free energies of all states that `folders` (OUT of ``sample``, MD of ``simulate``) hold samples of.

    systems: prepared systems (SYS) that the MD folders belong to; one that no folder belongs to becomes a
    state without samples, at the temperature of the first state. temperatures: K, at which every system is a
    state besides. samples: rows of each OUT folder that are used.
    device: ``cpu`` or ``cuda``. n_bootstrap, seed: replicates of the bootstrap, its seed. expect: told how
    long it will take. stop: polled between batches of rows; StoppedError then, for a part is no answer.

    Differences start at the state `reference` (a name such as ``SYS@300K``), by default that of the first
    folder. Writes `output` (default ``mbar.json``), CSV and figure. States that do not overlap have no value.

    Returns
    -------
    FreeEnergyResult: the estimates (kT, or the unit that each names) with standard errors, 95 % intervals,
        verdicts and reasons; ``to_json()`` is the content of the file.

    Raises
    ------
    InputError: something given cannot be used. Poor statistics never raise; see `FreeEnergyResult.check`.

    Notes
    -----
    MBAR: Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008).

    Example
    -------
    >>> import boltzgen as bg
    >>> found = bg.free_energy_mbar(["OUT", "HOT"], samples=100, n_bootstrap=20)
    >>> [one.unit for one in found.estimates if " -> " in one.name]
    ['1']
    """
    statistics = statistics_of(n_bootstrap, seed)
    check_device(device)
    if samples < 2:
        raise InputError(f"`samples={samples}`: at least 2 of each OUT folder are needed.")
    check_number(samples, "samples", least=2)
    for kelvin in temperatures:
        if not 0 < kelvin <= HOTTEST:
            raise InputError(
                f"`temperatures=[{kelvin:g}]`: temperatures are in K and positive, at most {HOTTEST:g}."
            )
    if not folders:
        raise InputError("no folder was given; name OUT folders of sample or MD folders of simulate.")
    places = [Path(folder).resolve() for folder in folders]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise InputError(f"{folders[number]} is named twice; its samples would count double.")
    path = result_path(output, Path("mbar.json"))
    with ExitStack() as opened:
        ends = {str(f): _flow(f, device, opened) for f in folders if (Path(f) / "samples.npz").is_file()}
        known = systems_of(systems, list(ends.values()), device, opened)
        states = states_of([str(f) for f in folders], ends, known, temperatures)
        _reference(states, reference)  # a wrong name is told before the work
        flows = [end for end in ends.values() if end.ensemble.walkers is None]
        walked = [end for end in ends.values() if end.ensemble.walkers is not None]
        if len(states) < 2 and not flows:
            raise InputError(
                "one state alone has no difference; give a second folder, `systems` or `temperatures`."
            )
        if expect is not None:
            rows = sum(state.n for state in states) + sum(min(samples, len(end.ensemble)) for end in flows)
            targets = {id(state.system): state.system.target for state in states}
            expect(expected_mbar(list(targets.values()), flows, rows))
        told = polling(stop or StopRequest(), progress)
        pool = pooled(states, flows, walked, samples, told)
    result, record = pool.solved(statistics), pool.record
    estimates = _estimates(result, states, _reference(states, reference), bool(flows))
    origin = {"folders": record, "bootstrap": n_bootstrap, "seed": seed, "version": VERSION}
    names = list(result.names)
    content = document(
        estimates,
        _temperature(_reference(states, reference)),
        origin,
        states=[
            {"name": state.name, "temperature_K": state.temperature, "n": state.n, "samples": state.record}
            for state in states
        ],
        overlap_matrix={"states": names, "rows": result.overlap_kk.tolist()},
        overlap=result.overlap,
    )
    of = _subject(states)
    figure = write_results(
        content, path, lambda file: overlap_figure(file, estimates, names, result.overlap_kk, subject=of)
    )
    return FreeEnergyResult(tuple(estimates), content, path, figure)


def _subject(states: list[SampledState]) -> Subject:
    """One molecule, the force fields of the states, and their temperature where they have one."""
    words = [words_of(state.system.name, state.system.molecule) for state in states]
    fields = " and ".join(dict.fromkeys(one["force_field"] for one in words))
    kelvin = {state.temperature for state in states if state.system.molecule is not None}
    return Subject(words[0]["molecule"], fields, kelvin.pop() if len(kelvin) == 1 else None)


def _flow(folder: str | os.PathLike[str], device: str, opened: ExitStack) -> End:
    """The OUT folder with its flow; InputError when the flow cannot be asked."""
    end = read_end(Path(folder), str(folder), device=device, need=True)
    opened.callback(end.close)
    if end.system is None:
        raise InputError(f"{end.missing}; MBAR needs the density of the flow at samples of the others.")
    return end


def _reference(states: list[SampledState], name: str | None) -> SampledState:
    """The state that differences start at."""
    if name is None:
        return states[0]
    for state in states:
        if state.name == name:
            return state
    known = ", ".join(state.name for state in states)
    raise InputError(f'`reference="{name}"` is not a state; known are {known}.')


def _estimates(
    result: MultistateResult, states: list[SampledState], first: SampledState, absolute: bool
) -> list[Estimate]:
    """Every state less `first`, in kT where the temperature is one; then ln Z of each, with a flow."""
    found = []
    for state in states:
        if state is first:
            continue
        same = abs(state.temperature - first.temperature) < 1e-6
        unit, quantity = ("kT", DIFFERENCE) if same else ("1", DIMENSIONLESS)
        found.append(result.difference(first.name, state.name, unit=unit, quantity=quantity))
    if absolute:
        found += [result.log_partition(state.name) for state in states]
    return found


def _temperature(first: SampledState) -> float | None:
    """Whose kT the differences are in; None for model systems."""
    return None if first.system.molecule is None else first.temperature
