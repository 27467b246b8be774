"""How many flips of a ring are taken, over the most that detailed balance allows.

    python tests/benchmarks/ring_moves.py 'CC1CCCCC1' [--replicas 128] [--blocks 60] [--kelvin 300] [--seed 1]

Langevin dynamics in both chairs (MMFF94, vacuum; hydrogens of 3 dalton, 2 fs), which do not change into one
another by themselves; in each saved frame the rise of the energy that a flip would cost. From both sides BAR
gives the populations p, and with them the rate at which flips are taken at equilibrium,

    sum over chairs of p < min(1, exp(-rise / kT)) >,

whose bound is 2 min(p): no move from one chair to the other is taken more often. Printed for a flip without
and with leaning branches (`boltzgen.dynamics.ring_moves`); a random turn of a branch is left out.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from pymbar.other_estimators import bar

from boltzgen.dynamics.batched_langevin import PhasePoint, energy_with_gradient, langevin, thermal_velocities
from boltzgen.dynamics.masses import with_heavy_hydrogens
from boltzgen.dynamics.ring_moves import Flip, RingMoves
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.prepare import prepare
from boltzgen.units import thermal_energy

#: Steps between saved frames, and blocks of them that are thrown away.
STEPS, DISCARDED = 50, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("smiles")
    for name, value in {"replicas": 128, "blocks": 60, "seed": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--kelvin", type=float, default=300.0)
    asked = parser.parse_args()
    system = prepare(smiles=asked.smiles, forcefield=("mmff94",))
    energy = energy_with_gradient(potential_of(system))
    flip = next(move for move in RingMoves.of(system).moves if isinstance(move, Flip))
    bare = next(move for move in RingMoves.of(system, leaning=False).moves if isinstance(move, Flip))
    reference = torch.tensor(system.reference_positions)[None]
    x = torch.cat([reference, flip(reference)]).repeat(asked.replicas // 2, 1, 1)
    kt = torch.full((len(x),), float(thermal_energy(asked.kelvin)), dtype=torch.float64)
    masses = torch.as_tensor(
        with_heavy_hydrogens(system.masses, system.atomic_numbers, system.bonds, 3.0), dtype=torch.float64
    )
    generator = torch.Generator().manual_seed(asked.seed)
    v = thermal_velocities(x, kt=kt, masses=masses, generator=generator)
    point = PhasePoint(x, v, *energy(x))
    sides, rises = [], {"flip": [], "leaning": []}
    for block in range(asked.blocks):
        point, _ = langevin(
            point,
            energy,
            steps=STEPS,
            timestep=2e-3,
            friction=5.0,
            kt=kt,
            masses=masses,
            generator=generator,
        )
        if block >= DISCARDED:
            sides.append(flip.side(point.positions) > 0)
            for name, move in (("flip", bare), ("leaning", flip)):
                rises[name].append((energy(move(point.positions))[0] - point.energy) / kt)
    side = torch.stack(sides)
    print(f"{asked.smiles}: {side.numel()} frames, {int((side[0] != side[-1]).sum())} replicas crossed")
    for name, found in rises.items():
        rise = torch.stack(found)
        forward, reverse = rise[side].numpy(), rise[~side].numpy()
        taken = [float(np.minimum(1.0, np.exp(-w)).mean()) for w in (forward, reverse)]
        difference = float(bar(forward, reverse)["Delta_f"])
        p = 1 / (1 + np.exp(-difference))
        mean, bound = p * taken[0] + (1 - p) * taken[1], 2 * min(p, 1 - p)
        print(
            f"  {name:8s} difference {difference:+.3f} kT, taken {mean:.4f}, bound {bound:.4f}, "
            f"ratio {mean / bound:.3f}"
        )


if __name__ == "__main__":
    main()
