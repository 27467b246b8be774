"""Solvation of alanine dipeptide (openmmtools: ff96, OBC1, no constraints) at 300 K, in stages.

Three ends with the same atoms: V, true vacuum; S, no charges in the GB force but its surface-area term kept;
I, the whole implicit solvent. `half` lies between S and I (GB energy halved). The literature calls both V
and S "vacuum": S -> I is the published -29.43 kT, V -> I another number.

    python tests/benchmarks/alanine_dipeptide/alanine_dipeptide_solvation.py --out RUNS/solvation

Each stage is skipped where its output exists, so that the same command resumes. Seeds are fixed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from alanine_dipeptide_simulation import simulate

from boltzgen.data.record import Trajectory
from boltzgen.data.statistics import slowest_inefficiencies
from boltzgen.data.trajectory import write_trajectory
from boltzgen.files import make_folder, write_atomic
from boltzgen.generator import read_target
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.workflows.free_energy.between import between
from boltzgen.workflows.free_energy.mbar import mbar
from boltzgen.workflows.free_energy.results import FreeEnergyResult

KELVIN = 300.0

#: System -> share of the GB energy; None: no GB force at all.
SYSTEMS: dict[str, float | None] = {"V": None, "S": 0.0, "half": 0.5, "I": 1.0}

#: Walkers at each temperature (K), those for training and those that the flows never see.
TRAINING_WALKERS = {300.0: 32, 450.0: 16, 700.0: 16}
HELD_OUT_WALKERS = 96
FRAMES = 240

TRAINED = ("V", "I")
SAMPLES = 50_000


def prepare_systems(out: Path) -> None:
    """The System XML of every end, from openmmtools alone, and its SYS folder."""
    import openmm
    from openmm import app, unit
    from openmmtools.testsystems import AlanineDipeptideImplicit

    from boltzgen.workflows.preparation.prepare import prepare

    example = AlanineDipeptideImplicit(constraints=None)
    pdb = out / "alanine.pdb"
    with open(pdb, "w") as handle:
        app.PDBFile.writeFile(example.topology, example.positions, handle)
    for name, share in SYSTEMS.items():
        if (out / f"SYS-{name}").exists():
            continue
        system = openmm.XmlSerializer.clone(example.system)
        (number,) = [i for i, f in enumerate(system.getForces()) if isinstance(f, openmm.CustomGBForce)]
        if share is None:
            system.removeForce(number)
        else:
            force = system.getForce(number)
            assert force.getPerParticleParameterName(0) == "charge"
            for atom in range(force.getNumParticles()):
                charge, *radii = force.getParticleParameters(atom)
                force.setParticleParameters(atom, [charge * share**0.5, *radii])
        xml = out / f"{name}.xml"
        write_atomic(xml, openmm.XmlSerializer.serialize(system))
        summary = prepare(xml, out / f"SYS-{name}", coordinates=pdb)
        print(f"SYS-{name}: {summary.translation}; {summary.energy:.4f} kJ/mol", flush=True)
    assert example.positions.unit == unit.nanometer


def make_data(out: Path, name: str, seed: int) -> None:
    """TRAIN-name (several temperatures) and MD-name (300 K), of walkers that share nothing."""
    held_out = out / f"MD-{name}"
    if (held_out / "manifest.json").exists():
        return
    started, spent = time.time(), time.process_time()
    molecule, target = read_target(str(out / f"SYS-{name}"), isomers="reference")
    assert molecule is not None
    trained = TRAINING_WALKERS if name in TRAINED else {}
    walkers = {**trained, KELVIN: HELD_OUT_WALKERS + trained.get(KELVIN, 0)}
    whole, accepted = simulate(molecule, target, walkers, FRAMES, seed)
    seen = whole.replicas < trained.get(KELVIN, 0)
    hot = whole.temperatures > KELVIN + 1
    if trained:
        _write(out / f"TRAIN-{name}", whole[_shuffled(seen | hot, seed)], molecule)
    _write(held_out, whole[~(seen | hot)], molecule)
    print(
        f"MD-{name}: {len(whole)} frames, {time.time() - started:.0f} s, "
        f"{time.process_time() - spent:.0f} CPU s; turns taken {accepted}",
        flush=True,
    )


def _shuffled(chosen: np.ndarray, seed: int) -> np.ndarray:
    """Rows of `chosen` (M,) bool in random order: training holds out the last frames, some of each walker."""
    return np.random.default_rng(seed).permutation(np.flatnonzero(chosen))


def _write(folder: Path, frames: Trajectory, molecule: MolecularSystem) -> None:
    measured = slowest_inefficiencies(frames, molecule)
    object.__setattr__(frames, "statistical_inefficiency", measured)
    make_folder(folder)
    write_trajectory(folder, frames)
    print(f"  {folder.name}: {len(frames)} frames, statistical inefficiencies {measured}", flush=True)


def train_flow(out: Path, name: str, steps: int, seed: int) -> None:
    """RUN-name: likelihood on TRAIN-name, then energies too, as in the demo."""
    from boltzgen.workflows.training.train import train

    run = out / f"RUN-{name}"
    if (run / "model").exists():
        return
    words = [
        f"system={out / f'SYS-{name}'}",
        f"data={out / f'TRAIN-{name}'}",
        f"optimizer.steps={steps}",
        f"evaluation.every={max(steps // 5, 1)}",
        "workers=1",
        "checkpoint_every=50",
    ]
    spent = time.process_time()
    result = train("alanine-dipeptide-demo", words, run, resume="auto", seed=seed)
    print(f"RUN-{name}: {json.dumps(result.to_json())}, {time.process_time() - spent:.0f} CPU s", flush=True)


def draw(out: Path, name: str, seed: int) -> None:
    """OUT-name: weighted samples of the flow, compared with frames that it never saw; OUT-S from OUT-V."""
    from boltzgen.workflows.sampling.reweight import reweight
    from boltzgen.workflows.sampling.sample import sample

    folder = out / f"OUT-{name}"
    if not (folder / "samples.npz").exists():
        summary = sample(
            out / f"RUN-{name}" / "model",
            out / f"SYS-{name}",
            folder,
            SAMPLES,
            seed=seed,
            data=out / f"MD-{name}",
        )
        print(f"OUT-{name}: {json.dumps(summary.to_json())}", flush=True)
    if name == "V" and not (out / "OUT-S" / "samples.npz").exists():
        reweight(folder, out / "OUT-S", to=out / "SYS-S", resume="auto")


def answers(out: Path) -> None:
    """All estimates of S -> I and V -> I, each in its own JSON, and one table."""
    frames = [out / f"MD-{name}" for name in ("V", "half", "I")]
    flows = [out / "OUT-V", out / "OUT-I"]
    common: dict[str, Any] = {"systems": [out / f"SYS-{name}" for name in SYSTEMS], "samples": SAMPLES}
    jobs: dict[str, Callable[[Path], FreeEnergyResult]] = {}
    for first in ("S", "V"):
        common["reference"] = f"SYS-{first}@{KELVIN:g}K"
        jobs[f"simulation-{first}"] = partial(mbar, frames, **common)
        jobs[f"everything-{first}"] = partial(mbar, [*flows, *frames], **common)
    jobs["flows-S"] = partial(between, out / "OUT-S", out / "OUT-I")
    jobs["flows-V"] = partial(between, *flows)
    jobs["bar-V"] = partial(between, *flows, data_a=frames[0], data_b=frames[2])
    drawn = all((flow / "samples.npz").exists() for flow in flows)
    for name, work in jobs.items():
        path = out / f"{name}.json"
        if not path.exists() and (drawn or name.startswith("simulation")):
            work(output=path)
        if path.exists():
            _tell(name, json.loads(path.read_text())["estimates"])


def _tell(name: str, entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        if (
            entry["unit"] == "kT"
            and entry["B"] is not None
            and entry["name"].endswith(("SYS-I@300K", "OUT-I"))
        ):
            print(
                f"{name:14s} {entry['estimator']:45s} {entry['value']['kT']:9.4f} "
                f"+- {entry['standard_error']['kT']:.4f} kT  {entry['verdict']} {entry['reasons']}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=650, help="training steps of each flow")
    options = parser.parse_args()
    torch.set_num_threads(1)
    out: Path = make_folder(options.out)
    prepare_systems(out)
    for seed, name in enumerate(("V", "I", "half")):
        make_data(out, name, seed)
    answers(out)
    for seed, name in enumerate(TRAINED):
        train_flow(out, name, options.steps, seed)
        draw(out, name, seed + 1)
    answers(out)


if __name__ == "__main__":
    main()
