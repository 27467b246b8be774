"""How fast samples are drawn, their energies included, with the weights of the release.

    OMP_NUM_THREADS=1 python tests/benchmarks/draws.py [--model peptides-ff14sb-obc1] [--seconds 10]

Butane (which the release does not know: for the time alone), alanine dipeptide, a tetrapeptide; one thread,
processor time. A call draws whole blocks, so that nothing is thrown away.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from boltzgen.config.model import load_model
from boltzgen.flows.temperature_mixture import asked_at
from boltzgen.generator import BoltzmannGenerator, Target
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.system.prepare import prepare

BUTANE = Path(__file__).resolve().parents[2] / "boltzgen" / "examples" / "butane"

#: K at which a mixture draws.
MIXTURE = (300.0, 450.0)

#: Samples of one call: whole blocks of each molecule.
SAMPLES = 4096


def molecules() -> dict[str, MolecularSystem]:
    return {
        "butane": prepare(BUTANE / "system.xml", coordinates=BUTANE / "butane.pdb"),
        "alanine dipeptide": MolecularSystem.load("example:alanine-dipeptide-sbg"),
        "AAAA": prepare(sequence="AAAA", implicit="obc1"),
    }


def samples_a_second(generator: BoltzmannGenerator, seconds: float) -> float:
    """Samples a second of processor time, drawn for `seconds` after a first call."""
    generator.sample(1, 300.0, seed=0)
    began, calls = time.process_time(), 0
    while time.process_time() - began < seconds:
        generator.sample(SAMPLES, 300.0, seed=calls)
        calls += 1
    return calls * SAMPLES / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="peptides-ff14sb-obc1")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    trained = load_model(Path(options.model))
    print(f"{'samples a second':20s} {'float64':>9s} {'float32':>9s} {'float64, two temperatures':>26s}")
    for name, molecule in molecules().items():
        target, rates = Target.from_system(molecule, isomers=trained.isomers), []
        for dtype, temperatures in ((torch.float64, ()), (torch.float32, ()), (torch.float64, MIXTURE)):
            flow = asked_at(trained.flow.to(dtype=dtype), temperatures)
            rates.append(samples_a_second(BoltzmannGenerator(flow, target), options.seconds))
        print(f"{name:20s} {rates[0]:9.0f} {rates[1]:9.0f} {rates[2]:26.0f}", flush=True)


if __name__ == "__main__":
    main()
