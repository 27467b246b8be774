"""What OpenMM's own exchange would pay: CPU seconds of a step of Langevin dynamics, one thread.

    OMP_NUM_THREADS=1 python tests/benchmarks/chains/openmm_price.py OUT SEQUENCE|tetra|octa|chosen ...

Appends a line to OUT/openmm.jsonl for each molecule. OpenMM's exchange of the same rungs needs at
least as many energies a sample as ours, which turns bonds at each exchange besides; `table.py` charges it
for just as many, on its fastest platform.
"""

from __future__ import annotations

import json
import time

import openmm
from measured import KELVIN, names_of, parser, prepared
from openmm import unit

#: Seconds that a platform is timed, times that it is, and ps a step.
SECONDS, REPEATS, TIMESTEP = 1.5, 3, 2e-3


def price(sequence: str, platform: str) -> float:
    """CPU seconds a step of `sequence` on `platform`: the least of `REPEATS` times."""
    system = prepared(sequence)
    integrator = openmm.LangevinMiddleIntegrator(
        KELVIN * unit.kelvin, 1 / unit.picosecond, TIMESTEP * unit.picoseconds
    )
    properties = {"Threads": "1"} if platform == "CPU" else {}
    chosen = openmm.Platform.getPlatformByName(platform)
    context = openmm.Context(system.openmm_system(), integrator, chosen, properties)
    context.setPositions(system.reference_positions)
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, 200)
    context.setVelocitiesToTemperature(KELVIN * unit.kelvin, 1)
    integrator.step(50)
    found = []
    for _ in range(REPEATS):
        steps, began, until = 0, time.process_time(), time.perf_counter() + SECONDS
        while time.perf_counter() < until:
            integrator.step(50)
            steps += 50
        found.append((time.process_time() - began) / steps)
    return min(found)


def main() -> None:
    asked = parser(__doc__).parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for sequence in names_of(asked.sequences):
        prices = {name: price(sequence, name) for name in ("CPU", "Reference")}
        best = min(prices, key=lambda name: prices[name])
        told = {"sequence": sequence, "platform": best, "cpu_seconds_an_energy": prices[best], "all": prices}
        with (asked.out / "openmm.jsonl").open("a") as file:
            file.write(json.dumps(told, sort_keys=True) + "\n")
        print(f"{sequence}: {1e6 * prices[best]:.0f} us a step on {best}", flush=True)


if __name__ == "__main__":
    main()
