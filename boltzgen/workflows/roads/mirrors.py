"""States of an achiral molecule that are mirror images of one another: how much they hold together.

Gauche plus and minus of butane are two wells, and one conformation to anybody who cannot tell them apart.
They are listed apart, and added up where the molecule has no stereocentre and each is the other's image.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from itertools import combinations
from typing import Any

import numpy as np
import torch

from boltzgen.coordinates.domain import Domain
from boltzgen.ensemble.ensemble import Ensemble
from boltzgen.free_energy import parse_states, populations
from boltzgen.free_energy.variables import read_topology
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.graph.mirror import mirrored, placed_by_hands
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import thermal_energy

#: Conformations that are mirrored to see which state goes where, and whose energies are compared.
ROWS, ENERGIES = 4000, 16

#: kT at 300 K by which the energy of an image may differ, and share of rows that may lie elsewhere (edges).
SAME_ENERGY, ELSEWHERE = 1e-3, 1e-3


def images(system: MolecularSystem, positions: np.ndarray) -> np.ndarray | None:
    """Mirror images of `positions` (n, N, 3) nm, all of the molecule's domain, and of the same energies.

    None where there are none: the molecule has a stereocentre, labels of equal branches that an image
    interchanges, or a force field that tells left from right.
    """
    graph = MolecularGraph.from_system(system)
    if graph.stereocentres or not len(positions):
        return None
    found = placed_by_hands(graph, mirrored(positions))
    domain = Domain(graph, "reference")
    own, theirs = (domain(torch.as_tensor(np.asarray(x, dtype=np.float64))) == 0 for x in (positions, found))
    if not own.any() or not torch.equal(own, theirs):
        return None
    rows = np.flatnonzero(own.numpy())[:ENERGIES]
    with closing(potential_of(system)) as potential:
        both = np.concatenate([positions[rows], found[rows]]).astype(np.float64)
        energies = potential.energy(torch.as_tensor(both)).detach().reshape(2, -1)
    apart = float((energies[0] - energies[1]).abs().max())
    return found if apart < SAME_ENERGY * thermal_energy(300.0) else None


def sums_of_images(
    system: MolecularSystem, files: Mapping[str, Any], ensemble: Ensemble
) -> list[dict[str, Any]]:
    """What each pair of mirrored states holds together: result, states, and the fields of `Population`.

    files: states files by the name of their result. The error is that of the union, as of any other state.
    """
    rows = np.flatnonzero(np.isfinite(ensemble.log_w))[:ROWS]
    opposite = images(system, np.asarray(ensemble.positions)[rows])
    if opposite is None:
        return []
    topology = read_topology(system.topology_pdb, n_atoms=system.n_atoms)
    found = []
    for result, content in files.items():
        states = parse_states(content, topology)
        masks, theirs = states.masks(ensemble.positions), states.masks(opposite)
        pairs = _pairs({name: mask[rows] for name, mask in masks.items()}, theirs)
        unions = {f"{a} or {b}": masks[a] | masks[b] for a, b in pairs}
        sums = populations(ensemble.log_w, unions, walkers=ensemble.walkers) if unions else []
        told = [
            {"result": result, "states": list(pair), **share.to_json()}
            for pair, share in zip(pairs, sums, strict=True)
        ]
        found += sorted(told, key=lambda one: -one["population"])
    return found


def _pairs(own: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> list[tuple[str, str]]:
    """States of which each is the other's image; `own` and `theirs` (n,) bool say where row and image lie."""
    most = ELSEWHERE * len(next(iter(own.values())))
    return [
        (a, b)
        for a, b in combinations(own, 2)
        if own[a].any() and own[b].any()
        if np.sum(own[a] != theirs[b]) <= most and np.sum(own[b] != theirs[a]) <= most
    ]
