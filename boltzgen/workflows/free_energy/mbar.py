"""``free-energy mbar``: one answer from many folders of samples.

A *state* is a system at a temperature. Samples come from flows (OUT) and from simulations (MD). Every sample,
wherever it was drawn, is evaluated in every state, and MBAR weighs them all
(`boltzgen.free_energy.multistate`). Samples of flows enter by their densities, which are normalised: with
them ``ln Z`` of each state is absolute, without them the differences remain.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from boltzgen.checks import HOTTEST, check_number
from boltzgen.config.devices import check_device
from boltzgen.data.trajectory import read_trajectory
from boltzgen.ensemble.diagnostics import COVERED, NO_COVERAGE, VERDICTS
from boltzgen.errors import InputError
from boltzgen.free_energy.estimate import DIFFERENCE, Estimate, document
from boltzgen.free_energy.multistate import MultistateResult, absolute_mbar
from boltzgen.free_energy.multistate import mbar as solve
from boltzgen.free_energy.statistics import Statistics
from boltzgen.generator import Target, read_target
from boltzgen.interrupts import StopRequest
from boltzgen.progress import Progress, silent
from boltzgen.provenance import VERSION
from boltzgen.report.axes import Subject
from boltzgen.report.estimates import overlap_figure
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.trust.coverage import with_findings
from boltzgen.trust.rings import missing_in_frames
from boltzgen.workflows.free_energy.ends import End, independent_frames, read_end, require_one_molecule
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


@dataclass(frozen=True, eq=False)
class _System:
    """A system by the name that the user knows it by."""

    name: str
    molecule: MolecularSystem | None
    target: Target


@dataclass(eq=False)
class _State:
    """A system at `temperature` (K), its independent frames, and where they came from."""

    system: _System
    temperature: float
    frames: list[np.ndarray] = field(default_factory=list)
    record: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.system.name}@{self.temperature:g}K"

    @property
    def n(self) -> int:
        return sum(len(part) for part in self.frames)


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
    long it will take. stop: polled before each state and flow; StoppedError then, for a part is no answer.

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
        known = _systems(systems, list(ends.values()), device, opened)
        states = _states([str(f) for f in folders], ends, known, temperatures)
        _reference(states, reference)  # a wrong name is told before the work
        flows = list(ends.values())
        if expect is not None:
            rows = sum(state.n for state in states) + sum(min(samples, len(end.ensemble)) for end in flows)
            targets = {id(state.system): state.system.target for state in states}
            expect(expected_mbar(list(targets.values()), flows, rows))
        told = polling(stop or StopRequest(), progress)
        result, record = _solved(states, flows, samples, statistics, told)
    estimates = _estimates(result, states, _reference(states, reference), bool(ends))
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


def _subject(states: list[_State]) -> Subject:
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


def _systems(
    given: Sequence[str | os.PathLike[str]], ends: list[End], device: str, opened: ExitStack
) -> dict[str, _System]:
    """Every system by its fingerprint, those of the flows first; all are one molecule in one domain."""
    found: dict[str, _System] = {}
    for end in ends:
        assert end.system is not None
        fingerprint = end.ensemble.system_fingerprint
        name = _name(found, str(end.record["system"]))
        found.setdefault(fingerprint, _System(name, end.molecule, end.system.generator.target))
    isomers = {end.trained.record.get("isomers", "reference") for end in ends if end.trained is not None}
    if len(isomers) > 1:
        raise InputError("the flows differ in their isomers (reference and free), so that their domains do.")
    for source in given:
        molecule, target = read_target(str(source), isomers=next(iter(isomers), "reference"))
        opened.callback(target.close)
        name = _name(found, str(source))
        found.setdefault(target.fingerprint, _System(name, molecule, target.to(device)))
    members = list(found.values())
    for member in members[1:]:
        require_one_molecule(
            (members[0].name, members[0].molecule, members[0].target),
            (member.name, member.molecule, member.target),
        )
    return found


def _name(found: dict[str, _System], source: str) -> str:
    """The last part of the path `source`, or all of it where another system is called so."""
    short = Path(source).name
    return source if short in {system.name for system in found.values()} else short


def _states(
    folders: Sequence[str], ends: dict[str, End], known: dict[str, _System], temperatures: Sequence[float]
) -> list[_State]:
    """All states, those of the first folder first."""
    states: dict[tuple[str, float], _State] = {}

    def state(fingerprint: str, kelvin: float) -> _State:
        key = (fingerprint, round(float(kelvin), 6))
        return states.setdefault(key, _State(known[fingerprint], float(kelvin)))

    for folder in folders:
        if folder in ends:
            end = ends[folder]
            state(end.ensemble.system_fingerprint, end.temperature)
        else:
            _add_frames(folder, known, state)
    sampled = {fingerprint for fingerprint, _ in states}
    first = next(iter(states.values())).temperature
    for fingerprint in known:
        if fingerprint not in sampled and not temperatures:
            state(fingerprint, first)
        for kelvin in temperatures:
            state(fingerprint, kelvin)
    if len(states) < 2 and not ends:
        raise InputError(
            "one state alone has no difference; give a second folder, `systems` or `temperatures`."
        )
    return list(states.values())


def _add_frames(folder: str, known: dict[str, _System], state: Callable[[str, float], _State]) -> None:
    """The independent frames of a simulation, at each of its temperatures, inside the domain."""
    fingerprint = read_trajectory(folder).system_fingerprint
    if fingerprint is None or fingerprint not in known:
        raise InputError(
            f"{folder}: frames of a system that was not given; name its prepared folder, `systems=[SYS]`."
        )
    system = known[fingerprint]
    whole = read_trajectory(folder, system.molecule)
    assert system.molecule is not None
    for kelvin in whole.temperature_ladder:
        frames = whole.at(float(kelvin))
        independent = independent_frames(frames, system.molecule, system.target)
        positions = np.array(independent.positions)
        inside = system.target.coordinates.inside(torch.as_tensor(positions, dtype=torch.float64)).cpu()
        here = state(fingerprint, float(kelvin))
        here.frames.append(positions[inside.numpy()])
        here.record.append(
            {
                "source": folder,
                "frames": len(frames),
                "independent": len(independent),
                "outside the domain": int((~inside).sum()),
                "sha256": frames.digest(),
            }
        )


def _solved(
    states: list[_State], ends: list[End], samples: int, statistics: Statistics, progress: Progress
) -> tuple[MultistateResult, list[dict[str, Any]]]:
    """MBAR on the reduced energy of every sample in every state, and a record of the flows' samples."""
    parts = [end.ensemble[:samples] for end in ends]
    accepted = [np.isfinite(part.log_w) for part in parts]
    flow = [np.array(p.positions[mask]) for p, mask in zip(parts, accepted, strict=True)]
    positions = np.concatenate([*flow, *(part for state in states for part in state.frames)])
    if not len(positions):
        raise InputError("none of the folders holds a sample inside the domain.")
    drawn = np.concatenate([*accepted, np.ones(len(positions) - sum(map(len, flow)), bool)])
    u_kn = np.full((len(states), len(drawn)), np.inf)
    log_q_mn = np.full((len(ends), len(drawn)), -np.inf)
    done, total = 0, len(states) + len(ends)
    energies: dict[int, np.ndarray] = {}
    for k, state in enumerate(states):
        progress(done, total, {"now": state.name})
        key = id(state.system)
        if key not in energies:
            energies[key] = _energies(state.system.target, positions)
        u_kn[k, drawn] = energies[key] * (_UNIT_KELVIN / state.temperature)
        done += 1
    for m, end in enumerate(ends):
        progress(done, total, {"now": f"density of {end.name}"})
        assert end.system is not None
        x = torch.as_tensor(positions, dtype=torch.float64)
        log_q_mn[m, drawn] = end.system.generator.log_prob(x, end.temperature)[0].cpu().numpy()
        done += 1
    u_kn = np.where(np.isfinite(u_kn), u_kn, np.inf)
    record = [
        {**end.record, "used": len(part), "rejected": int((~mask).sum())}
        for end, part, mask in zip(ends, parts, accepted, strict=True)
    ]
    common: dict[str, Any] = {
        "inefficiency_k": np.ones(len(states)),
        "names": [state.name for state in states],
    }
    N_k = [state.n for state in states]
    missing = _missing_rings(states)
    if not ends:
        statistics = replace(statistics, coverage=with_findings(COVERED, missing))
        return solve(u_kn, N_k, statistics, **common), record
    coverage = _worst_coverage(ends, states)
    if missing:
        coverage = with_findings(coverage or {"verdict": "caution", "reasons": [NO_COVERAGE]}, missing)
    statistics = replace(statistics, coverage=coverage)
    return absolute_mbar(log_q_mn, [len(p) for p in parts], u_kn, N_k, statistics, **common), record


#: K; energies are kept as U/kT at this temperature, and scale to any other.
_UNIT_KELVIN = 300.0


@torch.no_grad()
def _energies(target: Target, positions: np.ndarray) -> np.ndarray:
    """U / kT (N,) at `_UNIT_KELVIN`, +inf outside the domain or where the energy is not finite."""
    parts = []
    for batch in torch.as_tensor(positions, dtype=torch.float64).split(target.batch_rows()):
        x = batch.to(target.reference.device)
        u = target.reduced_energy(x, _UNIT_KELVIN)
        good = target.coordinates.inside(x) & torch.isfinite(u)
        parts.append(torch.where(good, u, torch.full_like(u, torch.inf)).cpu().numpy())
    return np.concatenate(parts)


def _worst_coverage(ends: list[End], states: list[_State]) -> dict[str, Any] | None:
    """The worst coverage record of the flows; where every state was simulated, that vouches for coverage."""
    if all(state.n for state in states):
        return {"verdict": "ok", "reasons": []}
    records = [end.ensemble.coverage or {"verdict": "caution", "reasons": [NO_COVERAGE]} for end in ends]
    worst = max(records, key=lambda record: VERDICTS.index(record["verdict"]))
    return None if worst["reasons"] == [NO_COVERAGE] else worst


def _missing_rings(states: list[_State]) -> list[tuple[str, str]]:
    """States of rings that none of the frames of a system shows, at any of its temperatures."""
    found = []
    for system in {id(state.system): state.system for state in states if state.n}.values():
        own = [state for state in states if state.system is system and state.n]
        frames = np.concatenate([part for state in own for part in state.frames])
        if system.molecule is not None:
            coldest = min(state.temperature for state in own)
            found += missing_in_frames(system.molecule, frames, coldest)
    return found


def _reference(states: list[_State], name: str | None) -> _State:
    """The state that differences start at."""
    if name is None:
        return states[0]
    for state in states:
        if state.name == name:
            return state
    known = ", ".join(state.name for state in states)
    raise InputError(f'`reference="{name}"` is not a state; known are {known}.')


def _estimates(
    result: MultistateResult, states: list[_State], first: _State, absolute: bool
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


def _temperature(first: _State) -> float | None:
    """Whose kT the differences are in; None for model systems."""
    return None if first.system.molecule is None else first.temperature
