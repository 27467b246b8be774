"""Do reweighted samples and simulation frames agree on the populations of torsions and rings with states?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from boltzgen.coordinates.internal import InternalCoordinates
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.free_energy.populations import populations, share_of
from boltzgen.generator import Target
from boltzgen.system.formats.pdb_text import AtomName, parse_names
from boltzgen.system.graph.torsions import WITH_STATES
from boltzgen.training.symmetry import rotor_groups
from boltzgen.trust.rings import RingColumn, codes_to_compare, ring_codes, ring_columns


def rotamer_comparison(
    target: Target, ensemble: Ensemble, frames: Tensor, inefficiency: float
) -> list[dict[str, Any]]:
    """The share of each torsion with states between 0 and 180 degrees, and of each state of each ring.

    Reweighted and in `frames` (M, N, 3). The torsions are those of `rotamer_columns`, the rings those of
    `rings_of`. M divided by `inefficiency` counts as independent. The error of the frames' share is that of
    ``(k + 1) / (n + 2)`` (Laplace), so that a state which no frame shows has one too. Entries are those of
    `boltzgen.ensemble.coverage.check_coverage`.
    """
    table = target.coordinates.table
    drawn = _positive(target, torch.as_tensor(np.array(ensemble.positions), dtype=torch.float64))
    seen = _positive(target, frames)
    named = []
    for column in rotamer_columns(target):
        atoms = "-".join(str(int(atom) + 1) for atom in table.atoms[column])
        named.append((f"torsion {atoms} between 0 and 180 degrees", drawn[:, column], seen[:, column]))
    rings = rings_of(target, parse_names(target.topology_pdb))
    drawn, seen = ring_codes(rings, np.asarray(ensemble.positions)), ring_codes(rings, frames.numpy())
    for number, ring in enumerate(rings):
        for code in codes_to_compare(drawn[:, number], seen[:, number]):
            named.append((ring.state(code), drawn[:, number] == code, seen[:, number] == code))
    independent = max(len(frames) / inefficiency, 1.0)
    return [_compared(ensemble, name, here, there, independent) for name, here, there in named]


def _compared(
    ensemble: Ensemble, name: str, drawn: np.ndarray, seen: np.ndarray, independent: float
) -> dict[str, Any]:
    walkers = ensemble.walkers
    reweighted, error = share_of(ensemble.log_w, drawn, walkers=walkers)
    shares = populations(ensemble.log_w, {name: drawn}, walkers=walkers)
    share = float(seen.mean())
    expected = (share * independent + 1) / (independent + 2)
    return {
        "name": name,
        "target": share,
        "target_error": float(np.sqrt(expected * (1 - expected) / independent)),
        "reweighted": reweighted,
        "reweighted_error": error,
        "reweighted_unknown": shares[0].unknown.get("standard_error"),
    }


def rings_of(target: Target, names: Sequence[AtomName]) -> list[RingColumn]:
    """The rings of `target` that have states; `names` are those of its atoms."""
    coordinates = target.coordinates
    return ring_columns(coordinates.graph, names) if isinstance(coordinates, InternalCoordinates) else []


def rotamer_columns(target: Target) -> list[int]:
    """Columns of the coordinates that turn and have states: `boltzgen.system.graph.torsions.WITH_STATES`.

    Methyl-like torsions are among them where the energy does not have the symmetry that makes thirds equal.
    """
    coordinates = target.coordinates
    if not isinstance(coordinates, InternalCoordinates):
        return []
    graph = coordinates.graph
    alike = {graph.neighbours[group[0]][0] for group in rotor_groups(target).tolist()}  # their central atoms
    bonds = {
        bond
        for torsion in graph.torsions()
        if torsion in WITH_STATES or (torsion.kind == "methyl-like" and not alike & set(torsion.axis))
        for bond in torsion.bonds
    }
    axes = np.sort(coordinates.table.atoms[:, 1:3], axis=1).tolist()
    return [int(c) for c in np.flatnonzero(coordinates.table.circular) if tuple(axes[c]) in bonds]


def _positive(target: Target, positions: Tensor) -> np.ndarray:
    """(B, D) bool, whether each coordinate is positive; False in rows that are not finite."""
    values = [target.coordinates.encode(part)[0] for part in positions.split(target.batch_rows())]
    return (torch.cat(values) > 0).numpy()
