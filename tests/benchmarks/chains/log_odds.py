"""Log-odds of phi > 0 by walkers of a flow and by replica exchange: do they agree within their errors?

    OMP_NUM_THREADS=1 python tests/benchmarks/chains/log_odds.py OUT SEQUENCE|tetra ... [--picoseconds 400]

For each molecule whose walkers moves.py left in OUT (all seeds together) an exchange is run, and MBAR over
all of its temperatures gives the populations at 310 K. Only torsions count of which both sides were entered
and left `CROSSINGS` times, by walkers and by replicas, wherever on the ladder. Appends a line for each to
OUT/log_odds.jsonl, and prints the root mean square of all z there.

Errors: of p = sum w x the series w (x - p), summed over the rungs of a ladder, has a variance and a number of
independent samples (`bulk_samples`, never more than of x at the coldest rung); ln p / (1 - p) has that of p
over p (1 - p).
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import mdtraj
import numpy as np
import torch
from exchange import Exchanged, exchanged
from measured import KELVIN, lines_of, names_of, parser

from boltzgen.ensemble.chains.samples import bulk_samples
from boltzgen.free_energy.mbar_solver import mbar_log_weights
from boltzgen.system.graph.geometry import dihedral_angles
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import GAS_CONSTANT

#: Times that both sides must have been entered and left.
CROSSINGS = 25


def phi_atoms(system: MolecularSystem) -> np.ndarray:
    """(phis, 4) atoms of each backbone phi, by MDTraj."""
    topology = mdtraj.Topology.from_openmm(system.openmm_topology())
    frame = mdtraj.Trajectory(system.reference_positions[None], topology)
    return np.asarray(mdtraj.compute_phi(frame)[0])


def crossings(positive: np.ndarray) -> int:
    """How often the rarer way was gone in `positive` (walks, steps) bool: into phi > 0, or out of it."""
    change = np.diff(positive.astype(int), axis=1)
    return int(min((change == 1).sum(), (change == -1).sum()))


def log_odds(positive: np.ndarray, weight: np.ndarray) -> tuple[float, float, float]:
    """ln p / (1 - p), its error, and the independent samples of p.

    positive: (rungs, walks, steps) bool, the coldest rung first; weight: the same, all together 1.
    """
    p = float((weight * positive).sum())
    series = (weight * (positive - p)).sum(axis=0)
    samples = min(bulk_samples(series) or 1.0, bulk_samples(positive[0].astype(float)) or 1.0)
    error = series.size * float(series.std()) / math.sqrt(samples)
    return math.log(p / (1 - p)), error / (p * (1 - p)), samples


def by_exchange(found: Exchanged, atoms: np.ndarray) -> tuple[float, float, float, int]:
    """Of one torsion; and its `crossings`."""
    rungs, ladders, frames = found.energies.shape
    beta = 1 / (GAS_CONSTANT * np.array(found.temperatures))
    u_kn = beta[:, None] * found.energies.reshape(-1)
    weight = np.exp(mbar_log_weights(u_kn, np.full(rungs, ladders * frames))[:, 0])
    positions = found.positions.reshape(-1, *found.positions.shape[3:])
    positive = dihedral_angles(positions, atoms[None])[:, 0].reshape(found.energies.shape) > 0
    of_replica = np.zeros((rungs * ladders, frames), dtype=bool)
    np.put_along_axis(of_replica, found.replicas.reshape(-1, frames), positive.reshape(-1, frames), axis=0)
    return (*log_odds(positive, weight.reshape(positive.shape)), crossings(of_replica))


def by_walkers(positions: np.ndarray, atoms: np.ndarray) -> tuple[float, float, float, int]:
    """Of one torsion in positions (walkers, steps, N, 3); and its `crossings`."""
    flat = positions.reshape(-1, *positions.shape[2:])
    positive = dihedral_angles(flat, atoms[None])[:, 0].reshape(positions.shape[:2]) > 0
    share = np.full((1, *positive.shape), 1 / positive.size)
    return (*log_odds(positive[None], share), crossings(positive))


def measure(sequence: str, picoseconds: float, ladders: int, seed: int, out: Path) -> None:
    """All phi of one molecule."""
    places = sorted(out.glob(f"chains-{sequence}-*.npz"))
    walkers = np.concatenate([np.load(place)["positions"] for place in places])
    began = time.process_time()
    found = exchanged(sequence, "short", picoseconds, ladders, seed, coldest_alone=False)
    spent = time.process_time() - began
    for atoms in phi_atoms(found.system):
        sides = by_exchange(found, atoms), by_walkers(walkers, atoms)
        (one, error, samples, crossed), (other, its_error, its_samples, it_crossed) = sides
        told = {
            "sequence": sequence,
            "phi": atoms.tolist(),
            "exchange": {"log_odds": one, "error": error, "samples": samples, "crossings": crossed},
            "chains": {
                "log_odds": other,
                "error": its_error,
                "samples": its_samples,
                "crossings": it_crossed,
            },
            "z": (other - one) / math.hypot(error, its_error),
            "counts": min(crossed, it_crossed) >= CROSSINGS,
            "cpu_seconds": spent,
            "kelvin": KELVIN,
        }
        with (out / "log_odds.jsonl").open("a") as file:
            file.write(json.dumps(told, sort_keys=True) + "\n")
        print(
            f"{sequence} {atoms.tolist()}: exchange {one:.2f} +- {error:.2f} ({crossed} crossings), "
            f"walkers {other:.2f} +- {its_error:.2f} ({it_crossed}), z {told['z']:.2f}",
            flush=True,
        )


def main() -> None:
    words = parser(__doc__)
    words.add_argument("--picoseconds", type=float, default=400.0)
    words.add_argument("--ladders", type=int, default=8)
    asked = words.parse_args()
    torch.set_num_threads(1)
    for sequence in names_of(asked.sequences):
        measure(sequence, asked.picoseconds, asked.ladders, asked.seed, asked.out)
    z = np.array([line["z"] for line in lines_of(asked.out / "log_odds.jsonl") if line["counts"]])
    if not len(z):
        raise SystemExit("no torsion counts: its sides were not entered and left often enough.")
    print(f"{len(z)} torsions count: rms z {np.sqrt((z**2).mean()):.2f}, largest {np.abs(z).max():.2f}")


if __name__ == "__main__":
    main()
