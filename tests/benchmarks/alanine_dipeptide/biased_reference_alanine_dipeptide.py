"""A second, independent reference for F(phi > 0) - F(phi < 0): Langevin dynamics on a flattened landscape.

    B=tests/benchmarks/alanine_dipeptide/biased_reference_alanine_dipeptide.py
    python $B bias SYS MD -o SYS-biased                      # MD: any replica exchange of SYS; sets the bias
    boltzgen simulate SYS-biased -o MD-biased --time 100ns --save-interval 1ps
    python $B analyse SYS SYS-biased MD-biased               # weights of the unbiased system, and the answer

The bias is a map V(phi, psi) = -min(F(phi, psi), 20 kJ/mol), F from MD, added as a CMAPTorsionForce.
It only has to be good enough for the torsions to diffuse; what it is does not enter the result, because each
frame is weighed by exp(+V/kT), V being the energy of SYS-biased minus that of SYS (umbrella sampling:
Torrie, Valleau, J. Comput. Phys. 23, 187 (1977)). The error is that of equal blocks of time, with the
decorrelation time from the indicator phi > 0 beside it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import openmm
from openmm import unit
from reference_alanine_dipeptide import mbar_weights, phi_atoms
from scipy.ndimage import gaussian_filter

from boltzgen.data.statistics import statistical_inefficiency
from boltzgen.data.trajectory import read_trajectory
from boltzgen.system.graph.geometry import dihedral_angles
from boltzgen.system.molecular_system import MolecularSystem
from boltzgen.units import thermal_energy

#: Coarse, because OpenMM's Reference platform copies the whole map at every step.
BINS = 18
CAP = 20.0  # kJ/mol


def torsions(system: MolecularSystem) -> np.ndarray:
    """Atoms of phi and psi, shape (2, 4)."""
    phi = phi_atoms(system)[0]
    by_name = {(int(n.residue_number), n.atom): i for i, n in enumerate(system.atom_names)}
    residue = int(system.atom_names[phi[1]].residue_number)
    return np.array([phi, [phi[1], phi[2], phi[3], by_name[(residue + 1, "N")]]])


def biased_system(system: MolecularSystem, trajectory_folder: str, temperature: float) -> MolecularSystem:
    """`system` with a map added that flattens what `trajectory_folder` knows of F(phi, psi)."""
    trajectory = read_trajectory(trajectory_folder, system)
    ladder = trajectory.temperature_ladder
    parts = [trajectory.at(float(t)) for t in ladder]
    weights = mbar_weights([p.energies for p in parts], ladder, temperature)
    angles = np.concatenate([dihedral_angles(p.positions, torsions(system)) for p in parts]) % (2 * np.pi)
    # Grid points of the map are at multiples of the spacing: bins are centred on them.
    width = 2 * np.pi / BINS
    phi, psi = (np.floor(angles / width + 0.5).astype(int) % BINS).T
    counts = np.zeros((BINS, BINS))
    np.add.at(counts, (phi, psi), weights)
    density = gaussian_filter(counts, 0.4, mode="wrap")
    with np.errstate(divide="ignore"):
        free_energy = -thermal_energy(temperature) * np.log(density / density.max())
    bias = -np.minimum(free_energy, CAP)
    model = openmm.XmlSerializer.deserialize(system.system_xml)
    force = openmm.CMAPTorsionForce()
    force.addMap(BINS, bias.T.ravel().tolist())  # index i + size * j of (phi_i, psi_j)
    force.addTorsion(0, *(int(i) for row in torsions(system) for i in row))
    model.addForce(force)
    return MolecularSystem(
        f"{system.name}-biased",
        system.atomic_numbers,
        system.masses,
        system.bonds,
        system.reference_positions,
        openmm.XmlSerializer.serialize(model),
        system.topology_pdb,
        {"purpose": "umbrella sampling", "bias": (-bias).tolist()},
    )


def energies(system: MolecularSystem, positions: np.ndarray) -> np.ndarray:
    """Potential energies (frames,) kJ/mol by OpenMM Reference, double precision."""
    integrator = openmm.VerletIntegrator(0.001)
    reference = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system.openmm_system(), integrator, reference)
    result = np.empty(len(positions))
    for frame, x in enumerate(positions.astype(float)):
        context.setPositions(x)
        energy = context.getState(energy=True).getPotentialEnergy()
        result[frame] = energy.value_in_unit(unit.kilojoule_per_mole)
    return result


def analyse(plain: MolecularSystem, biased: MolecularSystem, folder: str, n_blocks: int) -> dict:
    """dF in kT with its standard error, from the biased run in `folder`."""
    trajectory = read_trajectory(folder, biased)
    temperature = float(trajectory.temperature_ladder[0])
    positive = dihedral_angles(trajectory.positions, phi_atoms(plain))[:, 0] > 0
    bias = trajectory.energies - energies(plain, trajectory.positions)
    weights = np.exp((bias - bias.max()) / thermal_energy(temperature))

    def difference(rows: np.ndarray) -> float:
        if positive[rows].all() or not positive[rows].any():
            raise SystemExit(f"{n_blocks} blocks: one saw one sign of phi only; run longer or ask for fewer")
        return float(-np.log(weights[rows & positive].sum() / weights[rows & ~positive].sum()))

    everything = np.ones(len(trajectory), dtype=bool)
    stretch = np.arange(len(trajectory)) * n_blocks // len(trajectory)
    blocks = [difference(stretch == b) for b in range(n_blocks)]
    g = statistical_inefficiency(positive)
    return {
        "temperature_K": temperature,
        "dF": difference(everything),
        "standard_error": float(np.std(blocks, ddof=1) / np.sqrt(n_blocks)),
        "block_values": blocks,
        "frames": len(trajectory),
        "frames_with_phi_positive": float(positive.mean()),
        "crossings": int((positive[1:] != positive[:-1]).sum()),
        "independent_frames_of_phi_sign": len(trajectory) / g,
        "kish_fraction_of_weights": float(weights.sum() ** 2 / (weights**2).sum() / len(weights)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    bias = verbs.add_parser("bias")
    bias.add_argument("system")
    bias.add_argument("trajectory")
    bias.add_argument("-o", "--output", required=True, type=Path)
    bias.add_argument("--temperature", type=float, default=300.0)
    read = verbs.add_parser("analyse")
    for name in ("system", "biased", "trajectory"):
        read.add_argument(name)
    read.add_argument("--blocks", type=int, default=10)
    options = parser.parse_args()
    system = MolecularSystem.load(options.system)
    if options.verb == "bias":
        print(biased_system(system, options.trajectory, options.temperature).save(options.output))
    else:
        biased = MolecularSystem.load(options.biased)
        print(json.dumps(analyse(system, biased, options.trajectory, options.blocks), indent=1))


if __name__ == "__main__":
    main()
