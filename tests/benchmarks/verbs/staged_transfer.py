"""What `boltzgen transfer` answers against an independent reference: staged MBAR in OpenMM alone.

    python tests/benchmarks/verbs/staged_transfer.py TRANSFER [--picoseconds 200] [--stages 5] [--replicas 4]

TRANSFER is what `boltzgen transfer LIST --from vacuum --to SOLVENT -o TRANSFER` left. Of each molecule the
force fields in ``A/system.xml`` and ``B/system.xml`` are read; nothing else of boltzgen takes part. The
energy of the solvent is scaled by lambda in steps, each stage is a Langevin run from the reference
positions of A or of B, energies of all frames in all stages go to pymbar, thinned by its own estimate of
the inefficiency. Prints one line a molecule and the root mean squares of the differences (kcal/mol) and of
z; exit code 1 above 0.1 kcal/mol.

No exchange, no hot replicas, no moves: a molecule whose barriers a plain run does not cross in the time
given is no reference. --replicas shows it by their scatter, which is the error that is quoted.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import openmm
from openmm import unit
from pymbar import MBAR
from pymbar.timeseries import statistical_inefficiency

#: kJ/mol/K.
GAS_CONSTANT = 0.00831446261815324
KCAL = 4.184


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--picoseconds", type=float, default=200.0, help="of each stage and replica")
    parser.add_argument("--stages", type=int, default=5)
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--platform", default="CPU")
    asked = parser.parse_args()
    content = json.loads((asked.folder / "transfers.json").read_text())
    kelvin, differences, scores = content["temperature_K"], [], []
    print(
        "| molecule | transfer | +- | staged | +- | difference | z |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    for one in content["molecules"]:
        if one["status"] != "complete":
            continue
        place = asked.folder / "molecules" / one["folder"]
        staged = [
            staged_difference(place, kelvin, asked.stages, asked.picoseconds, asked.platform, seed)
            for seed in range(asked.replicas)
        ]
        mean, error = np.mean(staged), np.std(staged, ddof=1) / np.sqrt(len(staged))
        found = one["estimates"]["transfer"]
        value, own = found["value"]["kcal/mol"], found["standard_error"]["kcal/mol"]
        differences.append(value - mean)
        scores.append((value - mean) / np.hypot(own, error))
        print(
            f"| {one['name']} | {value:.3f} | {own:.3f} | {mean:.3f} | {error:.3f} | "
            f"{differences[-1]:+.3f} | {scores[-1]:+.1f} |",
            flush=True,
        )
    rms, rms_z = (float(np.sqrt(np.mean(np.square(row)))) for row in (differences, scores))
    print(f"\nrms {rms:.3f} kcal/mol, rms z {rms_z:.2f}, {len(scores)} molecules")
    sys.exit(rms > 0.1)


def staged_difference(
    place: Path, kelvin: float, stages: int, picoseconds: float, platform: str, seed: int
) -> float:
    """``G_B - G_A`` (kcal/mol) through `stages` values of lambda."""
    ends = [openmm.XmlSerializer.deserialize((place / name / "system.xml").read_text()) for name in "AB"]
    records = [json.loads((place / name / "system.json").read_text()) for name in "AB"]
    starts = [np.array(record["reference_positions_nm"]) for record in records]
    both, kt = scaled(*ends), GAS_CONSTANT * kelvin
    lambdas = np.linspace(0.0, 1.0, stages)
    integrator = openmm.LangevinMiddleIntegrator(kelvin, 2.0, 0.001)
    integrator.setRandomNumberSeed(1000 * seed + 17)
    context = openmm.Context(both, integrator, openmm.Platform.getPlatformByName(platform))
    frames, counts = [], []
    every, n = 100, int(picoseconds / 0.1)
    for k, scale in enumerate(lambdas):
        context.setParameter("lambda", scale)
        context.setPositions(starts[(k + seed) % 2])
        openmm.LocalEnergyMinimizer.minimize(context, maxIterations=200)
        context.setVelocitiesToTemperature(kelvin, 100 * seed + k + 1)
        integrator.step(5000)
        kept = []
        for _ in range(n):
            integrator.step(every)
            context.setParameter("lambda", 0.0)
            u_a = energy(context)
            context.setParameter("lambda", 1.0)
            u_b = energy(context)
            context.setParameter("lambda", scale)
            kept.append((u_a / kt, u_b / kt))
        table = np.array(kept)
        own = (1 - scale) * table[:, 0] + scale * table[:, 1]
        gap = table[:, 1] - table[:, 0]
        g = max(statistical_inefficiency(own), statistical_inefficiency(gap))
        frames.append(table[:: int(np.ceil(g))])
        counts.append(len(frames[-1]))
    pool = np.concatenate(frames)
    u_kn = (1 - lambdas)[:, None] * pool[:, 0] + lambdas[:, None] * pool[:, 1]
    solved = MBAR(u_kn, counts).compute_free_energy_differences()
    return float(solved["Delta_f"][0, -1]) * kt / KCAL


def energy(context: openmm.Context) -> float:
    state = context.getState(getEnergy=True)
    return float(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))


def scaled(a: openmm.System, b: openmm.System) -> openmm.System:
    """``U_A + lambda (U_B - U_A)``: B is A with a solvent force more, every energy term of which gets
    lambda.
    """
    known = [openmm.XmlSerializer.serialize(force) for force in a.getForces()]
    both = openmm.XmlSerializer.clone(b)
    further = [force for force in both.getForces() if openmm.XmlSerializer.serialize(force) not in known]
    if len(further) != 1 or not isinstance(further[0], openmm.CustomGBForce):
        sys.exit("B must be A with one generalized-Born force more: --from vacuum --to a solvent.")
    solvent = further[0]
    solvent.addGlobalParameter("lambda", 1.0)
    for term in range(solvent.getNumEnergyTerms()):
        expression, kind = solvent.getEnergyTermParameters(term)
        first, semicolon, rest = expression.partition(";")
        solvent.setEnergyTermParameters(term, f"lambda*({first}){semicolon}{rest}", kind)
    return both


if __name__ == "__main__":
    main()
