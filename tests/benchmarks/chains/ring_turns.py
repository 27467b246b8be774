"""Both chairs of methylcyclohexane from a flow that draws one of them alone: chains with and without flips.

    python tests/benchmarks/chains/ring_turns.py with
    python tests/benchmarks/chains/ring_turns.py without

The flow is the shipped model of peptides, which knows no such ring; MMFF94 in vacuum, 300 K. Prints JSON.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import torch

from boltzgen.dynamics.ring_moves import RingMoves
from boltzgen.refine.chains.run import run_chains
from boltzgen.refine.chains.settings import ChainSettings
from boltzgen.system.graph.geometry import dihedral_angles
from boltzgen.system.prepare import prepare
from boltzgen.workflows.sampling.load import load_generator

KELVIN, WALKERS, GROUPS, ROWS, SEED = 300.0, 64, 4, 90, 3
#: The methyl, its carbon and two further ones of the ring: gauche where it is axial.
METHYL = np.array([[0, 1, 2, 3]])


def axial(positions: np.ndarray) -> np.ndarray:
    """(n,) bool of (n, N, 3)."""
    angles = dihedral_angles(np.asarray(positions, dtype=np.float64), METHYL)[:, 0]
    return np.asarray(np.abs(angles) < 2 * np.pi / 3)


def main(with_flips: bool) -> None:
    torch.set_num_threads(1)
    system = prepare(smiles="CC1CCCCC1", forcefield=("mmff94",))
    generator = load_generator("peptides-ff14sb-obc1", system)
    draws = generator.sample(2000, KELVIN, seed=1)
    settings = ChainSettings(
        walkers_a_group=WALKERS // GROUPS, groups=GROUPS, warm_up=30, pilot=64, ladder="none"
    )
    began = time.process_time()
    rings = RingMoves.of(system) if with_flips else None
    found = run_chains(generator, WALKERS * ROWS, KELVIN, settings=settings, seed=SEED, rings=rings)
    states = axial(found.positions).reshape(ROWS, WALKERS)
    of_groups = states.reshape(ROWS, GROUPS, -1).mean(axis=(0, 2))
    share, error = states.mean(), of_groups.std(ddof=1) / np.sqrt(GROUPS)
    print(
        json.dumps(
            {
                "axial draws": float(axial(draws.positions)[np.isfinite(draws.log_w)].mean()),
                "axial": float(share),
                "error": float(error),
                "free energy (kT)": float(np.log((1 - share) / share)) if 0 < share < 1 else None,
                "its error": float(error / (share * (1 - share))) if 0 < share < 1 else None,
                "chairs changed": int((states[1:] != states[:-1]).sum()),
                "flips": found.acceptance.get("ring"),
                "energies": found.energy_evaluations,
                "seconds of a core": time.process_time() - began,
            }
        )
    )


if __name__ == "__main__":
    main({"with": True, "without": False}[sys.argv[1]])
