"""GFN2-xTB of alanine dipeptide: energies and gradients a second in one worker process and in two.

    python tests/benchmarks/hybrid/xtb_pool.py [--conformations 200] [--repeats 5]

Prints one row a number of processes, and the ratio, which should be at least 1.8 on two idle cores. The
fastest of the repeats counts, since other programs only ever slow a repeat down.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from boltzgen.potentials.of_system import potential_of
from boltzgen.system.prepare import prepare


def rates(conformations: int, repeats: int) -> dict[int, float]:
    """Energies with gradients a second by number of processes; starting the processes does not count."""
    potentials, fastest = {}, {}
    for workers in (1, 2):
        system = prepare(sequence="ACE-ALA-NME", ml="gfn2", ml_options={"workers": str(workers)})
        potentials[workers], fastest[workers] = potential_of(system), float("inf")
    noise = np.random.default_rng(0).normal(scale=0.005, size=(conformations, system.n_atoms, 3))
    x = torch.tensor(system.reference_positions + noise, requires_grad=True)
    for potential in potentials.values():
        potential.energy(x[:8])
    for _ in range(repeats):  # in turn, so that both meet the same hours of a shared machine
        for workers, potential in potentials.items():
            start = time.perf_counter()
            torch.autograd.grad(potential.energy(x).sum(), x)
            fastest[workers] = min(fastest[workers], time.perf_counter() - start)
    for potential in potentials.values():
        potential.close()
    return {workers: conformations / seconds for workers, seconds in fastest.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--conformations", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    found = rates(asked.conformations, asked.repeats)
    print("| processes | energies and gradients a second |\n|---|---|")
    for workers, value in found.items():
        print(f"| {workers} | {value:.0f} |")
    print(f"\nTwo processes are {found[2] / found[1]:.2f} times one.")


if __name__ == "__main__":
    main()
