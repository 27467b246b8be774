"""Make the data that the demo ships from a long replica-exchange run of alanine dipeptide.

    python tests/benchmarks/shipped/make_demo_data.py REMD

REMD is an MD folder written by (45 minutes of one core)::

    boltzgen prepare boltzgen/examples/alanine-dipeptide/alanine-dipeptide.pdb -o SYS \
        --forcefield amber99sbildn.xml --implicit amber99_obc.xml
    boltzgen simulate SYS -o REMD --temperatures 300,366,446,543,662,800 --time 10ns \
        --save-interval 0.5ps --seed 20261121

Every fourth frame (2 ps) is kept: of the first 8 ns at all temperatures for training (MD), of the last
2 ns at 300 K for the coverage check, which training never sees (CHECK).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from boltzgen.data.record import Trajectory
from boltzgen.data.trajectory import read_trajectory, write_trajectory
from boltzgen.potentials.from_openmm.translate import translate
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare

ROOT = Path(__file__).resolve().parents[3]
OUTPUT = ROOT / "boltzgen" / "demo_data" / "alanine-dipeptide"
STRIDE = 4
COMMAND = (
    "boltzgen simulate SYS -o REMD --temperatures 300,366,446,543,662,800 --time 10ns "
    "--save-interval 0.5ps --seed 20261121"
)
TRAINING_SHARE = 0.8


def main(remd: Path) -> None:
    source = ROOT / "boltzgen" / "examples" / "alanine-dipeptide" / "alanine-dipeptide.pdb"
    system = prepare(source, forcefield=("amber99sbildn.xml",), implicit="amber99_obc.xml")
    whole = read_trajectory(remd)
    training, check = [], []
    for temperature in whole.temperature_ladder:
        frames = whole.at(temperature)
        cut = int(TRAINING_SHARE * len(frames))
        training.append(np.arange(0, cut, STRIDE))
        check.append(np.arange(cut, len(frames), STRIDE))
    parts = [whole.at(t)[rows] for t, rows in zip(whole.temperature_ladder, training, strict=True)]
    write(OUTPUT / "MD", join(parts, system), system, str(remd), "the first 8 ns")
    held_back = join([whole.at(300.0)[check[0]]], system)
    write(OUTPUT / "CHECK", held_back, system, str(remd), "the last 2 ns at 300 K")


def join(parts: list[Trajectory], system: MolecularSystem) -> Trajectory:
    """The parts, with the fingerprint of `system` and inefficiencies in frames of the new spacing."""
    measured = {key: g for part in parts for key, g in part.statistical_inefficiency.items()}
    inefficiency = {key: max(1.0, g / STRIDE) for key, g in measured.items()}
    return Trajectory(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("positions", "energies", "temperatures", "replicas")
        ),
        system.fingerprint,
        inefficiency,
    )


def write(folder: Path, frames: Trajectory, system: MolecularSystem, source: str, what: str) -> None:
    """Check the stored energies against the demo's own system, then write."""
    positions = torch.as_tensor(np.array(frames.positions), dtype=torch.float64)
    energies = translate(system).energy(positions).numpy()
    worst = np.abs(energies - frames.energies).max()
    if worst > 0.01:
        raise SystemExit(f"{folder}: energies differ by {worst} kJ/mol; the run is of another system.")
    provenance = {"run": what, "stride_ps": 2.0}
    write_trajectory(folder, frames, command=COMMAND, seed=20261121, provenance=provenance)
    print(f"{folder}: {len(frames)} frames, energies agree to {worst:.1e} kJ/mol (from {source})")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
