"""``free-energy states``: free-energy differences between conformational states, with errors."""

from __future__ import annotations

import os
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
from boltzgen.workflows.subjects import subject_of_ensemble

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

    smoothed: Pareto-smooth the largest weights first. n_bootstrap, seed: of the bootstrap.

    Writes `output` (default ``OUT/free_energy.json``) with schema boltzgen.free_energy/1 and the
    populations of the states, CSV and figure beside it. The sign is ``dG(A->B) = G_B - G_A``.

    Returns
    -------
    FreeEnergyResult: the estimates (kT, or the unit that each names) with standard errors, 95 % intervals,
        verdicts and reasons; ``to_json()`` is the content of the file.

    Raises
    ------
    InputError: something given cannot be used. Poor statistics never raise; see `FreeEnergyResult.check`.

    Notes
    -----
    Self-normalised importance sampling; docs/estimators.md has the formulas and their sources.

    Example
    -------
    >>> import boltzgen as bg
    >>> from pathlib import Path
    >>> _ = Path("states.yaml").write_text('''
    ... coordinates: {turn: {torsion: [0, 1, 2, 8]}}
    ... states: [{name: gauche, where: {turn: [-120, 120]}}, {name: trans, where: rest}]
    ... differences: [[trans, gauche]]
    ... ''')
    >>> found = bg.free_energy_states("OUT", "states.yaml", n_bootstrap=50)
    >>> [(one.name, one.unit) for one in found.estimates]
    [('trans -> gauche', 'kT')]
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
        statistics.about(ensemble),
    )
    shares = populations(ensemble.log_w, masks, walkers=ensemble.walkers)
    origin = provenance(
        ensemble,
        folder,
        states_file=str(states_file),
        states_file_sha256=sha256_file(states_file),
        bootstrap=n_bootstrap,
        seed=seed,
    )
    content = document(estimates, ensemble.temperature, origin, states=[share.to_json() for share in shares])
    of = subject_of_ensemble(ensemble, folder)
    figure = write_results(content, path, lambda file: states_figure(file, shares, estimates, subject=of))
    return FreeEnergyResult(tuple(estimates), content, path, figure, populations=tuple(shares))
