"""Make the shipped network ``xtb-ala2-small``: GFN2-xTB of alanine dipeptide in vacuum, learned.

    python tests/benchmarks/hybrid/train_xtb_ala2_small.py FOLDER STAGE [--seconds S] [--seed N]

FOLDER keeps the labelled pools, the symmetry functions and the weights. Stages, in this order::

    generate   first conformations and their labels
    train      fit the networks to all pools, going on from the last weights, for S seconds
    explore    300 and 1 000 K dynamics on the network, fresh draws of the flow's base: a new pool
    hold-out   the same dynamics from other frames, never trained on
    hunt       train a flow on the network for 1 000 K and label 10 000 samples: the check for holes
    ship       errors on the held-out conformations; write boltzgen/ml_models and the golden file

``train`` and ``explore`` or ``hunt`` alternate until ``hunt`` finds nothing: what it finds joins the pools.
One core; ``docs/measured/networks.md`` has the sequence, the seeds and the times.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from xtb_ala2_card import card
from xtb_ala2_data import (
    ROOT,
    Pool,
    demo_frames,
    flow_base,
    initial_pools,
    label,
    langevin,
    molecule,
    one_thread,
    with_potential,
)
from xtb_ala2_fit import fit, gather, standardise
from xtb_ala2_model import CELU_ALPHA, FOLDER, SETTINGS, random_weights, save_network, trained_on

from boltzgen.config.build import build_flow
from boltzgen.files import atomic_path, read_json, write_atomic, write_json
from boltzgen.generator import BoltzmannGenerator
from boltzgen.potentials.base import Potential
from boltzgen.potentials.learned.ani_network import SHIPPED, AniNetwork, NetworkModel, load_network
from boltzgen.training.checkpoint import complete_checkpoints, load_checkpoint
from boltzgen.training.losses.likelihood import LikelihoodSettings
from boltzgen.training.losses.reverse_kl import ReverseKLSettings
from boltzgen.training.losses.reweighted import ReweightedSettings
from boltzgen.training.settings import EvaluationSettings, OptimizerSettings, TrainingSettings
from boltzgen.training.trainer import Trainer
from boltzgen.units import thermal_energy


def pools_of(folder: Path, kind: str) -> dict[str, Pool]:
    return {path.stem: Pool.load(path) for path in sorted((folder / kind).glob("*.npz"))}


def network_of(folder: Path) -> AniNetwork:
    return AniNetwork(load_network(folder / "network"), np.asarray(molecule().atomic_numbers))


def energy_and_gradient(network: AniNetwork, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = torch.as_tensor(positions).requires_grad_()
    energy = network.energy(x)
    (gradient,) = torch.autograd.grad(energy.sum(), x)
    return energy.detach().numpy() + network.self_energy, gradient.numpy()


def generate(folder: Path) -> None:
    for name, (positions, kelvin) in initial_pools().items():
        label(positions, kelvin).save(folder / "pools" / f"{name}.npz")
        print(name, len(positions), flush=True)


def train(folder: Path, seconds: float, rate: float, seed: int) -> None:
    pools = pools_of(folder, "pools")
    energies = np.concatenate([pool.energies for pool in pools.values()])
    path = folder / "network"
    if path.is_dir():
        model = load_network(path)
        weights, per_atom = model.weights, model.self_energy["C"]
    else:
        low = energies < np.nanmin(energies) + 300
        weights, per_atom = random_weights(seed), float(energies[low].mean()) / molecule().n_atoms
    features = gather(pools, folder / "features", per_atom)
    if not path.is_dir():
        standardise(weights, features)
    print(f"{len(features.energy)} conformations", flush=True)
    weights = fit(
        features, weights, rate=rate, seed=seed, seconds=seconds, report=lambda line: print(line, flush=True)
    )
    self_energy = dict.fromkeys(SETTINGS.elements, per_atom)
    save_network(NetworkModel(SHIPPED, SETTINGS, CELU_ALPHA, self_energy, weights, trained_on()), path)
    write_json(folder / "training.json", {"labels": len(features.energy)})
    report_errors(folder)


def report_errors(folder: Path) -> None:
    """Errors of every pool, seen in training or not, for the eye."""
    network = network_of(folder)
    lowest = min(np.nanmin(pool.energies) for pool in pools_of(folder, "pools").values())
    for kind in ("pools", "held-out"):
        for name, pool in pools_of(folder, kind).items():
            some = pool[np.flatnonzero(np.isfinite(pool.energies))[:: max(1, len(pool) // 300)]]
            energy, gradient = energy_and_gradient(network, some.positions)
            error, mild = energy - some.energies, some.energies < lowest + 400
            force = np.sqrt(np.square(gradient - some.gradients)[mild].mean())
            energy_error = f"{error[mild].mean():.2f} +- {error[mild].std():.2f} kJ/mol"
            print(
                f"{kind}/{name}: {mild.sum()} mild, energy {energy_error}, force {force:.0f} kJ/mol/nm; "
                f"lowest errors {np.sort(error)[:3].round(1)}",
                flush=True,
            )


def dynamics(network: AniNetwork, walkers: int, seed: int) -> dict[str, np.ndarray]:
    """Frames of short Langevin runs on the network from frames of the demo: name -> (n, 22, 3) nm."""
    frames, kelvin = demo_frames(walkers, seed)
    cold, hot = frames[kelvin < 310], frames[kelvin > 310][::5]
    return {
        "langevin-300": langevin(network, cold, 300.0, steps=300, every=300, seed=seed),
        "langevin-1000": langevin(network, hot, 1000.0, steps=400, every=100, seed=seed),
    }


def explore(folder: Path, seed: int) -> None:
    network = network_of(folder)
    found = dynamics(network, 200, seed)
    for kelvin in (800, 1200):
        found[f"base-{kelvin}"] = flow_base(500, float(kelvin), seed=seed + kelvin)
    for name, positions in found.items():
        pool = label(positions, np.full(len(positions), float(name.split("-")[1])))
        pool.save(folder / "pools" / f"explore{seed}-{name}.npz")
        error = energy_and_gradient(network, positions)[0] - pool.energies
        low = int((error < -10 * thermal_energy(300.0)).sum())
        print(f"{name}: {len(pool)} labels, {low} too low by more than 10 kT at 300 K", flush=True)


def hold_out(folder: Path, seed: int) -> None:
    for name, positions in dynamics(network_of(folder), 60, seed).items():
        kelvin = float(name.split("-")[1])
        label(positions, np.full(len(positions), kelvin)).save(folder / "held-out" / f"{kelvin:.0f}K.npz")


class SinglePrecision(Potential):
    """The network in float32, whatever the flow computes in."""

    def __init__(self, network: AniNetwork) -> None:
        super().__init__()
        self.network = network

    def energy(self, positions: Tensor) -> Tensor:
        return self.network.energy(positions.float()).to(positions.dtype)


def digest(folder: Path) -> str:
    return str(read_json(folder / "network" / "model.json")["weights_sha256"])


def told(step: int, total: int, shown: dict | None) -> None:
    if step % 50 == 0:
        print(f"step {step} of {total}", shown, flush=True)


def flow_samples(folder: Path, network: AniNetwork, number: int, seed: int) -> tuple[np.ndarray, dict]:
    """`number` samples at 1 000 K of a flow trained on the network's energies, and how good the flow is.

    The flow of the same network and seed is not trained twice.
    """
    settings = TrainingSettings(
        system="network",
        seed=seed,
        workers=2,
        likelihood=LikelihoodSettings(weight=0.0),
        reverse_kl=ReverseKLSettings(weight=1.0, batch_size=64, temperatures=[1000.0]),
        reweighted=ReweightedSettings(weight=[(0, 0), (0.3, 1)], batch_size=128, temperatures=[1000.0]),
        optimizer=OptimizerSettings(steps=200, learning_rate=2e-3),
        evaluation=EvaluationSettings(every=100, samples=1000, temperature=1000.0),
    )
    target = with_potential(SinglePrecision(network))
    run = folder / f"flow-{seed}-{digest(folder)[:8]}"
    trainer = Trainer(settings, build_flow(settings.flow, seed=seed), [target], [], run)
    for place in complete_checkpoints(run / "checkpoints")[-1:]:
        trainer.restore(load_checkpoint(place))
    trainer.run(progress=told)
    ensemble = BoltzmannGenerator(trainer.average, target).sample(number, 1000.0, seed=seed)
    valid = ensemble.positions[ensemble.valid].astype(np.float64)
    return valid, {"drawn": number, "valid": len(valid), "flow": trainer.last_evaluation}


def hunt(folder: Path, seed: int, workers: int) -> None:
    """Samples of a flow, labelled; ``hunt.json`` has what was found, and the pool takes the worst."""
    network = network_of(folder)
    positions, record = flow_samples(folder, network, 10_000, seed)
    pool = label(positions, np.full(len(positions), 1000.0), workers=workers)
    held_out = Pool.load(folder / "held-out" / "1000K.npz")
    offset = (energy_and_gradient(network, held_out.positions)[0] - held_out.energies).mean()
    with torch.no_grad():
        energy = network.energy(torch.as_tensor(positions)).numpy() + network.self_energy
    error = energy - pool.energies - offset
    labelled = np.isfinite(error)
    kt, low = thermal_energy(1000.0), -error[labelled] / thermal_energy(1000.0)
    record |= {
        "temperature_K": 1000,
        "labelled": int(labelled.sum()),
        "seed": seed,
        "too_low_by_more_than_10_kT": int((low > 10).sum()),
        "most_too_low_kT": float(low.max()),
        "most_too_high_kT": float(-low.min()),
        "sd_kT": float(low.std()),
        "mean_kT": float(-low.mean()),
        "quantiles_of_error_kT": {str(q): float(np.quantile(-low, q)) for q in (0.001, 0.01, 0.5, 0.99)},
        "too_low_by_more_than_10_kT_of_300_K": int((low * kt > 10 * thermal_energy(300.0)).sum()),
        "network_sha256": digest(folder),
    }
    write_json(folder / "hunt.json", record)
    print(json.dumps(record), flush=True)
    worst = np.argsort(np.where(labelled, error, np.inf))[:500]
    chosen = np.union1d(worst, np.arange(0, len(pool), 20))
    pool[chosen].save(folder / "pools" / f"hunt{seed}.npz")


def ship(folder: Path) -> None:
    """Metrics, weights and golden file into the repository."""
    network, held_out = network_of(folder), {}
    golden = []
    for kelvin in (300, 1000):
        pool = Pool.load(folder / "held-out" / f"{kelvin}K.npz")
        energy, gradient = energy_and_gradient(network, pool.positions)
        error, kt = energy - pool.energies, thermal_energy(kelvin)
        held_out[f"{kelvin}K"] = {
            "conformations": len(pool),
            "energy_mean_error_kJ/mol": float(error.mean()),
            "energy_sd_kJ/mol": float(error.std()),
            "energy_sd_kT": float(error.std() / kt),
            "energy_mean_absolute_kJ/mol": float(np.abs(error - error.mean()).mean()),
            "energy_largest_kJ/mol": float(np.abs(error - error.mean()).max()),
            "force_rmse_kJ/mol/nm": float(np.sqrt(np.square(gradient - pool.gradients).mean())),
            "energy_spread_kJ/mol": float(pool.energies.std()),
            "force_spread_kJ/mol/nm": float(np.sqrt(np.square(pool.gradients).mean())),
        }
        golden.append(pool[np.arange(0, len(pool), len(pool) // 10)[:10]])
    shutil.copytree(folder / "network", FOLDER, dirs_exist_ok=True)
    labels = read_json(folder / "training.json")["labels"]
    samples = read_json(folder / "hunt.json")
    record = {"training_labels": labels, "held_out": held_out, "flow_samples": samples}
    write_json(FOLDER / "metrics.json", {"schema": "boltzgen.ani_network.metrics/1", **record})
    write_atomic(FOLDER / "CARD.md", card(record, network.model))
    some = Pool.join(golden)
    arrays = {name: getattr(some, name) for name in ("positions", "energies", "gradients", "kelvin")}
    energy = energy_and_gradient(network, some.positions)[0] - network.self_energy
    numbers = np.asarray(molecule().atomic_numbers)
    with atomic_path(ROOT / "tests" / "golden" / "xtb_ala2_small.npz") as temporary:
        np.savez(temporary, atomic_numbers=numbers, network=energy, **arrays)
    print(json.dumps(held_out, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("stage", choices=("generate", "train", "explore", "hold-out", "hunt", "ship"))
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--workers", type=int, default=1, help="processes that label")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    one_thread()
    stages = {
        "generate": lambda: generate(given.folder),
        "train": lambda: train(given.folder, given.seconds, given.rate, given.seed),
        "explore": lambda: explore(given.folder, given.seed),
        "hold-out": lambda: hold_out(given.folder, given.seed),
        "hunt": lambda: hunt(given.folder, given.seed, given.workers),
        "ship": lambda: ship(given.folder),
    }
    stages[given.stage]()


if __name__ == "__main__":
    main()
