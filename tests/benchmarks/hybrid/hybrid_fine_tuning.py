"""A force field's flow becomes a hybrid's: fine-tuning within 1e4 evaluations of the hybrid, against BAR.

    python tests/benchmarks/hybrid/hybrid_fine_tuning.py --model RUN --out FOLDER

RUN is a flow of ``example:alanine-dipeptide-fab`` (ff96 + OBC1); the hybrid replaces the molecule's own
energy by the shipped network xtb-ala2-small and keeps the solvent. `TRAINING` moves the flow by reverse KL
and by its own weighted samples, `ESTIMATE` energies weigh; no hybrid simulation is used. The reference
is BAR at both ends, between many more samples of the same flows and replica exchange under each energy
(torch engine). Each stage is skipped where its output exists.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from boltzgen.files import make_folder, read_json, write_json
from boltzgen.system.examples import system_folder
from boltzgen.workflows.free_energy.between import between
from boltzgen.workflows.preparation.prepare import prepare
from boltzgen.workflows.sampling.sample import sample
from boltzgen.workflows.simulation.simulate import simulate
from boltzgen.workflows.training.train import train

MM = "example:alanine-dipeptide-fab"
TRAINING: dict[str, Any] = {
    "likelihood": {"weight": 0.0},
    "reverse_kl": {
        "weight": 1.0,
        "batch_size": 40,
        "energy_cap": 300.0,
        "temperatures": [300.0, 400.0, 550.0],
    },
    "reweighted": {
        "weight": [[0.0, 0.0], [0.4, 0.0], [0.45, 1.0]],
        "batch_size": 192,
        "fresh": 24,
        "dispersion": 1.0,
        "temperatures": [300.0, 400.0],
        "trust_region": 1.0,
    },
    "optimizer": {"steps": 120, "learning_rate": 5e-3, "warmup": 5, "average": 0.9},
    "evaluation": {"every": 120, "samples": 2},
}
ESTIMATE = 3_400

#: K at which the fine-tuned flow draws those that weigh: it is narrow after so few evaluations.
PROPOSALS = (330.0,)
SIMULATION: dict[str, Any] = {
    "temperatures": (300.0, 370.0, 456.0, 563.0, 694.0, 856.0),
    "engine": "torch",
    "replicas": 96,
    "timestep": "2fs",
    "time": "20ps",
    "equilibration": "4ps",
    "save_interval": "0.1ps",
    "exchange_interval": "0.1ps",
    "hydrogen_mass": 3.0,
    "seed": 77,
}


def fine_tuned(model: Path, out: Path, seed: int) -> None:
    """The hybrid's SYS folder, and its flow, trained on energies of the hybrid alone."""
    if not (out / "HYBRID").exists():
        folder = system_folder(MM)
        prepare(
            folder / "system.xml", out / "HYBRID", coordinates=folder / "topology.pdb", ml="xtb-ala2-small"
        )
    if (out / "RUN" / "model").exists():
        return
    config = out / "config.json"
    write_json(config, {"start": str(model), "system": str(out / "HYBRID"), **TRAINING})
    train(config, [], out / "RUN", seed=seed)


def drawn(
    model: Path, system: str, folder: Path, number: int, seed: int, proposals: tuple[float, ...] = ()
) -> None:
    if not (folder / "samples.npz").exists():
        sample(model, system, folder, number, temperature=300.0, proposal_temperatures=proposals, seed=seed)


def simulated(system: str, folder: Path) -> None:
    simulate(system, folder, resume="auto", **SIMULATION)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the training and of the draws")
    parser.add_argument("--no-reference", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    out = asked.out
    make_folder(out)
    fine_tuned(asked.model, out, asked.seed)
    drawn(asked.model, MM, out / "OUT-MM", 50_000, 1 + 100 * asked.seed)
    drawn(out / "RUN", str(out / "HYBRID"), out / "OUT", ESTIMATE, 2 + 100 * asked.seed, PROPOSALS)
    ours = between(out / "OUT-MM", out / "OUT", samples=0, output=out / "flows.json")
    spent = read_json(out / "RUN" / "model" / "model.json")["energy_evaluations"]
    print(f"hybrid evaluations: {spent} to train, {ESTIMATE} to weigh", flush=True)
    report("flows", ours)
    if asked.no_reference:
        return
    drawn(out / "RUN", str(out / "HYBRID"), out / "OUT-LARGE", 50_000, 3 + 100 * asked.seed, PROPOSALS)
    simulated(MM, out / "MD-MM")
    simulated(str(out / "HYBRID"), out / "MD-HYBRID")
    report(
        "reference",
        between(
            out / "OUT-MM",
            out / "OUT-LARGE",
            data_a=out / "MD-MM",
            data_b=out / "MD-HYBRID",
            output=out / "reference.json",
        ),
    )


def report(name: str, result: Any) -> None:
    for found in result.estimates:
        error = float("nan") if found.standard_error is None else found.standard_error
        told = f"{name:10s} {found.estimator:40s} {found.value:9.3f} +- {error:.3f} kT"
        print(f"{told}  {found.verdict} {list(found.reasons)[:1]}", flush=True)


if __name__ == "__main__":
    main()
