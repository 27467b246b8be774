"""Backbone torsions of a peptide: pairs of phi and psi, and the grid on which their maps are compared."""

from __future__ import annotations

import numpy as np

from boltzgen.ensemble.topology import read_topology
from boltzgen.free_energy.variables import Variable, ready_torsions

#: Bins of phi and of psi, as in TA-BG and CMT.
BINS = 100

Pairs = list[tuple[int, Variable, Variable]]


def backbone_torsions(topology_pdb: str) -> tuple[dict[int, Variable], dict[int, Variable]]:
    """All phi and all psi of a molecule, by residue number; empty for what is no peptide."""
    topology = read_topology(topology_pdb)
    phi, psi = (
        {number: Variable(f"{name}:{number}", "torsion", atoms) for number, atoms in torsions.items()}
        for name in ("phi", "psi")
        for torsions in [ready_torsions(name, topology)]
    )
    return phi, psi


def torsion_pairs(topology_pdb: str) -> Pairs:
    """(residue number, phi, psi) of every residue that has both.

    A dipeptide without caps has none; there the psi of its first residue goes with the phi of its second
    (the number is the second's), as in the published maps.
    """
    phi, psi = backbone_torsions(topology_pdb)
    pairs = [(number, phi[number], psi[number]) for number in sorted(set(phi) & set(psi))]
    return pairs or [(n, phi[n], psi[n - 1]) for n in sorted(phi) if n - 1 in psi]


def ramachandran_bins(positions: np.ndarray, pairs: Pairs) -> np.ndarray:
    """The bin (n, P) uint16 of each conformation (n, N, 3) nm on the `BINS` x `BINS` grid of each pair."""
    finite = np.isfinite(positions).all(axis=(1, 2))
    positions = np.where(finite[:, None, None], positions, 0.0)
    found = np.zeros((len(positions), len(pairs)), dtype=np.uint16)
    for column, (_, phi, psi) in enumerate(pairs):
        found[:, column] = bins_of(phi.evaluate(positions), psi.evaluate(positions))
    return found


def bins_of(phi: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """The bin (n,) uint16 on the `BINS` x `BINS` grid of angles (n,) in degrees."""
    turns = [np.nan_to_num((angle + 180.0) / 360.0) for angle in (phi, psi)]
    first, second = (np.clip(turn * BINS, 0, BINS - 1).astype(int) for turn in turns)
    return np.asarray(first * BINS + second, dtype=np.uint16)


def histogram(bins: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The share (BINS^2,) of the weight that falls into each bin; `bins` and `weights` (n,)."""
    counts = np.bincount(bins, weights=weights, minlength=BINS * BINS)
    return np.asarray(counts / counts.sum())
