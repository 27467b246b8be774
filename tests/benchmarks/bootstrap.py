"""Time and peak memory of the bootstrap: 1e6 weighted samples, 1000 replicates, two cores.

    python tests/benchmarks/bootstrap.py [--samples 1000000] [--replicates 1000]

Prints, for each estimator, the wall time, and at the end the peak memory of the process. The bar, for state
free energies: under 10 s and under 1 GB. Each estimator runs in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time

import numpy as np

from boltzgen.free_energy.statistics import Statistics

MEGABYTE = 1024.0  # ru_maxrss is in kilobytes on Linux


def weighted_samples(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two torsions (n, 2) in degrees, log-weights and reduced energies (n,), seeded."""
    rng = np.random.default_rng(1)
    torsions = rng.uniform(-180.0, 180.0, size=(n, 2))
    radians = np.radians(torsions)
    u = 2.0 * np.cos(radians[:, 0]) + 1.5 * np.cos(2 * radians[:, 1]) + 0.5 * rng.normal(size=n) ** 2
    return torsions, -u + 0.3 * rng.normal(size=n), u


def states(torsions: np.ndarray, log_w: np.ndarray, u: np.ndarray, n_bootstrap: int) -> None:
    from boltzgen.free_energy import state_free_energies

    edges = (-180.0, -60.0, 60.0, 180.0)
    names = ("a", "b", "c")
    masks = {
        name: (torsions[:, 0] >= low) & (torsions[:, 0] < high)
        for name, low, high in zip(names, edges[:-1], edges[1:], strict=True)
    }
    pairs = [("a", "b"), ("a", "c")]
    state_free_energies(log_w, masks, pairs, Statistics(np.random.default_rng(2), n_bootstrap=n_bootstrap))


def partition(torsions: np.ndarray, log_w: np.ndarray, u: np.ndarray, n_bootstrap: int) -> None:
    from boltzgen.free_energy import log_partition

    log_partition(log_w, Statistics(np.random.default_rng(2), n_bootstrap=n_bootstrap, smoothed=True))


def thermo(torsions: np.ndarray, log_w: np.ndarray, u: np.ndarray, n_bootstrap: int) -> None:
    from boltzgen.free_energy import thermodynamics

    thermodynamics(log_w, u, Statistics(np.random.default_rng(2), n_bootstrap=n_bootstrap))


def surface(torsions: np.ndarray, log_w: np.ndarray, u: np.ndarray, n_bootstrap: int) -> None:
    from boltzgen.free_energy import free_energy_surface

    edges = [np.linspace(-180.0, 180.0, 37)] * 2
    rng = np.random.default_rng(2)
    free_energy_surface(log_w, torsions, edges, Statistics(rng, n_bootstrap=n_bootstrap), periodic=True)


def measure(name: str, n: int, n_bootstrap: int) -> None:
    import arviz_stats.base  # noqa: F401  imported here, so that its seconds are not the bootstrap's

    samples = weighted_samples(n)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE
    start = time.perf_counter()
    ESTIMATORS[name](*samples, n_bootstrap)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE
    print(f"{name:10s} {seconds:8.2f} s   peak {peak:6.0f} MB ({before:.0f} MB with the samples alone)")


ESTIMATORS = {"states": states, "partition": partition, "thermo": thermo, "surface": surface}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--replicates", type=int, default=1000)
    arguments = parser.parse_args()
    print(f"{arguments.samples} weighted samples, {arguments.replicates} bootstrap replicates")
    context = multiprocessing.get_context("spawn")
    for name in ESTIMATORS:
        process = context.Process(target=measure, args=(name, arguments.samples, arguments.replicates))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
