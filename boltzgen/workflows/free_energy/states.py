"""``free-energy states``: free-energy differences between conformational states, with errors."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from boltzgen.ensemble.store import load_ensemble
from boltzgen.files import sha256_file
from boltzgen.free_energy import populations, read_states, state_free_energies
from boltzgen.free_energy.estimate import document
from boltzgen.free_energy.variables import read_topology
from boltzgen.report.estimates import states_figure
from boltzgen.workflows.free_energy.results import (
    FreeEnergyResult,
    naming,
    provenance,
    result_path,
    statistics_of,
    write_results,
)

__all__ = ["FreeEnergyResult", "free_energy_states"]


def free_energy_states(
    folder: str | os.PathLike[str],
    states_file: str | os.PathLike[str],
    *,
    smoothed: bool = False,
    output: str | os.PathLike[str] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> FreeEnergyResult:
    """Free-energy differences between the states of `states_file` in the ensemble `folder` (OUT).

    smoothed: Pareto-smooth the largest weights first.

    Writes `output` (default ``OUT/free_energy.json``) with schema boltzgen.free_energy/1 and the
    populations of the states, CSV and figure beside it. Raises InputError for files that cannot be used
    and for overlapping states; poor statistics never raise here, see `FreeEnergyResult.check`.
    """
    statistics = statistics_of(n_bootstrap, seed, smoothed=smoothed)
    path = result_path(output, Path(folder) / "free_energy.json")
    ensemble = load_ensemble(folder)
    size = ensemble.positions.shape[1]
    with naming(Path(folder) / "topology.pdb"):
        topology = read_topology(ensemble.topology_pdb, n_atoms=size) if ensemble.is_molecular else None
    states = read_states(states_file, topology, dimension=size)
    with naming(states_file):
        masks = states.masks(ensemble.positions)
    estimates = state_free_energies(
        ensemble.log_w,
        masks,
        states.differences,
        replace(statistics, coverage=ensemble.coverage),
    )
    shares = populations(ensemble.log_w, masks)
    origin = provenance(
        ensemble,
        folder,
        states_file=str(states_file),
        states_file_sha256=sha256_file(states_file),
        bootstrap=n_bootstrap,
        seed=seed,
    )
    content = document(estimates, ensemble.temperature, origin, states=[share.to_json() for share in shares])
    figure = write_results(content, path, lambda picture: states_figure(picture, shares, estimates))
    return FreeEnergyResult(tuple(estimates), content, path, figure, populations=tuple(shares))
