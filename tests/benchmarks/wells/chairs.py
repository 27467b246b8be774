"""Equatorial -> axial of a substituted cyclohexane by independent ways, with errors and z of each pair.

    python tests/benchmarks/wells/chairs.py 'CC1CCCCC1' -o DIR --ways exchange,bar
    python tests/benchmarks/wells/chairs.py 'CC1CCCCC1' -o DIR --ways flow --model MODEL
    python tests/benchmarks/wells/chairs.py 'CC1CCCCC1' -o DIR --ways flow --model run --minutes 15

GAFF2 with AM1-BCC where AmberTools is there, else MMFF94; ``--implicit obc2`` or vacuum. What is there in
DIR/chairs.json stays, so that ways may be run one by one. Ways:

- ``exchange``: replica exchange that begins in both chairs, with flips of the ring; populations at the lowest
  temperature, error by jackknife over walks.
- ``flow``: samples of the flow alone: chains of MODEL with flips, or what `run` (``--model run``) answers
  with after it was trained on the molecule; error by jackknife over walkers, or blocks of draws.
- ``bar``: Langevin dynamics in each chair, in which none is left, and targeted free-energy perturbation
  (Jarzynski, Phys. Rev. E 65, 046122 (2002)) with the flip as the map, which keeps the volume element, by
  Bennett's method; error by bootstrap over replicas. It needs no crossing, and reaches chairs above 4 kT.

Chairs are told by theta of Cremer and Pople (`boltzgen.system.graph.ring_states`); boats count for neither.
These molecules are held out: nothing that is released may be trained on them.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from pymbar.other_estimators import bar

import boltzgen as bg
from boltzgen.data.trajectory import read_trajectory
from boltzgen.dynamics.batched_langevin import PhasePoint, energy_with_gradient, langevin, thermal_velocities
from boltzgen.dynamics.masses import with_heavy_hydrogens
from boltzgen.dynamics.ring_moves import Flip, RingMoves, ring_move
from boltzgen.dynamics.starts import conformer_starts
from boltzgen.dynamics.torsion_moves import Rotors, torsion_move
from boltzgen.ensemble.store import load_ensemble
from boltzgen.errors import MissingExtraError, PartialError
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.ambertools.programs import find_ambertools
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.system.graph.ring_states import ChairStates, ring_states
from boltzgen.units import thermal_energy

#: Of the exchange: K, copies, ps between exchanges and frames; of the rest of the dynamics: steps of 2 fs.
LADDER, REPLICAS, INTERVAL = (1.0, 1.25, 1.56, 1.95), 128, "0.1ps"
STEPS, DISCARDED, BOOTSTRAP = 50, 30, 200


class Chairs:
    """The one ring of six of `system` that has chairs, and which of them is equatorial."""

    def __init__(self, system: bg.MolecularSystem) -> None:
        (self.states,) = [
            one
            for one in ring_states(MolecularGraph.from_system(system))
            if isinstance(one, ChairStates) and not one.half
        ]
        names = [str(name.atom) for name in system.atom_names]
        words = [self.states.substituents_of(code, names) for code in (0, 1)]
        self.equatorial = next(code for code in (0, 1) if "equatorial" in words[code].split(",")[0])
        self.words = [words[self.equatorial], words[1 - self.equatorial]]

    def told(self, positions: np.ndarray) -> np.ndarray:
        """(n,) 0 equatorial, 1 axial, -1 neither, of (n, N, 3)."""
        codes = self.states.classify(np.asarray(positions))
        return np.where(codes == self.equatorial, 0, np.where(codes == 1 - self.equatorial, 1, -1))


def by_counts(chairs: np.ndarray, log_w: np.ndarray, block: np.ndarray) -> tuple[float, float]:
    """``G_ax - G_eq`` in kT by the weights of both chairs, and its error by jackknife over blocks."""
    weights = np.exp(log_w - log_w.max())
    numbers = np.unique(block, return_inverse=True)[1]
    sums = np.stack([np.bincount(numbers, weights * (chairs == one)) for one in (0, 1)])
    whole = sums.sum(axis=1)
    left = whole[:, None] - sums
    with np.errstate(divide="ignore"):
        value, each = np.log(whole[0] / whole[1]), np.log(left[0] / left[1])
    count = len(each)
    return float(value), float(np.sqrt((count - 1) / count * ((each - each.mean()) ** 2).sum()))


def exchange(system: bg.MolecularSystem, chairs: Chairs, asked: argparse.Namespace) -> dict:
    ladder = tuple(round(asked.kelvin * factor, 1) for factor in LADDER)
    made = bg.simulate(
        system,
        asked.output / "MD",
        temperatures=ladder,
        engine="torch",
        time=f"{asked.picoseconds:g}ps",
        timestep="2fs",
        hydrogen_mass=3.0,
        equilibration=f"{max(1.0, asked.picoseconds / 5):g}ps",
        save_interval=INTERVAL,
        exchange_interval=INTERVAL,
        replicas=REPLICAS,
        starts="conformers",
        ring_moves=3,
        torsion_moves=2 if len(Rotors.of(system)) else None,
        seed=asked.seed,
        resume="auto",
    )
    frames = read_trajectory(asked.output / "MD", system).at(ladder[0])
    walks = REPLICAS // len(ladder)
    block = np.repeat(np.arange(walks), len(frames) // walks)
    value, error = by_counts(chairs.told(frames.positions), np.zeros(len(frames)), block)
    return {
        "value": value,
        "error": error,
        "energies": made.energy_evaluations,
        "moves": [made.ring_moves.tried, made.ring_moves.taken],
        "said": list(made.warnings),
    }


def flow(system: bg.MolecularSystem, chairs: Chairs, asked: argparse.Namespace) -> dict:
    if asked.model is None:
        raise SystemExit("--ways flow needs --model MODEL, or --model run")
    out = asked.output / "OUT"
    if asked.model == "run":
        try:
            bg.run(
                asked.output / "SYS",
                asked.output / "RUN",
                temperature=asked.kelvin,
                time=60.0 * asked.minutes,
                seed=asked.seed,
            )
        except PartialError as error:
            print(error)
        out = asked.output / "RUN" / "OUT"
    else:
        bg.sample(
            asked.model,
            asked.output / "SYS",
            out,
            asked.rows,
            chains=True,
            walkers=64,
            temperature=asked.kelvin,
            seed=asked.seed,
            overwrite=True,
        )
    found = load_ensemble(out)
    block = np.arange(len(found)) * 50 // len(found) if found.walkers is None else found.walkers.index
    value, error = by_counts(chairs.told(found.positions), np.asarray(found.log_w), block)
    judged = found.diagnostics()
    spent = found.provenance.get("energy_evaluations")
    return {
        "value": value,
        "error": error,
        "energies": spent,
        "model": asked.model,
        "said": [judged.verdict, *judged.reasons],
    }


def by_flips(system: bg.MolecularSystem, chairs: Chairs, asked: argparse.Namespace) -> dict:
    potential = potential_of(system)
    energy = energy_with_gradient(potential)
    moves = RingMoves.of(system)
    flip = next(move for move in moves.moves if isinstance(move, Flip))
    nitrogens = RingMoves(tuple(move for move in moves.moves if not isinstance(move, Flip)), ())
    rotors = Rotors.of(system)
    starts = conformer_starts(system)
    of_starts = chairs.told(starts)
    begun = [starts[of_starts == one][np.arange(REPLICAS // 2) % (of_starts == one).sum()] for one in (0, 1)]
    x = torch.as_tensor(np.concatenate(begun))
    kt = torch.full((len(x),), float(thermal_energy(asked.kelvin)), dtype=torch.float64)
    masses = torch.as_tensor(
        with_heavy_hydrogens(system.masses, system.atomic_numbers, system.bonds, 3.0), dtype=torch.float64
    )
    generator = torch.Generator().manual_seed(asked.seed)
    v = thermal_velocities(x, kt=kt, masses=masses, generator=generator)
    point = PhasePoint(x, v, *energy(x))
    sides, rises = [], []
    for number in range(DISCARDED + round(asked.picoseconds / (STEPS * 2e-3))):
        point, _ = langevin(
            point,
            energy,
            steps=STEPS,
            timestep=2e-3,
            friction=2.0,
            kt=kt,
            masses=masses,
            generator=generator,
        )
        for _ in range(2):
            if len(rotors):
                point, _ = torsion_move(point, energy, rotors, kt=kt, generator=generator)
            if len(nitrogens):
                point, _ = ring_move(point, energy, nitrogens, kt=kt, generator=generator)
        if number >= DISCARDED:
            sides.append(chairs.told(point.positions.numpy()))
            rises.append(((energy(flip(point.positions))[0] - point.energy) / kt).detach().numpy())
    side, rise = np.array(sides), np.array(rises)  # (frames, replicas)
    rng = np.random.default_rng(asked.seed)

    def estimate(replicas: np.ndarray) -> float:
        works = [rise[:, replicas][side[:, replicas] == one] for one in (0, 1)]
        return float(bar(*works, compute_uncertainty=False)["Delta_f"])

    half = REPLICAS // 2
    again = [
        estimate(np.concatenate([rng.integers(0, half, half), rng.integers(half, REPLICAS, half)]))
        for _ in range(BOOTSTRAP)
    ]
    return {
        "value": estimate(np.arange(REPLICAS)),
        "error": float(np.std(again, ddof=1)),
        "frames": [int((side == one).sum()) for one in (0, 1)],
        "crossed": int((side[0] != side[-1]).sum()),
        "spread of the rise": [float(rise[side == one].std()) for one in (0, 1)],
    }


WAYS = {"exchange": exchange, "flow": flow, "bar": by_flips}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("smiles")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--ways", default="exchange,bar", help=", ".join(WAYS))
    parser.add_argument("--forcefield", help="gaff2 where AmberTools is there, else mmff94")
    parser.add_argument("--implicit", default="none")
    parser.add_argument("--kelvin", type=float, default=300.0)
    parser.add_argument("--picoseconds", type=float, default=20.0, help="of each replica")
    parser.add_argument("--model", help="of the flow, or run")
    parser.add_argument("--minutes", type=float, default=15.0, help="of --model run")
    parser.add_argument("--rows", type=int, default=6400, help="of chains")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if not (asked.output / "SYS").exists():
        field = asked.forcefield or field_here()
        bg.prepare(
            smiles=asked.smiles, output=asked.output / "SYS", forcefield=(field,), implicit=asked.implicit
        )
    system = bg.load_system(asked.output / "SYS")
    chairs = Chairs(system)
    path = asked.output / "chairs.json"
    content = json.loads(path.read_text()) if path.exists() else {"smiles": asked.smiles, "ways": {}}
    content |= {"states": chairs.words, "kelvin": asked.kelvin, "options": system.provenance["options"]}
    for way in asked.ways.split(","):
        began = time.process_time()
        found = WAYS[way](system, chairs, asked)
        content["ways"][way] = {**found, "seed": asked.seed, "CPU seconds": time.process_time() - began}
        path.write_text(json.dumps(content, indent=1, default=str))
    ways = content["ways"]
    told = [f"{way} {one['value']:.3f} ± {one['error']:.3f}" for way, one in ways.items()]
    scores = []
    for first, second in combinations(ways, 2):
        a, b = ways[first], ways[second]
        z = (a["value"] - b["value"]) / np.hypot(a["error"], b["error"])
        scores.append(f"{first}/{second} z {z:+.1f}")
    print(f"| {asked.smiles} | {chairs.words[1]} | {' | '.join([*told, *scores])} |")


def field_here() -> str:
    try:
        find_ambertools("this script")
    except MissingExtraError:
        return "mmff94"
    return "gaff2"


if __name__ == "__main__":
    main()
