"""Where counting minimised conformers differs from the ensemble: docs/conformers.md.

    python tests/benchmarks/wells/counting.py samples CC CCC 'CC(C)C' 'CC(C)(C)C' CCCC ClCCCl
    python tests/benchmarks/wells/counting.py frames CC1CCCCC1

``samples``: MMFF94 in vacuum, 300 K, weighted samples of the released peptide model, which never saw such
molecules. ``frames``: Langevin dynamics with flips of the ring. Prints one line of Markdown a molecule for
ln Z (samples alone) and one a well. ln Z of one labelled minimum as rotor and oscillators, in the measure of
docs/files.md:

    ln Z = -E/kT + 3/2 ln N + 1/2 ln det I + (3N-6)/2 ln(2 pi kT) - 1/2 ln det' H

I and H without masses (nm^2; kJ/mol/nm^2); copies: labelled minima that rotations of methyls and of the
molecule make of one.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

import boltzgen as bg
from boltzgen.data.foreign import read_structures
from boltzgen.potentials.of_system import potential_of
from boltzgen.system.graph.molecular_graph import MolecularGraph
from boltzgen.units import thermal_energy
from boltzgen.wells.curvature import hessian_of

TEMPERATURE = 300.0
MODEL = "peptides-ff14sb-obc1"


def log_z_of_minimum(x: np.ndarray, energy: float, potential) -> float:
    """``ln Z`` of one labelled minimum (N, 3) nm, harmonic."""
    kt, size = thermal_energy(TEMPERATURE), len(x)
    curvatures = np.sort(np.linalg.eigvalsh(hessian_of(x, potential)))[6:]
    centred = x - x.mean(axis=0)
    square = centred.T @ centred
    inertia = np.trace(square) * np.eye(3) - square
    rigid = 1.5 * np.log(size) + 0.5 * np.linalg.slogdet(inertia)[1]
    inner = 0.5 * len(curvatures) * np.log(2 * np.pi * kt) - 0.5 * np.log(curvatures).sum()
    return float(-energy / kt + rigid + inner)


def ln_copies(system: bg.MolecularSystem, well) -> float:
    """ln of the labelled minima of a well: thirds of methyls, its images; ethane's two turn as one."""
    methyls = len(MolecularGraph.from_system(system).rotors)
    alone = methyls == 2 and system.n_atoms == 8
    return (methyls - alone) * np.log(3) + np.log(well["degeneracy"])


def of_samples(smiles: str, number: int, rows: int, place: Path) -> None:
    bg.prepare(smiles=smiles, output=place / "SYS")
    drawn = bg.sample(MODEL, place / "SYS", place / "OUT", number, temperature=TEMPERATURE, seed=1)
    found = bg.conformers(place / "OUT", place / "WELLS", rows=rows)
    molecule = bg.load_system(place / "SYS")
    minima = read_structures(place / "WELLS" / "crest_conformers.xyz", molecule)
    rising = sorted(found.wells, key=lambda one: one["minimised_energy_kJ/mol"])
    potential = potential_of(molecule)
    harmonic = [
        log_z_of_minimum(x, one["minimised_energy_kJ/mol"], potential) + ln_copies(molecule, one)
        for x, one in zip(minima, rising, strict=True)
    ]
    record = drawn.to_json()
    whole = float(np.logaddexp.reduce(harmonic))
    beyond = record["log_z"] - whole
    error = record["log_z_standard_error"]
    told = (f"{100 * record['ess']:.0f} %", f"{record['log_z']:.2f}", f"{whole:.2f}")
    print(f"| {smiles} | {' | '.join(told)} | {beyond:.2f} ± {error:.2f} |")
    wells(smiles, found)


def of_frames(smiles: str, time: str, place: Path) -> None:
    bg.prepare(smiles=smiles, output=place / "SYS")
    bg.simulate(
        place / "SYS",
        place / "MD",
        temperatures=[TEMPERATURE],
        time=time,
        timestep="2fs",
        hydrogen_mass=3.0,
        save_interval="0.1ps",
        exchange_interval="0.1ps",
        equilibration="1ps",
        engine="torch",
        replicas=64,
        starts="reference",
        seed=1,
    )
    wells(smiles, bg.conformers(place / "MD", place / "WELLS", system=place / "SYS", rows=2000))


def wells(smiles: str, found: bg.ConformerTable) -> None:
    for one in found.wells:
        if one["population"] < 1e-3:
            continue
        low, high = (None if end is None else 100 * end for end in one["interval95"])
        told = "" if low is None else f" ({low:.1f} to {high:.1f})"
        shares = [one[name] for name in ("population", "population_by_energies", "population_by_oscillators")]
        sampled, energies, oscillators = (f"{100 * share:.1f}" for share in shares)
        columns = (smiles, one["labels"] or "-", one["degeneracy"], sampled + told, energies, oscillators)
        print(f"| {' | '.join(map(str, columns))} |", flush=True)
    print(f"    {smiles}: {found.verdict}; {'; '.join(found.reasons)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("samples", "frames"))
    parser.add_argument("smiles", nargs="+")
    parser.add_argument("-n", type=int, default=6000, help="samples")
    parser.add_argument("--rows", type=int, default=2000, help="samples that are minimised")
    parser.add_argument("--time", default="10ps", help="of each of 64 replicas")
    asked = parser.parse_args()
    for smiles in asked.smiles:
        with tempfile.TemporaryDirectory() as folder:
            if asked.kind == "samples":
                of_samples(smiles, asked.n, asked.rows, Path(folder))
            else:
                of_frames(smiles, asked.time, Path(folder))


if __name__ == "__main__":
    main()
