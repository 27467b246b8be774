"""``free-energy surface``: the free energy along one or two variables, with error bands."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from boltzgen.ensemble import Ensemble
from boltzgen.ensemble.store import load_ensemble
from boltzgen.errors import InputError
from boltzgen.files import csv_text
from boltzgen.free_energy.estimate import document, in_units
from boltzgen.free_energy.states import read_coordinates
from boltzgen.free_energy.surface import MAX_BINS, Surface, free_energy_surface
from boltzgen.free_energy.variables import Variable, read_topology, ready_variable
from boltzgen.report.surface import surface_figure
from boltzgen.workflows.free_energy.results import (
    FreeEnergyResult,
    naming,
    provenance,
    result_path,
    statistics_of,
    write_results,
)
from boltzgen.workflows.subjects import subject_of_ensemble

#: Bins a variable when none are given: for one variable, for two.
BINS = (60, 36)

#: What a surface holds in kT, kJ/mol and kcal/mol.
ENERGIES = ("free_energy", "standard_error", "low", "high")

Range = tuple[float, float]


def surface(
    folder: str | os.PathLike[str],
    along: Sequence[str],
    *,
    bins: Sequence[int] | None = None,
    ranges: Sequence[Range | None] | None = None,
    coordinates: str | os.PathLike[str] | None = None,
    smoothed: bool = False,
    output: str | os.PathLike[str] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> FreeEnergyResult:
    """The free energy of the ensemble `folder` (OUT) along one or two variables.

    along: ready names (``phi``, ``psi:3``; ``x0`` in a model system) or names declared under
    ``coordinates`` in the file `coordinates`. bins, ranges: one entry a variable; torsions take the whole
    circle and other variables the span of the samples with weight unless a range (low, high) says otherwise.
    smoothed: Pareto-smooth the largest weights first. n_bootstrap, seed: of the bootstrap.

    Writes `output` (default ``OUT/surface.json``), CSV and figure beside it.

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
    >>> from pathlib import Path
    >>> _ = Path("turn.yaml").write_text("coordinates: {turn: {torsion: [0, 1, 2, 8]}}")
    >>> found = bg.free_energy_surface("OUT", ["turn"], bins=[12], coordinates="turn.yaml", n_bootstrap=50)
    >>> found.surface.free_energy.shape, found.surface.units
    ((12,), ('degrees',))
    """
    statistics = statistics_of(n_bootstrap, seed, smoothed=smoothed)
    names = list(along)
    if len(names) not in (1, 2) or len(set(names)) != len(names):
        given_names = ", ".join(names) or "none"
        raise InputError(f"a surface is along one or two different variables, not {given_names}.")
    path = result_path(output, Path(folder) / "surface.json")
    ensemble = load_ensemble(folder)
    chosen = variables_of(ensemble, folder, names, coordinates)
    counts = _bins(bins, len(names))
    values = np.stack([variable.evaluate(ensemble.positions) for variable in chosen], axis=1)
    given = list(ranges) if ranges else [None] * len(names)
    if len(given) != len(names):
        raise InputError(f"{len(given)} ranges for {len(names)} variables; give one each.")
    edges = [
        _edges(variable, column, ensemble.valid, count, span)
        for variable, column, count, span in zip(chosen, values.T, counts, given, strict=True)
    ]
    found = free_energy_surface(
        ensemble.log_w,
        values,
        edges,
        statistics.about(ensemble),
        periodic=[v.periodic and np.isclose(e[-1] - e[0], 360.0) for v, e in zip(chosen, edges, strict=True)],
        names=names,
        units=[variable.unit for variable in chosen],
    )
    origin = provenance(ensemble, folder, bootstrap=n_bootstrap, seed=seed, coordinates=_name(coordinates))
    content = document([], ensemble.temperature, origin, surface=surface_json(found, ensemble.temperature))
    of = subject_of_ensemble(ensemble, folder)
    draw = None if found.reference is None else lambda picture: surface_figure(picture, found, subject=of)
    figure = write_results(content, path, draw, surface_csv(found, ensemble.temperature))
    return FreeEnergyResult((), content, path, figure, surface=found)


def variables_of(
    ensemble: Ensemble, folder: Any, names: Sequence[str], coordinates: str | os.PathLike[str] | None
) -> list[Variable]:
    """The variables `names` of an ensemble: declared in the file `coordinates`, or ready names."""
    size = ensemble.positions.shape[1]
    with naming(Path(folder) / "topology.pdb"):
        topology = read_topology(ensemble.topology_pdb, n_atoms=size) if ensemble.is_molecular else None
    declared: Mapping[str, Variable] = {}
    if coordinates is not None:
        declared = read_coordinates(coordinates, topology, dimension=size)
    return [
        declared[name] if name in declared else ready_variable(name, topology, dimension=size)
        for name in names
    ]


def surface_json(found: Surface, temperature: float | None) -> dict[str, Any]:
    """`found` for the key ``surface`` of the result file: energies in three units, null where not known."""
    entry = found.to_json()
    entry.pop("energy_unit")
    for key in ENERGIES:
        values = getattr(found, key)
        in_kt = in_units(1.0, temperature)
        entry[key] = {
            unit: None if factor is None else _nested(values * factor) for unit, factor in in_kt.items()
        }
    return entry


def surface_csv(found: Surface, temperature: float | None) -> str:
    """One row a bin: centres, energies in each unit that is known, samples."""
    factors = {unit: factor for unit, factor in in_units(1.0, temperature).items() if factor is not None}
    columns = [*found.names, *(f"{key}_{unit}" for unit in factors for key in ENERGIES), "n", "n_effective"]
    rows = []
    for row in found.rows():
        cells = dict(row)
        for key in ENERGIES:
            in_kt = cells[key]
            cells |= {f"{key}_{unit}": None if in_kt is None else in_kt * f for unit, f in factors.items()}
        rows.append({column: cells[column] for column in columns})
    return csv_text(columns, rows)


def _bins(bins: Sequence[int] | None, variables: int) -> list[int]:
    counts = list(bins) if bins else [BINS[variables - 1]] * variables
    counts = counts * variables if len(counts) == 1 else counts
    if len(counts) != variables or min(counts) < 2:
        raise InputError(f"`bins={counts}`: give at least 2 bins, once or for each of {variables} variables.")
    if math.prod(counts) > MAX_BINS:
        raise InputError(f"`bins={counts}`: {math.prod(counts)} bins are more than {MAX_BINS}; take fewer.")
    return counts


def _edges(
    variable: Variable, values: np.ndarray, valid: np.ndarray, bins: int, span: Range | None
) -> np.ndarray:
    """Bin edges of one variable (bins + 1,)."""
    if span is None and variable.periodic:
        span = (-180.0, 180.0)
    elif span is None:
        kept = values[valid & np.isfinite(values)]
        low, high = (float(kept.min()), float(kept.max())) if kept.size else (0.0, 1.0)
        margin = 1e-6 * max(abs(low), abs(high), 1e-12)  # the largest value lies inside the last bin
        span = (low, high + margin) if high > low else (low - 0.5, low + 0.5)
    low, high = span
    if not (np.isfinite([low, high]).all() and low < high):
        raise InputError(f"{variable.name}: the range [{low:g}, {high:g}] is empty or not finite.")
    if variable.periodic and high - low > 360.0 + 1e-9:
        raise InputError(f"{variable.name}: [{low:g}, {high:g}] is more than one turn.")
    return np.linspace(low, high, bins + 1)


def _nested(values: np.ndarray) -> Any:
    return np.where(np.isfinite(values), values.astype(object), None).tolist()  # type: ignore[call-overload]


def _name(path: Any) -> str | None:
    return None if path is None else str(path)
