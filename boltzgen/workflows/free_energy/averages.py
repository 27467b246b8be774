"""``free-energy observable`` and ``thermo``: averages over the target, with errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from boltzgen.ensemble import Ensemble
from boltzgen.ensemble.store import load_ensemble
from boltzgen.errors import InputError
from boltzgen.files import sha256_file
from boltzgen.free_energy import Estimate, expectations, read_states, thermodynamics
from boltzgen.free_energy.combination import difference
from boltzgen.free_energy.estimate import document
from boltzgen.free_energy.observed.observable import Asked, Molecule, Observable
from boltzgen.free_energy.observed.registry import NEED_SYSTEM, molecule_of, observables
from boltzgen.free_energy.states import read_coordinates
from boltzgen.free_energy.statistics import Statistics
from boltzgen.free_energy.thermodynamics import SCOPE
from boltzgen.free_energy.variables import read_topology
from boltzgen.loaders.arrays import read_npy
from boltzgen.report.estimates import Observed, estimates_figure, observables_figure
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.free_energy.ends import found_from
from boltzgen.workflows.free_energy.results import (
    FreeEnergyResult,
    naming,
    provenance,
    result_path,
    statistics_of,
    write_results,
)
from boltzgen.workflows.subjects import subject_of_ensemble


def observable(
    folder: str | os.PathLike[str],
    names: Sequence[str] = (),
    *,
    values: str | os.PathLike[str] | None = None,
    unit: str = "1",
    coordinates: str | os.PathLike[str] | None = None,
    system: str | os.PathLike[str] | None = None,
    smoothed: bool = False,
    output: str | os.PathLike[str] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> FreeEnergyResult:
    """Expectation values over the target of the ensemble `folder` (OUT).

    names: see `boltzgen.free_energy.observed.registry.observables`. values: a .npy file, (n,) or (n, m),
    one row for each sample of OUT in its order, in `unit` (as MDTraj or anything else computed it from
    samples.dcd). coordinates: file that declares distances and torsions. system: SYS with the charges and
    masses that dipoles need, where it is no longer where the samples' manifest says. smoothed:
    Pareto-smooth the largest weights first. n_bootstrap, seed: of the bootstrap.

    Writes `output` (default ``OUT/observable.json``), CSV and figure beside it.

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
    >>> (radius,) = bg.observable("OUT", ["rg"], n_bootstrap=50).estimates
    >>> radius.name, radius.unit, 0.1 < radius.value < 0.3
    ('rg', 'nm', True)
    """
    statistics = statistics_of(n_bootstrap, seed, smoothed=smoothed)
    if not names and values is None:
        raise InputError("no observable was named; give names such as rg or phi, or a file as `values`.")
    path = result_path(output, Path(folder) / "observable.json")
    ensemble = load_ensemble(folder)
    columns = _named(ensemble, folder, tuple(names), coordinates, system)
    if values is not None:
        columns += _from_file(Path(values), unit, len(ensemble))
    statistics = statistics.about(ensemble)
    estimates = [
        replace(estimate, unit=column.unit, further={**estimate.further, **column.further})
        for column, estimate in zip(columns, _estimates(ensemble, columns, statistics), strict=True)
    ]
    origin = provenance(
        ensemble, folder, bootstrap=n_bootstrap, seed=seed, values=None if values is None else str(values)
    )
    notes = list(dict.fromkeys(column.note for column in columns if column.note))
    content = document(estimates, ensemble.temperature, origin, **({"notes": notes} if notes else {}))
    drawn = [
        Observed(column.name, column.unit, column.values, ensemble.log_w, estimate)
        for column, estimate in zip(columns, estimates, strict=True)
    ]
    of = subject_of_ensemble(ensemble, folder)
    figure = write_results(content, path, lambda picture: observables_figure(picture, drawn, subject=of))
    return FreeEnergyResult(tuple(estimates), content, path, figure)


def thermo(
    folder: str | os.PathLike[str],
    *,
    states_file: str | os.PathLike[str] | None = None,
    relative_step: float = 0.01,
    smoothed: bool = False,
    output: str | os.PathLike[str] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> FreeEnergyResult:
    """Energy, heat capacity, entropy and free energy of the configurations of the ensemble `folder` (OUT).

    See `boltzgen.free_energy.thermodynamics`: what they are, what they are not (``scope`` in the file), and
    the check by reweighting to temperatures `relative_step` lower and higher. states_file: the same of each
    state, and energy, entropy and free energy of the differences that the file names.
    smoothed: Pareto-smooth the largest weights first. n_bootstrap, seed: of the bootstrap.

    Writes `output` (default ``OUT/thermo.json``), CSV and figure beside it.

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
    >>> [(one.name, one.unit) for one in bg.thermodynamics("OUT", n_bootstrap=50).estimates]
    [('U', 'kT'), ('C', 'k'), ('S', 'k'), ('A', 'kT')]
    """
    statistics = statistics_of(n_bootstrap, seed, smoothed=smoothed)
    path = result_path(output, Path(folder) / "thermo.json")
    ensemble = load_ensemble(folder)
    statistics = statistics.about(ensemble)

    def of(log_w: np.ndarray) -> list[Estimate]:
        return thermodynamics(
            log_w,
            ensemble.u,
            statistics,
            relative_step=relative_step,
        )

    whole = of(ensemble.log_w)
    further: dict[str, Any] = {}
    estimates = list(whole)
    if states_file is not None:
        estimates += _of_states(ensemble, folder, states_file, of)
        further = {"states_file": str(states_file), "states_file_sha256": sha256_file(states_file)}
    origin = provenance(ensemble, folder, bootstrap=n_bootstrap, seed=seed, **further)
    content = document(estimates, ensemble.temperature, origin, scope=SCOPE)
    checks = [estimate.further["by_reweighting"] for estimate in whole]
    whose = subject_of_ensemble(ensemble, folder)
    figure = write_results(
        content, path, lambda picture: estimates_figure(picture, whole, checks=checks, subject=whose)
    )
    return FreeEnergyResult(tuple(estimates), content, path, figure)


def _of_states(
    ensemble: Ensemble, folder: Any, states_file: Any, of: Callable[[np.ndarray], list[Estimate]]
) -> list[Estimate]:
    """U, C, S and A of each state of the file, then U, S and A of each difference that it names.

    Two states share no sample, so that errors add in squares (what their counts share is of order 1/N).
    """
    topology = _topology(ensemble, folder)
    states = read_states(states_file, topology, dimension=ensemble.positions.shape[1])
    with naming(states_file):
        masks = states.masks(ensemble.positions)
    found = {state: of(np.where(mask, ensemble.log_w, -np.inf)) for state, mask in masks.items()}
    named = [replace(e, name=f"{e.name} {state}") for state, four in found.items() for e in four]
    for a, b in states.differences:
        for x, y in zip(found[a], found[b], strict=True):
            what: dict[str, Any] = {"name": f"{x.name} {a} -> {b}", "quantity": f"difference of {x.quantity}"}
            if x.name != "C":
                named.append(difference(y, x, A=a, B=b, estimator=x.estimator, unit=x.unit, **what))
    return named


def _estimates(
    ensemble: Ensemble,
    columns: Sequence[Observable],
    statistics: Statistics,
) -> list[Estimate]:
    return expectations(
        ensemble.log_w,
        np.stack([column.values for column in columns], axis=1),
        statistics,
        names=[column.name for column in columns],
        powers=[column.power for column in columns],
    )


def _named(
    ensemble: Ensemble,
    folder: str | os.PathLike[str],
    names: tuple[str, ...],
    coordinates: str | os.PathLike[str] | None,
    system: str | os.PathLike[str] | None,
) -> list[Observable]:
    size, topology = ensemble.positions.shape[1], _topology(ensemble, folder)
    declared = {} if coordinates is None else read_coordinates(coordinates, topology, dimension=size)
    molecule = None if topology is None else Molecule(topology)
    needed = any(name not in declared and Asked.of(name).base in NEED_SYSTEM for name in names)
    if topology is not None and (needed or system is not None):
        molecule = _molecule(ensemble, folder, topology, system)
    return observables(names, ensemble.positions, molecule, declared)


def _molecule(
    ensemble: Ensemble, folder: str | os.PathLike[str], topology: Any, system: str | os.PathLike[str] | None
) -> Molecule:
    """The molecule of the samples with its charges and masses, from `system` or where the manifest says."""
    source = (
        str(system) if system is not None else found_from(Path(folder), ensemble.provenance.get("system"))
    )
    if source is None:
        lost = f"the prepared system of {folder} is not where its manifest says; name it as `system`."
        return Molecule(topology, missing=lost)
    prepared = MolecularSystem.load(source)
    if prepared.fingerprint != ensemble.system_fingerprint:
        raise InputError(
            f"{source}: not the system of the samples in {folder} (another force field, other atoms, or "
            "prepared anew); name theirs as `system`."
        )
    return replace(molecule_of(prepared), topology=topology)


def _topology(ensemble: Ensemble, folder: str | os.PathLike[str]) -> Any:
    """MDTraj's topology of the samples; None for a model system."""
    with naming(Path(folder) / "topology.pdb"):
        size = ensemble.positions.shape[1]
        return read_topology(ensemble.topology_pdb, n_atoms=size) if ensemble.is_molecular else None


def _from_file(path: Path, unit: str, n: int) -> list[Observable]:
    """The columns of a .npy file, (n,) or (n, m)."""
    remedy = "save the values with numpy.save."
    array = read_npy(path, None, missing=f"no such file; {remedy}", remedy=remedy)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{path}: not a .npy file of numbers, it holds {array.dtype}; {remedy}")
    array = np.asarray(array, dtype=np.float64)
    if array.ndim not in (1, 2) or array.shape[0] != n or array.size == 0:
        raise InputError(
            f"{path}: has the shape {array.shape}, but OUT holds {n} samples; give one row for each, in its "
            "order, the rejected ones too."
        )
    table = array.reshape(n, -1)
    names = [path.stem] if table.shape[1] == 1 else [f"{path.stem} {m}" for m in range(table.shape[1])]
    return [Observable(name, unit, column) for name, column in zip(names, table.T, strict=True)]
