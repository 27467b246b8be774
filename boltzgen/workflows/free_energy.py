"""`boltzgen free-energy`: from a folder of weighted samples to free energies with errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from boltzgen import __version__
from boltzgen.ensemble import Ensemble
from boltzgen.ensemble.diagnostics import VERDICTS
from boltzgen.errors import BoltzgenError, InputError, UnreliableError
from boltzgen.files import sha256_file, write_json
from boltzgen.free_energy import Estimate, Population, populations, read_states, state_free_energies
from boltzgen.free_energy.estimate import document
from boltzgen.free_energy.variables import read_topology


@dataclass(frozen=True)
class FreeEnergyResult:
    """What `free_energy_states` found, and the `document` that it wrote to `path` as JSON."""

    estimates: tuple[Estimate, ...]
    populations: tuple[Population, ...]
    document: dict[str, Any]
    path: Path

    @property
    def verdict(self) -> str:
        """The worst verdict among the estimates."""
        return max((estimate.verdict for estimate in self.estimates), key=VERDICTS.index)

    def check(self, *, strict: bool = False) -> None:
        """Raise when nothing was found (BoltzgenError) or, if `strict`, it cannot be relied on."""
        if all(estimate.value is None for estimate in self.estimates):
            reasons = self.estimates[0].reasons
            raise BoltzgenError(f"no free energy could be estimated: {reasons[0]}; see {self.path}.")
        if strict and self.verdict == "unreliable":
            names = ", ".join(e.name for e in self.estimates if e.verdict == "unreliable")
            raise UnreliableError(f"unreliable: {names}; the reasons are in {self.path}.")


def free_energy_states(
    folder: str | os.PathLike[str],
    states_file: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> FreeEnergyResult:
    """Free-energy differences between the states of `states_file` in the ensemble `folder` (OUT).

    Writes `output` (default ``OUT/free_energy.json``) with schema boltzgen.free_energy/1 and the
    populations of the states beside it. Raises InputError for files that cannot be used and for
    overlapping states; poor statistics never raise here, see `FreeEnergyResult.check`.
    """
    if n_bootstrap < 2 or seed < 0:
        raise InputError("the number of bootstrap replicates must be at least 2, the seed not negative.")
    path = Path(folder) / "free_energy.json" if output is None else Path(output)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of the JSON file to write.")
    ensemble = Ensemble.load(folder)
    size = ensemble.positions.shape[1]
    with _naming(Path(folder) / "topology.pdb"):
        topology = read_topology(ensemble.topology_pdb, n_atoms=size) if ensemble.is_molecular else None
    states = read_states(states_file, topology, dimension=size)
    with _naming(states_file):
        masks = states.masks(ensemble.positions)
    estimates = state_free_energies(
        ensemble.log_w,
        masks,
        states.differences,
        coverage=ensemble.coverage,
        n_bootstrap=n_bootstrap,
        rng=np.random.default_rng(seed),
    )
    shares = populations(ensemble.log_w, masks)
    provenance = _provenance(ensemble, folder, states_file, n_bootstrap, seed)
    content = document(
        estimates, ensemble.temperature, provenance, states=[share.to_json() for share in shares]
    )
    write_json(path, content)
    return FreeEnergyResult(tuple(estimates), tuple(shares), content, path)


@contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Put the name of the file at fault before the message of an InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _provenance(
    ensemble: Ensemble, folder: Any, states_file: Any, n_bootstrap: int, seed: int
) -> dict[str, Any]:
    return {
        "samples": str(folder),
        "states_file": str(states_file),
        "states_file_sha256": sha256_file(states_file),
        "system_fingerprint": ensemble.system_fingerprint,
        "measure": ensemble.measure,
        "domain": ensemble.domain,
        "bootstrap": n_bootstrap,
        "seed": seed,
        "version": __version__,
        "ensemble": ensemble.provenance,
    }
